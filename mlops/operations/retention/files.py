"""Files in the state folder that can be created or fetched again; each is deleted under its lock."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from mlops import config
from mlops.operations.retention.policy import (
    COPY,
    INPUT,
    LOCK,
    MONITORED,
    MONTH,
    PASSING,
    PREPARED,
    REPLACED,
    SHA_DIGITS,
    WORK,
    Candidate,
)
from mlops.pipeline import checkpoint

_MONTHS = "months.csv"  # in the folder of an attempt: its months, with the files that it needs
_NEEDED = ("raw", "path", "features")
_PASSING = (
    "months/**/.*.part", "prepared/**/.*.tmp", "months/**/.*.tmp", "work/**/*.new", "versions/*/.*.tmp",
    "scored/**/.*.tmp", "serving/**/.*.tmp", "monitoring/**/.*.tmp", ".*.tmp",
)  # fmt: skip


def candidates() -> list[Candidate]:
    """Files and folders below the state folder that may be deleted once they are old."""
    kinds = (_months, _inputs, _prepared, _attempts, _copies, _monitored, _passing, _locks)
    return [candidate for kind in kinds for candidate in kind()]


def served_last() -> set[str]:
    """Copies of the versions that the service served last: with them it starts while the registry is away."""
    state, found = config.state(), set()
    for path in state.serving.glob("models/*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # the service ignores it, too
            served = json.loads(path.read_text(encoding="utf-8"))
            found.add(str(state.versions / served["name"] / served["number"]))
    return found


def needed_by_attempts() -> set[str]:
    """Paths that pending results still need: their folders, and the files of their months."""
    needed = set()
    for waiting in checkpoint.pending():
        needed.add(str(waiting.folder))
        path = waiting.folder / _MONTHS
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as lines:
                needed |= {row[name] for row in csv.DictReader(lines) for name in _NEEDED if row.get(name)}
    return needed


def delete(candidate: Candidate) -> bool:
    """Delete a candidate unless its lock is held or it was used since; returns whether it was deleted."""
    path = Path(candidate.place)
    lock = path if candidate.kind == LOCK else _lock_of(candidate.kind, path)
    try:
        if lock is None:
            return _remove(candidate, path)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0, fallback_to_soft=False):
            if candidate.kind == LOCK:
                path.unlink(missing_ok=True)  # while held: a process that waits for it opens a new file
                return True
            return _remove(candidate, path)
    except Timeout:
        return False


def _remove(candidate: Candidate, path: Path) -> bool:
    if not path.exists() or _last_used(path) > candidate.last_used:
        return False
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
        if candidate.kind == MONTH:
            _manifest(path).unlink(missing_ok=True)
        if candidate.kind == REPLACED:
            for note in path.parent.glob(f"{path.stem}_to_*.txt"):  # how it differs from the next file
                note.unlink(missing_ok=True)
    return True


def _lock_of(kind: str, path: Path) -> Path | None:
    """The lock under which such a file is written; None if the model's lock covers it or nothing writes it."""
    if kind == MONTH:
        return path.with_name(f".{path.name}.lock")
    if kind == COPY:
        return config.state().locks / f"{path.parent.name}-{path.name}.lock"
    return config.state().locks / f"{path.name}.lock" if kind in (PREPARED, INPUT, MONITORED) else None


def _months() -> Iterator[Candidate]:
    for path in config.state_dir().glob("months/*/*.parquet"):
        yield from _file(MONTH, path, _sha256(path))
    for path in config.state_dir().glob("months/*/replaced/*.parquet"):
        yield from _file(REPLACED, path, path.stem.rpartition("_")[2])


def _inputs() -> Iterator[Candidate]:
    """Files that were fetched to be scored; each run of scoring fetches them again."""
    for path in config.state_dir().glob("months/*/inputs/[!.]*"):
        yield from _file(INPUT, path)


def _prepared() -> Iterator[Candidate]:
    for path in config.state_dir().glob("prepared/*/*/*.parquet"):
        yield from _file(PREPARED, path, path.stem.split("_")[-2])  # SERVICE_MONTH_SHA256_RULES
    for pattern in ("prepared/*/*.csv", "prepared/tables/*.parquet"):  # tables that blocks pass on
        for path in config.state_dir().glob(pattern):
            yield from _file(PREPARED, path)


def _attempts() -> Iterator[Candidate]:
    for attempt in checkpoint.unfinished():
        with contextlib.suppress(FileNotFoundError):  # the run may end meanwhile
            inside = [path for path in attempt.folder.rglob("*") if path.is_file()]
            used = max(path.stat().st_mtime for path in (attempt.folder, *inside))
            size = sum(path.stat().st_size for path in inside)
            yield Candidate(WORK, str(attempt.folder), used, size, model=attempt.folder.parent.name)


def _copies() -> Iterator[Candidate]:
    """Copies of versions; who opens one for use touches its folder."""
    for folder in config.state().versions.glob("*/[0-9]*"):
        with contextlib.suppress(FileNotFoundError):  # the service may delete it meanwhile
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            yield Candidate(COPY, str(folder), _last_used(folder), size)


def _monitored() -> Iterator[Candidate]:
    """Samples, answers and sums of compared months, which are made again when a month is compared again."""
    for path in config.state().monitoring.rglob("[!.]*.*"):
        if path.is_file():
            yield from _file(MONITORED, path)


def _passing() -> Iterator[Candidate]:
    for pattern in _PASSING:
        for path in config.state_dir().glob(pattern):
            yield from _file(PASSING, path)


def _locks() -> Iterator[Candidate]:
    """Locks for files that no longer exist, and old ones of scored and fetched files; those of models stay."""
    state = config.state_dir()
    for lock in state.glob("months/*/.*.lock"):
        if not lock.with_name(lock.name.removeprefix(".").removesuffix(".lock")).exists():
            yield from _file(LOCK, lock)
    for lock in state.glob("locks/*-v[0-9]*.lock"):  # FILE.MODEL-vVERSION
        yield from _file(LOCK, lock)
    made = {path.name for path in state.glob("prepared/**/*.*")}
    for suffix in (".parquet", ".csv", ".gz"):
        for lock in state.glob(f"locks/*{suffix}.lock"):
            if lock.name.removesuffix(".lock") not in made:
                yield from _file(LOCK, lock)


def _file(kind: str, path: Path, sha256: str = "") -> Iterator[Candidate]:
    """The candidate, unless another process has deleted the file meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        yield Candidate(kind, str(path), _last_used(path), path.stat().st_size, sha256[:SHA_DIGITS])


def _last_used(path: Path) -> float:
    """Time of the last write or read. Some disks record no reads; then only the months in the runs show a use."""
    found = path.stat()
    return max(found.st_mtime, 0.0 if path.is_dir() else found.st_atime)


def _sha256(month: Path) -> str:
    """The sha256 in the month's manifest; empty without a manifest, and then only the age decides."""
    try:
        return str(json.loads(_manifest(month).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _manifest(month: Path) -> Path:
    return month.with_name(f"{month.name}.json")
