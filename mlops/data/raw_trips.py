"""From a TLC file to batches of trips as published, or an error that says what is wrong with the file.

This is the only module with TLC's column names. Files are read in Arrow batches
of the needed columns, so memory does not grow with the size of a month.

Source: TLC data dictionaries for green, yellow and high-volume for-hire trips,
https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops.data.duplicates import Duplicates
from mlops.data.parquet_footer import has_encrypted_footer, stored_columns
from mlops.errors import TripSchemaError, one_line

Columns = dict[str, npt.NDArray[Any]]
BATCH_ROWS = 32_768
NOT_A_TIME = np.iinfo(np.int64).min  # integer value of numpy's NaT
UNREADABLE = (pa.ArrowException, OSError, ValueError)  # raised by Arrow for a damaged file
CODECS = {"uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd"}  # those that Arrow reads
UTC = {"UTC", "ETC/UTC", "GMT", "ETC/GMT", "UCT", "ETC/UCT", "ZULU", "Z"}  # upper case


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


def read_schema(path: Path, label: object = None) -> pa.Schema:
    """Arrow schema of a Parquet file with its metadata; `label` names the file in messages.

    Raises
    ------
    TripSchemaError
        When the file is not a complete Parquet file that this user may read.
    """
    with opened(path, label) as file:
        return file.schema_arrow


def check_columns(path: Path, service: str, label: object = None) -> int:
    """Number of rows of a month's file, after a check of its columns; `label` names the file in messages.

    Raises
    ------
    TripSchemaError
        When a column is missing, stands twice, has a wrong type or cannot be decoded, or the file has no rows.
    """
    with opened(path, label) as file:
        _projection(path, file.schema_arrow, service, label or path)
        rows = int(file.metadata.num_rows)
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
        0 for null), ``distance_miles`` (float64, NaN for null), ``passenger_count`` (float64, NaN for null),
        ``duration_minutes`` (float64) and ``is_duplicate`` (bool: all other columns are equal to those of an
        earlier row of the file), each of shape (n,), n at most `BATCH_ROWS`.

    Raises
    ------
    TripSchemaError
        When the file is not a readable month of this service.
    """
    with opened(path, label) as file:
        rows = int(file.metadata.num_rows)
    duplicates = Duplicates(lambda: _read(path, service, label), rows)
    for trips in _read(path, service, label):
        yield {**trips, "is_duplicate": duplicates.mark(trips)}


def first_trips(path: Path, service: str, label: object = None) -> Columns:
    """The first `BATCH_ROWS` trips of a file, as `read_trips` yields them but without ``is_duplicate``.

    Raises
    ------
    TripSchemaError
        As `read_trips`.
    """
    return next(_read(path, service, label))


@contextmanager
def opened(path: Path, label: object = None) -> Iterator[pq.ParquetFile]:
    """The open Parquet file; `label` names it in messages.

    Raises
    ------
    TripSchemaError
        When the file is not a complete Parquet file that this user may read.
    """
    try:
        # INT96 times beyond the years 1677 to 2262 would else be wrapped into them; see ARROW-12096.
        file = pq.ParquetFile(path, coerce_int96_timestamp_unit="us", page_checksum_verification=True)
        _ = file.schema_arrow.names  # fails if a name is not UTF-8
    except UNREADABLE as error:
        raise _not_opened(path, label or path, error) from error
    with file:
        yield file


def encrypted(label: object) -> TripSchemaError:
    """The error of an encrypted file."""
    return TripSchemaError(
        f"{label}: expected a Parquet file without encryption; got an encrypted one, and there is no key. "
        "Ask the source for it, or decrypt it and write it again."
    )


def _not_opened(path: Path, label: object, error: Exception) -> TripSchemaError:
    if isinstance(error, PermissionError):
        return TripSchemaError(
            f"{label}: no permission to read {path}. Let the user of this process read it."
        )
    if isinstance(error, FileNotFoundError):
        return TripSchemaError(
            f"{label}: expected a Parquet file; got none: {path} is missing. Fetch it again."
        )
    if path.is_file() and has_encrypted_footer(path):
        return encrypted(label)
    return TripSchemaError(
        f"{label}: expected a complete Parquet file; got one that cannot be read ({one_line(error)}). "
        "Fetch it again."
    )


def _read(path: Path, service: str, label: object) -> Iterator[Columns]:
    """As `read_trips`, without ``is_duplicate``."""
    with opened(path, label) as file:
        projection = _projection(path, file.schema_arrow, service, label or path)
        batches = file.iter_batches(BATCH_ROWS, columns=list(projection.values()), use_threads=False)
        expected, rows = file.metadata.num_rows, 0
        try:
            for batch in batches:
                rows += batch.num_rows
                yield _as_columns(batch, projection)
            if rows != expected:
                raise pa.ArrowInvalid(f"the footer says {expected:,} rows, the pages have {rows:,}")
        except UNREADABLE as error:
            raise TripSchemaError(
                f"{label or path}: expected readable {service} trips; got damaged pages ({one_line(error)}). "
                "Fetch the file again."
            ) from error


# --- Columns: which are read, and whether they can be -------------------------------------------------------


def _projection(path: Path, schema: pa.Schema, service: str, label: object) -> dict[str, str]:
    """Trip column -> TLC column as this file spells it."""
    wanted = TLC_COLUMNS[service]
    spelt: dict[str, list[str]] = {}
    for name in schema.names:
        spelt.setdefault(name.lower(), []).append(name)
    # Some files have no passenger_count; the model accepts null.
    missing = [c for t, c in wanted.items() if c.lower() not in spelt and t != "passenger_count"]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        raise TripSchemaError(
            f"{label}: {noun} {', '.join(map(repr, missing))} missing; expected {list(wanted.values())}, "
            f"got {schema.names}. Is this a {service} file?",
            columns=missing,
        )
    projection = {}
    for trip, column in wanted.items():
        names = spelt.get(column.lower(), [])
        if len(names) > 1:
            raise TripSchemaError(
                f"{label}: column {column!r} expected once; got {len(names)}: {', '.join(map(repr, names))}. "
                "Write the file again with the right one only.",
                columns=names,
            )
        for name in names:
            _check_type(schema.field(name), trip, service, label)
            projection[trip] = name
    with suppress(ValueError):  # a footer that only Arrow understands: let it say what is wrong
        _check_stored(path, set(projection.values()), label)
    return projection


def _check_type(field: pa.Field, trip: str, service: str, label: object) -> None:
    is_time = trip.endswith("_at")
    if not (pa.types.is_timestamp(field.type) if is_time else is_number(field.type)):
        expected = "a timestamp" if is_time else "a number"
        raise TripSchemaError(
            f"{label}: column {field.name!r} is of type {field.type}; expected {expected}. "
            f"Is this a {service} file?",
            columns=[field.name],
        )
    if is_time:
        _check_zone(field, label)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers: whole, floating or decimal, also as a dictionary, or nulls."""
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(is_kind(values) for is_kind in checks)


def _check_zone(field: pa.Field, label: object) -> None:
    """Raise if the wall clock of a column's time zone cannot be computed on this machine."""
    if _is_clock(field.type):
        return
    about = f"{label}: the times of column {field.name!r} are in the time zone {field.type.tz!r}"
    if not _is_clock(pa.timestamp("us", "America/New_York")):
        raise TripSchemaError(
            f"{about}; expected a time zone database on this machine, got none. Install the system's package "
            "tzdata.",
            columns=[field.name],
        )
    raise TripSchemaError(
        f"{about}, which this machine's time zone database does not have; expected a name such as "
        "'America/New_York'. Write the file again with the right one, or without a time zone.",
        columns=[field.name],
    )


def _is_clock(kind: pa.DataType) -> bool:
    try:
        wall_clock(pa.array([0], kind))
    except pa.ArrowException:
        return False
    return True


def _check_stored(path: Path, columns: set[str], label: object) -> None:
    """Raise if a column is encrypted, or compressed with a method that Arrow does not read."""
    for stored in stored_columns(path):
        if stored.name not in columns:
            continue
        if stored.is_encrypted:
            raise encrypted(label)
        if stored.codec not in CODECS:
            raise TripSchemaError(
                f"{label}: column {stored.name!r} is compressed with {stored.codec}, which Arrow does not read; "
                f"expected one of {', '.join(sorted(CODECS))}. Write the file again with snappy or zstd.",
                columns=[stored.name],
            )


# --- Values -------------------------------------------------------------------------------------------------


def _as_columns(batch: pa.RecordBatch, projection: dict[str, str]) -> Columns:
    columns: Columns = {}
    for trip, column in projection.items():
        array = batch.column(column)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
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


def wall_clock(times: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Times as the clock of their time zone shows them, without the zone.

    TLC's times are New York's wall clock, also where the file claims a time zone; converting would shift them.
    UTC and fixed offsets need no time zone database.

    Raises
    ------
    pyarrow.ArrowInvalid
        When the machine has no time zone database, or its database does not have the zone.

    Examples
    --------
    >>> noon = pa.array([43_200], pa.timestamp("s", "UTC"))
    >>> wall_clock(noon).to_pylist() == wall_clock(noon.cast(pa.timestamp("s"))).to_pylist()
    True
    """
    zone, plain = times.type.tz, pa.timestamp(times.type.unit)
    if zone is None:
        return times
    if zone.upper() in UTC:
        return times.cast(plain)
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", zone)
    if not offset:
        return pc.local_timestamp(times)
    sign, hours, minutes = offset.groups()
    ahead = timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == "+" else -1)
    return pc.add(times.cast(plain), pa.scalar(ahead, pa.duration(times.type.unit)))


def _times(array: pa.Array) -> npt.NDArray[Any]:
    numbers = _cast(wall_clock(array), pa.timestamp("us")).view(pa.int64())
    return _values(numbers, np.int64, NOT_A_TIME).view("datetime64[us]")


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
