"""What past trips took, by pencil and paper, by SQL and trip by trip."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import make_features, make_requests, make_trips
from support.tiny_city import ENCODED, PAST, PAST_MINUTES, WHOLE, asked, encode, rows, totals_of

from mlops.model import encoder
from mlops.model.encoder import BANDS_FROM, CODES, LEVELS, MADE_FROM, SMOOTHING, ZONE_CODES, Encoder, Totals
from mlops.model.features import request_features
from mlops.model.request_columns import ZONES

OF_A_METER = {level.name for level in LEVELS if level.quantity in ("pace", "miles")}


# --- A city small enough for pencil and paper ---------------------------------------------------------------


@pytest.fixture
def smoothing_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent weighs as much as two trips, or two miles."""
    monkeypatch.setattr(encoder, "SMOOTHING", 2.0)


@pytest.mark.usefixtures("smoothing_of_two")
def test_the_means_of_a_tiny_city_are_those_of_pencil_and_paper() -> None:
    found = encode(Encoder.fit(PAST, PAST_MINUTES), asked(1, 2, weekday=0, hour=10))

    overall, square, pace, miles = 20.0, 1400 / 3, 60 / 7, 7 / 3
    pair = (30 + 2 * overall) / (2 + 2)
    pair_square = (500 + 2 * square) / (2 + 2)
    pickup = pair  # the same two trips left zone 1
    pair_pace = (30 + 2 * pace) / (4 + 2)
    pair_time_pace = (30 + 2 * pair_pace) / (4 + 2)
    pair_miles = (4 + 2 * miles) / (2 + 2)
    expected = {
        "pair_minutes": pair,
        "pair_time_minutes": (30 + 2 * pair) / (2 + 2),  # 8 to 12 o'clock is one part of the day
        "pair_band_minutes": pair,  # no trip of about 4 miles: its parent
        "pair_spread": (pair_square - pair**2) ** 0.5,
        "pair_trips": math.log(1 + 2),
        "pickup_hour_minutes": pickup,  # no trip at 10: its parent
        "dropoff_hour_minutes": pickup,
        "band_pickup_minutes": overall,
        "band_dropoff_minutes": overall,
        "pair_pace": pair_pace,
        "pair_time_pace": pair_time_pace,
        "pace_minutes": pair_time_pace * 4.0,
        "distance_ratio": 4.0 / pair_miles,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert list(found) == ENCODED


@pytest.mark.usefixtures("smoothing_of_two")
@pytest.mark.parametrize(("miles", "alike"), [(1.99, False), (2.0, True), (2.39, True), (2.4, False)])
def test_a_trip_is_compared_with_those_of_about_its_distance(miles: float, alike: bool) -> None:
    assert {2.0, 2.4} <= set(BANDS_FROM)
    found = encode(Encoder.fit(PAST, PAST_MINUTES), asked(1, 2, weekday=0, hour=10, miles=miles))
    band = (30 + 2 * 20) / (2 + 2) if alike else 20.0

    assert found["pair_band_minutes"] == pytest.approx((30 + 2 * 17.5) / (2 + 2) if alike else 17.5)
    assert found["band_pickup_minutes"] == pytest.approx((30 + 2 * band) / (2 + 2) if alike else band)
    assert found["band_dropoff_minutes"] == found["band_pickup_minutes"]  # the same two trips


@pytest.mark.usefixtures("smoothing_of_two")
@pytest.mark.parametrize("miles", [0.0, 0.09, -1.0, 100.5, np.nan])
def test_trips_that_no_meter_measured_are_compared_with_one_another(miles: float) -> None:
    past = {**PAST, "distance_miles": np.array([0.0, np.nan, 3.0], np.float32)}
    found = encode(Encoder.fit(past, PAST_MINUTES), asked(1, 2, weekday=0, hour=10, miles=miles))

    assert found["pair_band_minutes"] == pytest.approx((30 + 2 * 17.5) / (2 + 2))


@pytest.mark.usefixtures("smoothing_of_two")
def test_an_hour_of_the_week_is_not_the_same_hour_of_another_day() -> None:
    encoder = Encoder.fit(PAST, PAST_MINUTES)
    monday, tuesday = (encode(encoder, asked(1, 2, weekday, hour=9)) for weekday in (0, 1))

    assert monday["pickup_hour_minutes"] == pytest.approx((30 + 2 * 17.5) / (2 + 2))
    assert tuesday["pickup_hour_minutes"] == pytest.approx(17.5)
    assert monday["pair_time_minutes"] == tuesday["pair_time_minutes"]  # both are weekdays, 8 to 12


@pytest.mark.usefixtures("smoothing_of_two")
def test_an_evening_of_a_weekend_is_not_one_of_a_weekday() -> None:
    encoder = Encoder.fit(PAST, PAST_MINUTES)
    saturday, friday = (encode(encoder, asked(2, 1, weekday, hour=21)) for weekday in (5, 4))
    pair = (30 + 2 * 20) / (1 + 2)

    assert saturday["pair_time_minutes"] == pytest.approx((30 + 2 * pair) / (1 + 2))
    assert friday["pair_time_minutes"] == pytest.approx(pair)


@pytest.mark.parametrize(("pickup", "dropoff"), [(0, 0), (265, 264), (2, 2), (1, 200)])
def test_a_pair_that_no_trip_drove_gets_a_coarser_answer(pickup: int, dropoff: int) -> None:
    found = encode(Encoder.fit(PAST, PAST_MINUTES), asked(pickup, dropoff, weekday=3, hour=3))

    assert np.isfinite(list(found.values())).all()
    assert found["pair_minutes"] == found["pair_time_minutes"] == pytest.approx(20.0)
    assert found["pair_trips"] == 0


def test_an_unknown_distance_leaves_only_what_is_made_of_it_unknown() -> None:
    found = encode(Encoder.fit(PAST, PAST_MINUTES), asked(1, 2, 0, 9, miles=np.nan))

    assert {name for name, value in found.items() if np.isnan(value)} == {"pace_minutes", "distance_ratio"}


@pytest.mark.parametrize("miles", [0.0, np.nan, 0.05, 101.0])
def test_a_meter_that_did_not_run_says_nothing_about_pace(miles: float) -> None:
    broken = {**PAST, "distance_miles": np.array([2.0, miles, 3.0], np.float32)}
    found = Encoder.fit(broken, PAST_MINUTES)
    expected = Encoder.fit(rows(PAST, [0, 2]), PAST_MINUTES[[0, 2]])

    assert {"pair_pace", "pair_time_pace", "pair_miles"} == OF_A_METER & set(found.tables)
    for table in OF_A_METER & set(found.tables):
        np.testing.assert_array_equal(found.tables[table], expected.tables[table])


@pytest.mark.parametrize("miles", [0.0, np.nan])
def test_where_no_meter_ran_pace_and_distance_are_unknown_and_not_infinite(miles: float) -> None:
    past = {**PAST, "distance_miles": np.full(3, miles, np.float32)}
    totals = totals_of(3, past, PAST_MINUTES, np.arange(3), WHOLE)
    found = encode(totals.encoder(), asked(1, 2, 0, 9, miles=4.0))
    own = totals.out_of_fold(past, np.arange(3))

    unknown = {name for name in ENCODED if OF_A_METER & set(MADE_FROM[name])}
    assert {name for name, value in found.items() if np.isnan(value)} == unknown
    assert {name for name, values in own.items() if np.isnan(values).any()} == unknown
    assert not np.isinf(list(found.values())).any()


# --- Larger cities ------------------------------------------------------------------------------------------


KEYS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "pair": lambda trips: trips["pickup_zone"].astype(str) + " to " + trips["dropoff_zone"].astype(str),
    "pair_time": lambda trips: KEYS["pair"](trips) + part_of_day(trips),
    "pair_band": lambda trips: KEYS["pair"](trips) + KEYS["band"](trips),
    "pickup": lambda trips: trips["pickup_zone"],
    "dropoff": lambda trips: trips["dropoff_zone"],
    "pickup_hour": lambda trips: trips["pickup_zone"].astype(str) + hour_of_week(trips),
    "dropoff_hour": lambda trips: trips["dropoff_zone"].astype(str) + hour_of_week(trips),
    "band": lambda trips: about_miles(trips),
    "band_pickup": lambda trips: KEYS["band"](trips) + trips["pickup_zone"].astype(str),
    "band_dropoff": lambda trips: KEYS["band"](trips) + trips["dropoff_zone"].astype(str),
}


"""Words that are equal where two trips share a key; a new key of the encoder wants one here."""


def about_miles(trips: pd.DataFrame) -> pd.Series:
    bands = pd.cut(trips["distance_miles"], [*BANDS_FROM, 100.0001], right=False)
    return " about " + bands.astype(str) + " "


def part_of_day(trips: pd.DataFrame) -> pd.Series:
    weekend = trips["pickup_at"].dt.day_name().isin(["Saturday", "Sunday"])
    return weekend.map({True: " weekend ", False: " weekday "}) + (trips["pickup_at"].dt.hour // 4).astype(
        str
    )


def hour_of_week(trips: pd.DataFrame) -> pd.Series:
    return trips["pickup_at"].dt.strftime(" %A %H")


def mean_of(name: str, past: pd.DataFrame, keys: dict[str, object]) -> float:
    """A level's mean under a request's keys, from the definition: sums of those alike, and the parent's mean."""
    level = next(level for level in LEVELS if level.name == name)
    metered = past["distance_miles"].between(0.1, 100)
    alike = KEYS[level.key](past) == keys[level.key]

    def ratio(chosen: pd.DataFrame, prior: float, weight: float) -> float:
        ran = chosen[metered]
        over, under = {
            "minutes": (chosen["duration_minutes"].sum(), len(chosen)),
            "minutes_square": ((chosen["duration_minutes"] ** 2).sum(), len(chosen)),
            "pace": (ran["duration_minutes"].sum(), ran["distance_miles"].sum()),
            "miles": (ran["distance_miles"].sum(), len(ran)),
        }[level.quantity]
        return float((over + weight * prior) / (under + weight))

    prior = mean_of(level.parent, past, keys) if level.parent else ratio(past, 0.0, 0.0)
    return ratio(past[alike], prior, SMOOTHING)


@pytest.mark.filterwarnings("ignore:Boolean Series key will be reindexed")
def test_every_level_is_what_its_definition_says_trip_by_trip() -> None:
    trips = pd.DataFrame(make_trips(700, 2, zones=5))
    trips.loc[::9, "distance_miles"] = np.nan
    trips.loc[1::9, "distance_miles"] = 0.0
    trips.loc[2::9, "distance_miles"] = 101.0
    trips["distance_miles"] = trips["distance_miles"].astype(np.float32).astype(float)
    past, requests = trips.iloc[:600], trips.iloc[600::4]
    encoder = Encoder.fit(request_features(past), past["duration_minutes"].to_numpy())
    found = encoder.transform(request_features(requests))
    expected: dict[str, list[float]] = {level.name: [] for level in LEVELS}
    for position in range(len(requests)):
        request = requests.iloc[[position]]
        keys = {name: key(request).iloc[0] for name, key in KEYS.items()}
        for level in LEVELS:
            expected[level.name].append(mean_of(level.name, past, keys))
    miles, minutes = requests["distance_miles"], np.array(expected["pair_minutes"])
    driven = past.groupby(["pickup_zone", "dropoff_zone"]).size()
    made = {
        **expected,
        "pair_spread": np.sqrt(np.array(expected["pair_minutes_square"]) - minutes**2),
        "pair_trips": [
            math.log(1 + driven.get(pair, 0))
            for pair in zip(requests["pickup_zone"], requests["dropoff_zone"], strict=True)
        ],
        "pace_minutes": miles * expected["pair_time_pace"],
        "distance_ratio": miles / expected["pair_miles"],
    }

    assert list(found) == ENCODED
    for name, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, made[name], rtol=1e-5, err_msg=name)


PAIR_MEANS_IN_SQL = """
with past as (
    select pu, do, minutes, (strftime('%w', at) in ('0', '6')) * 6 + strftime('%H', at) / 4 as time from trips),
overall as (select avg(minutes) as mean from past),
pairs as (
    select pu, do, (sum(minutes) + :smoothing * mean) / (count(*) + :smoothing) as pair_minutes
    from past, overall group by pu, do)
select pu, do, time, pair_minutes, (sum(minutes) + :smoothing * pair_minutes) / (count(*) + :smoothing)
from past join pairs using (pu, do) group by pu, do, time
"""


def test_sql_finds_the_same_means_of_pairs() -> None:
    trips = make_trips(2000)
    encoder = Encoder.fit(request_features(trips), trips["duration_minutes"])
    frame = pd.DataFrame(
        {
            "at": pd.Series(trips["pickup_at"]).dt.strftime("%Y-%m-%d %H:%M:%S"),
            "pu": trips["pickup_zone"],
            "do": trips["dropoff_zone"],
            "minutes": trips["duration_minutes"],
        }
    )
    database = sqlite3.connect(":memory:")
    try:
        frame.to_sql("trips", database, index=False)
        smoothing = {"smoothing": SMOOTHING}
        found = np.array(database.execute(PAIR_MEANS_IN_SQL, smoothing).fetchall())
    finally:
        database.close()
    pair = (found[:, 0] * 266 + found[:, 1]).astype(int)

    assert len(found) > 1000
    np.testing.assert_allclose(encoder.tables["pair_minutes"][pair], found[:, 3], rtol=1e-5)
    np.testing.assert_allclose(
        encoder.tables["pair_time_minutes"][pair * 12 + found[:, 2].astype(int)], found[:, 4], rtol=1e-5
    )


def test_a_batch_has_the_encodings_of_each_request_alone() -> None:
    known, minutes = make_features(500)
    encoder = Encoder.fit(known, minutes)
    batch = request_features(make_requests(40, seed=1))
    together = encoder.transform(batch)

    for position in range(40):
        for name, values in encoder.transform(rows(batch, [position])).items():
            np.testing.assert_array_equal(values, together[name][[position]])


def test_what_is_known_only_afterwards_changes_no_encoding() -> None:
    encoder = Encoder.fit(*make_features(300))
    requests = make_requests(20, seed=1)
    afterwards = requests.assign(
        dropoff_at=pd.Timestamp(0), duration_minutes=1.0, fare_amount=-5.0, tip_amount=9.0
    )

    expected = encoder.transform(request_features(requests))
    for name, values in encoder.transform(request_features(afterwards)).items():
        np.testing.assert_array_equal(values, expected[name])


def test_no_argument_is_changed() -> None:
    known, minutes = make_features(50)
    fold = np.arange(50) % 2
    before = {name: values.copy() for name, values in known.items()}
    totals = totals_of(2, known, minutes, fold, WHOLE)
    totals.out_of_fold(known, fold)
    totals.encoder().transform(known)

    for name, values in before.items():
        np.testing.assert_array_equal(known[name], values)
    np.testing.assert_array_equal(minutes, make_features(50)[1])
    np.testing.assert_array_equal(fold, np.arange(50) % 2)


# --- Some of the features -----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.lists(st.sampled_from(ENCODED), unique=True, max_size=4))
def test_an_encoder_of_some_features_gives_what_one_of_all_gives_for_them(chosen: list[str]) -> None:
    known, minutes = make_features(200)
    fold = np.arange(200) % 3
    some, every = Totals(chosen, folds=3), totals_of(3, known, minutes, fold, WHOLE)
    some.add(known, minutes, fold)
    both = [(some.encoder().transform(known), every.encoder().transform(known))]
    both.append((some.out_of_fold(known, fold), every.out_of_fold(known, fold)))

    assert some.trips == 200
    assert set(some.encoder().tables) == {
        ZONE_CODES,
        *(table for name in chosen for table in MADE_FROM[name]),
    }
    for found, expected in both:
        assert list(found) == chosen
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected[name])


def test_every_feature_is_made_from_something_and_parents_come_first() -> None:
    assert set(ENCODED) <= set(MADE_FROM)
    names = [level.name for level in LEVELS]
    for position, level in enumerate(LEVELS):
        assert level.parent is None or level.parent in names[:position]
        above = LEVELS[names.index(level.parent)] if level.parent else level
        assert encoder.SIZES[level.key] == level.slots * encoder.SIZES[above.key]


def test_the_busiest_zones_have_codes_of_their_own_and_the_rarest_share_one_with_the_unknown() -> None:
    """A zone is as busy as its number of trips, at either end; every id from 1 has one trip more than the next."""
    trips = np.arange(ZONES)[::-1]
    zones = np.repeat(np.arange(ZONES), trips).astype(np.int16)
    known = {name: np.resize(values, len(zones)) for name, values in make_features(10)[0].items()}
    for ends in ({"pickup_zone": zones}, {"dropoff_zone": zones}):
        others = {"pickup_zone": np.zeros_like(zones), "dropoff_zone": np.zeros_like(zones)}
        codes = Encoder.fit({**known, **others, **ends}, np.ones(len(zones))).zone_codes

        assert codes[0] == 0
        assert codes[1:CODES].tolist() == list(range(1, CODES))
        assert codes[CODES:].tolist() == [0] * (ZONES - CODES)
