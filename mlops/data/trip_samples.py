"""A small sample of a month's trips, kept and rejected, with the rule that rejected each.

Cleaning writes it beside the clean trips, because only cleaning knows all rules, also a person's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.data.raw_trips import Columns
from mlops.files import atomic_write

BY_REASON = 25  # trips of each rule, and kept ones
SCHEMA = pa.schema(
    [
        ("rule", pa.string()),
        ("row", pa.int64()),
        ("pickup_at", pa.timestamp("us")),
        ("dropoff_at", pa.timestamp("us")),
        ("pickup_zone", pa.int32()),
        ("dropoff_zone", pa.int32()),
        ("distance_miles", pa.float64()),
        ("passenger_count", pa.float64()),
        ("duration_minutes", pa.float64()),
    ]
)
"""A sampled trip: the rule that rejected it (empty if kept), its row in the file from 0, and its columns."""
_TRIP = SCHEMA.names[2:]


class TripSample:
    """Of the trips of each reason the `BY_REASON` whose row number has the smallest hash.

    That is a random sample of each reason, and the same one each time the file is cleaned. Memory does not grow
    with the number of trips.

    Parameters
    ----------
    rules : sequence of str
        Names of the rules, in the order of application.

    Examples
    --------
    >>> sample = TripSample(["under_1_minute"])
    >>> sample.table().num_rows
    0
    """

    def __init__(self, rules: Sequence[str]) -> None:
        self._names = ["", *rules]
        self._held: dict[int, Columns] = {}
        self._seen = 0

    def add(self, trips: Columns, rejected_by: npt.NDArray[np.int16]) -> None:
        """Look at the next trips of the file.

        Parameters
        ----------
        trips : dict of str to array, each of shape (n,)
            As from `raw_trips.read_trips`.
        rejected_by : array of int16, shape (n,)
            0 if a trip is kept, else the number of the rule that rejected it, from 1.
        """
        rows = np.arange(self._seen, self._seen + len(rejected_by), dtype=np.int64)
        hashes = _mixed(rows)
        self._seen += len(rejected_by)
        for number in np.flatnonzero(np.bincount(rejected_by, minlength=1)).tolist():
            held = self._held.get(number)
            limit = held["hash"][-1] if held and len(held["hash"]) == BY_REASON else None
            fits = rejected_by == number if limit is None else (rejected_by == number) & (hashes < limit)
            chosen = np.flatnonzero(fits)
            if len(chosen):
                new = {"row": rows[chosen], "hash": hashes[chosen], **{n: trips[n][chosen] for n in _TRIP}}
                self._held[number] = _smallest(held, new)

    def table(self) -> pa.Table:
        """The sampled trips under `SCHEMA`: first kept ones, then by rule in the order of application."""
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        for number, held in sorted(self._held.items()):
            columns["rule"] += [self._names[number]] * len(held["row"])
            for name in SCHEMA.names[1:]:
                columns[name] += pa.array(held[name], from_pandas=True).to_pylist()
        return pa.table(columns, schema=SCHEMA)

    def write(self, path: Path) -> None:
        """Write the sample as Parquet, completely or not at all."""
        with atomic_write(path) as temporary:
            pq.write_table(self.table(), temporary)


def read(path: Path) -> pa.Table | None:
    """The sample in a file, or None if there is no such file: an earlier program cleaned the month."""
    return pq.read_table(path, schema=SCHEMA) if path.is_file() else None


def _smallest(held: Columns | None, new: Columns) -> Columns:
    both = new if held is None else {name: np.concatenate([held[name], new[name]]) for name in new}
    order = np.argsort(both["hash"], kind="stable")[:BY_REASON]
    return {name: values[order] for name, values in both.items()}


def _mixed(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """A hash of each row number, different for different numbers. Source: the finalizer of splitmix64."""
    mixed = rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
