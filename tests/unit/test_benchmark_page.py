"""The figures of the page about the benchmark are those of its last reports."""

from __future__ import annotations

from mlops.config import PROJECT

PAGE = (PROJECT / "docs" / "benchmark.md").read_text()
RESULTS = PROJECT / "benchmarks" / "results"
REPORT = (RESULTS / "results.md").read_text().splitlines()


def rows_of(section: str) -> list[str]:
    return [line for line in section.splitlines() if line.startswith("|")]


def test_every_row_of_the_tables_of_figures_is_a_row_of_the_report() -> None:
    figures = PAGE[PAGE.index("## What the last run says") : PAGE.index("## What is compared")]
    rows = rows_of(figures)
    assert len(rows) == 28  # of 4 tables, with their headers
    assert [row for row in rows if row not in REPORT] == []


def test_every_figure_of_the_model_in_use_is_in_its_report() -> None:
    rows, report = rows_of(PAGE[PAGE.index("## In use") :]), RESULTS / "serving.md"
    assert bool(rows) == report.is_file()  # a report has its figures on the page
    if rows:
        assert [row for row in rows if row not in report.read_text().splitlines()] == []
