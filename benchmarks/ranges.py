"""Ranges: our model's against LightGBM's quantiles and two conformal libraries, on the same rows and columns.

The peers get the columns of our matrix as files. LightGBM fits quantiles of the
duration on the training months. The two libraries put ranges around our model's
predictions. All are calibrated on the validation month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks import by_month, columns, data, ours
from benchmarks.cells import Cell, Clock, Job, Results
from benchmarks.contenders import call_peer
from benchmarks.plan import APART, DEFAULT_SEED, OURS, Bench
from benchmarks.sections import Row, Section, Table, filled, not_measured, values_of

MOST_OF_LIGHTGBM = 0.99
NOMINAL_WITHIN, SLICE_WITHIN = 0.02, 0.06
LEVELS = ("80", "95")
SHOWN = ("score", "inside", "width", "worst slice")
COLUMNS = tuple(f"{end}_{level}_minutes" for level in LEVELS for end in ("low", "high"))
OURS_NAME, CQR = "ours", "LightGBM, CQR"
PEERS = {
    CQR: ("lightgbm_cqr", 80.0),
    "crepes, our minutes": ("crepes_ranges", 15.0),
    "MAPIE, our minutes": ("mapie_ranges", 15.0),
}
"""Script of each peer, and the seconds that it takes."""
PEERS_CODE = ("benchmarks/peers/encoded.py", "benchmarks/peers/rows.py", "requirements-bench.txt")

Measured = dict[tuple[str, int], dict[str, Any]]


def run_cell(test: str, seed: int) -> str:
    """Name of the cell with our run for a month and seed."""
    return by_month.ours_cell(test) if seed == DEFAULT_SEED else f"ranges/run {test} seed {seed}"


def rows_cell(test: str, seed: int) -> str:
    """Name of the cell with the columns and our predictions, as files for the peers."""
    return f"ranges/rows {test} seed {seed}"


def ranges_cell(contender: str, test: str, seed: int) -> str:
    """Name of the cell that scores a contender's ranges."""
    return f"ranges/{contender} {test} seed {seed}"


def runs(bench: Bench) -> list[tuple[str, int]]:
    """Test month and seed of each comparison."""
    return [(test, seed) for test in bench.test_months for seed in bench.profile.range_seeds]


def cells(bench: Bench) -> list[Cell]:
    """Our run, the files for the peers and the scores of every contender, for each month and seed."""
    return [cell for run in runs(bench) for cell in _cells_of_run(bench, *run)]


def _cells_of_run(bench: Bench, test: str, seed: int) -> list[Cell]:
    months = (*bench.history(test), bench.validation(test), test)
    common = {"test": test, "seed": seed}
    needed = (*map(data.month_cell, months), run_cell(test, seed))
    found = []
    if seed != DEFAULT_SEED:
        found.append(by_month.default_cell(bench, run_cell(test, seed), test, seed=seed))
    found.append(
        Cell(
            rows_cell(test, seed), "benchmarks.ranges:write_rows", {**common, "months": list(months)},
            (*OURS, "benchmarks/columns.py"), after=needed, expected_seconds=12,
        )
    )  # fmt: skip
    found.append(
        Cell(
            ranges_cell(OURS_NAME, test, seed), "benchmarks.ranges:score_ours", common, OURS,
            after=(data.month_cell(test), run_cell(test, seed)), expected_seconds=6,
        )
    )  # fmt: skip
    for contender, (script, seconds) in PEERS.items():
        found.append(
            Cell(
                ranges_cell(contender, test, seed), "benchmarks.ranges:score_peer", {**common, "script": script},
                (*OURS, f"benchmarks/peers/{script}.py", *PEERS_CODE),
                after=(data.month_cell(test), rows_cell(test, seed)), threads=2, expected_seconds=seconds,
            )
        )  # fmt: skip
    return found


def write_rows(job: Job, months: list[str], test: str, seed: int) -> dict[str, Any]:
    """Files for the peers: columns of all trips, minutes of all but the test month, our predictions where fair."""
    run = Path(job.before[run_cell(test, seed)].folder)
    model = ours.load(run / "model")
    cleaned = [data.clean_path(job, month) for month in months]
    requests, _ = ours.requests_and_minutes(cleaned[-1])
    parts = columns.encoded(cleaned, job.folder, model, seed)
    for part, trips in parts.items():
        np.save(job.folder / f"{part}.npy", trips.table)
        if part != "test":
            np.save(job.folder / f"{part}_minutes.npy", trips.minutes)
    np.save(job.folder / "validation_predicted.npy", np.load(run / "validation.npy"))
    np.save(job.folder / "test_predicted.npy", ours.minutes_of(model.predict(requests)))
    (job.folder / "columns.txt").write_text("\n".join(model.features), encoding="utf-8")
    return {f"{part}_rows": len(trips.minutes) for part, trips in parts.items()}


def score_ours(job: Job, test: str, seed: int) -> dict[str, Any]:
    """Our model's own ranges, and the CPU time of its whole fit, search included, and of its answers."""
    run = job.before[run_cell(test, seed)]
    model = ours.load(Path(run.folder) / "model")
    requests, actual = ours.requests_and_minutes(data.clean_path(job, test))
    with Clock() as clock:
        predictions = model.predict(requests)
    spent = run.values["fit_cpu_seconds"] + clock.cpu_seconds
    return {**ours.range_measures(requests, actual, predictions), "ranges_cpu_seconds": spent}


def score_peer(job: Job, script: str, test: str, seed: int) -> dict[str, Any]:
    """A peer's ranges, which its script makes in the peers' environment; this process scores them."""
    folder = Path(job.before[rows_cell(test, seed)].folder)
    about = call_peer(job, script, folder, "--seed", seed)
    requests, actual = ours.requests_and_minutes(data.clean_path(job, test))
    bounds = dict(zip(COLUMNS, np.load(job.folder / "peer" / "ranges.npy").T, strict=True))
    predictions = requests.assign(duration_minutes=np.load(folder / "test_predicted.npy"), **bounds)
    return {**ours.range_measures(requests, actual, predictions), **about}


def section(bench: Bench, results: Results) -> Section:
    """Interval scores against LightGBM's, coverage in every month, and a table of all."""
    found: dict[str, Measured] = {}
    for contender in (OURS_NAME, *PEERS):
        values = {run: values_of(results, ranges_cell(contender, *run)) for run in runs(bench)}
        found[contender] = {run: value for run, value in values.items() if value is not None}
    rows = [_score_row(bench, results, found, level) for level in LEVELS]
    rows += _coverage_rows(bench, results, found[OURS_NAME])
    return Section(tuple(rows), (_table(bench, found),))


def _score_row(bench: Bench, results: Results, found: dict[str, Measured], level: str) -> Row:
    what = f"{level} % range: interval score, ours divided by {CQR}: ratio of means over months and seeds"
    goal = f"at most {MOST_OF_LIGHTGBM}"
    shared = [run for run in found[OURS_NAME] if run in found[CQR]]
    if not shared:
        names = [ranges_cell(contender, *run) for contender in (OURS_NAME, CQR) for run in runs(bench)]
        return not_measured(what, goal, results, *names)
    mine, theirs = (mean(found[name][run][level]["score"] for run in shared) for name in (OURS_NAME, CQR))
    figure = f"{mine / theirs:.3f} ({mine:.2f} and {theirs:.2f} minutes, n = {len(shared)})"
    return Row(what, goal, figure, mine / theirs <= MOST_OF_LIGHTGBM)


def _coverage_rows(bench: Bench, results: Results, mine: Measured) -> list[Row]:
    names = [ranges_cell(OURS_NAME, *run) for run in runs(bench)]
    usual = {f"{test}, seed {seed}": values for (test, seed), values in mine.items() if test not in APART}
    rows = []
    for level in LEVELS:
        what = f"{level} % range: share of trips inside, worst"
        overall = coverage_row(f"{what} month", level, usual, NOMINAL_WITHIN)
        by_slice = coverage_row(f"{what} slice of 1,000 trips", level, usual, SLICE_WITHIN, "worst")
        rows += filled((overall, by_slice), results, names)
        rows += _apart_rows(level, mine)
    return rows


def coverage_row(
    what: str, level: str, found: Mapping[str, dict[str, Any]], within: float, measure: str = "coverage"
) -> Row:
    """The share of trips inside that is furthest from nominal; without a figure if there are no measures.

    Parameters
    ----------
    found : mapping
        Measures of each run, by the run's name in the report.
    within : float
        Most that the share may be off.
    measure : str
        ``coverage``, or ``worst`` for that of the worst slice.
    """
    nominal, goal = int(level) / 100, f"{level} % ± {within:.0%}"
    there = {name: values[level] for name, values in found.items() if measure in values[level]}
    if not there:
        return Row(what, goal, "no slice of 1,000 trips" if found else "")
    name, furthest = max(there.items(), key=lambda item: abs(item[1][measure] - nominal))
    named = f"{name}, {furthest['slice']}" if measure == "worst" else name
    off = abs(furthest[measure] - nominal)
    return Row(what, goal, f"{furthest[measure]:.1%} ({named})", off <= within)


def _apart_rows(level: str, mine: Measured) -> list[Row]:
    """The figures of the months without a goal."""
    rows = []
    for test in APART:
        measured = [values[level] for (month, _), values in mine.items() if month == test]
        inside = " and ".join(f"{values['coverage']:.1%}" for values in measured)
        worst = " and ".join(f"{v['worst']:.1%} ({v['slice']})" for v in measured if "worst" in v)
        if measured:
            what = f"{level} % range: share of trips inside, {test} by seed; worst slice of 1,000 trips"
            rows.append(Row(what, "none for this month", f"{inside}; {worst}"))
    return rows


def _table(bench: Bench, found: dict[str, Measured]) -> Table:
    measures = (f"{level} %: {name}" for level in LEVELS for name in SHOWN)
    header = ("test month", "contender", *measures, "CPU s", "n")
    rows = []
    for label, months in (*((test, (test,)) for test in bench.test_months), ("mean", bench.test_months)):
        for contender, by_run in found.items():
            values = [measured for (test, _), measured in by_run.items() if test in months]
            if values:
                cost = f"{mean(v['ranges_cpu_seconds'] for v in values):.1f}"
                rows.append((label, contender, *range_figures(values), cost, str(len(values))))
    note = (
        "Score: interval score in minutes (the width, plus a penalty for trips outside), lower is better. Width "
        "in minutes. Worst slice: of 1,000 trips or more, where the share inside is furthest from nominal. CPU s: "
        "from the columns to the answers. Ours includes the search; crepes and MAPIE get our model's minutes, "
        "whose cost is not in theirs. All: the same columns of all earlier months, calibrated on the month before "
        "the test month."
    )
    return Table("Ranges", header, tuple(rows), note)


def range_figures(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns `SHOWN` for each level: means over the values, but of the worst slices the worst."""
    figures = []
    for level in LEVELS:
        measured = [value[level] for value in values]
        score, inside, width = (mean(m[name] for m in measured) for name in ("score", "coverage", "width"))
        slices = [m["worst"] for m in measured if "worst" in m]
        worst = max(slices, key=lambda share: abs(share - int(level) / 100), default=None)
        figures += [f"{score:.2f}", f"{inside:.1%}", f"{width:.2f}", "" if worst is None else f"{worst:.1%}"]
    return figures
