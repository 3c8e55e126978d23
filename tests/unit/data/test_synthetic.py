"""The synthetic city: same arguments, same bytes; TLC's shape and dirt; and something to learn."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops import config
from mlops.data.cache import fetch
from mlops.data.sources import Source, file_name, months_available
from mlops.data.synthetic import city
from mlops.data.synthetic.city import FIRST_MONTH, LAST_MONTH
from mlops.data.synthetic.columns import SAMPLE_MARKER, is_sample
from mlops.data.synthetic.source import SampleSource, make_month, write_month
from mlops.errors import ConfigError, MonthNotPublishedError
from mlops.month import Month

REAL_MONTHS = config.PROJECT.parent / "shared" / "tlc" / "trip-data"
MAY = Month(2023, 5)

TLC_COLUMNS = {
    "green": [
        "VendorID", "lpep_pickup_datetime", "lpep_dropoff_datetime", "store_and_fwd_flag", "RatecodeID",
        "PULocationID", "DOLocationID", "passenger_count", "trip_distance", "fare_amount", "extra", "mta_tax",
        "tip_amount", "tolls_amount", "ehail_fee", "improvement_surcharge", "total_amount", "payment_type",
        "trip_type", "congestion_surcharge",
    ],
    "yellow": [
        "VendorID", "tpep_pickup_datetime", "tpep_dropoff_datetime", "passenger_count", "trip_distance",
        "RatecodeID", "store_and_fwd_flag", "PULocationID", "DOLocationID", "payment_type", "fare_amount",
        "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge", "total_amount",
        "congestion_surcharge", "Airport_fee",
    ],
    "fhvhv": [
        "hvfhs_license_num", "dispatching_base_num", "originating_base_num", "request_datetime",
        "on_scene_datetime", "pickup_datetime", "dropoff_datetime", "PULocationID", "DOLocationID",
        "trip_miles", "trip_time", "base_passenger_fare", "tolls", "bcf", "sales_tax", "congestion_surcharge",
        "airport_fee", "tips", "driver_pay", "shared_request_flag", "shared_match_flag", "access_a_ride_flag",
        "wav_request_flag", "wav_match_flag",
    ],
}  # fmt: skip
SERVICES = tuple(TLC_COLUMNS)


def bytes_of(path: Path, service: str, month: Month, *, rows: int = 2000, seed: int = 7) -> bytes:
    return write_month(path / "month.parquet", service, month, rows=rows, seed=seed).read_bytes()


def green(*months: Month) -> pd.DataFrame:
    """Green trips under short names, with their minutes."""
    trips = pd.concat([make_month("green", month).to_pandas() for month in months], ignore_index=True)
    minutes = (trips.lpep_dropoff_datetime - trips.lpep_pickup_datetime).dt.total_seconds() / 60
    return trips.rename(
        columns={"lpep_pickup_datetime": "pickup_at", "PULocationID": "start", "DOLocationID": "end"}
    ).assign(minutes=minutes)


def honest(trips: pd.DataFrame) -> pd.DataFrame:
    return trips[trips.minutes.between(1, 60)]


@pytest.fixture(scope="module")
def may() -> pd.DataFrame:
    return green(MAY)


# --- the same arguments, the same bytes --------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_a_month_is_the_same_whatever_was_made_before_it(tmp_path: Path, service: str) -> None:
    first = bytes_of(tmp_path, service, MAY)
    bytes_of(tmp_path, service, MAY + 1)
    bytes_of(tmp_path, "green", FIRST_MONTH, seed=8)
    city.city.cache_clear()
    assert bytes_of(tmp_path, service, MAY) == first


def test_a_month_is_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        "import hashlib, pathlib; from mlops.month import Month; "
        "from mlops.data.synthetic.source import write_month; "
        "path = write_month(pathlib.Path('other.parquet'), 'green', Month(2023, 5), rows=2000); "
        "print(hashlib.sha256(path.read_bytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(config.PROJECT)}
    other = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == hashlib.sha256(bytes_of(tmp_path, "green", MAY)).hexdigest()


def test_seed_service_and_month_each_make_other_trips() -> None:
    def zones(service: str, month: Month, seed: int) -> tuple[int, ...]:
        return tuple(make_month(service, month, rows=1000, seed=seed)["PULocationID"].to_pylist()[:500])

    others = [zones("green", MAY, 8), zones("green", MAY + 1, 7), zones("yellow", MAY, 7)]
    assert len({zones("green", MAY, 7), *others}) == 4


def test_every_month_has_draws_of_its_own() -> None:
    # With 4 rows no month is longer than another, so equal draws would show as equal zones.
    months = Month.range(FIRST_MONTH, LAST_MONTH)
    zones = [make_month("green", month, rows=4)["DOLocationID"].to_pylist() for month in months]
    assert {len(row) for row in zones} == {4}
    assert len({tuple(row) for row in zones}) == len(months)


def test_the_source_tells_apart_what_makes_other_trips() -> None:
    sources = SampleSource(), SampleSource(rows=100), SampleSource(seed=8)
    assert len({source.key for source in sources}) == 3
    assert len({source.version("green_tripdata_2023-05.parquet") for source in sources}) == 3


def test_a_month_has_about_the_rows_asked_for() -> None:
    rows = [make_month("green", month, rows=1000).num_rows for month in Month.range(FIRST_MONTH, LAST_MONTH)]
    assert min(rows) >= 940 and max(rows) <= 1110
    assert len(set(rows)) > 6  # seasons
    assert np.mean(rows[12:]) > np.mean(rows[:12])  # growth
    assert make_month("yellow", MAY, rows=1).num_rows == 1


# --- TLC's shape -------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_columns_are_those_of_tlc(service: str) -> None:
    assert make_month(service, MAY, rows=100).column_names == TLC_COLUMNS[service]


def test_types_change_where_those_of_tlc_did() -> None:
    before, after = (make_month("yellow", month, rows=100).schema for month in (FIRST_MONTH, FIRST_MONTH + 1))
    assert before.field("PULocationID").type == pa.int64()
    assert after.field("PULocationID").type == pa.int32()
    assert before.field("store_and_fwd_flag").type == pa.string()
    assert after.field("store_and_fwd_flag").type == pa.large_string()
    assert before.field("passenger_count").type == pa.float64()
    assert after.field("passenger_count").type == pa.int64()
    assert (before.names[-1], after.names[-1]) == ("airport_fee", "Airport_fee")
    assert make_month("fhvhv", FIRST_MONTH, rows=100).schema.field("PULocationID").type == pa.int64()
    assert make_month("fhvhv", MAY, rows=100).schema.field("hvfhs_license_num").type == pa.large_string()


@pytest.mark.parametrize("month", [Month(2023, 1), Month(2023, 2), Month(2023, 10)], ids=str)
def test_schema_equals_a_real_month(month: Month) -> None:
    real = REAL_MONTHS / file_name("green", month)
    if not real.exists():
        pytest.skip(f"no real month to compare with: {real} is absent")
    assert (
        make_month("green", month, rows=100).schema.remove_metadata()
        == pq.read_schema(real).remove_metadata()
    )


@pytest.mark.parametrize("service", SERVICES)
def test_every_file_carries_the_marker(tmp_path: Path, service: str) -> None:
    path = write_month(tmp_path / "renamed.parquet", service, MAY, rows=100)
    assert pq.read_schema(path).metadata[SAMPLE_MARKER] == b"1"
    assert is_sample(pq.read_schema(path).metadata)
    assert is_sample(pq.read_metadata(path).metadata)


@pytest.mark.parametrize("metadata", [None, {}, {b"pandas": b"{}"}])
def test_files_without_the_marker_are_no_samples(metadata: dict[bytes, bytes] | None) -> None:
    assert not is_sample(metadata)


def test_ride_hailing_times_are_in_order_and_agree_with_the_trip_time() -> None:
    trips = make_month("fhvhv", MAY, rows=2000).to_pandas()
    assert (trips.request_datetime <= trips.pickup_datetime).all()
    arrived = trips.on_scene_datetime.notna()
    assert 0.6 < arrived.mean() < 0.85  # Lyft's are null
    seen = trips[arrived]
    assert seen.on_scene_datetime.between(seen.request_datetime, seen.pickup_datetime).all()
    assert ((trips.dropoff_datetime - trips.pickup_datetime).dt.total_seconds() == trips.trip_time).all()
    assert (trips.originating_base_num.isna() == ~arrived).all()


# --- TLC's dirt --------------------------------------------------------------------------------


def test_dirt_comes_at_the_rates_of_real_months(may: pd.DataFrame) -> None:
    in_may = may.pickup_at.between(MAY.start, MAY.end, inclusive="left")
    assert 2 <= (~in_may).sum() <= 20
    assert 0.020 <= (may.minutes < 1).mean() <= 0.034
    assert 0.0005 <= (may.minutes == 0).mean() <= 0.003
    assert 0.009 <= (may.minutes > 60).mean() <= 0.020
    assert 0.0005 <= may.minutes.between(23 * 60 + 50, 24 * 60).mean() <= 0.003
    assert 0.043 <= (may.trip_distance == 0).mean() <= 0.056
    assert 0.0002 <= (may.trip_distance > 100).mean() <= 0.0015
    assert 0.060 <= may.passenger_count.isna().mean() <= 0.080
    assert 0.010 <= (may.start.isin([264, 265]) | may.end.isin([264, 265])).mean() <= 0.015
    assert 0.0015 <= (may.fare_amount < 0).mean() <= 0.0045


def test_absurd_distances_stay_within_the_longest_that_was_seen() -> None:
    longest = max(make_month("green", month).to_pandas().trip_distance.max() for month in MAY.before(3))
    assert 10_000 < longest <= 278_990


def test_some_meters_are_years_behind() -> None:
    years = set(green(*MAY.before(3)).pickup_at.dt.year)
    assert 2023 in years and 2009 in years


@pytest.mark.parametrize(
    ("service", "siblings"),
    [
        ("green", ["RatecodeID", "store_and_fwd_flag", "payment_type", "trip_type", "congestion_surcharge"]),
        ("yellow", ["RatecodeID", "store_and_fwd_flag", "congestion_surcharge", "Airport_fee"]),
    ],
)
def test_sibling_columns_are_null_in_the_same_rows(service: str, siblings: list[str]) -> None:
    trips = make_month(service, MAY, rows=2000).to_pandas()
    unrecorded = trips.passenger_count.isna()
    assert unrecorded.any()
    for name in siblings:
        assert (trips[name].isna() == unrecorded).all(), name
    assert trips[["VendorID", "PULocationID", "DOLocationID", "trip_distance"]].notna().all(axis=None)


# --- something to learn ------------------------------------------------------------------------


def test_durations_are_like_those_of_real_months(may: pd.DataFrame) -> None:
    assert 13 <= honest(may).minutes.mean() <= 16.5
    assert 8.5 <= honest(may).minutes.std() <= 10.5


def test_rush_hours_are_slow_on_weekdays_only(may: pd.DataFrame) -> None:
    trips = honest(may).query("0.3 < trip_distance < 50")
    pace = trips.minutes / trips.trip_distance
    weekend, hour = trips.pickup_at.dt.dayofweek >= 5, trips.pickup_at.dt.hour
    evening = hour.isin([16, 17])
    assert pace[~weekend & evening].median() > 1.4 * pace[~weekend & (hour < 6)].median()
    assert pace[~weekend & evening].median() > 1.2 * pace[weekend & evening].median()


def test_who_knows_the_hour_beats_the_pair_median_on_the_next_month() -> None:
    history, future = honest(green(*MAY.before(3))), honest(green(MAY))
    median = history.groupby(["start", "end"]).minutes.median().rename("usual")

    def usual(trips: pd.DataFrame) -> pd.Series:
        return trips.join(median, on=["start", "end"]).usual.fillna(history.minutes.median())

    def hour_of_week(trips: pd.DataFrame) -> pd.Series:
        return trips.pickup_at.dt.hour + 24 * (trips.pickup_at.dt.dayofweek >= 5)

    def rmse(predicted: pd.Series) -> float:
        return float(np.sqrt(((predicted - future.minutes) ** 2).mean()))

    slowness = (history.minutes / usual(history)).groupby(hour_of_week(history)).median()
    by_pair = rmse(usual(future))
    by_pair_and_hour = rmse(usual(future) * hour_of_week(future).map(slowness))
    by_nothing = rmse(pd.Series(history.minutes.mean(), index=future.index))
    assert 5.5 < by_pair < 7.2
    assert by_pair_and_hour < 0.92 * by_pair
    assert by_pair < 0.75 * by_nothing


# --- a source ----------------------------------------------------------------------------------


def test_the_source_delivers_what_write_month_writes(tmp_path: Path) -> None:
    target, seen = io.BytesIO(), []
    source = SampleSource(rows=2000)
    source.download("fhvhv_tripdata_2023-05.parquet", target, lambda done, total: seen.append((done, total)))
    assert target.getvalue() == bytes_of(tmp_path, "fhvhv", MAY)
    assert seen == [(len(target.getvalue()), len(target.getvalue()))]


def test_the_cache_fetches_from_it_like_from_any_source(tmp_path: Path) -> None:
    source: Source = SampleSource(rows=2000)
    file = fetch(source, "green", MAY, tmp_path)
    assert file.path == tmp_path / source.key / "green_tripdata_2023-05.parquet"
    assert file.path.read_bytes() == bytes_of(tmp_path, "green", MAY)
    assert file.url == "sample/green_tripdata_2023-05.parquet"


def test_the_city_has_a_first_and_a_last_month() -> None:
    around = (FIRST_MONTH - 1, FIRST_MONTH, LAST_MONTH, LAST_MONTH + 1)
    assert (str(FIRST_MONTH), str(LAST_MONTH)) == ("2023-01", "2024-12")
    for service in SERVICES:
        assert months_available(SampleSource(), service, around) == (FIRST_MONTH, LAST_MONTH)


@pytest.mark.parametrize(
    "name",
    ["fhv_tripdata_2023-05.parquet", "green_tripdata_2023-13.parquet", "green_tripdata_2023-05.csv", ""],
)
def test_other_names_are_not_there(name: str) -> None:
    assert SampleSource().version(name) is None
    with pytest.raises(MonthNotPublishedError) as caught:
        SampleSource().download(name, io.BytesIO(), lambda done, total: None)
    assert str(caught.value) == (
        f"sample: there is no file {name!r}; the synthetic city publishes green, yellow, fhvhv "
        "from 2023-01 to 2024-12, as green_tripdata_2023-01.parquet."
    )


@pytest.mark.parametrize("month", [FIRST_MONTH - 1, LAST_MONTH + 1], ids=str)
def test_months_before_and_after_the_city_are_refused(month: Month) -> None:
    with pytest.raises(MonthNotPublishedError) as caught:
        make_month("green", month)
    assert str(caught.value) == (
        f"sample green {month}: not published; the synthetic city publishes green, yellow, fhvhv "
        "from 2023-01 to 2024-12. Choose a month among these."
    )
    assert (caught.value.service, caught.value.month) == ("green", str(month))


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^sample: expected a service of green, yellow, fhvhv; got 'fhv'$"):
        make_month("fhv", MAY)
    with pytest.raises(ConfigError, match=r"^sample: expected at least 1 row a month; got 0$"):
        make_month("green", MAY, rows=0)
    with pytest.raises(ConfigError, match=r"^sample: expected a seed of 0 or more; got -1$"):
        make_month("green", MAY, seed=-1)


def test_a_new_file_takes_the_place_of_the_old_under_an_open_reader(tmp_path: Path) -> None:
    path = write_month(tmp_path / "month.parquet", "green", MAY, rows=100)
    before = path.read_bytes()
    with path.open("rb") as reader:
        write_month(path, "green", MAY + 1, rows=100)
        assert reader.read() == before
    assert path.read_bytes() != before


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_month(tmp_path / "new" / "month.parquet", "green", MAY, rows=100)
    before = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        write_month(path, "green", MAY + 1, rows=100)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
