"""From files to features and to a training matrix: time, memory, and how both grow with the rows."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import course, data, ours
from benchmarks.cells import PROJECT, Cell, Clock, Job, Results, peak_bytes
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Row, Section, Table, not_measured, values_of

LEAST_TIMES_FASTER, MOST_OF_MEMORY, LINEAR_WITHIN, MOST_BYTES = 25, 1 / 3, 0.15, 5e9
FEATURES = {"course": "files/features, course", "ours": "files/features, ours"}
MATRIX_COURSE, MOST_ROWS_CELL = "files/matrix, course", "files/matrix, most rows"
COPIES_CODE = (*OURS, "benchmarks/copies.py")


def matrix_cell(copies: int) -> str:
    """Name of the cell that builds our matrix from so many copies of the months."""
    return f"files/matrix, ours x{copies}"


def cells(bench: Bench) -> list[Cell]:
    """Both sides on the original files; our side also on copies of them."""
    after, parameters = tuple(map(data.month_cell, bench.months)), {"months": list(bench.months)}
    course_code = ("benchmarks/course.py", "requirements.txt")
    found = [
        Cell(
            FEATURES["course"], "benchmarks.files:course_features", parameters, course_code, after=after,
            expected_seconds=25,
        ),
        Cell(
            FEATURES["ours"], "benchmarks.files:our_features", {**parameters, "service": bench.service}, OURS,
            after=after, expected_seconds=10,
        ),
        Cell(
            MATRIX_COURSE, "benchmarks.files:course_matrix", parameters, course_code, after=after,
            expected_seconds=15,
        ),
    ]  # fmt: skip
    for copies in (1, *bench.profile.copies):
        found.append(
            Cell(
                matrix_cell(copies), "benchmarks.files:our_matrix",
                {**parameters, "service": bench.service, "copies": copies}, COPIES_CODE, after=after,
                expected_seconds=5 + 5 * copies,
            )
        )  # fmt: skip
    if bench.profile.most_rows:
        found.append(
            Cell(
                MOST_ROWS_CELL, "benchmarks.files:our_matrix",
                {**parameters, "service": bench.service, "least_rows": bench.profile.most_rows, "rounds": 10},
                COPIES_CODE, after=after, threads=2, expected_seconds=320,
            )
        )  # fmt: skip
    return found


def course_features(job: Job, months: list[str]) -> dict[str, Any]:
    """The course's features of all months, kept in memory."""
    raws, spent = [data.raw_path(job, month) for month in months], []
    tables: list[Any] = []
    for _ in range(3):
        del tables  # otherwise two repeats are in memory at once
        with Clock() as clock:
            tables = [course.features_of_file(raw) for raw in raws]
        spent.append(clock)
    return _cost(spent, sum(map(len, tables)))


def our_features(job: Job, months: list[str], service: str) -> dict[str, Any]:
    """Our features of all months, kept in memory."""
    raws, spent = [(data.raw_path(job, month), month) for month in months], []
    ours.first_use(raws[0], service)
    batches: list[Any] = []
    for _ in range(5):
        del batches
        with Clock() as clock:
            batches = list(ours.batches(raws, service))
        spent.append(clock)
    return _cost(spent, sum(len(batch.minutes) for batch in batches))


def course_matrix(job: Job, months: list[str]) -> dict[str, Any]:
    """The course's training matrix of all months."""
    with Clock() as clock:
        matrix = course.matrix_of_features([course.features_of_file(data.raw_path(job, m)) for m in months])
    return _cost([clock], matrix.num_row())


def our_matrix(
    job: Job, months: list[str], service: str, copies: int = 1, least_rows: int = 0, rounds: int = 0
) -> dict[str, Any]:
    """Our matrix from files with `copies` copies of the months, or enough copies for `least_rows` rows."""
    raws = [(data.raw_path(job, month), month) for month in months]
    if least_rows:
        kept = sum(job.before[data.month_cell(month)].values["kept"] for month in months)
        copies = math.ceil(least_rows / kept)
    ours.first_use(raws[0], service)
    with _copies(job.folder / "copies", raws, copies) as files, Clock() as clock:
        measured = ours.matrix_and_rounds(files, service, job.threads, rounds)
    return {**measured, "copies": copies, "cpu_seconds": clock.cpu_seconds, "peak_bytes": peak_bytes()}


@contextmanager
def _copies(folder: Path, raws: list[tuple[Path, str]], copies: int) -> Iterator[list[tuple[Path, str]]]:
    """Files with the months repeated. Another process writes them, so that its memory does not count here."""
    if copies == 1:
        yield raws
        return
    folder.mkdir(parents=True)
    try:
        files = []
        for seed, (raw, month) in enumerate(raws):
            files.append((folder / raw.name, month))
            command = [
                sys.executable,
                "-m",
                "benchmarks.copies",
                str(raw),
                str(files[-1][0]),
                str(copies),
                str(seed),
            ]
            subprocess.run(command, cwd=PROJECT, check=True)
        yield files
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _cost(spent: list[Clock], rows: int) -> dict[str, Any]:
    return {
        "rows": rows,
        "seconds": median(clock.seconds for clock in spent),
        "cpu_seconds": median(clock.cpu_seconds for clock in spent),
        "peak_bytes": peak_bytes(),
    }


def section(bench: Bench, results: Results) -> Section:
    """Speed and memory compared with the course, growth with rows, and the largest matrix."""
    rows = [*_features_rows(results), *_growth_rows(bench, results)]
    grown = {copies: values_of(results, matrix_cell(copies)) for copies in (1, *bench.profile.copies)}
    points = [(v["rows"], v["matrix_seconds"], v["peak_bytes"]) for v in grown.values() if v is not None]
    if bench.profile.most_rows:
        rows.append(_most_rows_row(bench, results))
    return Section(tuple(rows), (_table(bench, results),), {"matrix": points})


def _features_rows(results: Results) -> list[Row]:
    whats = (
        "files to features: course's time divided by ours",
        "files to features: our peak memory divided by the course's",
    )
    goals = (f"at least {LEAST_TIMES_FASTER}", f"at most {MOST_OF_MEMORY:.2f}")
    theirs, mine = (values_of(results, FEATURES[side]) for side in ("course", "ours"))
    if theirs is None or mine is None:
        return [not_measured(*pair, results, *FEATURES.values()) for pair in zip(whats, goals, strict=True)]
    times, share = theirs["cpu_seconds"] / mine["cpu_seconds"], mine["peak_bytes"] / theirs["peak_bytes"]
    figure = f"{times:.0f} in CPU time, {theirs['seconds'] / mine['seconds']:.0f} in wall time"
    return [
        Row(whats[0], goals[0], figure, times >= LEAST_TIMES_FASTER),
        Row(whats[1], goals[1], f"{share:.2f}", share <= MOST_OF_MEMORY),
    ]


def _growth_rows(bench: Bench, results: Results) -> list[Row]:
    few, many = bench.profile.copies
    what = f"files to matrix: CPU time per row, {many} copies of the months divided by {few} copies"
    goal = f"1 ± {LINEAR_WITHIN}"
    a, b = values_of(results, matrix_cell(few)), values_of(results, matrix_cell(many))
    if a is None or b is None:
        return [not_measured(what, goal, results, matrix_cell(few), matrix_cell(many))]
    ratio = (b["cpu_seconds"] / b["rows"]) / (a["cpu_seconds"] / a["rows"])
    millions = (b["rows"] - a["rows"]) / 1e6
    slope, memory = (
        (b["cpu_seconds"] - a["cpu_seconds"]) / millions,
        (b["peak_bytes"] - a["peak_bytes"]) / millions,
    )
    return [
        Row(what, goal, f"{ratio:.2f}", abs(ratio - 1) <= LINEAR_WITHIN),
        Row("files to matrix: growth per million rows", "", f"{slope:.2f} CPU s, {memory / 1e6:.0f} MB"),
    ]


def _most_rows_row(bench: Bench, results: Results) -> Row:
    what = f"{bench.profile.most_rows / 1e6:.0f} million rows to matrix, then ten rounds: peak memory"
    goal = f"under {MOST_BYTES / 1e9:g} GB"
    found = values_of(results, MOST_ROWS_CELL)
    if found is None:
        return not_measured(what, goal, results, MOST_ROWS_CELL)
    seconds = f"{found['matrix_seconds']:.0f} s + {found['rounds_seconds']:.0f} s"
    figure = f"{found['peak_bytes'] / 1e9:.2f} GB, {seconds}"
    return Row(what, goal, figure, found["peak_bytes"] < MOST_BYTES)


def _table(bench: Bench, results: Results) -> Table:
    named = {
        "features, course": FEATURES["course"],
        "features, ours": FEATURES["ours"],
        "matrix, course": MATRIX_COURSE,
    }
    named |= {
        f"matrix, ours, {copies} x months": matrix_cell(copies) for copies in (1, *bench.profile.copies)
    }
    rows = []
    for name, cell in named.items():
        found = values_of(results, cell)
        if found is not None:
            seconds = found.get("seconds", found.get("matrix_seconds", 0.0))
            memory = f"{found['peak_bytes'] / 1e6:,.0f}"
            rows.append((name, f"{found['rows']:,}", f"{seconds:.2f}", f"{found['cpu_seconds']:.2f}", memory))
    header = ("from raw files to", "rows", "s", "CPU s", "peak, MB")
    note = "One thread. Peak memory is that of the whole process, with Python and libraries."
    return Table("Files to features and matrix", header, tuple(rows), note)
