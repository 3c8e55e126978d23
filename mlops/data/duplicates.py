"""Rows of a file that repeat an earlier row, found with little memory in files of any size."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Batch = dict[str, npt.NDArray[Any]]
COMPARED = ("pickup_at", "dropoff_at", "pickup_zone", "dropoff_zone", "distance_miles", "passenger_count")
PART_HASHES = 12_000_000  # hashes in memory at once, 8 bytes each; a larger file is read several times

# The finalizer of splitmix64: each bit of the input changes about half of the bits of the result.
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Duplicates:
    """Marks the rows of a file that are equal to an earlier row in all columns of `COMPARED`.

    The file is read first to find the hashes that occur more than once, then by the caller, who passes each batch
    to `mark`. Rows count as equal if their 64-bit hashes are; among 20 million different rows, the probability of
    one wrong pair is 1e-5.

    Parameters
    ----------
    read : callable
        Returns an iterator over the file's batches: dicts of arrays of equal length with the columns `COMPARED`.
    rows : int
        Rows of the file.
    """

    def __init__(self, read: Callable[[], Iterator[Batch]], rows: int) -> None:
        self._repeated = _repeated(read, rows)
        self._is_met = np.zeros(len(self._repeated), bool)

    def mark(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """Which rows of the file's next batch are equal to an earlier row, shape (n,)."""
        hashes = row_hashes(batch)
        is_duplicate = np.zeros(len(hashes), bool)
        place = np.searchsorted(self._repeated, hashes)
        place[place == len(self._repeated)] = 0
        rows = np.flatnonzero(self._repeated[place] == hashes) if len(self._repeated) else place[:0]
        found, first = np.unique(place[rows], return_index=True)
        is_duplicate[rows] = True
        is_duplicate[rows[first[~self._is_met[found]]]] = False
        self._is_met[found] = True
        return is_duplicate


def row_hashes(batch: Batch) -> Hashes:
    """Hash of each row over the columns `COMPARED`, shape (n,); null is equal to null, and 0.0 to -0.0."""
    total: Hashes = np.zeros(len(batch[COMPARED[0]]), np.uint64)
    for name in COMPARED:
        total = _mixed(total ^ _bits(batch[name]))
    return total


def _bits(values: npt.NDArray[Any]) -> Hashes:
    if values.dtype.kind == "f":
        return np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)
    return values.astype(np.int64, copy=False).view(np.uint64)


def _mixed(values: Hashes) -> Hashes:
    values = (values ^ (values >> _SHIFTS[0])) * _FACTORS[0]
    values = (values ^ (values >> _SHIFTS[1])) * _FACTORS[1]
    return values ^ (values >> _SHIFTS[2])


def _repeated(read: Callable[[], Iterator[Batch]], rows: int) -> Hashes:
    """Sorted hashes of the rows that occur more than once."""
    parts = max(1, -(-rows // PART_HASHES))
    return np.sort(np.concatenate([_repeated_in(read(), part, parts) for part in range(parts)]))


def _repeated_in(batches: Iterator[Batch], part: int, parts: int) -> Hashes:
    """The same for the hashes whose remainder is `part`, when divided by `parts`."""
    kept = array("Q")
    for batch in batches:
        hashes = row_hashes(batch)
        kept.frombytes(hashes[hashes % np.uint64(parts) == part].tobytes())
    hashes = np.frombuffer(kept, np.uint64)
    hashes.sort()
    return np.asarray(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]), np.uint64)
