"""Rows that repeat an earlier row of the file are found in files of any size, with little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import MAY, make_trips, month_table, trip
from support.clean_months import cleaned

from mlops.data import duplicates, raw_trips
from mlops.data.duplicates import COMPARED, Duplicates, row_hashes
from mlops.data.trips import clean_file

Batch = dict[str, np.ndarray]


def batches(trips: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, len(trips["pickup_at"]), size):
        yield {name: values[start : start + size] for name, values in trips.items()}


def marks(trips: Batch, size: int) -> list[bool]:
    finder = Duplicates(lambda: batches(trips, size), len(trips["pickup_at"]))
    return [bool(mark) for batch in batches(trips, size) for mark in finder.mark(batch)]


def taken(trips: Batch, rows: list[int]) -> Batch:
    return {name: trips[name].take(rows) for name in COMPARED}


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 15), st.integers(1, 60))
def test_each_row_but_the_first_of_its_kind_is_a_duplicate(rows: list[int], size: int, part: int) -> None:
    trips = taken(make_trips(10), rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "PART_HASHES", part)
        found = marks(trips, size)

    assert found == pd.Series(rows, dtype=int).duplicated().tolist()


@pytest.mark.parametrize("column", COMPARED)
def test_rows_that_differ_in_one_column_are_no_duplicates(column: str) -> None:
    trips = taken(make_trips(2, seed=3), [0, 0])
    assert marks(trips, 10) == [False, True]
    trips[column][1] += np.timedelta64(1, "us") if column.endswith("_at") else 1
    assert marks(trips, 10) == [False, False]


def test_null_equals_null_and_zero_equals_minus_zero() -> None:
    trips = taken(make_trips(1), [0] * 4)
    trips["passenger_count"][:] = np.array([np.nan, -np.nan, np.nan, np.nan])
    trips["distance_miles"][:] = [0.0, -0.0, 0.0, -0.0]
    trips["pickup_at"][:] = np.datetime64("NaT")

    assert marks(trips, 3) == [False, True, True, True]


def test_similar_rows_have_different_hashes() -> None:
    rows = 300_000
    trips = {name: np.zeros(rows, np.int32) for name in COMPARED}
    trips["pickup_zone"], trips["dropoff_zone"] = np.divmod(np.arange(rows, dtype=np.int32), 600)

    assert len(np.unique(row_hashes(trips))) == rows


def test_a_file_of_many_rows_needs_no_more_memory_than_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "PART_HASHES", 10_000)
    rows = 100_000  # 0.8 MB of hashes

    def made() -> Iterator[Batch]:
        for start in range(0, rows, 1_000):
            number = np.arange(start, start + 1_000)
            yield dict.fromkeys(COMPARED, number % 99_000)

    tracemalloc.start()
    finder = Duplicates(made, rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sum(int(finder.mark(batch).sum()) for batch in made()) == 1_000
    assert peak < 300_000


# --- In a month's file --------------------------------------------------------------------------------------

COPIES = [trip(), trip(), trip("2023-05-11 09:00"), trip(), trip(tip_amount=9.0), trip(seconds=601)]


def test_copies_are_counted_kept_out_of_training_and_tested(tmp_path: Path) -> None:
    quality, table = cleaned(tmp_path, *COPIES)

    assert quality.rejected["duplicate"] == 3
    assert (quality.rows, quality.kept, quality.test_rows) == (6, 3, 6)
    assert table["for_training"].to_pylist() == [True, False, True, False, False, True]


def test_copies_are_found_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, table = cleaned(tmp_path, *COPIES)
    monkeypatch.setattr(raw_trips, "BATCH_ROWS", 2)
    parts, same = cleaned(tmp_path, *COPIES)

    assert parts == whole
    assert same.equals(table)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"seconds": 10}, "under_1_minute"),
        ({"pickup_zone": 0}, "zone_unknown"),
        ({"seconds": None}, "time_missing"),
    ],
)
def test_a_copy_that_breaks_another_rule_is_counted_there(
    row: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    quality, _ = cleaned(tmp_path, trip(**row), trip(**row))

    assert {name: count for name, count in quality.rejected.items() if count} == {rule: 2}


def test_a_month_stored_twice_teaches_once(tmp_path: Path) -> None:
    month = month_table("green", *(trip(f"2023-05-{day:02d} 08:30") for day in range(1, 32)))
    pq.write_table(pa.concat_tables([month, month]), tmp_path / "twice.parquet")
    quality = clean_file(tmp_path / "twice.parquet", "green", MAY, tmp_path / "clean.parquet")

    assert (quality.rows, quality.kept, quality.rejected["duplicate"]) == (62, 31, 31)


@pytest.mark.parametrize(("month", "count"), [("2023-01", 82), ("2023-05", 70), ("2023-10", 75)])
def test_real_months_have_few_duplicates(month: str, count: int, tlc_months: Path, tmp_path: Path) -> None:
    raw = tlc_months / f"green_tripdata_{month}.parquet"
    counted = clean_file(raw, "green", type(MAY).parse(month), tmp_path / "clean.parquet")

    assert counted.rejected["duplicate"] == count
