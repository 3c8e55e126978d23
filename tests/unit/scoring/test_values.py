"""Values of columns: numbers and times in all types, and what is none of them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.model.request_columns import read_requests
from mlops.scoring import values

NAN, NAT = float("nan"), np.datetime64("NaT")


def column(found: list[Any], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    """The values in two chunks."""
    array = pa.array(found, kind)
    return pa.chunked_array([array[:1], array[1:]], array.type)


def times(
    found: list[Any], kind: pa.DataType | None = None, *, is_wall_clock: bool = False
) -> list[str | None]:
    """Times as text; None where there is none, ``wrong`` where a value is not a time."""
    read, wrong = values.times(column(found, kind), is_wall_clock=is_wall_clock)
    shown = [None if np.isnat(time) else str(time.astype("datetime64[s]")) for time in read]
    return ["wrong" if is_wrong else time for time, is_wrong in zip(shown, wrong, strict=True)]


@pytest.mark.parametrize(
    "found",
    [
        column([1, 2, None]), column([1.0, 2.0, NAN]), column(["1", " 2.0 ", ""]), column(["+1", "2e0", "nan"]),
        column([Decimal("1.00"), Decimal("2.00"), None]), column([1, 2, None]).dictionary_encode(),
        column(["1", "2", None], pa.large_string()), column(["1", "2", None], pa.string_view()),
    ],
)  # fmt: skip
def test_numbers_may_have_any_type(found: pa.ChunkedArray) -> None:
    for read in (values.numbers, values.identifiers):
        numbers, wrong = read(found)
        np.testing.assert_array_equal(numbers, [1, 2, NAN])
        assert not wrong.any()


def test_what_is_not_a_number_is_marked_and_the_others_are_read() -> None:
    numbers, wrong = values.numbers(column(["1", "JFK", "0x10", "1e400", "inf", "1_0", "7", "NaN", None]))
    assert wrong.tolist() == [False, True, True, True, True, True, False, False, False]
    np.testing.assert_array_equal(numbers[~wrong], [1, 7, NAN, NAN])
    assert values.numbers(column([1.0, float("inf")]))[1].tolist() == [False, True]


def test_an_identifier_is_a_whole_number_of_32_bits() -> None:
    found = [1.0, 74.5, -1.0, 2.0**31, -(2.0**31), 265.0, None]
    assert values.identifiers(column(found))[1].tolist() == [False, True, False, True, True, False, False]


def test_times_without_a_zone_are_the_wall_clock_in_every_unit() -> None:
    expected = ["2023-07-03T08:30:00", None, "1970-01-01T00:00:00"]
    found = [datetime(2023, 7, 3, 8, 30), None, datetime(1970, 1, 1)]
    for unit in ("s", "ms", "us", "ns"):
        assert times(found, pa.timestamp(unit)) == expected
    assert times([date(2023, 7, 3), None], pa.date32()) == times([date(2023, 7, 3), None], pa.date64())
    assert times([date(2023, 7, 3), None], pa.date32()) == ["2023-07-03T00:00:00", None]
    assert times([None, None]) == [None, None]


def test_times_with_a_zone_are_converted_unless_they_are_the_wall_clock() -> None:
    for zone in ("UTC", "Europe/Berlin", "+05:30"):
        assert times([1_688_387_400, None], pa.timestamp("s", zone)) == ["2023-07-03T08:30:00", None]
    assert times([0], pa.timestamp("s", "UTC"), is_wall_clock=True) == ["1970-01-01T00:00:00"]


def test_texts_are_times_in_iso_8601() -> None:
    good = {
        "2023-07-03": "2023-07-03T00:00:00", "2023-07-03 08:30": "2023-07-03T08:30:00",
        "2023-07-03T08:30:01.123456789": "2023-07-03T08:30:01", "2023-07-03T12:30Z": "2023-07-03T08:30:00",
        "2023-07-03 08:30:00-0400": "2023-07-03T08:30:00", " 2023-07-03T14:30+02:00 ": "2023-07-03T08:30:00",
    }  # fmt: skip
    bad = ["20230703", "2023", "07/03/2023 08:30", "2023-02-30", "2023-07-03T25:00", "noon", "1688387400"]
    assert times([*good, *bad, "", None]) == [*good.values(), *["wrong"] * len(bad), None, None]
    for text, expected in good.items():  # alone, too
        assert times([text]) == [expected]


def test_a_time_beyond_all_calendars_stays_beyond_them() -> None:
    """A wrapped number would be a time of our days."""
    for unit in ("s", "ms", "us"):
        for ticks in (2**62, -(2**62)):
            ((time,), (wrong,)) = values.times(column([ticks], pa.timestamp(unit)), is_wall_clock=False)
            assert not wrong
            assert abs(int(time.astype("datetime64[Y]").astype(np.int64))) > 100_000
    early, late = "0001-01-01T00:00:00", "9999-01-01T00:00:00"
    assert times(["0001-01-01", "9999-12-31T10:00", "x"]) == [early, late, "wrong"]


OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    st.lists(
        st.datetimes(datetime(2009, 1, 1), datetime(2099, 12, 31), timezones=st.none() | OFFSETS), min_size=1
    )
)
def test_texts_mean_what_they_mean_to_the_model(found: list[datetime]) -> None:
    texts = [time.isoformat() for time in found]
    rides = {name: np.ones(len(texts)) for name in ("pickup_zone", "dropoff_zone", "distance_miles")}
    expected = read_requests({"pickup_at": texts, **rides})["pickup_at"]
    instants = [time.astimezone(timezone.utc) for time in found if time.tzinfo]
    read, wrong = values.times(column(texts), is_wall_clock=False)
    typed, _ = values.times(column(instants, pa.timestamp("us", "UTC")), is_wall_clock=False)
    assert not wrong.any()
    np.testing.assert_array_equal(read, expected)
    np.testing.assert_array_equal(typed, expected[[time.tzinfo is not None for time in found]])


def test_nothing_is_read_of_nothing() -> None:
    for kind in (pa.int64(), pa.string(), pa.null()):
        assert [found.tolist() for found in values.numbers(pa.chunked_array([], kind))] == [[], []]
    for kind in (pa.timestamp("us"), pa.string(), pa.null()):
        read = values.times(pa.chunked_array([], kind), is_wall_clock=False)
        assert [found.tolist() for found in read] == [[], []]
