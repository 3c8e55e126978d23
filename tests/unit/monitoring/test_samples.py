"""Samples of months: how many trips, which, and that they are kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.builders import MAY, trip, write_month

from mlops import config
from mlops.data.trips import TRIP_SCHEMA, clean_file
from mlops.errors import TripSchemaError
from mlops.monitoring import samples
from mlops.monitoring.months import Prepared

HOURS = [f"2023-05-{day:02d} {hour:02d}:{minute:02d}" for day in range(1, 21) for hour in range(20)
         for minute in (5, 35)]  # fmt: skip


def prepared(folder: Path, *rows: dict[str, object], service: str = "green") -> Prepared:
    raw = write_month(folder / "raw.parquet", service, *rows)
    quality = clean_file(raw, service, MAY, folder / "clean.parquet")
    return Prepared(MAY, raw, folder / "clean.parquet", "a" * 64, "raw", quality)


@pytest.fixture
def many(tmp_path: Path) -> Prepared:
    zones = [(start, start + 1) for start in range(1, 4)]
    rows = [trip(at, pickup_zone=start, dropoff_zone=end) for at in HOURS for start, end in zones]
    return prepared(tmp_path, *rows, *rows[::2])


def test_a_small_month_is_taken_whole_and_in_its_order(tmp_path: Path) -> None:
    month = prepared(
        tmp_path, trip(), trip("2023-05-02 10:00", seconds=30), trip("2023-05-01 07:00", VendorID=2)
    )
    taken = samples.take(month)
    assert (len(taken.rows), taken.share, taken.month) == (3, 1.0, "2023-05")
    assert taken.rows["is_clean"].tolist() == [True, False, True]
    assert taken.rows["duration_minutes"].tolist() == [10.0, 0.5, 10.0]


def test_a_large_month_is_thinned_alike_each_time(many: Prepared) -> None:
    first, second = samples.choose(many, most=1200), samples.choose(many, most=1200)
    pd.testing.assert_frame_equal(first, second)
    assert 800 < len(first) <= 1200 < many.quality.rows


def test_copies_of_a_trip_are_in_the_sample_together(many: Prepared) -> None:
    taken = samples.choose(many, most=1200)
    key = ["pickup_at", "pickup_zone"]
    counts, published = taken.value_counts(key), samples.choose(many).value_counts(key)
    assert (counts == published[counts.index]).all()


def test_the_sample_of_clean_trips_has_the_columns_of_a_clean_trip(tmp_path: Path) -> None:
    month = prepared(tmp_path, trip(), trip(seconds=30))
    assert list(samples.sample(month)) == TRIP_SCHEMA.names
    assert len(samples.sample(month)) == 1


def test_a_sample_is_kept_and_read_again_and_a_broken_one_is_replaced(tmp_path: Path) -> None:
    month = prepared(tmp_path, trip(), trip("2023-05-03 09:00"))
    first = samples.read(month).rows
    (kept,) = (config.state().monitoring / "samples").glob("*.parquet")
    pq.write_table(pq.read_table(kept).slice(0, 1), kept)
    assert len(samples.read(month).rows) == 1
    kept.write_bytes(b"no parquet")
    pd.testing.assert_frame_equal(samples.read(month).rows, first)


def test_vendor_and_surcharge_are_read_where_the_file_has_them(tmp_path: Path) -> None:
    known = prepared(tmp_path, trip(VendorID=2, extra=2.5), trip("2023-05-03 09:00", VendorID=1, extra=None))
    rows = samples.take(known).rows
    assert rows["vendor"].tolist() == [2, 1]
    assert rows["surcharge"].tolist()[0] == 2.5
    assert rows["surcharge"].isna().tolist() == [False, True]
    other = samples.take(prepared(tmp_path, trip())).rows
    assert other["vendor"].tolist() == [-1]
    assert other["surcharge"].isna().all()


def test_the_number_in_the_name_of_a_licence_is_the_vendor(tmp_path: Path) -> None:
    month = prepared(tmp_path, trip(hvfhs_license_num="HV0003"), service="fhvhv")
    assert samples.take(month).rows["vendor"].tolist() == [3]


def test_a_file_of_no_service_is_refused_with_what_it_has(tmp_path: Path) -> None:
    month = prepared(tmp_path, trip())
    pq.write_table(pq.read_table(month.raw).select(["PULocationID"]), month.raw)
    with pytest.raises(TripSchemaError, match="raw: expected the columns of green, yellow or fhvhv trips"):
        samples.take(month)


def test_a_file_of_many_row_groups_without_vendor_and_surcharge(tmp_path: Path) -> None:
    month = prepared(tmp_path, *[trip() for _ in range(30)])
    pq.write_table(pq.read_table(month.raw), month.raw, row_group_size=7)
    rows = samples.take(month).rows
    assert (len(rows), set(rows["vendor"])) == (30, {-1})
    assert rows["surcharge"].isna().all()
