"""Counts of clean trips, against pandas on the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import MAY, trip, write_month

from mlops.data import trip_counts
from mlops.data.trip_counts import SECONDS, SHAPE, median_minutes
from mlops.data.trips import clean_file


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean month with trips of all weekdays, some of them not for training."""
    folder, rng = tmp_path_factory.mktemp("counts"), np.random.default_rng(4)
    starts = pd.Timestamp("2023-05-01") + pd.to_timedelta(rng.integers(0, 31 * 86_400, 3_000), "s")
    rows = [
        trip(start.to_pydatetime(), seconds=int(seconds), distance_miles=miles)
        for start, seconds, miles in zip(
            starts, rng.integers(60, 3_601, 3_000), rng.choice([2.0, -1.0], 3_000, p=[0.9, 0.1]), strict=True
        )
    ]
    rows += [trip("2023-05-01 00:00", seconds=60), trip("2023-05-31 23:59:59", seconds=3_600)]
    raw = write_month(folder / "raw.parquet", "green", *rows)
    clean_file(raw, "green", MAY, folder / "clean.parquet")
    return folder / "clean.parquet"


def kept(clean: Path) -> pd.DataFrame:
    table = pd.read_parquet(clean)
    assert (~table["for_training"]).sum() > 0
    return table[table["for_training"]]


def test_they_are_those_of_pandas(clean: Path) -> None:
    counts, trips = trip_counts.count(clean), kept(clean)
    assert counts.shape == SHAPE
    assert counts.sum() == len(trips)
    by_weekday = trips.groupby(trips["pickup_at"].dt.dayofweek).size()
    assert counts.sum(axis=(1, 2)).tolist() == by_weekday.tolist()
    by_hour = trips.groupby(trips["pickup_at"].dt.hour).size()
    assert counts.sum(axis=(0, 2)).tolist() == by_hour.tolist()
    seconds = (trips["duration_minutes"] * 60).round().astype(int).value_counts()
    assert counts.sum(axis=(0, 1))[seconds.index].tolist() == seconds.tolist()


def test_medians_are_those_of_pandas(clean: Path) -> None:
    counts, trips = trip_counts.count(clean), kept(clean)
    medians = trips.groupby([trips["pickup_at"].dt.dayofweek, trips["pickup_at"].dt.hour])[
        "duration_minutes"
    ].median()
    for (weekday, hour), expected in medians.items():
        assert median_minutes(counts[weekday, hour]) == pytest.approx(expected)


@pytest.mark.parametrize("seconds", [[60], [60, 61], [60, 60, 3_600], [90, 120, 3_600, 60]])
def test_a_median_is_that_of_the_durations(seconds: list[int]) -> None:
    assert median_minutes(np.bincount(seconds, minlength=SECONDS)) == pytest.approx(np.median(seconds) / 60)


def test_without_trips_there_is_no_median() -> None:
    assert median_minutes(np.zeros(SECONDS, np.int64)) is None


def test_they_are_read_as_they_were_written(clean: Path, tmp_path: Path) -> None:
    counts = trip_counts.count(clean)
    trip_counts.write(counts, tmp_path / "new" / "counts.parquet")
    assert np.array_equal(trip_counts.read(tmp_path / "new" / "counts.parquet"), counts)
