"""From a TLC file to clean trips: one schema, named rules, a count for each rejection.

This is the only module with TLC's column names. Files are read in Arrow batches
of the needed columns, so memory does not grow with the size of a month.

Source: TLC data dictionaries for green, yellow and high-volume for-hire trips,
https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops.errors import TripSchemaError, one_line
from mlops.files import atomic_write
from mlops.month import Month

Columns = dict[str, npt.NDArray[Any]]
Mask = npt.NDArray[np.bool_]
SHORTEST_MINUTES, LONGEST_MINUTES = 1.0, 60.0
LONGEST_MILES = 100.0
LAST_ZONE = (
    265  # 264 means "unknown", 265 "outside of NYC"; requests contain both, so the model trains on both
)
BATCH_ROWS = 32_768
NOT_A_TIME = np.iinfo(np.int64).min  # integer value of numpy's NaT


TLC_COLUMNS: dict[str, dict[str, str]] = {
    "green": {
        "pickup_at": "lpep_pickup_datetime",
        "dropoff_at": "lpep_dropoff_datetime",
        "pickup_zone": "PULocationID",
        "dropoff_zone": "DOLocationID",
        "distance_miles": "trip_distance",
        "passenger_count": "passenger_count",
    },
    "yellow": {
        "pickup_at": "tpep_pickup_datetime",
        "dropoff_at": "tpep_dropoff_datetime",
        "pickup_zone": "PULocationID",
        "dropoff_zone": "DOLocationID",
        "distance_miles": "trip_distance",
        "passenger_count": "passenger_count",
    },
    "fhvhv": {
        "pickup_at": "pickup_datetime",
        "dropoff_at": "dropoff_datetime",
        "pickup_zone": "PULocationID",
        "dropoff_zone": "DOLocationID",
        "distance_miles": "trip_miles",
    },
}
"""Trip column -> TLC column, by service; fhvhv has no passenger count."""


TRIP_SCHEMA = pa.schema(
    [
        ("pickup_at", pa.timestamp("us")),
        ("dropoff_at", pa.timestamp("us")),
        ("pickup_zone", pa.int32()),
        ("dropoff_zone", pa.int32()),
        ("distance_miles", pa.float64()),
        ("passenger_count", pa.int64()),
        ("duration_minutes", pa.float64()),
        ("for_training", pa.bool_()),
    ]
)
"""Stored form of a clean trip: New York's wall-clock times, miles, minutes; distance and passengers nullable."""


@dataclass(frozen=True)
class Rule:
    """A named reason to reject a trip.

    Parameters
    ----------
    name : str
        Name under which rejections are counted and shown.
    rejects : callable
        Maps trip columns (arrays of equal length) and the file's month to a mask; true means rejected.
    training_only : bool
        The trip is excluded from training but stays in the test set, so no added rule makes the test easier.
    """

    name: str
    rejects: Callable[[Columns, Month], Mask]
    training_only: bool = True


def _time_missing(trips: Columns, month: Month) -> Mask:
    return np.asarray(np.isnat(trips["pickup_at"]) | np.isnat(trips["dropoff_at"]))


def _outside_month(trips: Columns, month: Month) -> Mask:
    first, end = np.datetime64(month.start, "us"), np.datetime64(month.end, "us")
    return (trips["pickup_at"] < first) | (trips["pickup_at"] >= end)


def _zone_unknown(trips: Columns, month: Month) -> Mask:
    pickup, dropoff = trips["pickup_zone"], trips["dropoff_zone"]
    return (pickup < 1) | (pickup > LAST_ZONE) | (dropoff < 1) | (dropoff > LAST_ZONE)


def _distance_absurd(trips: Columns, month: Month) -> Mask:
    miles = trips["distance_miles"]
    return ~((miles >= 0) & (miles <= LONGEST_MILES))


RULES: tuple[Rule, ...] = (
    Rule("time_missing", _time_missing, training_only=False),
    Rule("outside_month", _outside_month, training_only=False),
    Rule(
        "under_1_minute",
        lambda trips, month: trips["duration_minutes"] < SHORTEST_MINUTES,
        training_only=False,
    ),
    Rule(
        "over_60_minutes",
        lambda trips, month: trips["duration_minutes"] > LONGEST_MINUTES,
        training_only=False,
    ),
    Rule("zone_unknown", _zone_unknown),
    Rule("distance_absurd", _distance_absurd),
)
"""Rules in the order of application; a trip is counted under the first rule that rejects it."""


@dataclass(frozen=True)
class Quality:
    """How many trips of a month were kept, and why the others were not.

    ``kept + sum(rejected.values()) == rows`` always. ``test_rows`` counts the
    trips that the test metrics cover: all trips except those that a rule with
    ``training_only=False`` rejects.
    """

    rows: int
    kept: int
    test_rows: int
    rejected: dict[str, int] = field(default_factory=dict)

    @property
    def rejected_share(self) -> float:
        """Share of the rows that any rule rejected, 0 to 1."""
        return (self.rows - self.kept) / self.rows if self.rows else 0.0


def read_schema(path: Path, label: object = None) -> pa.Schema:
    """Arrow schema of a Parquet file with its metadata; `label` names the file in messages.

    Raises
    ------
    TripSchemaError
        When the file is not a complete Parquet file.
    """
    with _opened(path, label) as file:
        return file.schema_arrow


def _opened(path: Path, label: object = None) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TripSchemaError(
            f"{label or path}: expected a complete Parquet file; got one that cannot be read ({one_line(error)}). "
            "Fetch it again."
        ) from error


def check_columns(path: Path, service: str, label: object = None) -> int:
    """Number of rows of a month's file, after a check of its columns; `label` names the file in messages.

    Raises
    ------
    TripSchemaError
        When a column is missing or has a wrong type, or the file has no rows.
    """
    _projection(read_schema(path, label), service, label or path)
    rows = int(pq.read_metadata(path).num_rows)
    if rows == 0:
        raise TripSchemaError(
            f"{label or path}: expected a month of {service} trips; got an empty file (0 rows). "
            "Fetch it again, or look at what the source published."
        )
    return rows


def read_trips(path: Path, service: str, label: object = None) -> Iterator[Columns]:
    """Trips of a TLC file as batches of arrays, named as in the trip schema; `label` names the file in messages.

    Yields
    ------
    dict of str to array
        ``pickup_at``, ``dropoff_at`` (datetime64[us], NaT for null), ``pickup_zone``, ``dropoff_zone`` (int32,
        0 for null), ``distance_miles`` (float64, NaN for null), ``passenger_count`` (float64, NaN for null)
        and ``duration_minutes`` (float64), each of shape (n,), n at most `BATCH_ROWS`.

    Raises
    ------
    TripSchemaError
        When the file is not a readable month of this service.
    """
    with _opened(path, label) as file:
        projection = _projection(file.schema_arrow, service, label or path)
        batches = file.iter_batches(BATCH_ROWS, columns=list(projection.values()), use_threads=False)
        try:
            for batch in batches:
                yield _as_columns(batch, projection)
        except (pa.ArrowInvalid, OSError) as error:
            raise TripSchemaError(
                f"{label or path}: expected readable {service} trips; got damaged pages ({one_line(error)}). "
                "Fetch the file again."
            ) from error


def clean(trips: Columns, month: Month, rules: Sequence[Rule] = RULES) -> tuple[Columns, Quality]:
    """Trips for training or test, marked whether they are for training, and the rejections by rule.

    Parameters
    ----------
    trips : dict of str to array, each of shape (n,)
        As from `read_trips`; not changed.
    month : Month
        The file's month.
    rules : sequence of Rule
        Rules in the order of application.

    Returns
    -------
    columns : dict of str to array, each of shape (m,), m <= n
        The trips that no rule or only a ``training_only`` rule rejects, with ``for_training`` (bool).
    quality : Quality
        The counts.
    """
    rows = len(trips["pickup_at"])
    with np.errstate(invalid="ignore"):
        masks = [rule.rejects(trips, month) for rule in rules]
    reason = np.zeros(rows, np.int16)
    for number in range(len(rules), 0, -1):  # the first rule overwrites later ones
        reason[masks[number - 1]] = number
    counts = np.bincount(reason, minlength=len(rules) + 1)
    trainable = np.array([True] + [False] * len(rules))
    testable = np.array([True] + [rule.training_only for rule in rules])
    chosen = np.flatnonzero(testable[reason])
    columns = {name: values.take(chosen) for name, values in trips.items()}
    columns["for_training"] = trainable[reason[chosen]]
    rejected = {rule.name: int(count) for rule, count in zip(rules, counts[1:], strict=True)}
    return columns, Quality(rows, int(counts[0]), len(chosen), rejected)


def clean_file(
    raw: Path,
    service: str,
    month: Month,
    target: Path,
    rules: Sequence[Rule] = RULES,
    label: object = None,
) -> Quality:
    """Write a month's clean trips to `target` as Parquet, atomically; the counts of its trips.

    Raises
    ------
    TripSchemaError
        As `read_trips`.
    """
    total = Quality(0, 0, 0, {rule.name: 0 for rule in rules})
    with (
        atomic_write(target) as temporary,
        pq.ParquetWriter(temporary, TRIP_SCHEMA, compression="zstd") as writer,
    ):
        for batch in read_trips(raw, service, label):
            columns, quality = clean(batch, month, rules)
            writer.write_table(as_table(columns))
            total = _add(total, quality)
    return total


def as_table(columns: Columns) -> pa.Table:
    """Clean trips as an Arrow table under `TRIP_SCHEMA`; NaN becomes null."""
    arrays = {name: pa.array(columns[name], from_pandas=True) for name in TRIP_SCHEMA.names}
    return pa.table({n: a.cast(TRIP_SCHEMA.field(n).type) for n, a in arrays.items()}, schema=TRIP_SCHEMA)


def _projection(schema: pa.Schema, service: str, path: object) -> dict[str, str]:
    """Trip column -> TLC column as this file spells it."""
    spelling = {name.lower(): name for name in schema.names}
    wanted = TLC_COLUMNS[service]
    # Some files have no passenger_count; the model accepts null.
    missing = [c for t, c in wanted.items() if c.lower() not in spelling and t != "passenger_count"]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        raise TripSchemaError(
            f"{path}: {noun} {', '.join(map(repr, missing))} missing; expected {list(wanted.values())}, "
            f"got {schema.names}. Is this a {service} file?",
            columns=missing,
        )
    found = {trip: spelling[tlc.lower()] for trip, tlc in wanted.items() if tlc.lower() in spelling}
    for trip, column in found.items():
        kind = schema.field(column).type
        fits = pa.types.is_timestamp(kind) if trip.endswith("_at") else _is_number(kind)
        if not fits:
            expected = "a timestamp" if trip.endswith("_at") else "a number"
            raise TripSchemaError(
                f"{path}: column {column!r} is of type {kind}; expected {expected}. Is this a {service} file?",
                columns=[column],
            )
    return found


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _as_columns(batch: pa.RecordBatch, projection: dict[str, str]) -> Columns:
    columns: Columns = {}
    for trip, column in projection.items():
        array = batch.column(column)
        if trip.endswith("_at"):
            columns[trip] = _times(array)
        elif trip.endswith("_zone"):
            columns[trip] = _zones(array)
        elif trip == "passenger_count":
            columns[trip] = _counts(array)
        else:
            columns[trip] = _floats(array)
    columns.setdefault("passenger_count", np.full(batch.num_rows, np.nan))
    elapsed = columns["dropoff_at"] - columns["pickup_at"]
    columns["duration_minutes"] = np.where(np.isnat(elapsed), np.nan, elapsed.astype(np.float64) / 60e6)
    return columns


def _times(array: pa.Array) -> npt.NDArray[Any]:
    # TLC's times are New York's wall clock, also where the file claims a time zone; converting would shift them.
    naive = array if array.type.tz is None else pc.local_timestamp(array)
    return _values(_cast(naive, pa.timestamp("us")).view(pa.int64()), np.int64, NOT_A_TIME).view(
        "datetime64[us]"
    )


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind, safe=False)


def _floats(array: pa.Array) -> npt.NDArray[Any]:
    return _values(_cast(array, pa.float64()), np.float64, np.nan)


def _values(array: pa.Array, kind: type, null: float) -> npt.NDArray[Any]:
    """Numbers read from Arrow's memory; `to_numpy` would import pandas, a third of a process's memory."""
    if not len(array):
        return np.empty(0, kind)
    here = slice(array.offset, array.offset + len(array))
    valid, numbers = array.buffers()
    found: npt.NDArray[Any] = np.frombuffer(numbers, kind)[here]
    if not array.null_count:
        return found
    bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[here]
    return np.where(bits, found, kind(null))


def _counts(array: pa.Array) -> npt.NDArray[Any]:
    """Counts as floats; NaN for fractions, negative numbers and infinities."""
    values = _floats(array)
    return np.where((values >= 0) & (values < 1e6) & (values == np.floor(values)), values, np.nan)


def _zones(array: pa.Array) -> npt.NDArray[Any]:
    if pa.types.is_integer(array.type) and array.null_count == 0:
        return np.asarray(np.clip(_values(_cast(array, pa.int64()), np.int64, 0), 0, 2**31 - 1), np.int32)
    filled = _values(_cast(array, pa.float64()), np.float64, 0.0)
    whole = np.nan_to_num(filled, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(np.clip(whole, 0, 2**31 - 1), np.int32)


def _add(a: Quality, b: Quality) -> Quality:
    rejected = {name: count + b.rejected[name] for name, count in a.rejected.items()}
    return Quality(a.rows + b.rows, a.kept + b.kept, a.test_rows + b.test_rows, rejected)


def summary(counted: Quality) -> str:
    """The counts in a few words, with the rejections of each rule that is not in `RULES`.

    Examples
    --------
    >>> summary(Quality(1000, 950, 980, {"under_1_minute": 20, "over_30_miles": 30}))
    '950 of 1,000 trips (rejected: over_30_miles 30)'
    """
    usual = {rule.name for rule in RULES}
    own = [f"{name} {count:,}" for name, count in counted.rejected.items() if name not in usual]
    return f"{counted.kept:,} of {counted.rows:,} trips" + (f" (rejected: {', '.join(own)})" if own else "")
