"""Clean trips counted by weekday, hour and duration: small, additive, and enough for a median.

TLC's times are whole seconds, so that a median from these counts is exact; other times are rounded to seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.files import atomic_write

Counts = npt.NDArray[np.int64]
WEEKDAYS, HOURS, SECONDS = 7, 24, 3_601
SHAPE = (WEEKDAYS, HOURS, SECONDS)
_COLUMNS = ["pickup_at", "duration_minutes", "for_training"]
_FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


def count(clean: Path) -> Counts:
    """Training trips of a file of clean trips; memory does not grow with the file.

    Returns
    -------
    array of int64, shape (7, 24, 3601)
        Number of trips by weekday of the pickup (Monday is 0), its hour on New York's clock, and the duration in
        seconds; longer ones count as 3600.
    """
    counts = np.zeros(np.prod(SHAPE), np.int64)
    with pq.ParquetFile(clean) as file:
        for batch in file.iter_batches(columns=_COLUMNS):
            chosen = batch.column("for_training").to_numpy(zero_copy_only=False)
            pickup_at = batch.column("pickup_at").to_numpy(zero_copy_only=False)[chosen]
            minutes = batch.column("duration_minutes").to_numpy(zero_copy_only=False)[chosen]
            days = pickup_at.astype("datetime64[D]").astype(np.int64)
            hours = pickup_at.astype("datetime64[h]").astype(np.int64)
            seconds = np.clip(np.rint(minutes * 60), 0, SECONDS - 1).astype(np.int64)
            cells = ((days + _FIRST_WEEKDAY) % WEEKDAYS * HOURS + hours % HOURS) * SECONDS + seconds
            counts += np.bincount(cells, minlength=len(counts))
    return counts.reshape(SHAPE)


def write(counts: Counts, path: Path) -> None:
    """Write the cells that are not 0, completely or not at all."""
    cells = np.flatnonzero(counts)
    table = pa.table({"cell": cells, "trips": counts.reshape(-1)[cells]})
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read(path: Path) -> Counts:
    """Counts that `write` wrote."""
    table, counts = pq.read_table(path), np.zeros(np.prod(SHAPE), np.int64)
    counts[table["cell"].to_numpy()] = table["trips"].to_numpy()
    return counts.reshape(SHAPE)


def median_minutes(by_second: Counts) -> float | None:
    """Median duration in minutes of trips counted by seconds; None without trips.

    Examples
    --------
    >>> median_minutes(np.bincount([60, 120, 180, 600], minlength=SECONDS))
    2.5
    """
    cumulated = np.cumsum(by_second)
    trips = int(cumulated[-1])
    if not trips:
        return None
    middle = np.searchsorted(cumulated, [(trips + 1) // 2, trips // 2 + 1])
    return float(middle.mean()) / 60
