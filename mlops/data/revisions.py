"""What changed in a month that was published anew: rows added, removed and changed, and its columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops.data.trips import TLC_COLUMNS, read_schema
from mlops.files import atomic_write

Hashes = npt.NDArray[np.uint64]


WHICH_TRIP = (
    "pickup_at",
    "dropoff_at",
    "pickup_zone",
    "dropoff_zone",
)  # what TLC has instead of a trip's number


MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, the usual odd constant to mix hashes with


@dataclass(frozen=True)
class Difference:
    """A month's file beside the one published before.

    Parameters
    ----------
    added, removed : int
        Rows of trips that only the new or only the old file has. TLC's trips have no number: a trip is known by
        its two times and its two zones.
    changed : int
        Rows of trips in both, with another value in one of the columns that both have.
    columns : tuple of str
        What changed about the columns, in words.
    """

    added: int
    removed: int
    changed: int
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = f"{self.added:,} rows added, {self.removed:,} removed, {self.changed:,} changed"
        return "; ".join((rows, *self.columns))


def compare(old: Path, new: Path, service: str) -> Difference:
    """Difference of two files of the same month.

    Raises
    ------
    TripSchemaError
        When one of them cannot be read.
    """
    before, after = read_schema(old), read_schema(new)
    known = {name.lower(): name for name in before.names}
    shared = [(known[name.lower()], name) for name in after.names if name.lower() in known]
    trip = {TLC_COLUMNS[service][name].lower() for name in WHICH_TRIP}
    rows, trips = [], []
    for position, path in enumerate((old, new)):
        names = [pair[position] for pair in shared]
        rows.append(_hashes(path, names))
        trips.append(_hashes(path, [name for name in names if name.lower() in trip]))
    lost, gained = _without(rows[0], rows[1]), _without(rows[1], rows[0])
    moved_on = _without(trips[0][lost], trips[1][gained])
    changed = int(len(moved_on) - moved_on.sum())
    return Difference(
        int(gained.sum()) - changed, int(lost.sum()) - changed, changed, schema_drift(before, after)
    )


def describe(old: Path, new: Path, sha256: str, service: str) -> str:
    """The difference in words, kept beside the old file so that it is made out once.

    Parameters
    ----------
    sha256 : str
        Of the new file.
    """
    note = old.with_name(f"{old.stem}_to_{sha256[:12]}.txt")
    if not note.is_file():
        with atomic_write(note) as passing:
            passing.write_text(str(compare(old, new, service)))
    return note.read_text()


def _hashes(path: Path, names: Iterable[str]) -> Hashes:
    """A hash of each row's values in these columns, in the order given, shape (rows,)."""
    total = np.zeros(pq.read_metadata(path).num_rows, np.uint64)
    for name in names:
        column = pq.read_table(path, columns=[name], memory_map=True)[name]
        total = total * MIX ^ pd.util.hash_array(_plain(column))
    return total


def _plain(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Values alike however a file stores them: numbers as float64, times as microseconds, the rest as text."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = pc.cast(column, pa.timestamp("us"), safe=False)
        return np.asarray(column.to_numpy().astype("datetime64[us]").astype(np.int64))
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), np.float64)
    return np.asarray(pc.fill_null(pc.cast(column, pa.string()), "").to_numpy(), object)


def _without(these: Hashes, others: Hashes) -> npt.NDArray[np.bool_]:
    """Which of `these` the others have not, one for one, shape (len(these),)."""
    numbered = [
        pd.Series(hashes).groupby(hashes).cumcount().to_numpy(np.uint64) for hashes in (these, others)
    ]
    one, other = (hashes * MIX ^ number for hashes, number in zip((these, others), numbered, strict=True))
    return np.asarray(~np.isin(one, other))


def schema_drift(before: pa.Schema, after: pa.Schema) -> tuple[str, ...]:
    """What changed from one month's schema to the next, in words; all of it is absorbed on reading.

    Examples
    --------
    >>> before = pa.schema([("PULocationID", pa.int64()), ("airport_fee", pa.float64())])
    >>> after = pa.schema([("PULocationID", pa.int32()), ("Airport_fee", pa.float64())])
    >>> schema_drift(before, after)
    ('PULocationID: int64 -> int32', 'airport_fee is now Airport_fee')
    """
    old, new = ({name.lower(): schema.field(name) for name in schema.names} for schema in (before, after))
    both = [name for name in old if name in new]
    notes = [f"{new[n].name}: {old[n].type} -> {new[n].type}" for n in both if old[n].type != new[n].type]
    notes += [f"{old[n].name} is now {new[n].name}" for n in both if old[n].name != new[n].name]
    notes += [f"new column {new[n].name}" for n in new if n not in old]
    notes += [f"column {old[n].name} is gone" for n in old if n not in new]
    if both != [name for name in new if name in old]:
        notes.append("columns are in another order")
    return tuple(notes)
