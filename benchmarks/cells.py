"""Cells: one measurement each, in its own process, kept until something that it depends on changes.

In its own process, CPU time, memory and imports belong to this measurement only.
A result is kept in a folder named by a hash of all that can change it: the cell's
name and parameters, its code and files, the results that it depends on, and the
machine. So a stopped run continues where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import busy_seconds, machine

PROJECT = Path(__file__).resolve().parents[1]
LONGEST_SECONDS = 3600.0
CHILD = "import sys; from benchmarks.cells import child; child(sys.argv[1], float(sys.argv[2]))"
THREAD_VARIABLES = (
    "MLOPS_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Parameters
    ----------
    name : str
        Unique in a run; `--only` selects by it.
    call : str
        ``module:function``, called as ``function(job, **parameters)``; it returns the result's values.
    parameters : dict
        Values of JSON types.
    code : tuple of str
        Files that the figure depends on, besides the function itself, as patterns from the project's folder.
    inputs : tuple of str
        Data files that it depends on.
    after : tuple of str
        Names of the cells whose results it uses.
    threads : int
        Number of threads for the process and its children.
    expected_seconds : float
        For the estimate of the remaining time.
    """

    name: str
    call: str
    parameters: dict[str, Any] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    threads: int = 1
    expected_seconds: float = 10.0


@dataclass(frozen=True)
class Result:
    """The outcome of a cell.

    Parameters
    ----------
    name, key : str
    folder : str
        Where the cell wrote files.
    values : dict
        What its function returned.
    seconds, cpu_seconds : float
        Of its process from start to end. CPU seconds include the processes that it waited for.
    peak_bytes : int
        Peak memory of its process.
    others : float or None
        Mean number of cores that other processes used meanwhile; None where unknown.
    measured_at : float
        Start of its process, in seconds since 1970.
    error : str
        Why there are no values; empty if there are.
    """

    name: str
    key: str
    folder: str
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    others: float | None = None
    measured_at: float = 0.0
    error: str = ""

    @property
    def content(self) -> str:
        """Hash that dependent cells use: of the output where there is one, else the key."""
        return str(self.values.get("content", self.key))


Results = dict[str, Result]


@dataclass(frozen=True)
class Job:
    """What a cell's function receives besides its parameters.

    Parameters
    ----------
    folder : Path
        For files that other cells use.
    threads : int
    started : float
        Start time of its process, in seconds since 1970: before Python starts and imports anything.
    before : dict of str to Result
        Results of the cells in `Cell.after`.
    """

    folder: Path
    threads: int
    started: float
    before: Results


class Clock:
    """Wall and CPU seconds of a block of code in this process.

    Examples
    --------
    >>> with Clock() as clock:
    ...     _ = sum(range(1000))
    >>> clock.seconds > 0 and clock.cpu_seconds > 0
    True
    """

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._wall
        self.cpu_seconds = time.process_time() - self._cpu


def run_all(
    cells: Sequence[Cell],
    store: Path,
    *,
    chosen: Callable[[Cell], bool] = lambda cell: True,
    fresh: bool = False,
    stop_after: float | None = None,
) -> Iterator[Result]:
    """Yield the results of the cells in order, kept ones at once; a failed cell fails those that depend on it.

    Parameters
    ----------
    store : Path
        Folder of results.
    chosen : callable
        Selects cells to measure, with those that they depend on. Other cells yield kept results only.
    fresh : bool
        Measure again, even where a result is kept.
    stop_after : float, optional
        Start no measurement after so many seconds. Kept results are still yielded.
    """
    needed = {cell.name for cell in in_order(cells, chosen)}
    started, done, results = time.monotonic(), 0.0, Results()
    left = sum(cell.expected_seconds for cell in cells if cell.name in needed)
    logger.info("%d measurements take about %.0f minutes; kept ones take none", len(needed), left / 60)
    for number, cell in enumerate(cells, start=1):
        elapsed, measures = time.monotonic() - started, cell.name in needed
        result = None
        if all(name in results for name in cell.after):
            result = _failed_before(cell, results)
            if result is None and not (fresh and measures):
                result = kept(cell, store, results)
            if result is None and measures and (stop_after is None or elapsed < stop_after):
                pace = elapsed / done if done else 1.0  # real seconds per expected second
                logger.info(
                    "[%d/%d] %s elapsed, about %s left: %s",
                    number, len(cells), _clock_time(elapsed), _clock_time(left * pace), cell.name,
                )  # fmt: skip
                result = measure(cell, store, results)
                done += cell.expected_seconds
                logger.info("  %s", _summary(result))
        left -= cell.expected_seconds if measures else 0.0
        if result is not None:
            results[cell.name] = result
            yield result


def kept(cell: Cell, store: Path, results: Results) -> Result | None:
    """A cell's result from an earlier run, or None. Failures are not kept."""
    path = store / cell_key(cell, results) / "result.json"
    if not path.is_file():
        return None
    return Result(**json.loads(path.read_text(encoding="utf-8")))


def measure(cell: Cell, store: Path, results: Results, longest: float = LONGEST_SECONDS) -> Result:
    """The cell's result, measured now in a fresh process."""
    key = cell_key(cell, results)
    folder = store / key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = {name: asdict(results[name]) for name in cell.after}
    job = {"cell": asdict(cell), "folder": str(folder), "before": before}
    (folder / "job.json").write_text(json.dumps(job, indent=1), encoding="utf-8")
    cost, error = _run(cell, folder, longest)
    output: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        output = json.loads((folder / "output.json").read_text(encoding="utf-8"))
    if not output and not error:
        error = f"its process ended: {(folder / 'log').read_text(encoding='utf-8', errors='replace')[-500:]}"
    result = Result(
        cell.name, key, str(folder), **{**cost, **output, "error": error or output.get("error", "")}
    )
    if not result.error:
        partial = folder / "result.json.part"
        partial.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
        partial.replace(folder / "result.json")
    return result


def _run(cell: Cell, folder: Path, longest: float) -> tuple[dict[str, Any], str]:
    """Costs of a cell's process, as named in `Result`, and why it was stopped, if it was."""
    environment = {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(cell.threads)),
        "OMP_WAIT_POLICY": "PASSIVE",  # else CPU time includes threads that spin while they wait
        "PYTHONPATH": str(PROJECT),
        "PYTHONHASHSEED": "0",
    }
    used, busy, began, measured_at = _cpu_of_children(), busy_seconds(), time.perf_counter(), time.time()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder / "job.json"), repr(measured_at)],
            cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        error = _wait(process, longest)
    seconds, cpu_seconds, busy_now = time.perf_counter() - began, _cpu_of_children() - used, busy_seconds()
    others = None
    if busy is not None and busy_now is not None:
        others = max(0.0, (busy_now - busy - cpu_seconds) / seconds)
    cost = {"seconds": seconds, "cpu_seconds": cpu_seconds, "others": others, "measured_at": measured_at}
    return cost, error


def _cpu_of_children() -> float:
    """CPU seconds of all finished child processes, with their own children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cell_key(cell: Cell, results: Results) -> str:
    """Hash of all that can change a cell's figure."""
    content = {
        "name": cell.name,
        "call": cell.call,
        "parameters": cell.parameters,
        "threads": cell.threads,
        "code": [_digest(_code_files(cell.code)), inspect.getsource(_function(cell.call))],
        "inputs": _digest([Path(path) for path in cell.inputs]),
        "after": [results[name].content for name in cell.after],
        "machine": machine(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


def in_order(cells: Sequence[Cell], chosen: Callable[[Cell], bool]) -> list[Cell]:
    """The chosen cells and all that they depend on, in the given order."""
    by_name = {cell.name: cell for cell in cells}
    needed: set[str] = set()

    def need(name: str) -> None:
        if name not in needed:
            needed.add(name)
            for earlier in by_name[name].after:
                need(earlier)

    for cell in cells:
        if chosen(cell):
            need(cell.name)
    return [cell for cell in cells if cell.name in needed]


def peak_bytes() -> int:
    """Peak memory of this process, in bytes.

    `getrusage` also counts the program that this process ran before `exec`, so /proc comes first.
    """
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)


def _failed_before(cell: Cell, results: Results) -> Result | None:
    """A failure if a cell that this one depends on has failed, else None."""
    failed = [name for name in cell.after if results[name].error]
    return (
        Result(cell.name, "", "", error=f"depends on {', '.join(failed)}, which failed") if failed else None
    )


def _wait(process: subprocess.Popen[bytes], longest: float) -> str:
    """Why the process was stopped, or an empty string. Kills its whole process group in the end."""
    try:
        process.wait(longest)
        return ""
    except subprocess.TimeoutExpired:
        return f"not finished after {longest:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _function(call: str) -> Callable[..., dict[str, Any]]:
    module, _, name = call.partition(":")
    found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
    return found


def _code_files(patterns: Sequence[str]) -> list[Path]:
    """Files of the project that match. A pattern without a match is an error: its code has moved."""
    found = {pattern: list(PROJECT.glob(pattern)) for pattern in patterns}
    unmatched = [pattern for pattern, paths in found.items() if not paths]
    if unmatched:
        raise ValueError(f"expected files of the project; got none that match {unmatched}")
    return sorted({path for paths in found.values() for path in paths})


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes}:{rest:02d}"


def last_line(error: str) -> str:
    """The message at the end of a traceback, at most 200 characters."""
    return error.strip().splitlines()[-1][:200]


def _summary(result: Result) -> str:
    if result.error:
        return f"failed: {last_line(result.error)}"
    shown = [f"{name} {_short(value)}" for name, value in result.values.items() if _is_figure(value)]
    cost = f"{result.seconds:.1f} s, {result.cpu_seconds:.1f} CPU s, {result.peak_bytes / 1e6:.0f} MB"
    return f"{cost}: {', '.join(shown)[:120]}" if shown else cost


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def child(job_file: str, started: float) -> None:
    """Run in a cell's process: call its function and write its values to a file."""
    request = json.loads(Path(job_file).read_text(encoding="utf-8"))
    cell, folder = request["cell"], Path(request["folder"])
    before: Mapping[str, Any] = request["before"]
    job = Job(folder, cell["threads"], started, {name: Result(**values) for name, values in before.items()})
    output: dict[str, Any] = {}
    try:
        output["values"] = _function(cell["call"])(job, **cell["parameters"])
    except Exception:  # a failure of one cell must not stop the others
        output["error"] = traceback.format_exc()
    output["peak_bytes"] = peak_bytes()
    (folder / "output.json").write_text(json.dumps(output), encoding="utf-8")
