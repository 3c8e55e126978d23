"""Room on the disk of the state folder, and how much of it the folder uses."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final

from mlops import config
from mlops.registry.status_records import DiskStatus

LEAST_FREE_BYTES: Final = 2_000_000_000  # below this, a few runs of any service fill the disk
BLOCK_BYTES: Final = 512  # of `st_blocks`, whatever blocks the disk has


def measure(counting_seconds: float) -> DiskStatus:
    """Room on the disk now.

    Parameters
    ----------
    counting_seconds : float
        For adding up the sizes of the files; 0 for not doing that.

    Raises
    ------
    OSError
        When the disk cannot be asked.
    """
    folder = config.state_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return DiskStatus(
        folder=str(folder),
        free_bytes=shutil.disk_usage(there).free,
        needed_bytes=LEAST_FREE_BYTES,
        used_bytes=_used(folder, time.monotonic() + counting_seconds),
    )


def _used(folder: Path, deadline: float) -> int | None:
    """Bytes on the disk of the files below a folder; None if counting them takes until the deadline."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            if time.monotonic() >= deadline:
                return None
            try:
                total += Path(path, name).lstat().st_blocks * BLOCK_BYTES
            except OSError:  # a run deletes files meanwhile
                continue
    return total
