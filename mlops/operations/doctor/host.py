"""What a run needs from its machine: the right package, UTC, memory, disk."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from importlib.machinery import PathFinder
from pathlib import Path

import psutil

from mlops import config
from mlops.config import Settings
from mlops.data import ingest
from mlops.errors import command
from mlops.operations.doctor.finding import Finding, Findings
from mlops.registry.state_disk import LEAST_FREE_BYTES

PACKAGE_FOLDERS = ("transformers",)  # block folders that share their name with an installed package
ROWS_A_MONTH = {
    "green": 75_000,
    "yellow": 3_700_000,
    "fhvhv": 21_000_000,
}  # TLC's larger months of 2023 to 2024
BYTES_PER_TRIP_ON_DISK = 60  # month, clean trips, features and artefacts together; see `disk`


def import_path(path: Sequence[str] | None = None) -> Findings:
    """Check that Mage's blocks import this project's package, and that no block folder hides another package.

    Parameters
    ----------
    path : sequence of str, optional
        Folders to search for modules, by default ``sys.path``.
    """
    looked_in = list(sys.path if path is None else path)
    if looked_in[:1] in ([""], [str(Path.cwd())]):  # `python -m` puts it first; `mage` does not
        looked_in = looked_in[1:]
    spec = PathFinder.find_spec("mlops", looked_in)
    found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
    if found is None:
        yield Finding(
            f"package mlops: Mage's blocks cannot import it; run make install, or set PYTHONPATH={config.PROJECT}",
            True,
        )
    elif found != config.PROJECT:
        yield Finding(
            f"package mlops: Mage's blocks import it from {found}, not from {config.PROJECT}; remove {found} from "
            "PYTHONPATH, or run make install here",
            is_open=True,
        )
    else:
        yield Finding(f"package mlops: imported from {found}")
    for folder in PACKAGE_FOLDERS:
        if (config.PROJECT / folder / "__init__.py").exists():
            yield Finding(
                f"{folder}/__init__.py hides the installed package {folder}; delete that file", is_open=True
            )


def time_zone(scheduled: bool, offset: timedelta) -> Findings:
    """Check that Mage's clock shows UTC, as its schedules need.

    Parameters
    ----------
    scheduled : bool
        Whether Mage runs schedules; if not, any time zone will do.
    offset : timedelta
        Offset of its clock from UTC.
    """
    text = f"time zone: {offset.total_seconds() / 3600:+g} h from UTC"
    if not offset:
        yield Finding("time zone: UTC, like Mage's schedules")
    elif scheduled:
        yield Finding(f"{text}, but Mage compares schedules in UTC; start Mage with TZ=UTC", is_open=True)
    else:
        yield Finding(f"{text}; no schedule runs here")


def memory(rows: int, whose: str, available: int | None = None) -> Findings:
    """Check that there is enough memory to train on this number of trips.

    Parameters
    ----------
    rows : int
        Trips of training and validation months.
    whose : str
        The version or months that the trips belong to, for the message.
    available : int, optional
        Free memory in bytes, by default measured now.
    """
    there = psutil.virtual_memory().available if available is None else available
    needed = rows * ingest.BYTES_PER_TRIP
    text = f"memory: {_shown(needed)} needed for the {rows:,} trips of {whose}; {_shown(there)} free"
    if needed > there:
        share = max(1, int(100 * there / needed))
        yield Finding(f"{text}; free memory, or reduce train_months to about {share} % of its value", True)
    else:
        yield Finding(text)


def disk(rows: int, free: int | None = None) -> Findings:
    """Check that a run on this number of trips has room on each disk that it writes to.

    A trip takes about 24 bytes in TLC's Parquet, 19 in the clean trips and 6 in the features, measured on green
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
        text = f"disk: {_shown(room)} free at {folder}"
        if room < needed:
            yield Finding(
                f"{text}, expected {_shown(needed)} or more; run {command('tidy')}, or set {variable} to a "
                "folder on a larger disk",
                is_open=True,
            )
        else:
            yield Finding(f"{text}; a run may need {_shown(needed)}")


def usual_rows(settings: Settings) -> tuple[int, str]:
    """Number of trips that a run with these settings usually reads, and a name for them, for the message."""
    months = settings.train_months + 1
    return months * ROWS_A_MONTH[settings.service], f"{months} usual {settings.service} months"


def _shown(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
