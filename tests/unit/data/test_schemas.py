"""The contract of clean trips and of requests."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.errors
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.builders import MAY, make_requests, make_trips, trip
from support.clean_months import cleaned

from mlops.data.schemas import REQUESTS, check_trips, read_minutes, read_requests
from mlops.data.trips import as_table, clean
from mlops.errors import TripSchemaError


def clean_table(**columns: list[Any]) -> pa.Table:
    """Two clean trips, with the named columns replaced."""
    table = as_table(clean(make_trips(2), MAY)[0])
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def written(folder: Path, table: pa.Table) -> Path:
    pq.write_table(table, folder / "clean.parquet")
    return folder / "clean.parquet"


def test_clean_trips_keep_their_contract(tmp_path: Path) -> None:
    check_trips(written(tmp_path, clean_table()))
    check_trips(written(tmp_path, clean_table(distance_miles=[None, 1.0], passenger_count=[1, None])))
    check_trips(written(tmp_path, clean_table().slice(0, 0)))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("duration_minutes", [0.99, 10.0]),
        ("duration_minutes", [60.01, 10.0]),
        ("duration_minutes", [None, 10.0]),
        ("pickup_zone", [-1, 1]),
        ("dropoff_zone", [1, -1]),
        ("passenger_count", [-1, 1]),
        ("pickup_at", [None, datetime(2023, 5, 1)]),
        ("distance_miles", ["far", "near"]),
    ],
)
def test_a_broken_contract_names_the_column(column: str, values: list[Any], tmp_path: Path) -> None:
    path = written(tmp_path, clean_table(**{column: values}))
    with pytest.raises(TripSchemaError) as refused:
        check_trips(path)

    assert str(refused.value).startswith(f"{path}: a clean trip violates its schema: ")
    assert f"'{column}'" in str(refused.value)


@pytest.mark.parametrize(
    "table",
    [clean_table().drop_columns(["for_training"]), clean_table().append_column("tip", pa.array([1, 2]))],
)
def test_a_column_too_few_or_too_many_breaks_the_contract(table: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(
        TripSchemaError, match=r"(?s)a clean trip violates its schema: .*'(for_training|tip)'"
    ):
        check_trips(written(tmp_path, table))


@pytest.mark.parametrize(
    "passengers",
    [
        pd.array([1, None, 3], "Int64"),
        np.array([1.0, np.nan, 3.0]),
        np.array([1, None, 3], object),
        [1, 2, 3],
    ],
    ids=["Int64", "float", "object", "int"],
)
def test_a_request_may_lack_passengers_and_distance(passengers: Any) -> None:
    requests = make_requests(3).assign(passenger_count=passengers, distance_miles=[1.0, np.nan, 2.0])

    valid = REQUESTS.validate(requests)
    assert valid["passenger_count"].dtype == "Int64"
    assert valid["passenger_count"].isna().tolist() == pd.isna(pd.Series(passengers)).tolist()
    assert valid["distance_miles"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("column", "value"),
    [("pickup_zone", -1), ("dropoff_zone", -1), ("passenger_count", -1), ("pickup_at", "soon")],
)
def test_an_invalid_request_is_refused(column: str, value: Any) -> None:
    refused = (pandera.errors.SchemaError, pandera.errors.SchemaErrors)
    with pytest.raises(refused, match=column):
        REQUESTS.validate(make_requests(3).assign(**{column: value}))


def test_a_request_keeps_only_what_is_known_beforehand() -> None:
    assert list(REQUESTS.validate(make_requests(3).assign(fare_amount=9.0)).columns) == list(
        make_requests(1).columns
    )


def test_requests_and_minutes_are_the_clean_trips_row_by_row(tmp_path: Path) -> None:
    _, table = cleaned(
        tmp_path, trip(seconds=60), trip(pickup_zone=0, passenger_count=None), trip(distance_miles=None)
    )
    requests, minutes = read_requests(tmp_path / "clean.parquet"), read_minutes(tmp_path / "clean.parquet")

    assert requests["pickup_zone"].tolist() == table["pickup_zone"].to_pylist() == [74, 0, 74]
    assert requests["passenger_count"].tolist() == [1, pd.NA, 1]
    assert minutes.tolist() == [1.0, 10.0, 10.0]
    assert "duration_minutes" not in requests
