"""Predictions: many requests at once, and one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import Any

from benchmarks import by_month, data, ours
from benchmarks.cells import Cell, Clock, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Row, Section, Table, not_measured, values_of

OURS_CELL, COURSE_CELL = "prediction/ours", "prediction/course"
BATCHES = 5


def cells(bench: Bench) -> list[Cell]:
    """Our default model and the course's recipe, on the trips of the last test month."""
    test = bench.test_months[-1]
    months = (*bench.history(test)[-1:], bench.validation(test), test)
    parameters: dict[str, Any] = {"singles": bench.profile.single_rows}
    return [
        Cell(
            OURS_CELL, "benchmarks.prediction:ask_ours", {**parameters, "test": test}, OURS,
            after=(data.month_cell(test), by_month.ours_cell(test)), expected_seconds=20,
        ),
        Cell(
            COURSE_CELL, "benchmarks.prediction:ask_course", {**parameters, "months": list(months)},
            ("mlops/training/baselines.py", "requirements.txt"), after=tuple(map(data.month_cell, months)),
            expected_seconds=30,
        ),
    ]  # fmt: skip


def ask_ours(job: Job, test: str, singles: int) -> dict[str, Any]:
    """Our side: `DurationModel` returns minutes and their intervals for a request."""
    from pathlib import Path

    model = ours.load(Path(job.before[by_month.ours_cell(test)].folder) / "model")
    requests, _ = ours.requests_and_minutes(data.clean_path(job, test))
    ask = ours.asker(model)
    one_by_one = ours.single_requests(requests, singles)
    return _asked(lambda: model.predict(requests), len(requests), ask, one_by_one)


def ask_course(job: Job, months: list[str], singles: int) -> dict[str, Any]:
    """The course's side, as it serves its model: a dict through the vectorizer, then XGBoost."""
    import xgboost as xgb

    from mlops.training.baselines import CourseRecipe, read_trips

    training, validation, test = (read_trips(data.clean_path(job, month)) for month in months)
    recipe = CourseRecipe.fit(training, validation, threads=job.threads)
    recipe.booster.set_param({"nthread": job.threads})

    def ask(request: dict[str, Any]) -> float:
        pair = f"{request['pickup_zone']}_{request['dropoff_zone']}"
        record = {"PU_DO": pair, "trip_distance": request["distance_miles"]}
        return float(recipe.booster.predict(xgb.DMatrix(recipe.vectorizer.transform([record])))[0])

    one_by_one = test.head(singles).to_dict(orient="records")
    return _asked(lambda: recipe.predict(test), len(test), ask, one_by_one)


def _asked(
    batch: Callable[[], Any], rows: int, ask: Callable[[Any], Any], requests: Sequence[Any]
) -> dict[str, Any]:
    ask(requests[0])
    batch()
    with Clock() as clock:
        for _ in range(BATCHES):
            batch()
    waits = []
    for request in requests:
        began = time.perf_counter()
        ask(request)
        waits.append(time.perf_counter() - began)
    return {
        "rows": rows,
        "rows_per_cpu_second": BATCHES * rows / clock.cpu_seconds,
        "rows_per_second": BATCHES * rows / clock.seconds,
        "single_median_us": 1e6 * median(waits),
        "single_p95_us": 1e6 * quantiles(waits, n=20)[-1],
    }


def section(bench: Bench, results: Results) -> Section:
    """Our speed compared with the course's, for single requests and batches."""
    whats = (
        "one request: our median time divided by the course's",
        "batch: our rows per CPU second divided by the course's",
    )
    goals = ("at most 1", "at least 1")
    mine, theirs = values_of(results, OURS_CELL), values_of(results, COURSE_CELL)
    if mine is None or theirs is None:
        pairs = zip(whats, goals, strict=True)
        return Section(tuple(not_measured(*pair, results, OURS_CELL, COURSE_CELL) for pair in pairs))
    single = mine["single_median_us"] / theirs["single_median_us"]
    batch = mine["rows_per_cpu_second"] / theirs["rows_per_cpu_second"]
    rows = (
        Row(whats[0], goals[0], f"{single:.2f}", single <= 1),
        Row(whats[1], goals[1], f"{batch:.2f}", batch >= 1),
    )
    table = tuple(
        (
            name, f"{side['single_median_us']:,.0f}", f"{side['single_p95_us']:,.0f}",
            f"{side['rows_per_cpu_second']:,.0f}",
        )
        for name, side in (("ours, minutes and intervals", mine), ("course, minutes", theirs))
    )  # fmt: skip
    header = ("model", "one request: median, µs", "95th percentile, µs", "batch: rows per CPU second")
    return Section(rows, (Table("Prediction, one thread", header, table),))
