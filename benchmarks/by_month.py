"""A default run with all earlier months against the course's recipe, month by month, with its intervals."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks import data, ours
from benchmarks.cells import Cell, Clock, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Row, Section, Table, not_measured, values_of

MOST_OF_COURSE = 0.79
NOMINAL_WITHIN, SLICE_WITHIN = 0.02, 0.06
LEVELS = ("80", "95")


def ours_cell(test: str) -> str:
    """Name of the cell with our default run for a month; it saves the model in the folder ``model``."""
    return f"by month/ours {test}"


def course_cell(test: str) -> str:
    """Name of the cell with the course's recipe for a month."""
    return f"by month/course {test}"


def cells(bench: Bench) -> list[Cell]:
    """Our run and the course's recipe for each test month."""
    found = []
    for test in bench.test_months:
        months = (*bench.history(test), bench.validation(test), test)
        found.append(
            Cell(
                ours_cell(test),
                "benchmarks.by_month:default_run",
                {"months": list(months)},
                code=OURS,
                after=tuple(map(data.month_cell, months)),
                threads=2,
                expected_seconds=12.0 * len(months),
            )
        )
        found.append(
            Cell(
                course_cell(test),
                "benchmarks.by_month:course_run",
                {"months": list(months[-3:])},
                code=("mlops/training/baselines.py", "requirements.txt"),
                after=tuple(map(data.month_cell, months[-3:])),
                expected_seconds=20,
            )
        )
    return found


def default_run(job: Job, months: list[str]) -> dict[str, Any]:
    """Test metrics and coverage of our default settings.

    The last month is the test month, the one before it the validation month.
    """
    *earlier, test = months
    cleaned = [data.clean_path(job, month) for month in earlier]
    with Clock() as clock:
        fitted = ours.fit(cleaned, job.folder, job.threads, ours.settings(train_months=len(earlier)))
    requests, actual = ours.requests_and_minutes(data.clean_path(job, test))
    predictions = fitted.model.predict(requests)
    ours.save(fitted.model, job.folder / "model")
    return {
        **ours.metrics(actual, ours.minutes_of(predictions)),
        "validation_rmse": fitted.validation_rmse,
        "pair_median_rmse": ours.pair_median_rmse(cleaned, requests, actual),
        "trials": fitted.trials,
        "fit_seconds": clock.seconds,
        "fit_cpu_seconds": clock.cpu_seconds,
        "rows": len(actual),
        "coverage": ours.coverage(requests, actual, predictions),
    }


def course_run(job: Job, months: list[str]) -> dict[str, Any]:
    """Test metrics of the course's recipe: one month for training, one for early stopping, one for the test."""
    from mlops.training.baselines import CourseRecipe, read_trips

    training, validation, test = (read_trips(data.clean_path(job, month)) for month in months)
    recipe = CourseRecipe.fit(training, validation, threads=job.threads)
    return ours.metrics(test["duration_minutes"].to_numpy(), recipe.predict(test))


def section(bench: Bench, results: Results) -> Section:
    """The ratio of the mean errors, and the worst coverage."""
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
    rows = [Row(what, goal, f"{ratio:.3f} ({', '.join(there)})", ratio <= MOST_OF_COURSE)]
    rows += _coverage_rows({test: a["coverage"] for test, (a, _) in there.items()})
    return Section(tuple(rows), (_months_table(there),))


def _coverage_rows(by_month: dict[str, dict[str, Any]]) -> list[Row]:
    rows = []
    for level in LEVELS:
        nominal = int(level) / 100
        overall_goal = f"{level} % ± {NOMINAL_WITHIN:.0%}"
        slice_goal = f"{level} % ± {SLICE_WITHIN:.0%}"
        whats = (
            f"{level} % interval: share of trips inside, worst month",
            f"{level} % interval: share of trips inside, worst slice of 1,000 trips",
        )
        found = {test: coverage[level] for test, coverage in by_month.items() if level in coverage}
        if not found:
            rows += [
                Row(what, goal, "no intervals")
                for what, goal in zip(whats, (overall_goal, slice_goal), strict=True)
            ]
            continue
        test, worst = max(found.items(), key=lambda item: abs(item[1]["overall"] - nominal))
        off = abs(worst["overall"] - nominal)
        rows.append(Row(whats[0], overall_goal, f"{worst['overall']:.1%} ({test})", off <= NOMINAL_WITHIN))
        test, worst = max(found.items(), key=lambda item: abs(item[1]["worst"] - nominal))
        off = abs(worst["worst"] - nominal)
        figure = f"{worst['worst']:.1%} ({test}, {worst['slice']})"
        rows.append(Row(whats[1], slice_goal, figure, off <= SLICE_WITHIN))
    return rows


def _months_table(there: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> Table:
    header = (
        "test month", "ours: RMSE", "MAE", "course: RMSE", "MAE", "ratio of RMSE", "pair median: RMSE",
        "trials", "fit, s", "80 % inside", "95 % inside",
    )  # fmt: skip
    rows = []
    for test, (a, b) in there.items():
        inside = [f"{a['coverage'][level]['overall']:.1%}" if a["coverage"] else "" for level in LEVELS]
        rows.append(
            (
                test, f"{a['rmse']:.3f}", f"{a['mae']:.3f}", f"{b['rmse']:.3f}", f"{b['mae']:.3f}",
                f"{a['rmse'] / b['rmse']:.3f}", f"{a['pair_median_rmse']:.3f}", str(a["trials"]),
                f"{a['fit_seconds']:.0f}", *inside,
            )
        )  # fmt: skip
    note = "Ours: default settings, all earlier months. Course: trained on the month before the validation month."
    return Table("Test months", header, tuple(rows), note)
