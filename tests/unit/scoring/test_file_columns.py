"""Which column of a file is which, and which files are refused for their columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from support.builders import TLC_NAMES

from mlops.errors import TripSchemaError
from mlops.scoring.columns import find_columns, require_types

OWN = {"pickup_at": "pickup_at", "pickup_zone": "pickup_zone", "dropoff_zone": "dropoff_zone"}


def require(**types: pa.DataType) -> None:
    kinds = {"pickup_at": pa.timestamp("us"), "pickup_zone": pa.int32(), "dropoff_zone": pa.int32()} | types
    require_types(pa.schema(kinds.items()), find_columns(list(kinds), "a file"), "a file")


@pytest.mark.parametrize("service", TLC_NAMES)
def test_names_of_tlc_are_understood_in_any_case(service: str) -> None:
    found = find_columns([name.upper() for name in TLC_NAMES[service].values()], "a file")
    assert found.names == {column: name.upper() for column, name in TLC_NAMES[service].items()}
    assert (found.service, found.is_wall_clock, found.is_labelled) == (service, True, True)


def test_own_names_come_first_and_optional_columns_may_be_missing() -> None:
    found = find_columns(["lpep_pickup_datetime", "DOLocationID", *OWN, "fare"], "a file")
    assert (found.names, found.service, found.is_labelled) == (OWN, "", False)
    assert (
        find_columns([" Pickup_At ", "pickup_zone", "dropoff_zone"], "a file").names["pickup_at"]
        == " Pickup_At "
    )


def test_a_missing_column_is_named() -> None:
    with pytest.raises(TripSchemaError) as refused:
        find_columns(["pickup_at", "fare"], "a.csv")
    assert refused.value.columns == ("pickup_zone", "dropoff_zone")
    assert str(refused.value) == (
        "a.csv: columns 'pickup_zone', 'dropoff_zone' missing; expected ['pickup_at', 'pickup_zone', "
        "'dropoff_zone', 'distance_miles', 'passenger_count'], of which distance_miles and passenger_count may be "
        "missing, or TLC's names for them; got ['pickup_at', 'fare']. Rename the columns; in a CSV file, separate "
        "them by commas."
    )


@pytest.mark.parametrize(
    "twice", [("pickup_zone", "Pickup_Zone"), ("lpep_pickup_datetime", "tpep_pickup_datetime")]
)
def test_two_columns_of_a_kind_are_refused(twice: tuple[str, str]) -> None:
    names = [name for name in OWN if name != "pickup_at" or twice[0] == "pickup_zone"]
    with pytest.raises(TripSchemaError) as refused:
        find_columns([*twice, *(name for name in names if name not in twice)], "a file")
    assert refused.value.columns == twice
    assert str(refused.value).endswith(
        f"expected once; got 2: {twice[0]!r}, {twice[1]!r}. Write the file again with the right one only."
    )


def test_numbers_times_and_texts_may_hold_values() -> None:
    for kind in (pa.int64(), pa.float32(), pa.string(), pa.large_string(), pa.null(), pa.decimal128(9, 2)):
        require(pickup_zone=kind)
    for kind in (
        pa.timestamp("ns", "UTC"),
        pa.date32(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
    ):
        require(pickup_at=kind)


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("pickup_zone", pa.bool_(), "numbers or text"),
        ("dropoff_zone", pa.timestamp("us"), "numbers or text"),
        ("distance_miles", pa.list_(pa.int8()), "numbers or text"),
        ("pickup_at", pa.int64(), "times, dates or text"),
        ("dropoff_at", pa.binary(), "times, dates or text"),
    ],
)
def test_a_column_of_another_type_is_refused(column: str, kind: pa.DataType, expected: str) -> None:
    with pytest.raises(TripSchemaError) as refused:
        require(**{column: kind})
    assert str(refused.value) == (
        f"a file: column {column!r} is of type {kind}; expected {expected}. Write the file again with such a "
        "column."
    )


def test_times_in_an_unknown_time_zone_are_refused_only_where_their_clock_is_read() -> None:
    mars = pa.timestamp("us", "Mars/Olympus")
    require(pickup_at=mars)  # instants, which are converted to New York's clock
    with pytest.raises(TripSchemaError, match="'lpep_pickup_datetime' are in the time zone 'Mars/Olympus'"):
        kinds = {"lpep_pickup_datetime": mars, "PULocationID": pa.int32(), "DOLocationID": pa.int32()}
        require_types(pa.schema(kinds.items()), find_columns(list(kinds), "a file"), "a file")
