"""Batch scoring from Parquet file to Parquet file: beside the course's recipe, on many rows, with two threads."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import course_batch, data, registered
from benchmarks.cells import PROJECT, Cell, Clock, Job, Results, peak_bytes
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Row, Section, Table, not_measured, values_of

LEAST_TIMES_FASTER, MOST_BYTES, REPEATS = 1.3, 700e6, 5
OURS_CELLS = {1: "scored/ours, 1 thread", 2: "scored/ours, 2 threads"}
"""Cell by number of threads."""
COURSE_CELL, MANY_CELL = "scored/course, 1 thread", "scored/ours, many rows"
CODE = (*OURS, "benchmarks/registered.py")
COURSE_CODE = ("benchmarks/course_batch.py", "requirements.txt")


def cells(bench: Bench) -> list[Cell]:
    """Both sides on the last test month, and ours on many copies of it."""
    test = bench.test_months[-1]
    parameters: dict[str, Any] = {"test": test, "name": registered.model_name(bench)}
    month, rows = data.month_cell(test), bench.profile.scored_rows
    after = (month, registered.VERSION_CELL)
    found = [
        Cell(
            cell, "benchmarks.scored:score_month", parameters, CODE, after=after, threads=threads,
            expected_seconds=15,
        )
        for threads, cell in OURS_CELLS.items()
    ]  # fmt: skip
    return [
        *registered.cells(bench),
        *found,
        Cell(
            COURSE_CELL, "benchmarks.scored:score_course", {"test": test}, COURSE_CODE,
            after=(month, registered.COURSE_CELL), expected_seconds=12,
        ),
        Cell(
            MANY_CELL, "benchmarks.scored:score_many", {**parameters, "rows": rows},
            (*CODE, "benchmarks/copies.py"), after=after, threads=2, expected_seconds=20 + rows / 100_000,
        ),
    ]  # fmt: skip


def score_month(job: Job, test: str, name: str) -> dict[str, Any]:
    """Our scoring of the month's file: a whole run, then from file to file with the loaded version."""
    raw, state = data.raw_path(job, test), registered.state_of(job)
    with Clock() as clock:
        outputs = registered.score(state, raw, name, job.folder / "scored")
    repeat = registered.scorer(state, raw, name, job.folder / "again")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in outputs)).hexdigest()
    return {"run_cpu_seconds": clock.cpu_seconds, "digest": digest, **_repeated(repeat)}


def score_course(job: Job, test: str) -> dict[str, Any]:
    """The course's batch recipe on the same file, in the same way."""
    raw, target = data.raw_path(job, test), job.folder / "scored.parquet"
    folder = Path(job.before[registered.COURSE_CELL].folder)
    with Clock() as clock:
        model = course_batch.read_model(folder, job.threads)
        course_batch.score_file(raw, target, *model)
    repeated = _repeated(lambda: course_batch.score_file(raw, target, *model))
    return {"run_cpu_seconds": clock.cpu_seconds, **repeated}


def score_many(job: Job, test: str, name: str, rows: int) -> dict[str, Any]:
    """A whole run of ours on one file with at least so many trips: copies of the month."""
    raw = data.raw_path(job, test)
    many, copies = job.folder / raw.name, math.ceil(rows / job.before[data.month_cell(test)].values["rows"])
    command = [sys.executable, "-m", "benchmarks.copies", str(raw), str(many), str(copies), "0"]
    subprocess.run(command, cwd=PROJECT, check=True)  # in another process: its memory does not count
    try:
        with Clock() as clock:
            outputs = registered.score(registered.state_of(job), many, name, job.folder / "scored")
        answered = sum(map(registered.rows_of, outputs))
        for path in outputs:
            path.unlink()
    finally:
        many.unlink(missing_ok=True)
    return {
        "rows": answered,
        "run_cpu_seconds": clock.cpu_seconds,
        "rows_per_cpu_second": answered / clock.cpu_seconds,
        "rows_per_second": answered / clock.seconds,
        "peak_bytes": peak_bytes(),
    }


def _repeated(score: Callable[[], int]) -> dict[str, Any]:
    """Rows in a CPU second and in a second, of repeats after a first one."""
    rows, spent = score(), []
    for _ in range(REPEATS):
        with Clock() as clock:
            score()
        spent.append(clock)
    return {
        "rows": rows,
        "rows_per_cpu_second": rows / median(clock.cpu_seconds for clock in spent),
        "rows_per_second": rows / median(clock.seconds for clock in spent),
        "peak_bytes": peak_bytes(),
    }


def section(bench: Bench, results: Results) -> Section:
    """Our speed compared with the course's, memory for many rows, and whether outputs are identical."""
    one, two = (values_of(results, OURS_CELLS[threads]) for threads in (1, 2))
    theirs, many = values_of(results, COURSE_CELL), values_of(results, MANY_CELL)
    rows = (
        _speed_row(one, theirs, results),
        _memory_row(bench, many, results),
        _bytes_row(one, two, results),
    )
    named = {"ours, 1 thread": one, "ours, 2 threads": two, "course, 1 thread": theirs}
    named["ours, many rows, 2 threads"] = many
    lines = tuple(_line(name, found) for name, found in named.items() if found is not None)
    header = ("batch scoring", "rows", "rows per CPU second", "rows/s", "whole run: CPU s", "peak, MB")
    note = (
        "From a Parquet file to a Parquet file with a loaded model; for many rows, the whole run. Rows are those "
        "with an answer: ours answers every trip that it can read, with ranges; the course answers trips of 1 to "
        "60 minutes. A whole run also imports, connects, and loads the model. Peak memory is that of the whole "
        "process."
    )
    return Section(rows, (Table("Batch scoring", header, lines, note),))


def _speed_row(one: dict[str, Any] | None, theirs: dict[str, Any] | None, results: Results) -> Row:
    what = "batch scoring, file to file, one thread: our rows per CPU second divided by the course's"
    goal = f"at least {LEAST_TIMES_FASTER}"
    if one is None or theirs is None:
        return not_measured(what, goal, results, OURS_CELLS[1], COURSE_CELL)
    times = one["rows_per_cpu_second"] / theirs["rows_per_cpu_second"]
    return Row(what, goal, f"{times:.2f}", times >= LEAST_TIMES_FASTER)


def _memory_row(bench: Bench, many: dict[str, Any] | None, results: Results) -> Row:
    what = f"batch scoring, {bench.profile.scored_rows / 1e6:.0f} million rows: peak memory"
    goal = f"below {MOST_BYTES / 1e6:.0f} MB"
    if many is None:
        return not_measured(what, goal, results, MANY_CELL)
    figure = f"{many['peak_bytes'] / 1e6:.0f} MB, {many['rows_per_second']:,.0f} rows/s with two threads"
    return Row(what, goal, figure, many["peak_bytes"] < MOST_BYTES)


def _bytes_row(one: dict[str, Any] | None, two: dict[str, Any] | None, results: Results) -> Row:
    what, goal = "batch scoring, 1 and 2 threads: files", "same bytes"
    if one is None or two is None:
        return not_measured(what, goal, results, *OURS_CELLS.values())
    same = one["digest"] == two["digest"]
    return Row(
        what, goal, "identical" if same else f"sha256 {one['digest'][:8]} and {two['digest'][:8]}", same
    )


def _line(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    speeds = (f"{found[key]:,.0f}" for key in ("rows_per_cpu_second", "rows_per_second"))
    return (
        name, f"{found['rows']:,}", *speeds, f"{found['run_cpu_seconds']:.1f}",
        f"{found['peak_bytes'] / 1e6:,.0f}",
    )  # fmt: skip
