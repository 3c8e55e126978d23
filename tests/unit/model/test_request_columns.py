"""One moment has one wall clock and one number has one value, in whichever type they come."""

from __future__ import annotations

import sys
import zoneinfo
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.errors import MlopsError
from mlops.model import request_columns
from mlops.model.request_columns import A_TIME, as_columns, read_requests

NEW_YORK, INDIA = ZoneInfo("America/New_York"), timezone(timedelta(hours=5, minutes=30))


def read(name: str, values: Any) -> np.ndarray[Any, Any]:
    """What is read of one column of otherwise ordinary requests."""
    n = len(values)
    ride = {"pickup_at": ["2023-07-03T08:30"] * n, "pickup_zone": [74] * n, "dropoff_zone": [42] * n}
    return read_requests({**ride, "distance_miles": [2.1] * n, "passenger_count": [1] * n, name: values})[
        name
    ]


def clock(values: Any) -> list[str]:
    """The wall clock that is read of the values of ``pickup_at``, to the minute."""
    return np.datetime_as_string(read("pickup_at", values), "m").tolist()


def refusal(name: str, values: Any) -> str:
    """Why a column is refused, after its name."""
    with pytest.raises(MlopsError) as refused:
        read(name, values)
    assert str(refused.value).startswith(f"requests: {name}: ")
    return str(refused.value).removeprefix(f"requests: {name}: ")


# --- Times --------------------------------------------------------------------------------------------------

MORNING = [
    datetime(2023, 7, 3, 8, 30),
    datetime(2023, 7, 3, 8, 30, tzinfo=NEW_YORK),
    datetime(2023, 7, 3, 12, 30, tzinfo=timezone.utc),
    datetime(2023, 7, 3, 18, 0, tzinfo=INDIA),
    pd.Timestamp("2023-07-03 08:30"),
    pd.Timestamp("2023-07-03 08:30:00.000000001"),
    pd.Timestamp("2023-07-03 08:30-04:00"),
    pd.Timestamp("2023-07-03 12:30", tz="UTC"),
    pd.Timestamp("2023-07-03 05:30", tz="America/Los_Angeles"),
    np.datetime64("2023-07-03T08:30"),
    np.datetime64("2023-07-03T08:30:00.000000000"),
    "2023-07-03T08:30",
    "2023-07-03 08:30:00",
    "2023-07-03T08:30:59.999",
    "2023-07-03T08:30:00.123456789",
    "2023-07-03T08:30:00-04:00",
    "2023-07-03T08:30-0400",
    "2023-07-03t08:30-04",
    "2023-07-03T12:30Z",
    "2023-07-03T12:30:00.000z",
    "2023-07-03 12:30:00+00:00",
    "2023-07-03T18:00+05:30",
    np.str_("2023-07-03T12:30Z"),
]


@pytest.mark.parametrize("value", MORNING, ids=repr)
def test_a_moment_has_one_wall_clock_however_it_is_written(value: Any) -> None:
    assert clock([value]) == ["2023-07-03T08:30"]
    assert clock(pd.Series([value, value], dtype=object)) == ["2023-07-03T08:30"] * 2


def test_a_column_may_mix_types_and_offsets() -> None:
    assert clock(MORNING) == clock(pd.Series(MORNING, dtype=object)) == ["2023-07-03T08:30"] * len(MORNING)
    texts = pd.Series([value for value in MORNING if isinstance(value, str)], dtype="string")
    assert set(clock(texts)) == set(clock(texts.astype("category"))) == {"2023-07-03T08:30"}


NAIVE = pd.Series(pd.to_datetime(["2023-07-03 08:30", "2023-12-03 08:30"]))
ZONED = NAIVE.dt.tz_localize("America/New_York")
COLUMNS = {
    **{f"datetime64[{unit}]": NAIVE.astype(f"datetime64[{unit}]") for unit in ("s", "ms", "us", "ns")},
    **{
        f"tz {zone}": ZONED.dt.tz_convert(zone)
        for zone in ("America/New_York", "UTC", "Asia/Kolkata", "-04:00")
    },
    "tz in microseconds": ZONED.astype("datetime64[us, UTC]"),
    "index": pd.DatetimeIndex(NAIVE),
    "index with tz": pd.DatetimeIndex(ZONED),
    "array": NAIVE.to_numpy(),
    "array with tz": ZONED.array,
    "category": NAIVE.astype("category"),
    "category with tz": ZONED.dt.tz_convert("UTC").astype("category"),
    "object": ZONED.astype(object),
    "arrow": NAIVE.astype(pd.ArrowDtype(pa.timestamp("us"))),
    "arrow with New York": ZONED.astype(pd.ArrowDtype(pa.timestamp("ns", "America/New_York"))),
    "arrow with UTC": ZONED.dt.tz_convert("UTC").astype(pd.ArrowDtype(pa.timestamp("us", "UTC"))),
    "text": NAIVE.astype(str),
    "text with offsets": ZONED.astype(str),
    "arrow text": ZONED.astype(str).astype("string[pyarrow]"),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_has_one_wall_clock_in_every_type(kind: str) -> None:
    assert clock(COLUMNS[kind]) == ["2023-07-03T08:30", "2023-12-03T08:30"]


# In 2023 clocks went from 02:00 to 03:00 on 12 March, and from 02:00 back to 01:00 on 5 November.
NIGHTS = {
    "2023-03-12T06:59:00+00:00": "2023-03-12T01:59",
    "2023-03-12T07:00:00+00:00": "2023-03-12T03:00",
    "2023-03-12T02:30:00-05:00": "2023-03-12T03:30",  # the clock shows no 02:30
    "2023-11-05T05:30:00+00:00": "2023-11-05T01:30",
    "2023-11-05T06:30:00+00:00": "2023-11-05T01:30",  # an hour later
    "2023-11-05T01:30:00-04:00": "2023-11-05T01:30",
    "2023-11-05T01:30:00-05:00": "2023-11-05T01:30",
    "2023-11-05T07:00:00+00:00": "2023-11-05T02:00",
}


@pytest.mark.parametrize("text", NIGHTS)
def test_the_nights_on_which_clocks_change_have_one_wall_clock(text: str) -> None:
    at, expected = datetime.fromisoformat(text), [NIGHTS[text]]
    column = pd.Series([pd.Timestamp(at)])

    assert clock([text]) == clock([at]) == clock([pd.Timestamp(at)]) == clock(column) == expected
    assert clock(column.dt.tz_convert("America/New_York")) == clock([at.astimezone(NEW_YORK)]) == expected
    assert clock(column.dt.tz_convert("UTC").astype(pd.ArrowDtype(pa.timestamp("us", "UTC")))) == expected


@pytest.mark.parametrize("naive", ["2023-03-12T02:30", "2023-11-05T01:30"])
def test_a_naive_time_in_such_a_night_is_left_as_it_is(naive: str) -> None:
    at = datetime.fromisoformat(naive)

    assert clock([naive]) == clock([at]) == clock([at.replace(fold=1)]) == clock(pd.Series([at])) == [naive]


@given(st.datetimes(datetime(2018, 1, 1), datetime(2026, 12, 31), timezones=st.timezones()))
def test_the_wall_clock_is_that_of_pandas(at: datetime) -> None:
    """Pandas asks pytz for a zone that is named by text, and brings a database of its own."""
    moment = pd.Timestamp(at.astimezone(timezone.utc))
    expected = [moment.tz_convert("America/New_York").strftime("%Y-%m-%dT%H:%M")]

    assert clock([moment.isoformat()]) == clock([moment]) == clock(pd.Series([moment])) == expected


def test_a_date_means_its_midnight() -> None:
    assert clock([date(2023, 7, 3), "2023-07-03"]) == ["2023-07-03T00:00"] * 2


NO_TIMES = [
    1688387400,
    1688387400.0,
    np.int64(1688387400),
    np.float32(1e9),
    Decimal(1688387400),
    True,
    "1688387400",
    "20230703",
    "2023",
    "2023-07",
    "now",
    "NaT",
    "",
    "soon",
    "07/03/2023 08:30",
    "2023-02-30T08:30",
    "2023-07-03T25:00",
    "2023-07-03T08:30:00 America/New_York",
    "2023-07-03-04:00",
    "2023-07-03T08:30+30:00",
    b"2023-07-03T08:30",
    time(8, 30),
    timedelta(hours=8),
    pd.Period("2023-07-03 08:30", "min"),
    ["2023-07-03T08:30"],
    {},
]


@pytest.mark.parametrize("value", NO_TIMES, ids=repr)
def test_what_is_not_a_time_is_refused_by_name(value: Any) -> None:
    shown = repr(value) if isinstance(value, (str, bytes)) else str(value)

    assert refusal("pickup_at", [value]) == f"expected {A_TIME}; got {shown}"
    assert refusal("pickup_at", pd.Series(["2023-07-03T08:30", value], dtype=object)).endswith(
        f"; got {shown}"
    )


@pytest.mark.parametrize(
    "dtype", ["int64", "float64", "Int64", "int64[pyarrow]", "timedelta64[s]", "category"]
)
def test_a_column_of_numbers_is_not_a_column_of_times(dtype: str) -> None:
    assert refusal("pickup_at", pd.Series([1688387400]).astype(dtype)).startswith(f"expected {A_TIME}; got ")


def test_a_time_out_of_the_calendar_is_refused() -> None:
    first = datetime.min.replace(tzinfo=INDIA)  # in New York before year 1

    assert refusal("pickup_at", [first]).startswith(f"expected {A_TIME}; got 0001-01-01 ")


def test_a_long_text_is_not_repeated_in_full() -> None:
    assert len(refusal("pickup_at", ["soon" * 1000])) < 200


NO_TIME = {
    "None": [None, "2023-07-03T08:30"],
    "NaN": [np.nan, "2023-07-03T08:30"],
    "NA": pd.Series([pd.NA, "2023-07-03T08:30"], dtype="string"),
    "NaT": pd.Series([pd.NaT, pd.Timestamp("2023-07-03T08:30")]),
    "NaT with tz": pd.Series([pd.NaT, pd.Timestamp("2023-07-03T08:30Z")]),
    "numpy NaT": np.array(["NaT", "2023-07-03T08:30"], "datetime64[ns]"),
    "arrow null": pd.Series([None, datetime(2023, 7, 3)], dtype=pd.ArrowDtype(pa.timestamp("us", "UTC"))),
    "object NaT": pd.Series([pd.NaT, datetime(2023, 7, 3)], dtype=object),
}


@pytest.mark.parametrize("kind", NO_TIME)
def test_a_null_time_is_counted(kind: str) -> None:
    with pytest.raises(MlopsError, match=r"^requests: pickup_at is missing in 1 of 2 rows$"):
        read("pickup_at", NO_TIME[kind])


def test_a_column_without_any_time_is_missing_them_all() -> None:
    with pytest.raises(MlopsError, match=r"^requests: pickup_at is missing in 2 of 2 rows$"):
        read("pickup_at", pd.Series([np.nan, np.nan]))


def test_without_a_time_zone_database_only_naive_times_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    before = zoneinfo.TZPATH
    for module in [name for name in sys.modules if name.partition(".")[0] == "tzdata"] or ["tzdata"]:
        monkeypatch.setitem(sys.modules, module, None)
    request_columns._new_york.cache_clear()
    ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath(to=[])
    try:
        assert clock(["2023-07-03T08:30"]) == clock(NAIVE[:1]) == ["2023-07-03T08:30"]
        for values in (["2023-07-03T12:30Z"], ZONED):
            with pytest.raises(MlopsError) as refused:
                read("pickup_at", values)
            assert str(refused.value) == (
                "requests: pickup_at has a time zone: expected America/New_York in this computer's time zone "
                "database; got no such entry. Install the Python package tzdata, or send New York's wall clock "
                "without a time zone"
            )
    finally:
        zoneinfo.reset_tzpath(to=before)
    monkeypatch.undo()
    assert clock(["2023-07-03T12:30Z"]) == ["2023-07-03T08:30"]


# --- Numbers ------------------------------------------------------------------------------------------------

TWO = {
    **{
        dtype: np.array([2, 3], dtype) for dtype in ("int8", "uint8", "int32", "uint64", "float16", "float64")
    },
    **{
        dtype: pd.Series([2, 3]).astype(dtype)
        for dtype in (
            "int64",
            "Int64",
            "UInt8",
            "Float64",
            "int32[pyarrow]",
            "double[pyarrow]",
            "category",
            "object",
        )
    },
    "decimal[pyarrow]": pd.Series([Decimal(2), Decimal(3)], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
    "sparse": pd.Series(pd.arrays.SparseArray([2.0, 3.0])),
    "index": pd.Index([2, 3]),
    "list": [2, 3.0],
    "mixed": [np.int32(2), Decimal("3.0")],
}


@pytest.mark.parametrize("name", ["pickup_zone", "dropoff_zone", "distance_miles", "passenger_count"])
@pytest.mark.parametrize("kind", TWO)
def test_a_number_is_the_same_in_every_type(kind: str, name: str) -> None:
    found = read(name, TWO[kind])

    assert found.tolist() == [2, 3]
    assert found.dtype == (np.int16 if name.endswith("zone") else np.float32)


NULLS = {
    "list": [2, None],
    "nan": [2.0, np.nan],
    "NA": [2, pd.NA],
    "Int64": pd.Series([2, None], dtype="Int64"),
    "Float64": pd.Series([2, None], dtype="Float64"),
    "arrow": pd.Series([2, None], dtype="int64[pyarrow]"),
    "category": pd.Series([2, None]).astype("category"),
}


@pytest.mark.parametrize("kind", NULLS)
def test_null_is_an_unknown_zone_and_a_missing_quantity(kind: str) -> None:
    assert read("pickup_zone", NULLS[kind]).tolist() == [2, 0]
    np.testing.assert_array_equal(read("distance_miles", NULLS[kind]), np.array([2, np.nan], np.float32))


NO_NUMBERS = [
    "two",
    "2",
    "2.1",
    "",
    "nan",
    b"2",
    True,
    np.True_,
    2j,
    date(2023, 7, 3),
    pd.Timestamp(0),
    [2],
    {"a": 2},
]


@pytest.mark.parametrize("name", ["pickup_zone", "dropoff_zone", "distance_miles", "passenger_count"])
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_not_a_number_is_refused_by_name(value: Any, name: str) -> None:
    shown = repr(value) if isinstance(value, (str, bytes)) else str(value)

    assert refusal(name, [value]) == f"expected a number or null; got {shown}"
    assert refusal(name, pd.Series([2, value], dtype=object)) == f"expected a number or null; got {shown}"


@pytest.mark.parametrize(
    "dtype", ["bool", "boolean", "datetime64[ns]", "timedelta64[ns]", "string", "complex128", "bool[pyarrow]"]
)
def test_a_column_of_something_else_is_not_one_of_numbers(dtype: str) -> None:
    assert refusal("distance_miles", pd.Series([1]).astype(dtype)).startswith(
        "expected a number or null; got "
    )


@pytest.mark.parametrize("fraction", [74.5, -0.5, 74.00000001, np.float32(0.25), Decimal("74.5")])
def test_a_part_of_a_zone_is_refused(fraction: Any) -> None:
    shown = float(fraction)
    for values in ([fraction], pd.Series([74.0, shown]), pd.Series([74.0, shown], dtype="Float64")):
        assert refusal("dropoff_zone", values) == f"expected a zone's id, a whole number; got {shown}"


@pytest.mark.parametrize(
    "zone", [0, -1, 266, 999, 2**31, 2**63, 10**30, 10**400, -(10**400), np.inf, -np.inf]
)
def test_any_other_whole_number_is_an_unknown_zone(zone: Any) -> None:
    assert read("pickup_zone", [zone]).tolist() == [0]


def test_a_distance_is_read_as_sent_and_may_be_infinite() -> None:
    assert read("distance_miles", [-1, 0, 1000, 1e300, 10**400]).tolist() == [-1, 0, 1000, np.inf, np.inf]
    assert read("distance_miles", np.array([1e300])).tolist() == [np.inf]


# --- Requests -----------------------------------------------------------------------------------------------


def test_one_request_is_a_column_of_one_and_may_be_a_row_of_a_table() -> None:
    ride = {"pickup_at": "2023-07-03T08:30", "pickup_zone": 74, "dropoff_zone": None, "distance_miles": 2}
    expected = read_requests(pd.DataFrame([ride]))

    for request in (ride, pd.Series({**ride, "fare_amount": 3.0})):
        found = read_requests(as_columns(request))
        assert list(found) == list(expected)
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected[name])


def test_no_requests_are_read_whatever_their_types() -> None:
    empty = pd.DataFrame(columns=request_columns.REQUEST_COLUMNS)

    assert [len(values) for values in read_requests(empty).values()] == [0] * 5
    assert [len(values) for values in read_requests(empty.astype(float)).values()] == [0] * 5
