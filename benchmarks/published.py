"""Check that our copy of the course's recipe gives the figures that the course publishes."""

from __future__ import annotations

from typing import Any

from benchmarks import data, ours
from benchmarks.cells import Cell, Clock, Job, Results
from benchmarks.plan import Bench
from benchmarks.sections import Row, Section, not_measured, values_of

PRINTED = {("2023-01", "2023-02"): 5.199, ("2023-02", "2023-03"): 5.37}
TOLERANCE = 0.02


def pairs(bench: Bench) -> list[tuple[str, str]]:
    """Training and validation month of each published fit; on the sample, its first two months."""
    there = [pair for pair in PRINTED if set(pair) <= set(bench.months) and not bench.is_sample]
    return there or [(bench.months[0], bench.months[1])]


def fit_cell(training: str, validation: str) -> str:
    """Name of the cell with one such fit."""
    return f"published/{training} {validation}"


def cells(bench: Bench) -> list[Cell]:
    """One cell per fit."""
    return [
        Cell(
            fit_cell(*pair),
            "benchmarks.published:published_fit",
            {"training": pair[0], "validation": pair[1]},
            code=("mlops/training/baselines.py", "requirements.txt"),
            after=tuple(map(data.month_cell, pair)),
            expected_seconds=20,
        )
        for pair in pairs(bench)
    ]


def published_fit(job: Job, training: str, validation: str) -> dict[str, Any]:
    """Validation RMSE of the recipe with the published parameters, and the CPU time of its fit."""
    from mlops.training.baselines import CourseRecipe, read_trips

    training_trips, held_out = (read_trips(data.clean_path(job, month)) for month in (training, validation))
    with Clock() as clock:
        recipe = CourseRecipe.fit(training_trips, held_out, threads=job.threads)
    measured = ours.metrics(held_out["duration_minutes"].to_numpy(), recipe.predict(held_out))
    return {"rmse": measured["rmse"], "rows": len(training_trips), "fit_cpu_seconds": clock.cpu_seconds}


def section(bench: Bench, results: Results) -> Section:
    """One line per fit."""
    rows = []
    for pair in pairs(bench):
        what, printed = f"course recipe, {pair[0]} scored on {pair[1]}: RMSE, min", PRINTED.get(pair)
        printed = None if bench.is_sample else printed
        goal = (
            f"{printed:.3f} ± {TOLERANCE}"
            if printed
            else "none: the course published no figure for these months"
        )
        found = values_of(results, fit_cell(*pair))
        if found is None:
            rows.append(not_measured(what, goal, results, fit_cell(*pair)))
            continue
        close = None if printed is None else abs(found["rmse"] - printed) <= TOLERANCE
        figure = f"{found['rmse']:.4f}" + (
            "" if close is not False else " (so this is not the course's recipe)"
        )
        rows.append(Row(what, goal, figure, close))
    return Section(tuple(rows))
