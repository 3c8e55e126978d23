"""Files of the years differ and are read all the same; what is not a month of trips is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.builders import MAY, MONEY, TLC_NAMES, month_table, trip, write_month
from support.clean_months import LATER, changed, cleaned

from mlops.data.raw_trips import Columns, check_columns, read_schema
from mlops.data.schemas import read_requests
from mlops.data.synthetic import source
from mlops.data.trips import Rule, clean_file
from mlops.errors import ConfigError, TripSchemaError
from mlops.month import Month

SERVICES = tuple(TLC_NAMES)


def whole(folder: Path) -> bytes:
    """Bytes of a month that is large enough to be cut in the middle of its pages."""
    return source.write_month(folder / "whole.parquet", "green", MAY, rows=2000).read_bytes()


def refusal(path: Path, service: str = "green") -> TripSchemaError:
    """The error of reading a file as a month, by which no file may be left."""
    target = path.parent / "out" / "clean.parquet"
    with pytest.raises(TripSchemaError) as refused:
        check_columns(path, service)
        clean_file(path, service, MAY, target)
    with pytest.raises(TripSchemaError):
        clean_file(path, service, MAY, target)
    assert list(target.parent.iterdir()) == []
    return refused.value


def unreadable(path: Path, reason: str) -> str:
    return (
        f"{path}: expected a complete Parquet file; got one that cannot be read ({reason}). Fetch it again."
    )


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "green_tripdata_2023-05.parquet"
    path.write_text("<html>403 Forbidden</html>")

    assert str(refusal(path)) == unreadable(
        path,
        "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.",
    )


def test_a_file_of_no_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "green_tripdata_2023-05.parquet"
    path.touch()

    assert str(refusal(path)) == unreadable(path, "Parquet file size is 0 bytes")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    path, content = tmp_path / "green_tripdata_2023-05.parquet", whole(tmp_path)
    path.write_bytes(content[: int(len(content) * share)])

    assert str(refusal(path)) == unreadable(
        path,
        "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.",
    )


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    with pytest.raises(TripSchemaError) as refused:
        read_schema(path)
    assert (
        str(refused.value) == f"{path}: expected a Parquet file; got none: {path} is missing. Fetch it again."
    )


def test_a_file_with_damaged_pages_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path, content = tmp_path / "green_tripdata_2023-05.parquet", bytearray(whole(tmp_path))
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)  # the footer, at the end, stays whole
    path.write_bytes(content)

    text = str(refusal(path))
    assert text.startswith(f"{path}: expected readable green trips; got damaged pages (")
    assert text.endswith("). Fetch the file again.")


def test_an_empty_month_is_refused(tmp_path: Path) -> None:
    path = write_month(tmp_path / "green_tripdata_2023-05.parquet", "green")
    with pytest.raises(TripSchemaError) as refused:
        check_columns(path, "green")

    assert str(refused.value) == (
        f"{path}: expected a month of green trips; got an empty file (0 rows). "
        "Fetch it again, or look at what the source published."
    )


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("name", ["pickup_at", "dropoff_at", "pickup_zone", "dropoff_zone", "distance_miles"])
def test_a_missing_column_is_named(service: str, name: str, tmp_path: Path) -> None:
    names, table = TLC_NAMES[service], month_table(service, trip())
    path = tmp_path / "month.parquet"
    pq.write_table(table.drop_columns([names[name]]), path)
    error = refusal(path, service)

    assert error.columns == (names[name],)
    assert str(error) == (
        f"{path}: column '{names[name]}' missing; expected {list(names.values())}, "
        f"got {[c for c in table.column_names if c != names[name]]}. Is this a {service} file?"
    )


def test_a_file_of_another_service_is_refused(tmp_path: Path) -> None:
    path = write_month(tmp_path / "yellow_tripdata_2023-05.parquet", "yellow", trip())
    error = refusal(path, "green")

    assert error.columns == ("lpep_pickup_datetime", "lpep_dropoff_datetime")
    assert str(error).startswith(
        f"{path}: columns 'lpep_pickup_datetime', 'lpep_dropoff_datetime' missing; expected ['lpep_pickup_"
    )
    assert str(error).endswith(". Is this a green file?")


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("PULocationID", pa.string(), "a number"),
        ("DOLocationID", pa.large_string(), "a number"),
        ("trip_distance", pa.string(), "a number"),
        ("passenger_count", pa.string(), "a number"),
        ("lpep_pickup_datetime", pa.string(), "a timestamp"),
        ("lpep_dropoff_datetime", pa.int64(), "a timestamp"),
    ],
)
def test_a_column_of_another_kind_is_refused(
    column: str, kind: pa.DataType, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "green_tripdata_2023-05.parquet"
    pq.write_table(changed(**{column: kind}), path)
    error = refusal(path)

    assert error.columns == (column,)
    assert str(error) == (
        f"{path}: column '{column}' is of type {kind}; expected {expected}. Is this a green file?"
    )


def test_a_failure_leaves_the_file_of_an_earlier_success(tmp_path: Path) -> None:
    good = write_month(tmp_path / "good.parquet", "green", trip())
    target = tmp_path / "out" / "clean.parquet"
    clean_file(good, "green", MAY, target)
    before = target.read_bytes()

    def breaks(trips: Columns, month: Month) -> np.ndarray:
        raise RuntimeError("half-way")

    with pytest.raises(ConfigError, match=r"cleaning rule 'breaks' failed \(RuntimeError: half-way\)"):
        clean_file(good, "green", MAY, target, (Rule("breaks", breaks),))
    assert [path.name for path in target.parent.iterdir()] == ["clean.parquet"]
    assert target.read_bytes() == before


# --- Drift: what files have looked like over the years ------------------------------------------------------


def in_zone(zone: str) -> Any:
    """The same wall clock, written as instants of a time zone."""
    return lambda times: pc.assume_timezone(times, zone)


DRIFT = {
    "ids as int64": changed(PULocationID=pa.int64(), DOLocationID=pa.int64()),
    "ids as double": changed(PULocationID=pa.float64(), DOLocationID=pa.float64()),
    "ids as float32": changed(PULocationID=pa.float32(), DOLocationID=pa.float32()),
    "ids as int16": changed(PULocationID=pa.int16(), DOLocationID=pa.int16()),
    "passengers as double": changed(passenger_count=pa.float64()),
    "passengers as int8": changed(passenger_count=pa.int8()),
    "distance as float32": changed(trip_distance=pa.float32()),
    "times in ns": changed(lpep_pickup_datetime=pa.timestamp("ns"), lpep_dropoff_datetime=pa.timestamp("ns")),
    "times in ms": changed(lpep_pickup_datetime=pa.timestamp("ms"), lpep_dropoff_datetime=pa.timestamp("ms")),
    "times in s and ns": changed(
        lpep_pickup_datetime=pa.timestamp("s"), lpep_dropoff_datetime=pa.timestamp("ns")
    ),
    "times in UTC": changed(lpep_pickup_datetime=in_zone("UTC"), lpep_dropoff_datetime=in_zone("UTC")),
    "times in New York": changed(
        lpep_pickup_datetime=in_zone("America/New_York"), lpep_dropoff_datetime=in_zone("America/New_York")
    ),
    "other order": changed().select(changed().column_names[::-1]),
    "other case": changed().rename_columns([name.upper() for name in changed().column_names]),
    "no fares": changed().drop_columns(list(MONEY)),
    "more columns": changed()
    .append_column("store_and_fwd_flag", pa.array(["N", None], pa.large_string()))
    .append_column("ehail_fee", pa.nulls(2))
    .append_column("cbd_congestion_fee", pa.array([0.75, None]))
    .append_column("__index_level_0__", pa.array([0, 1])),
}


@pytest.mark.parametrize("table", DRIFT.values(), ids=DRIFT)
def test_drift_is_absorbed(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "drifted.parquet", version="2.6")
    expected, trips = cleaned(tmp_path, trip(), LATER)

    assert check_columns(tmp_path / "drifted.parquet", "green") == 2
    assert clean_file(tmp_path / "drifted.parquet", "green", MAY, tmp_path / "found.parquet") == expected
    assert pq.read_table(tmp_path / "found.parquet").to_pylist() == trips.to_pylist()


def test_a_distance_column_of_nulls_only_is_read_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    pq.write_table(changed(trip_distance=lambda values: pa.nulls(len(values))), path)
    quality = clean_file(path, "green", MAY, tmp_path / "clean.parquet")

    assert (quality.kept, quality.test_rows) == (0, 2)
    assert read_requests(tmp_path / "clean.parquet")["distance_miles"].isna().all()


def test_a_file_without_passengers_is_read_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    pq.write_table(changed().drop_columns(["passenger_count"]), path)

    assert clean_file(path, "green", MAY, tmp_path / "clean.parquet").test_rows == 2
    assert read_requests(tmp_path / "clean.parquet")["passenger_count"].isna().all()


@pytest.mark.parametrize("count", [-1.0, 1.5, float("inf"), 1e300])
def test_a_count_of_passengers_that_cannot_be_is_read_as_unknown(count: float, tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    pq.write_table(changed(passenger_count=lambda values: pa.array([count, 2.0])), path)

    assert clean_file(path, "green", MAY, tmp_path / "clean.parquet").test_rows == 2
    assert read_requests(tmp_path / "clean.parquet")["passenger_count"].tolist() == [pd.NA, 2]
