"""A default run with all earlier months against the course's recipe, month by month."""

from __future__ import annotations

from statistics import mean
from typing import Any

import numpy as np

from benchmarks import data, ours
from benchmarks.cells import Cell, Clock, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Row, Section, Table, not_measured, values_of

MOST_OF_COURSE = 0.79


def ours_cell(test: str) -> str:
    """Name of the cell with our default run for a month."""
    return f"by month/ours {test}"


def course_cell(test: str) -> str:
    """Name of the cell with the course's recipe for a month."""
    return f"by month/course {test}"


def cells(bench: Bench) -> list[Cell]:
    """Our run and the course's recipe for each test month."""
    found = []
    for test in bench.test_months:
        found.append(default_cell(bench, ours_cell(test), test))
        months = (*bench.history(test)[-1:], bench.validation(test), test)
        found.append(
            Cell(
                course_cell(test),
                "benchmarks.by_month:course_run",
                {"months": list(months)},
                code=("mlops/training/baselines.py", "requirements.txt"),
                after=tuple(map(data.month_cell, months)),
                expected_seconds=16,
            )
        )
    return found


def default_cell(bench: Bench, name: str, test: str, **changed: Any) -> Cell:
    """A cell with our run for a test month: default settings but for those in `changed`."""
    months = (*bench.history(test), bench.validation(test), test)
    return Cell(
        name, "benchmarks.by_month:default_run", {"months": list(months), "changed": changed}, OURS,
        after=tuple(map(data.month_cell, months)), threads=2, expected_seconds=11.0 * len(months),
    )  # fmt: skip


def default_run(job: Job, months: list[str], changed: dict[str, Any]) -> dict[str, Any]:
    """Test metrics and ranges of our default settings with the given changes.

    The last month is the test month, the one before it the validation month. Other cells find the model in the
    folder ``model``, and in ``validation.npy`` the minutes that its best trial predicted for the validation month.
    """
    *earlier, test = months
    cleaned = [data.clean_path(job, month) for month in earlier]
    with Clock() as clock:
        chosen = ours.settings(train_months=len(earlier), **changed)
        fitted = ours.fit(cleaned, job.folder, job.threads, chosen)
    requests, actual = ours.requests_and_minutes(data.clean_path(job, test))
    predictions = fitted.model.predict(requests)
    ours.save(fitted.model, job.folder / "model")
    np.save(job.folder / "validation.npy", fitted.validation_minutes)
    return {
        **ours.metrics(actual, ours.minutes_of(predictions)),
        "validation_rmse": fitted.validation_rmse,
        "pair_median_rmse": ours.pair_median_rmse(cleaned, requests, actual),
        "trials": fitted.trials,
        "fit_seconds": clock.seconds,
        "fit_cpu_seconds": clock.cpu_seconds,
        "rows": len(actual),
        "ranges": ours.range_measures(requests, actual, predictions),
    }


def course_run(job: Job, months: list[str]) -> dict[str, Any]:
    """Test metrics of the course's recipe: one month for training, one for early stopping, one for the test."""
    from mlops.training.baselines import CourseRecipe, read_trips

    training, validation, test = (read_trips(data.clean_path(job, month)) for month in months)
    recipe = CourseRecipe.fit(training, validation, threads=job.threads)
    return ours.metrics(test["duration_minutes"].to_numpy(), recipe.predict(test))


def section(bench: Bench, results: Results) -> Section:
    """The ratio of the mean errors."""
    both = {
        test: (values_of(results, ours_cell(test)), values_of(results, course_cell(test)))
        for test in bench.test_months
    }
    there = {test: (a, b) for test, (a, b) in both.items() if a is not None and b is not None}
    what = "test RMSE, default run divided by course's recipe: ratio of means over test months"
    goal = f"at most {MOST_OF_COURSE}"
    names = [name(test) for test in bench.test_months for name in (ours_cell, course_cell)]
    if not there:
        return Section((not_measured(what, goal, results, *names),))
    ratio = mean(a["rmse"] for a, _ in there.values()) / mean(b["rmse"] for _, b in there.values())
    row = Row(what, goal, f"{ratio:.3f} ({', '.join(there)})", ratio <= MOST_OF_COURSE)
    return Section((row,), (_months_table(there),))


def _months_table(there: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> Table:
    header = (
        "test month", "ours: RMSE", "MAE", "course: RMSE", "MAE", "ratio of RMSE", "pair median: RMSE",
        "trials", "fit, s", "80 % inside", "95 % inside",
    )  # fmt: skip
    rows = []
    for test, (a, b) in there.items():
        inside = [f"{a['ranges'][level]['coverage']:.1%}" for level in ("80", "95")]
        rows.append(
            (
                test, f"{a['rmse']:.3f}", f"{a['mae']:.3f}", f"{b['rmse']:.3f}", f"{b['mae']:.3f}",
                f"{a['rmse'] / b['rmse']:.3f}", f"{a['pair_median_rmse']:.3f}", str(a["trials"]),
                f"{a['fit_seconds']:.0f}", *inside,
            )
        )  # fmt: skip
    note = "Ours: default settings, all earlier months. Course: trained on the month before the validation month."
    return Table("Test months", header, tuple(rows), note)
