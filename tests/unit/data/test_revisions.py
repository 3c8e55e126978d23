"""Differences of a republished month, counted by hand and as properties; the old bytes are kept."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import month_table, trip
from support.clean_months import changed

from mlops.data import cache, revisions, sources
from mlops.data.revisions import Difference, schema_drift
from mlops.errors import TripSchemaError
from mlops.month import Month

MAY = Month(2023, 5)
NAME = sources.file_name("green", MAY)


def written(folder: Path, name: str, *rows: dict[str, Any], **columns: Any) -> Path:
    table = month_table("green", *rows)
    for column, values in columns.items():
        table = table.append_column(column, values)
    pq.write_table(table, folder / name)
    return folder / name


TRIPS = [trip(f"2023-05-10 08:{minute:02d}", pickup_zone=74 + minute % 3) for minute in range(20)]


def compared(folder: Path, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Difference:
    return revisions.compare(written(folder, "old", *old), written(folder, "new", *new), "green")


@pytest.mark.parametrize(
    ("new", "difference"),
    [
        (TRIPS, Difference(0, 0, 0)),
        (TRIPS[::-1], Difference(0, 0, 0)),
        (TRIPS[3:], Difference(0, 3, 0)),
        ([*TRIPS, TRIPS[0], trip("2023-05-11 09:00")], Difference(2, 0, 0)),
        ([{**TRIPS[0], "fare_amount": 99.0}, *TRIPS[1:]], Difference(0, 0, 1)),
        ([{**TRIPS[0], "distance_miles": None}, *TRIPS[2:], trip("2023-05-11 09:00")], Difference(1, 1, 1)),
        ([{**TRIPS[0], "pickup_zone": 9}, *TRIPS[1:]], Difference(1, 1, 0)),
    ],
)
def test_rows_are_counted(new: list[dict[str, Any]], difference: Difference, tmp_path: Path) -> None:
    assert compared(tmp_path, TRIPS, new) == difference


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=8))
def test_nothing_is_counted_twice_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, old: list[int], new: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("months")
    rows = [[{**TRIPS[n % 3], "fare_amount": float(n // 3)} for n in numbers] for numbers in (old, new)]
    if not rows[0] or not rows[1]:
        return
    found = compared(folder, *rows)
    assert len(new) - len(old) == found.added - found.removed
    back = compared(folder, *rows[::-1])
    assert (back.added, back.removed, back.changed) == (found.removed, found.added, found.changed)
    assert (found == Difference(0, 0, 0)) == (sorted(old) == sorted(new))


def test_types_that_change_are_no_changed_rows(tmp_path: Path) -> None:
    old = written(tmp_path, "old", *TRIPS)
    table = pq.read_table(old)
    for position, name in enumerate(table.column_names):
        if name in ("PULocationID", "passenger_count"):
            table = table.set_column(position, name, table[name].cast(pa.float64()))
    pq.write_table(table.append_column("cbd_congestion_fee", pa.array([0.75] * len(TRIPS))), tmp_path / "new")
    found = revisions.compare(old, tmp_path / "new", "green")
    assert (found.added, found.removed, found.changed) == (0, 0, 0)
    assert any("cbd_congestion_fee" in reported for reported in found.columns)
    assert str(found).startswith("0 rows added, 0 removed, 0 changed; ")


@pytest.mark.parametrize("name", ["fare_amount", "Fare_amount"])
def test_a_column_that_stands_twice_is_not_compared(name: str, tmp_path: Path) -> None:
    old = written(tmp_path, "old", *TRIPS)
    table = pq.read_table(old)
    pq.write_table(table.append_column(name, pa.array([1.0] * len(TRIPS))), tmp_path / "new")

    found = revisions.compare(old, tmp_path / "new", "green")
    assert (found.added, found.removed, found.changed) == (0, 0, 0)
    assert f"column {name} stands more than once" in found.columns


ODD_COLUMNS = {
    "nested": pa.array([{"stops": [minute]} for minute in range(20)]),
    "bytes": pa.array([bytes([255, minute]) for minute in range(20)]),
    "decimal": pa.array([Decimal(minute) / 4 for minute in range(20)], pa.decimal256(50, 2)),
    "float16": pa.array(np.arange(20, dtype=np.float16)),
    "days": pa.array([date(2023, 5, 1 + minute) for minute in range(20)]),
    "coded": pa.array([str(minute % 3) for minute in range(20)]).dictionary_encode(),
    "times of no zone that exists": pa.array([*range(20)], pa.timestamp("us", "Mars/Olympus_Mons")),
    "times in New York": pa.array([*range(20)], pa.timestamp("us", "America/New_York")),
    "nothing": pa.nulls(20),
}


@pytest.mark.parametrize("values", ODD_COLUMNS.values(), ids=ODD_COLUMNS)
def test_columns_of_any_type_are_compared(values: pa.Array, tmp_path: Path) -> None:
    old, same = (written(tmp_path, name, *TRIPS, odd=values) for name in ("old", "same"))
    other = written(tmp_path, "other", *TRIPS, odd=pa.concat_arrays([values[1:], values[:1]]))

    assert revisions.compare(old, same, "green") == Difference(0, 0, 0)
    assert revisions.compare(old, other, "green").changed == (0 if values.null_count else 20)


def test_the_same_clock_with_and_without_a_time_zone_is_no_change(tmp_path: Path) -> None:
    old = written(tmp_path, "old", *TRIPS)
    table = pq.read_table(old)
    for name in ("lpep_pickup_datetime", "lpep_dropoff_datetime"):
        zoned = pc.assume_timezone(table[name], "America/New_York")
        table = table.set_column(table.column_names.index(name), name, zoned)
    pq.write_table(table, tmp_path / "new")

    found = revisions.compare(old, tmp_path / "new", "green")
    assert (found.added, found.removed, found.changed) == (0, 0, 0)


LARGE = {
    "long texts that repeat": ("note", pa.array(["a" * 20_000] * 20), {}),
    "texts that begin like others": (
        "note", pa.array([f"{minute:02d}" for minute in range(20)]),
        {"use_dictionary": False, "column_encoding": {"note": "DELTA_BYTE_ARRAY"}},
    ),
    "long lists": ("stops", pa.array([[0] * 1_000_000] * 6 + [[]] * 14), {}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "values", "options"), LARGE.values(), ids=LARGE)
def test_a_column_that_may_fill_the_memory_is_not_compared(
    name: str, values: pa.Array, options: dict[str, Any], tmp_path: Path
) -> None:
    """Thirty kB of such a column may unpack to all of the memory: each row repeats a long text."""
    old, new = written(tmp_path, "old", *TRIPS), tmp_path / "new"
    pq.write_table(pq.read_table(old).append_column(name, values), new, compression="zstd", **options)
    assert new.stat().st_size < 50_000

    found = revisions.compare(new, new, "green")
    assert found == Difference(0, 0, 0, (f"column {name} is too large to compare",))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    old, new = written(tmp_path, "old", *TRIPS), written(tmp_path, "new", *TRIPS)
    content = bytearray(new.read_bytes())
    content[4:400] = b"\xff" * 396
    new.write_bytes(content)

    with pytest.raises(
        TripSchemaError, match=r"/new: expected a readable column 'lpep_pickup_datetime'; got damaged"
    ):
        revisions.compare(old, new, "green")


def test_the_difference_is_computed_once_and_logged(tmp_path: Path) -> None:
    old, new = written(tmp_path, "old.parquet", *TRIPS), written(tmp_path, "new.parquet", *TRIPS[1:])
    reported = revisions.describe(old, new, "ab" * 32, "green")
    assert reported == "0 rows added, 1 removed, 0 changed"
    new.unlink()
    assert revisions.describe(old, new, "ab" * 32, "green") == reported
    with pytest.raises(TripSchemaError):
        revisions.describe(old, old.with_name("gone"), "cd" * 32, "green")


# --- The cache keeps what a month was -----------------------------------------------------------------------


def test_bytes_that_are_replaced_are_kept_under_their_hash(tmp_path: Path) -> None:
    source, kept = sources.open_source(str(_folder(tmp_path))), tmp_path / "cache"
    seen, texts = [], []
    for rows in (TRIPS, TRIPS[1:], TRIPS[2:]):
        written(tmp_path / "source", NAME, *rows)
        file = cache.fetch(source, "green", MAY, kept)
        seen.append(file.sha256)
        texts.append(file.path.read_bytes())
        assert [path.read_bytes() for path in file.replaced] == texts[:-1]
    assert [path.name for path in file.replaced] == [
        f"green_tripdata_2023-05_{sha256[:12]}.parquet" for sha256 in seen[:-1]
    ]
    assert cache.fetch(source, "green", MAY, kept) == file  # from the cache: it is known there too


def test_bytes_that_come_back_are_no_longer_replaced(tmp_path: Path) -> None:
    source, kept = sources.open_source(str(_folder(tmp_path))), tmp_path / "cache"
    for rows in (TRIPS, TRIPS[1:], TRIPS):
        written(tmp_path / "source", NAME, *rows)
        file = cache.fetch(source, "green", MAY, kept)
    assert [pq.read_metadata(path).num_rows for path in file.replaced] == [len(TRIPS) - 1]


def test_a_copy_damaged_here_is_not_kept_as_what_was_published(tmp_path: Path) -> None:
    source, kept = sources.open_source(str(_folder(tmp_path))), tmp_path / "cache"
    written(tmp_path / "source", NAME, *TRIPS)
    cache.fetch(source, "green", MAY, kept).path.write_bytes(b"PAR1 damaged")
    written(tmp_path / "source", NAME, *TRIPS[1:])
    assert cache.fetch(source, "green", MAY, kept).replaced == ()


def _folder(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


# --- Columns that changed -----------------------------------------------------------------------------------


def test_drift_is_described_in_words() -> None:
    before = month_table("green", trip()).schema
    after = (
        changed(PULocationID=pa.int64())
        .rename_columns([name.replace("fare_amount", "Fare_amount") for name in before.names])
        .drop_columns(["tip_amount"])
        .append_column("cbd_congestion_fee", pa.array([0.75, None]))
    )

    assert schema_drift(before, after.schema) == (
        "PULocationID: int32 -> int64",
        "fare_amount is now Fare_amount",
        "new column cbd_congestion_fee",
        "column tip_amount is gone",
    )
    assert schema_drift(before, changed().select(before.names[::-1]).schema) == (
        "columns are in another order",
    )
    assert schema_drift(before, before) == ()
