"""A batch of rows as answered rows and rejected rows; a row that cannot be answered spoils no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops.config import FIRST_YEAR, LAST_YEAR
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.registry.local_copy import Loaded, predict_columns
from mlops.scoring import values
from mlops.scoring.columns import DROPOFF_AT

Array = npt.NDArray[Any]
MINUTES = ("duration_minutes", *INTERVAL_COLUMNS)
ACTUAL = "actual_minutes"
GIVEN, MISSING = "given", "missing"  # values of the column `distance`
MAX_MILES = 1e6  # from here on a model takes a distance for missing
_WORD = pa.dictionary(pa.int32(), pa.string())

OUTPUT_SCHEMA = pa.schema(
    [
        ("pickup_at", pa.timestamp("us")),
        ("pickup_zone", pa.int32()),
        ("dropoff_zone", pa.int32()),
        ("distance_miles", pa.float64()),
        ("passenger_count", pa.float64()),
        *((name, pa.float64()) for name in MINUTES),
        (OUT_OF_RANGE, pa.bool_()),
        ("distance", _WORD),
        ("model_version", _WORD),
        ("run_key", _WORD),
    ]
)
"""Answered rows. Times are New York's wall clock; request columns are as sent, null where nothing was sent."""

LABELLED_SCHEMA = OUTPUT_SCHEMA.append(pa.field(ACTUAL, pa.float64()))
"""The same of a file that says when each trip ended; null where it does not."""

REJECTED_SCHEMA = pa.schema(
    [("row", pa.int64()), *((name, pa.string()) for name in REQUEST_COLUMNS), ("reason", _WORD)]
)
"""Rejected rows: their number in the file, from 1, and the request columns as text."""

REASONS = (
    "pickup_at is missing",
    "pickup_at is not a time",
    f"pickup_at is not in the years {FIRST_YEAR} to {LAST_YEAR}",
    "pickup_zone is not a whole number",
    "dropoff_zone is not a whole number",
    "distance_miles is not a number",
    "passenger_count is not a number",
    "the line has more or fewer fields than the header",
)
"""Why a row is rejected; a row with several reasons has the first."""


@dataclass(frozen=True)
class Answered:
    """What became of a batch.

    Parameters
    ----------
    rows : pyarrow.Table
        Answered rows, `OUTPUT_SCHEMA` or `LABELLED_SCHEMA`.
    rejected : pyarrow.Table
        Rejected rows, `REJECTED_SCHEMA`.
    """

    rows: pa.Table
    rejected: pa.Table


def answer(batch: pa.Table, loaded: Loaded, *, is_wall_clock: bool = False, before: int = 0) -> Answered:
    """Answers of a version to a batch.

    Parameters
    ----------
    batch : pyarrow.Table
        Columns as `reading.OpenFile.batches` has them.
    loaded : Loaded
    is_wall_clock : bool
        As `values.times`.
    before : int
        Number of rows before this batch.
    """
    columns, fault = _read(batch, is_wall_clock)
    good = fault < 0
    chosen = {name: array[good] for name, array in columns.items()} if not good.all() else columns
    bad = np.flatnonzero(~good)
    return Answered(_answered(chosen, loaded), _rejected(batch, bad, fault[bad], before))


def _read(batch: pa.Table, is_wall_clock: bool) -> tuple[dict[str, Array], Array]:
    """Arrays of the columns, and for each row the number of its reason to be rejected, else -1."""
    pickup_at, not_a_time = values.times(batch["pickup_at"], is_wall_clock=is_wall_clock)
    first, end = (np.datetime64(f"{year}-01-01", "us") for year in (FIRST_YEAR, LAST_YEAR + 1))
    nothing = np.isnat(pickup_at) & ~not_a_time
    columns, wrong = {"pickup_at": pickup_at}, [nothing, not_a_time, (pickup_at < first) | (pickup_at >= end)]
    for name in REQUEST_COLUMNS[1:]:
        read = values.identifiers if name.endswith("_zone") else values.numbers
        columns[name], unread = read(batch[name])
        wrong.append(unread)
    if DROPOFF_AT in batch.column_names:
        dropoff_at, _ = values.times(batch[DROPOFF_AT], is_wall_clock=is_wall_clock)
        is_time = (dropoff_at >= first) & (dropoff_at <= end)
        elapsed = np.where(is_time, dropoff_at - pickup_at, np.timedelta64("NaT"))
        columns[ACTUAL] = np.where(np.isnat(elapsed), np.nan, elapsed.astype(np.float64) / 60e6)
    fault = np.full(batch.num_rows, -1, np.int32)
    for number in reversed(range(len(wrong))):  # the first reason overwrites later ones
        fault[wrong[number]] = number
    return columns, fault


def _answered(columns: dict[str, Array], loaded: Loaded) -> pa.Table:
    rows = len(columns["pickup_at"])
    zones = {name: np.nan_to_num(columns[name]).astype(np.int32) for name in ("pickup_zone", "dropoff_zone")}
    requests = {name: columns[name] for name in REQUEST_COLUMNS} | zones  # 0 is an unknown zone
    predicted = predict_columns(loaded.model, requests)
    schema = LABELLED_SCHEMA if ACTUAL in columns else OUTPUT_SCHEMA
    is_missing = ~(np.abs(columns["distance_miles"]) < MAX_MILES)
    found: dict[str, Any] = {
        **columns,
        OUT_OF_RANGE: pa.nulls(rows),  # older versions do not say it
        **predicted,
        "distance": _words(is_missing, GIVEN, MISSING),
        "model_version": _words(np.zeros(rows), loaded.version.number),
        "run_key": _words(np.zeros(rows), loaded.run_key),
    }
    arrays = [_array(found[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(found: Any, kind: pa.DataType) -> pa.Array:
    array = found if isinstance(found, pa.Array) else pa.array(found, from_pandas=True)
    return array if array.type == kind else array.cast(kind)


def _words(numbers: Array, *words: str) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32)), pa.array(words, pa.string()))


def _rejected(batch: pa.Table, rows: Array, fault: Array, before: int) -> pa.Table:
    chosen = batch.take(pa.array(rows))
    texts = [_as_text(chosen[name]) for name in REQUEST_COLUMNS]
    arrays = [pa.array(rows + before + 1, pa.int64()), *texts, _words(fault, *REASONS)]
    return pa.Table.from_arrays(arrays, schema=REJECTED_SCHEMA)


def reject_lines(lines: Sequence[int]) -> pa.Table:
    """Rejected rows for these lines of a CSV file, which have more or fewer fields than its header."""
    count = len(lines)
    nothing = [pa.nulls(count, pa.string()) for _ in REQUEST_COLUMNS]
    fault = _words(np.full(count, len(REASONS) - 1), *REASONS)
    return pa.Table.from_arrays([pa.array(lines, pa.int64()), *nothing, fault], schema=REJECTED_SCHEMA)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.cast(column, pa.string())
