"""The figures of the page about the benchmark are those of its last report."""

from __future__ import annotations

from mlops.config import PROJECT

PAGE = (PROJECT / "docs" / "benchmark.md").read_text()
REPORT = (PROJECT / "benchmarks" / "results" / "results.md").read_text().splitlines()


def test_every_row_of_the_tables_of_figures_is_a_row_of_the_report() -> None:
    figures = PAGE[PAGE.index("## What the last run says") : PAGE.index("## What is compared")]
    rows = [line for line in figures.splitlines() if line.startswith("|")]
    assert len(rows) == 16  # three tables: two lines of header each, and four, four and two rows
    assert [row for row in rows if row not in REPORT] == []
