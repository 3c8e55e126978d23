"""Cost of matching the course: CPU time to match its published fit, seconds to match its tuning."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from benchmarks import contenders, data, ours, published
from benchmarks.cells import Cell, Clock, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Row, Section, Table, not_measured, values_of

LEAST_TIMES_LESS, MOST_SECONDS = 50, 9.0
REPEATS = 5
MODEL_CELL = "effort/files to a model"


def match_cell(training: str, validation: str) -> str:
    """Name of the cell that matches a published fit on the same rows."""
    return f"effort/match {training} {validation}"


def cells(bench: Bench) -> list[Cell]:
    """One cell per published fit to match, and the path from files to a model."""
    found = [
        Cell(
            match_cell(*pair),
            "benchmarks.effort:match_published",
            {"training": pair[0], "validation": pair[1]},
            code=OURS,
            after=(*map(data.month_cell, pair), published.fit_cell(*pair)),
            expected_seconds=15,
        )
        for pair in published.pairs(bench)
    ]
    test = bench.test_months[-1]
    months = (*bench.short_history(test), bench.validation(test), test)
    parameters = {"service": bench.service, "months": list(months)}
    found += [
        Cell(
            f"{MODEL_CELL}, {threads} threads",
            "benchmarks.effort:files_to_model",
            parameters,
            code=OURS,
            after=tuple(map(data.month_cell, months)),
            threads=threads,
            expected_seconds=15,
        )
        for threads in (2, 1)
    ]
    return found


def match_published(job: Job, training: str, validation: str) -> dict[str, Any]:
    """CPU time of our smallest fit that is as good as the course's; both start from raw columns in memory."""
    trips, held_out = (ours.OneMonth(data.clean_path(job, month)) for month in (training, validation))
    goal = job.before[published.fit_cell(training, validation)].values["rmse"]
    rounds = ours.rounds_to_match(trips, held_out, goal, job.threads)
    spent = []
    for _ in range(REPEATS):
        with Clock() as clock:
            model = ours.quick_fit(trips, rounds, job.threads)
        spent.append(clock.cpu_seconds)
    predicted = ours.minutes_of(model.predict(held_out.requests))
    return {
        "rmse": ours.metrics(held_out.minutes, predicted)["rmse"],
        "rounds": rounds,
        "fit_cpu_seconds": median(spent),
    }


def files_to_model(job: Job, service: str, months: list[str]) -> dict[str, Any]:
    """From raw files to a model that can predict, with one fit and no search; timed from process start."""
    *earlier, test = months
    raws = [(data.raw_path(job, month), month) for month in earlier]
    model = ours.fast_fit(raws, service, job.threads)
    seconds, cpu_seconds = time.time() - job.started, time.process_time()
    requests, actual = ours.requests_and_minutes(data.clean_path(job, test))
    measured = ours.metrics(actual, ours.minutes_of(model.predict(requests)))
    return {**measured, "ready_seconds": seconds, "ready_cpu_seconds": cpu_seconds}


def section(bench: Bench, results: Results) -> Section:
    """The ratio of CPU times, and the seconds to a model as good as the course's tuned one."""
    rows, table = [], []
    for pair in published.pairs(bench):
        what = f"matching the course's fit ({pair[0]}, {pair[1]}): course's CPU time divided by ours"
        goal = f"at least {LEAST_TIMES_LESS}"
        theirs = values_of(results, published.fit_cell(*pair))
        mine = values_of(results, match_cell(*pair))
        if theirs is None or mine is None:
            rows.append(not_measured(what, goal, results, published.fit_cell(*pair), match_cell(*pair)))
            continue
        times = theirs["fit_cpu_seconds"] / mine["fit_cpu_seconds"]
        rows.append(Row(what, goal, f"{times:.0f}", times >= LEAST_TIMES_LESS))
        for name, side, rounds in (("course", theirs, 100), ("ours", mine, mine["rounds"])):
            cost = f"{side['fit_cpu_seconds']:.2f}"
            table.append((f"{pair[0]}, {pair[1]}", name, f"{side['rmse']:.4f}", str(rounds), cost))
    header = ("months", "fit", "validation RMSE", "rounds", "CPU s, one thread")
    note = (
        "Time for features, encoder or vectoriser, matrix and trees, from raw columns in memory. Ours: the fewest "
        "rounds that match the course with one quick set of parameters; a search finds this number beforehand."
    )
    return Section(
        (*rows, _seconds_row(bench, results)),
        (Table("As good as the published fit", header, tuple(table), note),),
    )


def _seconds_row(bench: Bench, results: Results) -> Row:
    budget, run = bench.profile.course_budget, bench.contender_runs[-1]
    what = f"from files to a model (one fit) as good as the course's after {budget} s of tuning: seconds"
    goal = f"at most {MOST_SECONDS:g}"
    tuned_cell = contenders.contender_cell("course, tuned", budget, *run)
    names = (f"{MODEL_CELL}, 2 threads", f"{MODEL_CELL}, 1 threads", tuned_cell)
    two, one, tuned = (values_of(results, name) for name in names)
    if two is None or one is None or tuned is None:
        return not_measured(what, goal, results, *names)
    as_good = two["rmse"] <= tuned["rmse"]
    figure = (
        f"{two['ready_seconds']:.1f} from process start with two threads, "
        f"{one['ready_cpu_seconds']:.1f} CPU s with one; test RMSE {two['rmse']:.3f} against {tuned['rmse']:.3f}"
    )
    return Row(what, goal, figure, as_good and two["ready_seconds"] <= MOST_SECONDS)
