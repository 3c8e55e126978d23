"""What a run needs of its machine: the right package, UTC, memory, disk."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib.machinery import PathFinder
from pathlib import Path

import psutil

from mlops import config
from mlops.config import Settings
from mlops.data import ingest
from mlops.operations.doctor.finding import Finding, Findings

PACKAGE_FOLDERS = ("transformers",)  # block folders that share their name with an installed package
ROWS_A_MONTH = {
    "green": 75_000,
    "yellow": 3_700_000,
    "fhvhv": 21_000_000,
}  # TLC's larger months of 2023 to 2024
LEAST_FREE_BYTES = 2e9  # below this a disk fills up within a few runs, whatever they are about
BYTES_PER_TRIP_ON_DISK = 60  # month, clean trips, features and artefacts together; see `disk`


def import_path(path: Sequence[str] | None = None) -> Findings:
    """Whether Mage's blocks import this project's package, and nothing of this project hides another's.

    Parameters
    ----------
    path : sequence of str, optional
        Where modules are looked for, by default ``sys.path``.
    """
    looked_in = list(sys.path if path is None else path)
    if looked_in[:1] in ([""], [str(Path.cwd())]):  # `python -m` puts it first; `mage` does not
        looked_in = looked_in[1:]
    spec = PathFinder.find_spec("mlops", looked_in)
    found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
    if found is None:
        yield Finding(
            f"mlops: Mage's blocks cannot import it; run make install, or set PYTHONPATH={config.PROJECT}",
            True,
        )
    elif found != config.PROJECT:
        yield Finding(
            f"mlops: Mage's blocks import it from {found}, not from {config.PROJECT}; take {found} out of "
            "PYTHONPATH, or run make install here",
            is_open=True,
        )
    else:
        yield Finding(f"mlops: imported from {found}")
    for folder in PACKAGE_FOLDERS:
        if (config.PROJECT / folder / "__init__.py").exists():
            yield Finding(
                f"{folder}/__init__.py hides the installed package {folder}; delete that file", is_open=True
            )


def time_zone(scheduled: bool, offset: timedelta | None = None) -> Findings:
    """Whether this process's clock shows UTC, as Mage's schedules do.

    Parameters
    ----------
    scheduled : bool
        Whether schedules run here; if not, the finding needs no action.
    offset : timedelta, optional
        From UTC, by default this process's.
    """
    shown = datetime.now().astimezone().utcoffset() if offset is None else offset
    if not shown:
        yield Finding("time zone: UTC, as Mage's schedules")
        return
    told = f"time zone: {shown.total_seconds() / 3600:+g} h from UTC, and Mage compares schedules in UTC"
    yield Finding(f"{told}; start Mage with TZ=UTC", is_open=scheduled)


def memory(rows: int, whose: str, available: int | None = None) -> Findings:
    """Whether there is enough memory to learn from so many trips.

    Parameters
    ----------
    rows : int
        Trips of training and validation months.
    whose : str
        Which version or months the trips belong to, for the message.
    available : int, optional
        Bytes, by default what is free now.
    """
    there = psutil.virtual_memory().available if available is None else available
    needed = rows * ingest.BYTES_PER_TRIP
    told = f"memory: {_shown(needed)} for the {rows:,} trips of {whose}; {_shown(there)} are free"
    if needed > there:
        share = max(1, int(100 * there / needed))
        yield Finding(f"{told}: make room, or lower train_months to some {share} % of what it is", True)
    else:
        yield Finding(told)


def disk(rows: int, free: int | None = None) -> Findings:
    """Whether a run about so many trips has room on each disk that it writes to.

    A trip takes some 24 bytes in TLC's Parquet, 19 in the clean trips and 6 in the features, measured on green
    months; the rest is artefacts.
    """
    needed = max(LEAST_FREE_BYTES, rows * BYTES_PER_TRIP_ON_DISK)
    seen = set()
    for folder, variable in (
        (config.state_dir(), "MLOPS_STATE_DIR"),
        (Path(tempfile.gettempdir()), "TMPDIR"),
    ):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if there.stat().st_dev in seen:
            continue
        seen.add(there.stat().st_dev)
        room = shutil.disk_usage(there).free if free is None else free
        told = f"disk: {_shown(room)} free at {folder}"
        if room < needed:
            yield Finding(
                f"{told}, expected {_shown(needed)} or more; run python -m mlops tidy, or let {variable} name a "
                "folder with room",
                is_open=True,
            )
        else:
            yield Finding(f"{told}, of {_shown(needed)} that a run may need")


def usual_rows(settings: Settings) -> tuple[int, str]:
    """Trips that these settings are likely to need, and which months those are, for the message."""
    months = settings.train_months + 1
    return months * ROWS_A_MONTH[settings.service], f"{months} usual {settings.service} months"


def _shown(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
