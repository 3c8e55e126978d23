"""Features say only what a request says and what past trips took; each is recomputed here in another way."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import holidays
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import MAY, TLC_NAMES, make_features, make_requests, make_trips, trip, write_month
from hypothesis import example, given
from hypothesis import strategies as st

from mlops import features, sample
from mlops.errors import MlopsError
from mlops.features import (
    ENCODED_FEATURES,
    FEATURE_SCHEMA,
    REQUEST_FEATURES,
    Encoder,
    feature_list,
    features_file,
    request_features,
    summarise,
)
from mlops.trips import clean_file

NAMES = [feature.name for feature in REQUEST_FEATURES]


def features_of(folder: Path, raw: Path, service: str = "green") -> pd.DataFrame:
    """A raw month's feature table, through the files of the pipeline."""
    clean_file(raw, service, MAY, folder / "clean.parquet")
    features_file(folder / "clean.parquet", folder / "features.parquet")
    return pd.read_parquet(folder / "features.parquet")


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


def test_what_is_known_only_afterwards_changes_no_encoding() -> None:
    known, minutes = make_features(300)
    encoder = Encoder.fit(known, minutes)
    requests = make_requests(20, seed=1)
    afterwards = requests.assign(
        dropoff_at=pd.Timestamp(0), duration_minutes=1.0, fare_amount=-5.0, tip_amount=9.0
    )

    expected = encoder.transform(request_features(requests))
    for name, values in encoder.transform(request_features(afterwards)).items():
        np.testing.assert_array_equal(values, expected[name])


def test_nothing_known_only_afterwards_is_a_feature() -> None:
    assert not {"duration_minutes", "dropoff_at", "for_training"} & {f.name for f in feature_list()}
    assert list(request_features(make_requests(1))) == NAMES
    assert FEATURE_SCHEMA.names == [*NAMES, "duration_minutes", "for_training"]


def test_without_distance_no_feature_knows_it() -> None:
    shorter = feature_list(use_distance=False)

    assert [f for f in feature_list() if f not in shorter] == [f for f in feature_list() if f.needs_distance]
    assert not [f.name for f in shorter if "distance" in f.name or "pace" in f.name]


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
    known = request_features(trips)
    known_before = {name: values.copy() for name, values in known.items()}
    request_features(requests)
    Encoder.fit_transform(known, trips["duration_minutes"], seed=1)[0].transform(known)

    pd.testing.assert_frame_equal(requests, before)
    for name, values in trips_before.items():
        np.testing.assert_array_equal(trips[name], values)
    for name, values in known_before.items():
        np.testing.assert_array_equal(known[name], values)


# --- The table in a file ------------------------------------------------------------------------------------


def test_the_feature_file_is_the_clean_file_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BATCH_ROWS", 307)
    raw = sample.write_month(tmp_path / "raw.parquet", "green", MAY, rows=1000)
    table = features_of(tmp_path, raw)
    clean = pd.read_parquet(tmp_path / "clean.parquet")
    expected = request_features(clean)

    assert pq.read_schema(tmp_path / "features.parquet").equals(FEATURE_SCHEMA)
    for name in NAMES:
        np.testing.assert_array_equal(table[name], expected[name])
    for name in ("duration_minutes", "for_training"):
        np.testing.assert_array_equal(table[name], clean[name])


def test_a_failure_leaves_no_feature_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_file(
        write_month(tmp_path / "raw.parquet", "green", trip()), "green", MAY, tmp_path / "clean.parquet"
    )

    def breaks(requests: Any) -> dict[str, np.ndarray]:
        raise RuntimeError("half-way")

    monkeypatch.setattr(features, "request_features", breaks)
    with pytest.raises(RuntimeError, match="half-way"):
        features_file(tmp_path / "clean.parquet", tmp_path / "out" / "features.parquet")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_summary_agrees_with_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BATCH_ROWS", 211)
    statistics, tables = [], []
    for number, rows in enumerate((300, 500)):
        raw = sample.write_month(tmp_path / f"{number}.parquet", "green", MAY, rows=rows, seed=number)
        clean_file(raw, "green", MAY, tmp_path / "clean.parquet")
        statistics.append(features_file(tmp_path / "clean.parquet", tmp_path / "features.parquet"))
        tables.append(pd.read_parquet(tmp_path / "features.parquet"))
    summary, table = summarise(statistics).set_index("feature"), pd.concat(tables)[NAMES]

    assert list(summary.index) == NAMES
    assert summary["meaning"].tolist() == [feature.meaning for feature in REQUEST_FEATURES]
    assert (summary["rows"] == len(table)).all()
    np.testing.assert_allclose(summary["missing_share"], table.isna().mean(), atol=5e-5)
    np.testing.assert_allclose(summary["least"], table.min())
    np.testing.assert_allclose(summary["most"], table.max())
    np.testing.assert_allclose(summary["mean"], table.astype(float).mean(), atol=6e-4, rtol=1e-6)


def test_a_feature_that_is_missing_throughout_is_summarised_too(tmp_path: Path) -> None:
    path = write_month(tmp_path / "raw.parquet", "fhvhv", trip(), trip())
    clean_file(path, "fhvhv", MAY, tmp_path / "clean.parquet")
    summary = summarise([features_file(tmp_path / "clean.parquet", tmp_path / "features.parquet")])
    passengers = summary.set_index("feature").loc["passenger_count"]

    assert passengers["missing_share"] == 1.0
    assert passengers[["least", "mean", "most"]].isna().all()


# --- What past trips say ------------------------------------------------------------------------------------

PAST = {  # two trips from zone 1 to zone 2 on a Monday at 9, one back on a Saturday at 22
    "pickup_zone": np.array([1, 1, 2]),
    "dropoff_zone": np.array([2, 2, 1]),
    "distance_miles": np.array([2.0, 2.0, 3.0], np.float32),
    "weekday": np.array([0, 0, 5]),
    "minute_of_day": np.array([540, 570, 1320]),
}
PAST_MINUTES = np.array([10.0, 20.0, 30.0])


def asked(pickup: int, dropoff: int, weekday: int, hour: int, miles: float = 4.0) -> dict[str, np.ndarray]:
    return {
        "pickup_zone": np.array([pickup]),
        "dropoff_zone": np.array([dropoff]),
        "distance_miles": np.array([miles], np.float32),
        "weekday": np.array([weekday]),
        "minute_of_day": np.array([hour * 60]),
    }


def encode(encoder: Encoder, request: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values[0]) for name, values in encoder.transform(request).items()}


def test_the_means_of_a_tiny_city_are_those_of_pencil_and_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SMOOTHING", 2.0)
    found = encode(Encoder.fit(PAST, PAST_MINUTES), asked(1, 2, weekday=0, hour=10))

    overall, pace, miles = 20.0, 60 / 7, 7 / 3
    pair = (30 + 2 * overall) / (2 + 2)
    pickup = pair  # the same two trips left zone 1
    pair_pace = (30 + 2 * pace) / (4 + 2)
    pair_band_pace = (30 + 2 * pair_pace) / (4 + 2)
    pair_miles = (4 + 2 * miles) / (2 + 2)
    assert found == pytest.approx(
        {
            "pair_minutes": pair,
            "pair_band_minutes": (30 + 2 * pair) / (2 + 2),  # 8 to 12 o'clock is one band
            "pickup_hour_minutes": pickup,  # no trip at 10: its parent
            "dropoff_hour_minutes": pickup,
            "pair_pace": pair_pace,
            "pair_band_pace": pair_band_pace,
            "pace_minutes": pair_band_pace * 4.0,
            "distance_ratio": 4.0 / pair_miles,
        },
        rel=1e-6,
    )


def test_an_hour_of_the_week_is_not_the_same_hour_of_another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SMOOTHING", 2.0)
    encoder = Encoder.fit(PAST, PAST_MINUTES)
    monday, tuesday = (encode(encoder, asked(1, 2, weekday, hour=9)) for weekday in (0, 1))

    assert monday["pickup_hour_minutes"] == pytest.approx((30 + 2 * 17.5) / (2 + 2))
    assert tuesday["pickup_hour_minutes"] == pytest.approx(17.5)
    assert monday["pair_band_minutes"] == tuesday["pair_band_minutes"]  # both are weekdays, 8 to 12


def test_a_weekend_band_is_not_a_weekday_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SMOOTHING", 2.0)
    encoder = Encoder.fit(PAST, PAST_MINUTES)
    saturday, friday = (encode(encoder, asked(2, 1, weekday, hour=21)) for weekday in (5, 4))
    pair = (30 + 2 * 20) / (1 + 2)

    assert saturday["pair_band_minutes"] == pytest.approx((30 + 2 * pair) / (1 + 2))
    assert friday["pair_band_minutes"] == pytest.approx(pair)


@pytest.mark.parametrize(("pickup", "dropoff"), [(0, 0), (265, 264), (2, 2), (1, 200)])
def test_a_pair_that_no_trip_drove_gets_a_coarser_answer(pickup: int, dropoff: int) -> None:
    found = encode(Encoder.fit(PAST, PAST_MINUTES), asked(pickup, dropoff, weekday=3, hour=3))

    assert np.isfinite(list(found.values())).all()
    assert found["pair_minutes"] == found["pair_band_minutes"] == pytest.approx(20.0)


def test_an_unknown_distance_leaves_only_what_is_made_of_it_unknown() -> None:
    found = encode(Encoder.fit(PAST, PAST_MINUTES), asked(1, 2, 0, 9, miles=np.nan))

    assert {name for name, value in found.items() if np.isnan(value)} == {"pace_minutes", "distance_ratio"}


@pytest.mark.parametrize("miles", [0.0, np.nan, 0.05, 101.0])
def test_a_meter_that_did_not_run_says_nothing_about_pace(miles: float) -> None:
    broken = {**PAST, "distance_miles": np.array([2.0, miles, 3.0], np.float32)}
    without = {name: values[[0, 2]] for name, values in PAST.items()}
    found = Encoder.fit(broken, PAST_MINUTES)
    expected = Encoder.fit(without, PAST_MINUTES[[0, 2]])

    for table in ("pair_pace", "pair_band_pace", "pair_miles"):
        np.testing.assert_array_equal(found.tables[table], expected.tables[table])


@pytest.mark.parametrize("miles", [0.0, np.nan])
def test_where_no_meter_ran_pace_and_distance_are_unknown_and_not_infinite(miles: float) -> None:
    past = {**PAST, "distance_miles": np.full(3, miles, np.float32)}
    encoder, _ = Encoder.fit_transform(past, PAST_MINUTES, seed=1)
    found = encode(encoder, asked(1, 2, 0, 9, miles=4.0))

    unknown = {feature.name for feature in ENCODED_FEATURES if feature.needs_distance}
    assert {name for name, value in found.items() if np.isnan(value)} == unknown
    assert not np.isinf(list(found.values())).any()


def test_a_batch_has_the_encodings_of_each_request_alone() -> None:
    known, minutes = make_features(500)
    encoder = Encoder.fit(known, minutes)
    batch = request_features(make_requests(40, seed=1))
    together = encoder.transform(batch)

    for position in range(40):
        alone = encoder.transform({name: values[[position]] for name, values in batch.items()})
        for name, values in alone.items():
            np.testing.assert_array_equal(values, together[name][[position]])


def test_a_trips_own_duration_does_not_enter_its_own_encoding() -> None:
    known, minutes = make_features(400)
    _, before = Encoder.fit_transform(known, minutes, seed=3)
    for position in range(0, 400, 40):
        other = minutes.copy()
        other[position] = 1000.0
        _, after = Encoder.fit_transform(known, other, seed=3)
        for name in before:
            # Sums are taken apart, not built up again: the last digits may differ.
            np.testing.assert_allclose(after[name][position], before[name][position], rtol=1e-5)
        assert not np.allclose(after["pair_minutes"], before["pair_minutes"], rtol=1e-3)


def test_out_of_fold_means_are_those_of_the_other_folds() -> None:
    known, minutes = make_features(300)
    _, encoded = Encoder.fit_transform(known, minutes, seed=3, folds=4)
    fold = np.random.default_rng(3).integers(0, 4, 300)
    for number in range(4):
        inside = fold == number
        others = Encoder.fit({n: values[~inside] for n, values in known.items()}, minutes[~inside])
        expected = others.transform({n: values[inside] for n, values in known.items()})
        for name in encoded:
            np.testing.assert_allclose(encoded[name][inside], expected[name], rtol=1e-5)


def test_the_encoder_of_a_fit_is_that_of_all_its_trips() -> None:
    known, minutes = make_features(300)
    fitted, _ = Encoder.fit_transform(known, minutes, seed=3)
    expected = Encoder.fit(known, minutes)

    for name, table in expected.tables.items():
        np.testing.assert_array_equal(fitted.tables[name], table)


def test_one_trip_is_enough_to_fit() -> None:
    encoder, encoded = Encoder.fit_transform({n: v[:1] for n, v in PAST.items()}, PAST_MINUTES[:1], seed=1)

    assert set(encoded) == {feature.name for feature in ENCODED_FEATURES}
    assert encode(encoder, asked(9, 9, 0, 0))["pair_minutes"] == pytest.approx(10.0)
    assert not np.isinf(np.concatenate(list(encoded.values()))).any()  # nothing to learn out of fold: unknown


PAIR_MEANS_IN_SQL = """
with past as (
    select pu, do, minutes, (strftime('%w', at) in ('0', '6')) * 6 + strftime('%H', at) / 4 as band from trips),
overall as (select avg(minutes) as mean from past),
pairs as (
    select pu, do, (sum(minutes) + 10 * mean) / (count(*) + 10) as pair_minutes
    from past, overall group by pu, do)
select pu, do, band, pair_minutes, (sum(minutes) + 10 * pair_minutes) / (count(*) + 10)
from past join pairs using (pu, do) group by pu, do, band
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
        rows = np.array(database.execute(PAIR_MEANS_IN_SQL).fetchall())
    finally:
        database.close()
    pair = (rows[:, 0] * 266 + rows[:, 1]).astype(int)

    assert len(rows) > 1000
    np.testing.assert_allclose(encoder.tables["pair_minutes"][pair], rows[:, 3], rtol=1e-5)
    np.testing.assert_allclose(
        encoder.tables["pair_band_minutes"][pair * 12 + rows[:, 2].astype(int)], rows[:, 4], rtol=1e-5
    )


def test_an_arrow_table_keeps_features_as_they_are() -> None:
    found = request_features(make_trips(20))

    for name, values in found.items():
        stored = pa.array(values).cast(FEATURE_SCHEMA.field(name).type).to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(stored, values)
