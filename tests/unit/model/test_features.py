"""Features use only the request; each is recomputed here in another way."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import holidays
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import MAY, TLC_NAMES, make_requests, make_trips, trip, write_month
from support.clean_months import features_of

from mlops.errors import MlopsError
from mlops.model.features import (
    CATEGORICAL,
    ENCODED_FEATURES,
    REQUEST_FEATURES,
    feature_names,
    request_features,
)
from mlops.training.feature_files import FEATURE_SCHEMA

NAMES = [feature.name for feature in REQUEST_FEATURES]


# --- Only what is known at the request ----------------------------------------------------------------------


@pytest.mark.parametrize("service", TLC_NAMES)
def test_what_is_known_only_afterwards_changes_no_feature(service: str, tmp_path: Path) -> None:
    asked = [
        {"pickup_at": "2023-05-01 00:00:00", "pickup_zone": 132},
        {"pickup_at": "2023-05-29 17:45:10", "passenger_count": None, "distance_miles": 0.0},
        {"pickup_at": "2023-05-31 23:59:59", "dropoff_zone": 265},
    ]
    one = [trip(**request, seconds=600, store_and_fwd_flag="N") for request in asked]
    other = [
        trip(
            **request,
            seconds=3000,
            RatecodeID=5.0,
            payment_type=4,
            fare_amount=-80.0,
            tip_amount=99.0,
            total_amount=-1.0,
            store_and_fwd_flag="Y",
        )
        for request in asked
    ]
    first = features_of(tmp_path, write_month(tmp_path / "one.parquet", service, *one), service)
    second = features_of(tmp_path, write_month(tmp_path / "other.parquet", service, *other), service)

    pd.testing.assert_frame_equal(first[NAMES], second[NAMES])
    assert first["duration_minutes"].tolist() == [10.0] * 3  # the target did change
    assert second["duration_minutes"].tolist() == [50.0] * 3


def test_nothing_known_only_afterwards_is_a_feature() -> None:
    assert not {"duration_minutes", "dropoff_at", "for_training"} & set(feature_names())
    assert list(request_features(make_requests(1))) == NAMES
    assert FEATURE_SCHEMA.names == [*NAMES, "duration_minutes", "for_training"]


def test_without_distance_no_feature_knows_it() -> None:
    every, shorter = REQUEST_FEATURES + ENCODED_FEATURES, feature_names(use_distance=False)

    assert feature_names() == tuple(feature.name for feature in every)
    assert [f.name for f in every if f.name not in shorter] == [f.name for f in every if f.needs_distance]
    assert not [name for name in shorter if any(word in name for word in ("distance", "pace", "mile"))]


def test_only_zones_are_codes() -> None:
    assert {"pickup_zone", "dropoff_zone"} == CATEGORICAL


# --- Stateless features -------------------------------------------------------------------------------------


moments = st.datetimes(datetime(2018, 1, 1), datetime(2026, 12, 31, 23, 59, 59, 999_999))


new_york = holidays.UnitedStates(subdiv="NY", years=range(2018, 2027))


def requests_at(*pickups: datetime, **columns: Any) -> dict[str, Any]:
    n = len(pickups)
    defaults = {"pickup_zone": [1] * n, "dropoff_zone": [2] * n, "distance_miles": [1.0] * n}
    passengers = {"passenger_count": [1] * n}
    return {"pickup_at": np.array(pickups, "datetime64[us]"), **defaults, **passengers, **columns}


@given(st.lists(moments, min_size=1, max_size=5))
def test_the_calendar_agrees_with_the_standard_library(pickups: list[datetime]) -> None:
    found = request_features(requests_at(*pickups))

    assert found["minute_of_day"].tolist() == [at.hour * 60 + at.minute for at in pickups]
    assert found["weekday"].tolist() == [at.weekday() for at in pickups]
    assert found["month"].tolist() == [at.month for at in pickups]
    assert found["is_holiday"].tolist() == [int(at.date() in new_york) for at in pickups]


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2023-07-04", 1), ("2023-07-05", 0), ("2023-11-23", 1), ("2024-01-01", 1), ("2023-12-31", 0)],
)
def test_holidays_are_those_of_new_york(day: str, expected: int) -> None:
    noon = datetime.fromisoformat(f"{day} 12:00")
    midnight = datetime.fromisoformat(f"{day} 00:00")

    assert request_features(requests_at(noon, midnight))["is_holiday"].tolist() == [expected] * 2


# Written out by hand from the city's calendars; where a rule cannot know them, what the rule makes of them.
SCHOOL_DAYS = {
    "2023-01-02": False,  # New Year's Day, observed
    "2023-01-03": True,
    "2023-01-16": False,  # Martin Luther King Jr. Day
    "2023-02-13": True,  # Lincoln's birthday, which the state keeps and schools do not
    "2023-02-15": True,  # Susan B. Anthony's, likewise
    "2023-02-17": True,
    "2023-02-20": False,  # Presidents' week
    "2023-02-22": False,
    "2023-02-24": False,
    "2023-02-27": True,
    "2023-03-14": True,  # a plain Tuesday
    "2023-03-18": False,  # a Saturday
    "2023-03-19": False,
    "2023-04-05": True,
    "2023-04-07": False,  # Good Friday
    "2023-04-10": False,
    "2023-04-14": False,
    "2023-04-17": True,
    "2023-05-29": False,  # Memorial Day
    "2023-06-19": False,  # Juneteenth
    "2023-06-26": True,
    "2023-06-28": False,
    "2023-07-04": False,
    "2023-08-15": False,
    "2023-09-04": False,  # Labor Day
    "2023-09-06": False,
    "2023-09-07": True,  # the first day
    "2023-10-09": False,  # Columbus Day
    "2023-11-23": False,  # Thanksgiving
    "2023-12-22": True,
    "2023-12-25": False,
    "2023-12-29": False,
}


@pytest.mark.parametrize(("day", "taught"), SCHOOL_DAYS.items())
def test_school_days_are_those_of_new_york(day: str, taught: bool) -> None:
    noon, night = (datetime.fromisoformat(f"{day} {time}") for time in ("12:00", "23:59:59"))

    assert request_features(requests_at(noon, night))["is_school_day"].tolist() == [int(taught)] * 2


def test_school_is_out_over_new_year_and_one_batch_may_hold_both_years() -> None:
    days = ["2022-12-23", "2022-12-30", "2023-01-02", "2023-01-03", "2024-09-04", "2024-09-05", "2022-09-08"]
    found = request_features(requests_at(*(datetime.fromisoformat(day) for day in days)))

    assert found["is_school_day"].tolist() == [1, 0, 0, 1, 0, 1, 1]
    assert found["is_holiday"].tolist() == [0, 0, 1, 0, 0, 0, 0]


@given(moments)
def test_nobody_is_taught_at_a_weekend_on_a_holiday_or_in_high_summer(at: datetime) -> None:
    found = request_features(requests_at(at))

    kept_by_the_state_only = at.month == 2 and at.day in (11, 12, 13, 14, 15, 16)
    if at.weekday() >= 5 or (at.date() in new_york and not kept_by_the_state_only) or at.month in (7, 8):
        assert found["is_school_day"].tolist() == [0]


@pytest.mark.parametrize("year", range(2015, 2031))
def test_a_school_year_has_about_as_many_days_as_the_law_wants(year: int) -> None:
    """The law wants 180, some of them without pupils; the rule knows neither religious holidays nor those."""
    days = [datetime(year, 1, 1) + timedelta(days=number) for number in range(365)]

    assert 176 <= request_features(requests_at(*days))["is_school_day"].sum() <= 194


@example([0, 1, 265, 266, -1])
@given(st.lists(st.integers(-(2**31), 2**31), min_size=1, max_size=5))
def test_a_zone_that_tlc_has_not_given_out_is_zone_0(zones: list[int]) -> None:
    pickups = [MAY.start] * len(zones)
    found = request_features(requests_at(*pickups, pickup_zone=zones, dropoff_zone=np.array(zones)))

    expected = [zone if 1 <= zone <= 265 else 0 for zone in zones]
    assert found["pickup_zone"].tolist() == found["dropoff_zone"].tolist() == expected


@pytest.mark.parametrize(
    "passengers",
    [
        [2, None],
        [2.0, float("nan")],
        np.array([2, None], object),
        np.array([2.0, np.nan]),
        pd.Series([2, pd.NA], dtype=object),
        pd.Series([2, None], dtype="Int64"),
        pd.array([2, None], "Int64"),
    ],
    ids=["list", "nan list", "object", "float", "NA", "Int64 series", "Int64 array"],
)
def test_a_null_is_missing_however_it_is_written(passengers: Any) -> None:
    found = request_features(requests_at(MAY.start, MAY.start, passenger_count=passengers))["passenger_count"]

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [2, np.nan])


def test_requests_without_a_passenger_column_have_no_passengers() -> None:
    found = request_features(make_requests(3).drop(columns="passenger_count"))

    assert np.isnan(found["passenger_count"]).all()


@pytest.mark.parametrize("column", ["pickup_at", "pickup_zone", "dropoff_zone", "distance_miles"])
def test_a_missing_request_column_is_named(column: str) -> None:
    with pytest.raises(MlopsError) as refused:
        request_features(make_requests(3).drop(columns=column))

    assert str(refused.value) == (
        f"requests: missing ['{column}']; expected the columns "
        "['pickup_at', 'pickup_zone', 'dropoff_zone', 'distance_miles', 'passenger_count']"
    )


def test_a_missing_pickup_time_is_counted() -> None:
    requests = make_requests(3)
    requests.loc[1, "pickup_at"] = pd.NaT
    with pytest.raises(MlopsError) as refused:
        request_features(requests)

    assert str(refused.value) == "requests: pickup_at is missing in 1 of 3 rows"


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_any_year_of_the_calendar_is_read(year: str) -> None:
    found = request_features(requests_at(datetime.fromisoformat(f"{year}-06-30 08:30")))

    assert found["month"].tolist() == [6]


@pytest.mark.parametrize("year", [-100, 0, 10_000])
def test_a_year_that_the_calendar_does_not_have_is_refused(year: int) -> None:
    pickup_at = np.array([np.datetime64(year - 1970, "Y"), np.datetime64("2023-05-01")], "datetime64[s]")
    with pytest.raises(MlopsError) as refused:
        request_features({**requests_at(MAY.start, MAY.start), "pickup_at": pickup_at})

    first, last = sorted([year, 2023])
    assert str(refused.value) == (
        f"requests: pickup_at: expected years 1 to 9999; got years {first} to {last}"
    )


def test_a_pickup_time_with_a_time_zone_is_read_by_its_wall_clock() -> None:
    requests = make_requests(20)
    zoned = requests.assign(pickup_at=requests["pickup_at"].dt.tz_localize("America/New_York"))

    expected = request_features(requests)
    for name, values in request_features(zoned).items():
        np.testing.assert_array_equal(values, expected[name])


def test_no_requests_have_no_features() -> None:
    found = request_features(make_requests(3).head(0))

    assert [len(values) for values in found.values()] == [0] * len(NAMES)


def test_a_batch_has_the_features_of_each_request_alone() -> None:
    requests = make_requests(50)
    batch = request_features(requests)

    for position in range(50):
        for name, values in request_features(requests.iloc[[position]]).items():
            np.testing.assert_array_equal(values, batch[name][[position]])


def test_no_argument_is_changed() -> None:
    requests, trips = make_requests(50), make_trips(50)
    before, trips_before = requests.copy(deep=True), {name: values.copy() for name, values in trips.items()}
    request_features(trips)
    request_features(requests)

    pd.testing.assert_frame_equal(requests, before)
    for name, values in trips_before.items():
        np.testing.assert_array_equal(trips[name], values)
