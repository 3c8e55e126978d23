"""The same settings and seed give the same result to the last digit, and nearly so with another thread count."""

from __future__ import annotations

import hashlib
from typing import Any

from benchmarks import data, ours
from benchmarks.cells import Cell, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Row, Section, not_measured, values_of

MOST_APART, MAX_TRIALS = 1e-3, 6
RUNS = {"repeatability/first": 1, "repeatability/again": 1, "repeatability/2 threads": 2}
"""Threads of each run."""


def cells(bench: Bench) -> list[Cell]:
    """Three runs for the last test month, with the short history."""
    test = bench.test_months[-1]
    months = (*bench.short_history(test), bench.validation(test), test)
    return [
        Cell(
            name, "benchmarks.repeatability:run_once",
            {"months": list(months)}, OURS, after=tuple(map(data.month_cell, months)), threads=threads,
            expected_seconds=40,
        )
        for name, threads in RUNS.items()
    ]  # fmt: skip


def run_once(job: Job, months: list[str]) -> dict[str, Any]:
    """Test RMSE of a run, and a hash of its results: losses of the trials, metrics, every prediction."""
    *earlier, test = months
    cleaned, chosen = [data.clean_path(job, month) for month in earlier], ours.settings(max_trials=MAX_TRIALS)
    fitted = ours.fit(cleaned, job.folder, job.threads, chosen)
    requests, actual = ours.requests_and_minutes(data.clean_path(job, test))
    predicted = ours.minutes_of(fitted.model.predict(requests))
    measured = ours.metrics(actual, predicted)
    digest = hashlib.sha256(predicted.tobytes() + repr((fitted.losses, measured)).encode()).hexdigest()
    return {**measured, "digest": digest}


def section(bench: Bench, results: Results) -> Section:
    """Whether two runs are identical, and how much the number of threads changes the metrics."""
    first, again, two = (values_of(results, name) for name in RUNS)
    whats = (
        "same settings twice: losses, metrics and predictions",
        "1 and 2 threads: difference of test RMSE, min",
    )
    goals = ("bit-identical", f"less than {MOST_APART}")
    if first is None or again is None or two is None:
        return Section(tuple(not_measured(*pair, results, *RUNS) for pair in zip(whats, goals, strict=True)))
    same, apart = first["digest"] == again["digest"], abs(first["rmse"] - two["rmse"])
    figure = "identical" if same else f"test RMSE {first['rmse']!r} and {again['rmse']!r}"
    return Section(
        (Row(whats[0], goals[0], figure, same), Row(whats[1], goals[1], f"{apart:.1g}", apart < MOST_APART))
    )
