"""Months of the synthetic city have TLC's columns, and TLC's dirt."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sample_months import MAY, SERVICES, TLC_COLUMNS, green

from mlops import config
from mlops.data.sources import file_name
from mlops.data.synthetic.city import FIRST_MONTH
from mlops.data.synthetic.columns import SAMPLE_MARKER, is_sample
from mlops.data.synthetic.source import make_month, write_month
from mlops.month import Month

REAL_MONTHS = config.PROJECT.parent / "shared" / "tlc" / "trip-data"


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
