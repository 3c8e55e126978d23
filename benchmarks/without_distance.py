"""Requests without a distance: the default model's answers against a model that was trained without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import by_month, data, ours
from benchmarks.cells import Cell, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.ranges import LEVELS, SHOWN, coverage_row, range_figures
from benchmarks.sections import Row, Section, Table, filled, values_of

MOST_OF_TRAINED, NOMINAL_WITHIN = 1.01, 0.03


def asked_cell(test: str) -> str:
    """Name of the cell that asks our default model without a distance."""
    return f"without distance/asked {test}"


def trained_cell(test: str) -> str:
    """Name of the cell with a run that does not use the distance."""
    return f"without distance/trained {test}"


def cells(bench: Bench) -> list[Cell]:
    """Both for each test month."""
    found = []
    for test in bench.test_months:
        after = (data.month_cell(test), by_month.ours_cell(test))
        asked = "benchmarks.without_distance:ask"
        found.append(Cell(asked_cell(test), asked, {"test": test}, OURS, after=after, expected_seconds=6))
        found.append(by_month.default_cell(bench, trained_cell(test), test, use_distance=False))
    return found


def ask(job: Job, test: str) -> dict[str, Any]:
    """Test metrics and ranges of the default model, asked for every trip with no distance."""
    model = ours.load(Path(job.before[by_month.ours_cell(test)].folder) / "model")
    requests, actual = ours.requests_and_minutes(data.clean_path(job, test))
    predictions = model.predict(ours.without_distance(requests))
    measured = ours.metrics(actual, ours.minutes_of(predictions))
    return {**measured, "ranges": ours.range_measures(requests, actual, predictions)}


def section(bench: Bench, results: Results) -> Section:
    """The ratio of the errors and the coverage, each of the worst month."""
    both = {
        test: (values_of(results, asked_cell(test)), values_of(results, trained_cell(test)))
        for test in bench.test_months
    }
    there = {test: (a, b) for test, (a, b) in both.items() if a is not None and b is not None}
    what = "without a distance: test RMSE, default model divided by one trained without it, worst month"
    ratios = {test: a["rmse"] / b["rmse"] for test, (a, b) in there.items()}
    worst = max(ratios, key=lambda test: ratios[test], default="")
    figure = f"{ratios[worst]:.3f} ({worst})" if worst else ""
    rows = [Row(what, f"at most {MOST_OF_TRAINED}", figure, ratios.get(worst, 2.0) <= MOST_OF_TRAINED)]
    measured = {test: asked["ranges"] for test, (asked, _) in there.items()}
    for level in LEVELS:
        what = f"without a distance, {level} % range: share of trips inside, worst month"
        rows.append(coverage_row(what, level, measured, NOMINAL_WITHIN))
    names = [name(test) for test in bench.test_months for name in (asked_cell, trained_cell)]
    return Section(tuple(filled(rows, results, names)), (_table(there),))


def _table(there: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> Table:
    measures = (f"{level} %: {name}" for level in LEVELS for name in SHOWN)
    header = ("test month", "model", "RMSE", "MAE", *measures)
    rows = []
    for test, pair in there.items():
        for model, measured in zip(("default", "trained without distance"), pair, strict=True):
            errors = (f"{measured['rmse']:.3f}", f"{measured['mae']:.3f}")
            rows.append((test, model, *errors, *range_figures([measured["ranges"]])))
    note = (
        "Default: trained with distances, asked for every trip with none. The other: default settings with "
        "use_distance=false. Ranges as in the table above."
    )
    return Table("Without a distance", header, tuple(rows), note)
