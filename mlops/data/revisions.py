"""Changes in a republished month: rows added, removed and changed, and changes of its columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops.data.parquet_pages import Leaf, leaves
from mlops.data.raw_trips import (
    BATCH_ROWS,
    NOT_A_TIME,
    TLC_COLUMNS,
    UNREADABLE,
    is_number,
    opened,
    read_schema,
    wall_clock,
)
from mlops.errors import TripSchemaError, one_line
from mlops.files import atomic_write

Hashes = npt.NDArray[np.uint64]


# TLC's files have no trip number, so these identify a trip.
WHICH_TRIP = ("pickup_at", "dropoff_at", "pickup_zone", "dropoff_zone")


MIX = np.uint64(
    0x9E3779B97F4A7C15
)  # 2**64 divided by the golden ratio: the usual odd constant for mixing hashes

AT_ONCE_BYTES = 512_000_000  # of a column; a batch of bases, 10 kB of names, may have 330 MB
WIDE_BYTES = 100  # more than a number takes, also as a Python object


@dataclass(frozen=True)
class Difference:
    """Difference between two published files of one month.

    Parameters
    ----------
    added, removed : int
        Rows of trips that only the new or only the old file has. TLC's trips have no number, so the two times and
        the two zones identify a trip.
    changed : int
        Rows of trips in both files with different values in a column that both have once.
    columns : tuple of str
        Changes of the columns, as text.
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
    old_names, new_names = _single(before), _single(after)
    shared = [(old_names[key], name) for key, name in new_names.items() if key in old_names]
    trip = {TLC_COLUMNS[service][name].lower() for name in WHICH_TRIP}
    large = _large(old) | _large(new)
    shared = [pair for pair in shared if not large.intersection(pair)]
    rows, trips = [], []
    for position, path in enumerate((old, new)):
        names = [pair[position] for pair in shared]
        rows.append(_hashes(path, names))
        trips.append(_hashes(path, [name for name in names if name.lower() in trip]))
    lost, gained = _without(rows[0], rows[1]), _without(rows[1], rows[0])
    unmatched = _without(trips[0][lost], trips[1][gained])
    changed = int(len(unmatched) - unmatched.sum())
    return Difference(
        int(gained.sum()) - changed,
        int(lost.sum()) - changed,
        changed,
        (*schema_drift(before, after), *(f"column {name} is too large to compare" for name in sorted(large))),
    )


def describe(old: Path, new: Path, sha256: str, service: str) -> str:
    """The difference as text, stored next to the old file so that it is computed once.

    Parameters
    ----------
    sha256 : str
        Hash of the new file.
    """
    note = old.with_name(f"{old.stem}_to_{sha256[:12]}.txt")
    if not note.is_file():
        with atomic_write(note) as temporary:
            temporary.write_text(str(compare(old, new, service)), encoding="utf-8")
    return note.read_text(encoding="utf-8")


def _single(schema: pa.Schema) -> dict[str, str]:
    """Columns that stand once, by their names in lower case."""
    lower = [name.lower() for name in schema.names]
    return {key: name for key, name in zip(lower, schema.names, strict=True) if lower.count(key) == 1}


def _large(path: Path) -> set[str]:
    """Columns of which a batch may unpack to more than `AT_ONCE_BYTES`: of texts, or nested."""
    with opened(path) as file:
        stored = [file.schema.column(number) for number in range(len(file.schema.names))]
        names = file.schema_arrow.names
    try:
        sizes: Sequence[Leaf | None] = leaves(path)
    except ValueError:  # reading the column will say what is wrong
        sizes = [None] * len(stored)
    found = [leaf.path for leaf, size in zip(stored, sizes, strict=False) if not _fits(leaf, size)]
    return {name for name in names for path in found if (path + ".").startswith(name + ".")}


def _fits(leaf: pq.ColumnSchema, size: Leaf | None) -> bool:
    """Whether a batch of a column surely takes less than `AT_ONCE_BYTES`; its size may not be known."""
    is_flat: bool = leaf.max_repetition_level == 0
    if is_flat and leaf.physical_type != "BYTE_ARRAY" and leaf.length <= WIDE_BYTES:
        return True
    if size is None or size.is_prefixed:
        return False
    values = BATCH_ROWS if is_flat else size.values
    return values * max(WIDE_BYTES, size.dictionary) + size.data <= AT_ONCE_BYTES


def _hashes(path: Path, names: Iterable[str]) -> Hashes:
    """Hash of each row over these columns, in the given order, shape (rows,)."""
    with opened(path) as file:
        total = np.zeros(file.metadata.num_rows, np.uint64)
        for name in names:
            end = 0
            try:
                for batch in file.iter_batches(BATCH_ROWS, columns=[name], use_threads=False):
                    here = slice(end, end := end + len(batch))
                    hashes = pd.util.hash_array(_plain(pa.chunked_array([batch[name]])))
                    total[here] = total[here] * MIX ^ hashes
                if end != len(total):
                    raise pa.ArrowInvalid(f"expected {len(total):,} rows; got {end:,}")
            except UNREADABLE as error:
                raise TripSchemaError(
                    f"{path}: expected a readable column {name!r}; got damaged pages ({one_line(error)}). "
                    "Fetch the file again."
                ) from error
    return total


def _plain(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Values independent of the stored type: numbers as float64, times as microseconds, the rest as text."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        with contextlib.suppress(
            pa.ArrowException
        ):  # a zone that this machine does not know: compare instants
            column = wall_clock(column)
        column = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False)
        return np.asarray(pc.fill_null(pc.cast(column, pa.int64()), NOT_A_TIME).to_numpy())
    if is_number(kind):
        return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), np.float64)
    try:
        texts = pc.cast(column, pa.string())
    except pa.ArrowException:  # nested, or bytes that are no text
        return np.array([repr(value) for value in column.to_pylist()], object)
    return np.asarray(pc.fill_null(texts, "").to_numpy(), object)


def _without(these: Hashes, others: Hashes) -> npt.NDArray[np.bool_]:
    """Which of `these` have no partner in `others`; each hash is matched at most once; shape (len(these),)."""
    numbered = [
        pd.Series(hashes).groupby(hashes).cumcount().to_numpy(np.uint64) for hashes in (these, others)
    ]
    one, other = (hashes * MIX ^ number for hashes, number in zip((these, others), numbered, strict=True))
    return np.asarray(~np.isin(one, other))


def schema_drift(before: pa.Schema, after: pa.Schema) -> tuple[str, ...]:
    """Changes from one month's schema to the next, as text; reading handles all of them.

    Examples
    --------
    >>> before = pa.schema([("PULocationID", pa.int64()), ("airport_fee", pa.float64())])
    >>> after = pa.schema([("PULocationID", pa.int32()), ("Airport_fee", pa.float64())])
    >>> schema_drift(before, after)
    ('PULocationID: int64 -> int32', 'airport_fee is now Airport_fee')
    """
    old, new = ({field.name.lower(): field for field in schema} for schema in (before, after))
    both = [name for name in old if name in new]
    notes = [f"{new[n].name}: {old[n].type} -> {new[n].type}" for n in both if old[n].type != new[n].type]
    notes += [f"{old[n].name} is now {new[n].name}" for n in both if old[n].name != new[n].name]
    notes += [f"new column {new[n].name}" for n in new if n not in old]
    notes += [f"column {old[n].name} is gone" for n in old if n not in new]
    if both != [name for name in new if name in old]:
        notes.append("columns are in another order")
    single = _single(after)
    notes += [f"column {new[n].name} stands more than once" for n in new if n not in single]
    return tuple(notes)
