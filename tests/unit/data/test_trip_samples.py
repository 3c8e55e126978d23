"""The sample beside a month's clean trips: the right rule at each trip, and the same trips each time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import MAY, TLC_NAMES, make_trips, trip, write_month

from mlops.data import trip_samples, trips
from mlops.data.trip_samples import BY_REASON, TripSample
from mlops.data.trips import RULES, Rule

LONG = Rule("over_30_miles", lambda trips, month: trips["distance_miles"] > 30)
ROWS = [
    trip(),
    trip(seconds=None),
    trip("2023-06-01 00:00"),
    trip(seconds=30),
    trip(seconds=30, distance_miles=40),
    trip(seconds=3_601),
    trip(dropoff_zone=999),
    trip(distance_miles=-1),
    trip(),  # as the first
    trip("2023-05-11 08:30", distance_miles=40),
    trip("2023-05-12 08:30", distance_miles=None, passenger_count=None),
]
REASONS = [
    "", "time_missing", "outside_month", "under_1_minute", "under_1_minute", "over_60_minutes", "zone_unknown",
    "distance_absurd", "duplicate", "over_30_miles", "distance_absurd",
]  # fmt: skip


@pytest.fixture
def sampled(tmp_path: Path) -> pd.DataFrame:
    """The sample of the hand-written month, by row."""
    raw, sample = write_month(tmp_path / "raw.parquet", "green", *ROWS), tmp_path / "new" / "sample.parquet"
    trips.clean_file(raw, "green", MAY, tmp_path / "clean.parquet", [*RULES, LONG], sample=sample)
    table = trip_samples.read(sample)
    assert table is not None
    return table.to_pandas().set_index("row")


def test_each_trip_has_the_first_rule_that_rejects_it_also_an_own_one(sampled: pd.DataFrame) -> None:
    assert sampled["rule"].sort_index().tolist() == REASONS
    order = ["", *(rule.name for rule in RULES), "over_30_miles"]
    assert sampled["rule"].map(order.index).is_monotonic_increasing


def test_its_columns_are_those_of_the_row_in_the_file(sampled: pd.DataFrame, tmp_path: Path) -> None:
    raw = pd.read_parquet(tmp_path / "raw.parquet")
    names = TLC_NAMES["green"]
    for column in ("pickup_at", "dropoff_at", "distance_miles", "passenger_count"):
        pd.testing.assert_series_equal(
            sampled[column].sort_index(), raw[names[column]], check_names=False, check_dtype=False
        )
    assert sampled.loc[6, ["pickup_zone", "dropoff_zone"]].tolist() == [74, 999]
    assert sampled.loc[5, "duration_minutes"] == pytest.approx(3_601 / 60)
    assert sampled.loc[0, "pickup_at"] == datetime(2023, 5, 10, 8, 30)


def test_a_month_has_no_sample_unless_it_is_asked_for(tmp_path: Path) -> None:
    raw, folder = write_month(tmp_path / "raw.parquet", "green", trip()), tmp_path / "made"
    trips.clean_file(raw, "green", MAY, folder / "clean.parquet")
    assert [path.name for path in folder.iterdir()] == ["clean.parquet"]
    assert trip_samples.read(folder / "sample.parquet") is None


def test_it_is_a_fixed_number_of_each_reason_however_the_file_is_read() -> None:
    batch, reason = make_trips(5_000), np.arange(5_000, dtype=np.int16) % 50 // 24  # 0, 1 and few of 2
    reason[reason == 2] = np.where(np.arange((reason == 2).sum()) < 7, 2, 0)
    whole, parts = TripSample(["a", "b"]), TripSample(["a", "b"])
    whole.add(batch, reason)
    for start in range(0, 5_000, 300):
        part = slice(start, start + 300)
        parts.add({name: values[part] for name, values in batch.items()}, reason[part])
    table = whole.table()
    assert table.equals(parts.table())
    found = table.to_pandas()
    assert found["rule"].value_counts().to_dict() == {"": BY_REASON, "a": BY_REASON, "b": 7}
    assert [["", "a", "b"][number] for number in reason[found["row"]]] == found["rule"].tolist()
    assert found["row"].nunique() == len(found)


def test_it_is_spread_over_the_file() -> None:
    sample, batch, zeros = TripSample([]), make_trips(1_000), np.zeros(1_000, np.int16)
    for _ in range(20):
        sample.add(batch, zeros)
    rows = sample.table()["row"].to_numpy()
    assert 5_000 < np.median(rows) < 15_000
    assert rows.max() > 15_000
    assert rows.min() < 5_000
