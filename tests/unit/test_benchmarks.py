"""The benchmark: which results are kept or measured again, the report, and a run on tiny months."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import estimates, ours, plan, report
from benchmarks.cells import Cell, Job, Result, Results, cell_key, run_all
from benchmarks.plan import FULL, QUICK, Bench, bench_of
from benchmarks.sections import Row, Section, Table, estimate
from mlops.data.synthetic.source import write_month
from mlops.model.features import feature_names
from mlops.month import Month

MONTHS = tuple(str(month) for month in Month.range(Month(2023, 1), Month(2023, 6)))
TEN_MONTHS = tuple(str(month) for month in Month.range(Month(2023, 1), Month(2023, 10)))
HERE = "tests.unit.test_benchmarks"


# Functions that cells call, each in its own process


def count(job: Job, by: int = 1) -> dict[str, Any]:
    """Number of real calls, counted in a file beside the folders of results."""
    tally = job.folder.parent / "tally"
    calls = int(tally.read_text()) + 1 if tally.exists() else 1
    tally.write_text(str(calls))
    (job.folder / "made").write_text("something")
    return {"calls": calls, "by": by, "threads": job.threads}


def build_on(job: Job) -> dict[str, Any]:
    first = job.before["first"]
    return {"seen": first.values["by"], "made": (Path(first.folder) / "made").read_text()}


def fail(job: Job) -> dict[str, Any]:
    raise RuntimeError("out of luck")


def hold(job: Job, megabytes: int) -> dict[str, Any]:
    return {"bytes": len(bytearray(b"x" * megabytes * 1_000_000))}


FIRST = Cell("first", f"{HERE}:count", {"by": 2})
SECOND = Cell("second", f"{HERE}:build_on", after=("first",))


def results_of(cells: list[Cell], store: Path, **options: Any) -> Results:
    return {result.name: result for result in run_all(cells, store, **options)}


def test_a_result_is_kept(tmp_path: Path) -> None:
    first = results_of([FIRST, SECOND], tmp_path)
    again = results_of([FIRST, SECOND], tmp_path)

    assert again == first
    assert first["first"].values == {"calls": 1, "by": 2, "threads": 1}
    assert first["second"].values == {"seen": 2, "made": "something"}
    assert first["first"].seconds > 0
    assert first["first"].cpu_seconds > 0


@pytest.mark.parametrize(
    "changed",
    [
        replace(FIRST, parameters={"by": 3}),
        replace(FIRST, threads=2),
        replace(FIRST, code=("pyproject.toml",)),
        replace(FIRST, name="other"),
    ],
)
def test_another_cell_has_another_key(changed: Cell) -> None:
    assert cell_key(changed, {}) != cell_key(FIRST, {})


def test_the_key_depends_on_code_inputs_and_earlier_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.cells.PROJECT", tmp_path)
    code, data = tmp_path / "code.py", tmp_path / "data.parquet"
    cell = replace(SECOND, code=("*.py",), inputs=(str(data),))
    before = {"first": Result("first", "key", "folder")}
    keys = []
    for text, rows, made in (("a", "b", "x"), ("a2", "b", "x"), ("a2", "b2", "x"), ("a2", "b2", "y")):
        code.write_text(text)
        data.write_text(rows)
        before["first"] = replace(before["first"], values={"content": made})
        keys.append(cell_key(cell, before))

    assert len(set(keys)) == len(keys)
    assert cell_key(cell, before) == keys[-1]
    assert cell_key(cell, {"first": replace(before["first"], key="another", seconds=5.0)}) == keys[-1]


def test_fresh_measures_again(tmp_path: Path) -> None:
    results_of([FIRST], tmp_path)
    assert results_of([FIRST], tmp_path, fresh=True)["first"].values["calls"] == 2


def test_a_failure_is_reported_and_not_kept_and_other_cells_run(tmp_path: Path) -> None:
    bad = Cell("bad", f"{HERE}:fail")
    after = replace(SECOND, name="after", after=("bad",))

    found = results_of([bad, after, FIRST], tmp_path)

    assert "RuntimeError: out of luck" in found["bad"].error
    assert found["after"].error == "depends on bad, which failed"
    assert found["first"].values["calls"] == 1
    assert list(tmp_path.glob("*/result.json"))
    assert cell_key(bad, {}) not in [path.parent.name for path in tmp_path.glob("*/result.json")]


def test_only_chosen_cells_and_those_they_depend_on_are_measured(tmp_path: Path) -> None:
    other = Cell("other", f"{HERE}:count")

    found = results_of([other, FIRST, SECOND], tmp_path, chosen=lambda cell: cell.name == "second")

    assert list(found) == ["first", "second"]
    assert list(results_of([other, FIRST, SECOND], tmp_path, chosen=lambda cell: False)) == [
        "first",
        "second",
    ]


def test_no_measurement_starts_after_the_limit(tmp_path: Path) -> None:
    assert results_of([FIRST], tmp_path, stop_after=0.0) == {}


def test_memory_is_that_of_the_cell_s_process(tmp_path: Path) -> None:
    ballast = bytearray(b"x" * 300_000_000)  # held by this process: it must not count for a child

    small = results_of([Cell("small", f"{HERE}:hold", {"megabytes": 1})], tmp_path)["small"]
    large = results_of([Cell("large", f"{HERE}:hold", {"megabytes": 200})], tmp_path)["large"]

    assert len(ballast) == 300_000_000
    assert 150e6 < large.peak_bytes - small.peak_bytes < 500e6


def test_progress_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "benchmarks"):
        results_of([FIRST, Cell("bad", f"{HERE}:fail", expected_seconds=110)], tmp_path)

    assert "2 measurements take about 2 minutes" in caplog.text
    assert "[1/2] 0:00 elapsed, about 2:00 left: first" in caplog.text
    assert "calls 1" in caplog.text
    assert "failed: RuntimeError: out of luck" in caplog.text


@pytest.mark.parametrize(
    ("held", "asked", "tested"),
    [
        (MONTHS, (), MONTHS[-1:]),
        (MONTHS, ("2023-04",), ("2023-04",)),
        (("2023-01", *MONTHS[2:]), (), MONTHS[-1:]),
        (tuple(str(m) for m in Month.range(Month(2022, 1), Month(2024, 3))), (), ("2023-10",)),
    ],
)
def test_the_months_of_a_run(held: tuple[str, ...], asked: tuple[str, ...], tested: tuple[str, ...]) -> None:
    assert bench_of(QUICK, "folder", held, asked).test_months == tested


@pytest.mark.parametrize("asked", ["2023-02", "2023-07"])
def test_a_month_that_cannot_be_tested_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match=asked):
        bench_of(QUICK, "folder", MONTHS, (asked,))


def test_every_cell_depends_on_earlier_ones_and_every_call_exists() -> None:
    for profile in plan.PROFILES.values():
        bench = bench_of(profile, "folder", TEN_MONTHS)
        for sections in (command.MEASURED, (command.ablations,)):
            cells = command.cells_of(bench, sections)
            names = [cell.name for cell in cells]
            assert len(set(names)) == len(names)
            for place, cell in enumerate(cells):
                assert set(cell.after) <= set(names[:place])
                assert cell_key(replace(cell, after=(), inputs=()), {})


def test_the_full_benchmark_has_every_contender_in_three_runs_and_takes_little_over_two_hours() -> None:
    cells = command.cells_of(bench_of(FULL, "folder", TEN_MONTHS), command.MEASURED)
    names = {cell.name for cell in cells}

    for peer in (
        "LightGBM, tuned 60 s",
        "LightGBM, tuned 180 s",
        "FLAML 60 s",
        "FLAML 180 s",
        "AutoGluon 60 s",
        "AutoGluon 180 s",
        "course, tuned 180 s",
        "ours 60 s",
    ):
        found = {name for name in names if name.startswith(f"contenders/{peer} ")}
        assert found == {
            f"contenders/{peer} 2023-{n} seed {seed}" for n, seed in (("07", 1), ("08", 2), ("10", 3))
        }
    assert sum(cell.expected_seconds for cell in cells) < 2.25 * 3600


def test_every_row_of_the_full_benchmark_has_its_cells() -> None:
    """Where all cells have failed, each row names a failure; none says that nothing was run."""
    bench = bench_of(FULL, "folder", TEN_MONTHS)
    cells = command.cells_of(bench, command.MEASURED)
    failed = {cell.name: Result(cell.name, "", "", error="out of luck") for cell in cells}

    for section in command.SECTIONS:
        figures = {row.figure for row in section.section(bench, failed).rows}
        assert figures == {"not measured: out of luck"}


def test_an_estimate_has_a_95_percent_interval() -> None:
    assert str(estimate([5.0])) == "5.000"
    assert str(estimate([1.0, 2.0, 3.0])) == "2.000 ± 2.483"


def bench() -> Bench:
    return bench_of(QUICK, "sample", MONTHS)


def test_the_report_names_goals_figures_and_failures() -> None:
    section = Section(
        (
            Row("speed", "at least 2", "3", True),
            Row("memory", "at most 1", "2", False),
            Row("slope", "", "4"),
        ),
        (Table("Details", ("a", "b"), (("1", "2 | 3"),), "A note."), Table("Nothing", ("a",), ())),
    )
    results = {"bad": Result("bad", "", "", error="Traceback\n  ...\nRuntimeError: out of luck")}

    lines = report.markdown(report.about(bench()), [section], results, None).splitlines()

    assert "| what | goal | figure | reached |" in lines
    assert "| speed | at least 2 | 3 | yes |" in lines
    assert "| memory | at most 1 | 2 | **no** |" in lines
    assert "| slope |  | 4 |  |" in lines
    assert "| 1 | 2 \\| 3 |" in lines
    assert "A note." in lines
    assert "## Nothing" not in lines
    assert "| bad | RuntimeError: out of luck |" in lines
    assert any(line.startswith("- machine: ") for line in lines)


def test_without_results_every_line_says_that_it_was_not_measured() -> None:
    for section in command.SECTIONS:
        for row in section.section(bench(), {}).rows:
            assert row.reached is None
            assert "not " in row.figure or "no " in row.figure, row


def test_the_report_says_how_long_it_took_and_what_is_from_earlier_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.report.time.time", lambda: 1600.0)
    now, earlier = (
        Result("now", "", "", seconds=540.0, measured_at=1010.0),
        Result("kept", "", "", seconds=60.0),
    )

    assert (
        report.duration({"now": now}, 1000.0)
        == "the whole command 10.0 minutes, of these 9.0 minutes in 1 measurements"
    )
    both = report.duration({"now": now, "kept": earlier}, 1000.0)
    assert both.endswith("in 1 measurements; 1 more, of 1.0 minutes, are from earlier runs")


class Luckless:
    """A section of the benchmark, one of whose cells fails."""

    @staticmethod
    def cells(bench: Bench) -> list[Cell]:
        return [Cell("bad", f"{HERE}:fail"), FIRST]

    @staticmethod
    def section(bench: Bench, results: Results) -> Section:
        return Section((Row("calls", "", str(results["first"].values["calls"])),))


def test_a_cell_that_fails_is_named_at_the_end_and_makes_the_command_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "MEASURED", (Luckless,))
    monkeypatch.setattr(command, "SECTIONS", (Luckless,))
    monkeypatch.setattr(ours, "state_dir", lambda: tmp_path)
    options = ["--source", "sample", "--results", str(tmp_path / "results"), "--only"]

    assert command.main([*options, "first"]) == 0
    assert command.main([*options, "bad", "--only", "first"]) == 1

    assert capsys.readouterr().err.splitlines()[-1] == "failed: bad: RuntimeError: out of luck"
    text = (tmp_path / "results" / "results.md").read_text()
    assert "| calls |  | 1 |" in text
    assert "| bad | RuntimeError: out of luck |" in text
    assert "- duration: the whole command " in text
    assert re.search(r"; 1 more, of \d+\.\d minutes, are from earlier runs", text)


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    points = {
        "contenders": {"ours 60 s": [4.0, 4.2], "FLAML": [4.5]},
        "matrix": [(1e6, 1.0, 1e9), (2e6, 2.0, 2e9)],
    }

    assert report.plot(tmp_path / "plot.png", points) == tmp_path / "plot.png"
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    assert report.plot(tmp_path / "none.png", {}) is None


@pytest.mark.long
def test_a_run_on_tiny_months(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, results = tmp_path / "source", tmp_path / "results"
    for month in MONTHS[:4]:
        write_month(source / f"green_tripdata_{month}.parquet", "green", Month.parse(month), rows=400)
    options = ["--source", str(source), "--bench", "quick", "--results", str(results)]
    only = ["--only", "files/features, ours", "--only", "effort/match*02 2023-03"]

    assert command.main([*options, *only]) == 0
    first = json.loads((results / "results.json").read_text())
    assert command.main([*options, *only]) == 0
    again = json.loads((results / "results.json").read_text())

    assert first["cells"] == again["cells"]
    assert first["rows"] == again["rows"]
    assert first["cells"]["files/features, ours"]["values"]["rows"] > 1000
    assert "published/2023-02 2023-03" in first["cells"]
    assert "contenders" not in str(list(first["cells"]))
    assert str(tmp_path) not in json.dumps(first)
    text = (results / "results.md").read_text()
    assert text in capsys.readouterr().out
    assert "green 2023-01 to 2023-04" in text


def test_cells_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--source", "sample", "--list", "--only", "published"]) == 0
    assert capsys.readouterr().out.splitlines() == ["published/2023-01 2023-02"]


def test_a_source_without_the_month_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--source", "sample", "--months", "2031-01"]) == 2
    assert "there is no month 2031-01" in capsys.readouterr().err


def test_every_feature_of_the_ablations_exists() -> None:
    features = ours.feature_list()
    for name, variant in command.ablations.variants().items():
        assert set(variant.get("without", ())) <= set(features), name


def test_an_own_feature_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "own_features", lambda: ("mine",))
    monkeypatch.setattr(ours, "feature_list", lambda: (*feature_names(), "mine"))
    found = command.ablations.variants()

    assert found["without mine"] == {"without": ["mine"]}
    assert found["step: + spread and count of the pair"] == {"without": ["mine"]}
    assert "mine" in found["step: zones and distance"]["without"]


def test_expected_errors_are_printed_beside_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MLOPS_THREADS", "1")
    for month in Month.range(Month(2023, 1), Month(2023, 4)):
        write_month(tmp_path / f"green_tripdata_{month}.parquet", "green", month, rows=1500)
    assert estimates.main(["--source", str(tmp_path), "--months", "green 2023-04"]) == 0
    header, line, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["month", "truth", "estimate", "widths", "cells", "month", "before"]
    truth, estimated, widths, by_cells, before = map(float, line.split()[2:])
    assert estimated == pytest.approx((widths + by_cells) / 2, abs=0.001)
    assert total.startswith("mean absolute difference in 1 months, minutes: estimate ")
    differences = [float(number) for number in re.findall(r"\d+\.\d+", total)]
    values = (estimated, widths, by_cells, before)
    assert differences == pytest.approx([abs(value - truth) for value in values], abs=0.0015)
