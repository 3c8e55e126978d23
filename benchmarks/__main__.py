"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import fnmatch
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from benchmarks import (
    ablations,
    by_month,
    contenders,
    data,
    effort,
    files,
    load,
    orchestration,
    ours,
    prediction,
    published,
    ranges,
    repeatability,
    report,
    scored,
    without_distance,
)
from benchmarks.cells import PROJECT, Cell, Results, last_line, run_all
from benchmarks.plan import PROFILES, Bench, bench_of
from mlops import progress

# `SECTIONS` is the order of the report. `MEASURED` starts with the cheap sections, so that an interrupted run has
# most of the results.
SECTIONS: tuple[ModuleType, ...] = (
    published, by_month, ranges, without_distance, contenders, effort, files, prediction, orchestration,
    repeatability,
)  # fmt: skip
MEASURED: tuple[ModuleType, ...] = (
    published, by_month, prediction, files, repeatability, orchestration, ranges, without_distance, effort,
    contenders,
)  # fmt: skip
# Sections with a report of their own, by what the command line asks for.
ABLATED: tuple[ModuleType, ...] = (ablations,)
SERVED: tuple[ModuleType, ...] = (load, scored)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 if no cell failed, 1 if one did, 2 if the options do not fit the source, 130 if interrupted.

    A report is written with 0 and 1; it names the cells that failed.
    """
    began = time.time()
    options = _parser().parse_args(arguments)
    logging.basicConfig(handlers=[progress.to_stderr()], level=logging.WARNING)
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    months = options.months.replace(",", " ").split()
    try:
        held = ours.months_held(options.source, "green")
        bench = bench_of(PROFILES[options.bench], options.source, held, months)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    name, sections, measured = _report(options.what)
    cells = cells_of(bench, measured)

    def chosen(cell: Cell) -> bool:
        patterns = [pattern if "*" in pattern else f"*{pattern}*" for pattern in options.only]
        return not patterns or any(fnmatch.fnmatch(cell.name, pattern) for pattern in patterns)

    if options.list:
        sys.stdout.writelines(f"{cell.name}\n" for cell in cells if chosen(cell))
        return 0
    results = Results()
    limit = None if options.stop_after is None else 60 * options.stop_after
    store = ours.state_dir() / "bench"
    try:
        for result in run_all(cells, store, chosen=chosen, fresh=options.fresh, stop_after=limit):
            results[result.name] = result
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished measurements are kept\n")
        return 130
    reported = [section.section(bench, results) for section in sections]
    sys.stdout.write(report.write(options.results, name, bench, reported, results, began))
    failed = [result for result in results.values() if result.error]
    sys.stderr.writelines(f"failed: {result.name}: {last_line(result.error)}\n" for result in failed)
    return 1 if failed else 0


def _report(what: str) -> tuple[str, tuple[ModuleType, ...], tuple[ModuleType, ...]]:
    """Name of the report, its sections in order, and in the order in which they are measured."""
    if what == "all":
        return "results", SECTIONS, MEASURED
    name, sections = {"ablate": ("ablations", ABLATED), "serve": ("serving", SERVED)}[what]
    return name, sections, sections


def cells_of(bench: Bench, sections: Sequence[ModuleType]) -> list[Cell]:
    """Every cell once, each after the cells that it depends on."""
    found = [cell for section in (data, *sections) for cell in section.cells(bench)]
    by_name = {cell.name: cell for cell in found}
    ordered: dict[str, Cell] = {}

    def place(cell: Cell) -> None:
        for name in cell.after:
            place(by_name[name])
        ordered.setdefault(cell.name, cell)

    for cell in found:
        place(cell)
    return list(ordered.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare the library, the course's recipe and AutoML. Finished measurements are kept, "
        "so a new run continues where an earlier one stopped.",
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=("all", "ablate", "serve"),
        default="all",
        help="all (default): the models; ablate: what each feature is worth; serve: the service and batch scoring",
    )
    parser.add_argument(
        "--source", default="sample", help="like the setting `source`: sample, tlc, a folder, a URL"
    )
    parser.add_argument(
        "--bench", choices=tuple(PROFILES), default="full", help="quick is coarse and takes about 20 minutes"
    )
    parser.add_argument(
        "--months", default="", help="test months, YYYY-MM[,YYYY-MM...], instead of the default ones"
    )
    parser.add_argument("--only", action="append", default=[], help="measure only cells whose name matches")
    parser.add_argument("--list", action="store_true", help="print the names of the cells and exit")
    parser.add_argument("--fresh", action="store_true", help="measure again, even where a result is kept")
    parser.add_argument(
        "--stop-after", type=float, metavar="MINUTES", help="start no measurement after this time"
    )
    parser.add_argument(
        "--results", type=Path, default=PROJECT / "benchmarks" / "results", help="folder for the report"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
