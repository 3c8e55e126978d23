"""Every row is kept or counted, whatever a file looks like; what is not a month of trips says so."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.errors
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import MAY, MONEY, TLC_NAMES, make_requests, make_trips, month_table, trip, write_month

from mlops.data.revisions import schema_drift
from mlops.data.schemas import REQUESTS, check_trips, read_minutes, read_requests
from mlops.data.synthetic import source
from mlops.data.trips import (
    RULES,
    TRIP_SCHEMA,
    Columns,
    Quality,
    Rule,
    as_table,
    check_columns,
    clean,
    clean_file,
    read_schema,
    read_trips,
)
from mlops.errors import TripSchemaError
from mlops.month import Month

SERVICES = tuple(TLC_NAMES)


def cleaned(folder: Path, *rows: dict[str, Any], service: str = "green") -> tuple[Quality, pa.Table]:
    """Counts and clean trips of hand-written rows, through real files."""
    quality = clean_file(
        write_month(folder / "raw.parquet", service, *rows), service, MAY, folder / "clean.parquet"
    )
    return quality, pq.read_table(folder / "clean.parquet")


def fate(folder: Path, **row: Any) -> str:
    """What becomes of one row: ``kept``, or the rule that rejects it; ``(tested)`` when it is in the test set."""
    quality, table = cleaned(folder, trip(**row))
    reasons = [rule for rule, count in quality.rejected.items() if count] or ["kept"]
    assert quality.kept + sum(quality.rejected.values()) == quality.rows == 1
    assert table.num_rows == quality.test_rows
    assert table["for_training"].to_pylist() == [quality.kept == 1] * quality.test_rows
    return reasons[0] + (" (tested)" if quality.test_rows and not quality.kept else "")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-600, "under_1_minute"),
        (0, "under_1_minute"),
        (59.999, "under_1_minute"),
        (59.999999, "under_1_minute"),
        (60, "kept"),
        (3600, "kept"),
        (3600.000001, "over_60_minutes"),
        (24 * 3600, "over_60_minutes"),
    ],
)
def test_a_trip_of_1_to_60_minutes_counts_both_ends_included(
    seconds: float, expected: str, tmp_path: Path
) -> None:
    assert fate(tmp_path, seconds=seconds) == expected


@pytest.mark.parametrize(
    ("pickup_at", "expected"),
    [
        ("2023-04-30 23:59:59.999999", "outside_month"),
        ("2023-05-01 00:00:00", "kept"),
        ("2023-05-31 23:59:59.999999", "kept"),
        ("2023-06-01 00:00:00", "outside_month"),
        ("2009-01-01 00:00:00", "outside_month"),
    ],
)
def test_a_trip_belongs_to_the_month_it_was_picked_up_in(
    pickup_at: str, expected: str, tmp_path: Path
) -> None:
    assert fate(tmp_path, pickup_at=pickup_at) == expected


@pytest.mark.parametrize(
    "row", [{"pickup_at": None}, {"seconds": None}, {"pickup_at": None, "seconds": None}]
)
def test_a_trip_without_a_time_is_counted_as_that(row: dict[str, None], tmp_path: Path) -> None:
    assert fate(tmp_path, **row) == "time_missing"


@pytest.mark.parametrize("column", ["pickup_zone", "dropoff_zone"])
@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (-1, "zone_unknown (tested)"),
        (0, "zone_unknown (tested)"),
        (1, "kept"),
        (264, "kept"),
        (265, "kept"),
        (266, "zone_unknown (tested)"),
        (None, "zone_unknown (tested)"),
    ],
)
def test_a_trip_of_an_unknown_zone_is_not_learnt_from(
    column: str, zone: int | None, expected: str, tmp_path: Path
) -> None:
    assert fate(tmp_path, **{column: zone}) == expected


@pytest.mark.parametrize(
    ("distance_miles", "expected"),
    [
        (None, "distance_absurd (tested)"),
        (float("nan"), "distance_absurd (tested)"),
        (-0.01, "distance_absurd (tested)"),
        (0.0, "kept"),
        (100.0, "kept"),
        (100.01, "distance_absurd (tested)"),
        (278_990.0, "distance_absurd (tested)"),
        (float("inf"), "distance_absurd (tested)"),
    ],
)
def test_a_trip_of_an_absurd_distance_is_not_learnt_from(
    distance_miles: float | None, expected: str, tmp_path: Path
) -> None:
    assert fate(tmp_path, distance_miles=distance_miles) == expected


@pytest.mark.parametrize("fares", [{"fare_amount": -3.0, "total_amount": -4.5}, {"RatecodeID": None}])
def test_a_refund_is_a_trip_all_the_same(fares: dict[str, Any], tmp_path: Path) -> None:
    assert fate(tmp_path, **fares) == "kept"


def test_a_trip_counts_for_the_first_rule_that_rejects_it(tmp_path: Path) -> None:
    assert fate(tmp_path, pickup_at="2023-04-01", seconds=10, pickup_zone=0) == "outside_month"
    assert fate(tmp_path, seconds=10, pickup_zone=0, distance_miles=-1) == "under_1_minute"
    assert fate(tmp_path, pickup_zone=0, distance_miles=-1) == "zone_unknown (tested)"


def test_what_is_kept_is_what_was_written(tmp_path: Path) -> None:
    _, table = cleaned(tmp_path, trip("2023-05-10 08:30:15.250000", seconds=612.5, passenger_count=None))

    assert table.schema.equals(TRIP_SCHEMA)
    assert table.to_pylist() == [
        {
            "pickup_at": datetime(2023, 5, 10, 8, 30, 15, 250_000),
            "dropoff_at": datetime(2023, 5, 10, 8, 40, 27, 750_000),
            "pickup_zone": 74,
            "dropoff_zone": 75,
            "distance_miles": 2.0,
            "passenger_count": None,
            "duration_minutes": 612.5 / 60,
            "for_training": True,
        }
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_mapped_onto_one_schema(service: str, tmp_path: Path) -> None:
    quality, table = cleaned(tmp_path, trip(), trip(seconds=30), service=service)
    passengers = [1] if service != "fhvhv" else [None]

    assert (quality.rows, quality.kept, quality.test_rows) == (2, 1, 1)
    assert table["pickup_zone"].to_pylist() == [74]
    assert table["distance_miles"].to_pylist() == [2.0]
    assert table["passenger_count"].to_pylist() == passengers
    assert table["duration_minutes"].to_pylist() == [10.0]


# --- Properties ---------------------------------------------------------------------------------------------

rows_of_dirt = st.fixed_dictionaries(
    {
        "pickup_at": st.one_of(
            st.none(), st.datetimes(datetime(2023, 4, 28), datetime(2023, 6, 3)), st.just(MAY.start)
        ),
        "seconds": st.one_of(st.none(), st.integers(-100, 8000), st.sampled_from([59.999999, 60, 3600])),
        "pickup_zone": st.one_of(st.none(), st.integers(-3, 270)),
        "dropoff_zone": st.one_of(st.none(), st.integers(-3, 270)),
        "distance_miles": st.one_of(st.none(), st.floats(width=32)),
        "passenger_count": st.one_of(st.none(), st.integers(0, 9)),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dirt")


@given(st.lists(rows_of_dirt, min_size=1, max_size=12))
def test_every_row_is_kept_or_rejected_by_one_rule(folder: Path, rows: list[dict[str, Any]]) -> None:
    quality, table = cleaned(folder, *(trip(**row) for row in rows))

    assert quality.kept + sum(quality.rejected.values()) == quality.rows == len(rows)
    assert list(quality.rejected) == [rule.name for rule in RULES]
    assert quality.kept <= quality.test_rows <= quality.rows
    assert table.num_rows == quality.test_rows
    assert sum(table["for_training"].to_pylist()) == quality.kept
    check_trips(folder / "clean.parquet")
    assert len(read_requests(folder / "clean.parquet")) == len(read_minutes(folder / "clean.parquet"))


@given(st.lists(rows_of_dirt, min_size=1, max_size=12))
def test_cleaning_twice_changes_nothing(folder: Path, rows: list[dict[str, Any]]) -> None:
    path = write_month(folder / "twice.parquet", "green", *(trip(**row) for row in rows))
    (batch,) = read_trips(path, "green")
    once, first = clean(batch, MAY)
    twice, second = clean(once, MAY)

    assert second.rows == second.test_rows == first.test_rows
    assert second.kept == first.kept
    for name, values in once.items():
        np.testing.assert_array_equal(twice[name], values)


@given(st.lists(rows_of_dirt, min_size=1, max_size=12))
def test_no_training_rule_drops_a_test_row(folder: Path, rows: list[dict[str, Any]]) -> None:
    path = write_month(folder / "tested.parquet", "green", *(trip(**row) for row in rows))
    (batch,) = read_trips(path, "green")
    lenient = tuple(rule for rule in RULES if not rule.training_only)
    with_all, _ = clean(batch, MAY)
    without, _ = clean(batch, MAY, lenient)

    np.testing.assert_array_equal(with_all["pickup_at"], without["pickup_at"])
    np.testing.assert_array_equal(with_all["duration_minutes"], without["duration_minutes"])


def test_the_rules_for_every_trip_are_the_courses_own_filter() -> None:
    assert [rule.name for rule in RULES if not rule.training_only] == [
        "time_missing", "outside_month", "under_1_minute", "over_60_minutes",
    ]  # fmt: skip


def test_cleaning_changes_no_argument() -> None:
    trips = make_trips(50)
    before = {name: values.copy() for name, values in trips.items()}
    columns, _ = clean(trips, MAY)
    for values in columns.values():
        values[:] = values[0]

    assert list(trips) == list(before)
    for name, values in before.items():
        np.testing.assert_array_equal(trips[name], values)


def test_honest_trips_are_all_kept() -> None:
    columns, quality = clean(make_trips(500), MAY)

    assert (quality.kept, quality.test_rows, quality.rejected_share) == (500, 500, 0.0)
    assert as_table(columns).num_rows == 500


def test_another_rule_is_counted_under_its_name() -> None:
    def to_airport(trips: Columns, month: Month) -> np.ndarray:
        return trips["dropoff_zone"] == 3

    trips = make_trips(300)
    _, quality = clean(trips, MAY, (*RULES, Rule("to_airport", to_airport, training_only=True)))

    assert quality.rejected["to_airport"] == (trips["dropoff_zone"] == 3).sum() > 0
    assert quality.test_rows == 300


def test_without_rules_every_trip_is_kept() -> None:
    _, quality = clean(make_trips(7), MAY, rules=())

    assert quality == Quality(7, 7, 7, {})


def test_no_rows_are_no_trouble() -> None:
    columns, quality = clean({name: values[:0] for name, values in make_trips(3).items()}, MAY)

    assert (quality.rows, quality.kept, quality.rejected_share) == (0, 0, 0.0)
    assert as_table(columns).num_rows == 0


def test_a_file_is_cleaned_in_batches_like_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = source.write_month(tmp_path / "raw.parquet", "green", MAY, rows=1500)
    whole = clean_file(path, "green", MAY, tmp_path / "whole.parquet")
    monkeypatch.setattr("mlops.data.trips.BATCH_ROWS", 101)

    assert clean_file(path, "green", MAY, tmp_path / "parts.parquet") == whole
    assert pq.read_table(tmp_path / "parts.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))


# --- Oracle: the same counts from SQL -----------------------------------------------------------------------

COUNTS_IN_SQL = """
with timed as (select *, dropoff_us - pickup_us as took from trips),
judged as (
    select case
        when pickup_us is null or dropoff_us is null then 'time_missing'
        when pickup_us < :first or pickup_us >= :end then 'outside_month'
        when took < 60000000 then 'under_1_minute'
        when took > 3600000000 then 'over_60_minutes'
        when coalesce(pu, 0) not between 1 and 265 or coalesce(do, 0) not between 1 and 265 then 'zone_unknown'
        when miles is null or not miles between 0 and 100 then 'distance_absurd'
        else 'kept' end as fate
    from timed)
select fate, count(*) from judged group by fate
"""


def counts_in_sql(path: Path, service: str, month: Month) -> dict[str, int]:
    names = TLC_NAMES[service]
    raw = pd.read_parquet(path)
    epoch = pd.Timestamp("1970-01-01")
    frame = pd.DataFrame(
        {
            "pickup_us": (raw[names["pickup_at"]] - epoch) // pd.Timedelta("1us"),
            "dropoff_us": (raw[names["dropoff_at"]] - epoch) // pd.Timedelta("1us"),
            "pu": raw[names["pickup_zone"]],
            "do": raw[names["dropoff_zone"]],
            "miles": raw[names["distance_miles"]],
        }
    )
    borders = {
        "first": (pd.Timestamp(month.start) - epoch) // pd.Timedelta("1us"),
        "end": (pd.Timestamp(month.end) - epoch) // pd.Timedelta("1us"),
    }
    database = sqlite3.connect(":memory:")
    try:
        frame.to_sql("trips", database, index=False)
        return dict(database.execute(COUNTS_IN_SQL, borders).fetchall())
    finally:
        database.close()


def counts(path: Path, service: str, month: Month, target: Path) -> dict[str, int]:
    quality = clean_file(path, service, month, target)
    found = {"kept": quality.kept, **quality.rejected}
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("service", SERVICES)
def test_sql_counts_a_sample_month_the_same(service: str, tmp_path: Path) -> None:
    path = source.write_month(tmp_path / "raw.parquet", service, MAY, rows=5000)

    found = counts(path, service, MAY, tmp_path / "clean.parquet")
    assert found == counts_in_sql(path, service, MAY)
    assert {"kept", "under_1_minute", "over_60_minutes"} <= set(found)


@pytest.mark.parametrize(
    ("service", "month"), [("green", MAY), ("green", Month(2023, 1)), ("yellow", Month(2019, 3))]
)
def test_sql_counts_a_real_month_the_same(
    service: str, month: Month, tlc_months: Path, tmp_path: Path
) -> None:
    path = tlc_months / f"{service}_tripdata_{month}.parquet"

    assert counts(path, service, month, tmp_path / "clean.parquet") == counts_in_sql(path, service, month)


# --- Drift: what files have looked like over the years ------------------------------------------------------

LATER = trip("2023-05-31 23:10:05", seconds=900, pickup_zone=7, dropoff_zone=None, passenger_count=None)


def changed(**columns: Any) -> pa.Table:
    """A green month of two trips in which each named column has been cast, or put through a function."""
    table = month_table("green", trip(), LATER)
    for name, change in columns.items():
        values = table[name].cast(change) if isinstance(change, pa.DataType) else change(table[name])
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def in_zone(zone: str) -> Any:
    """The same wall clock, written as instants of a time zone."""
    return lambda times: pc.assume_timezone(times, zone)


DRIFT = {
    "ids as int64": changed(PULocationID=pa.int64(), DOLocationID=pa.int64()),
    "ids as double": changed(PULocationID=pa.float64(), DOLocationID=pa.float64()),
    "ids as float32": changed(PULocationID=pa.float32(), DOLocationID=pa.float32()),
    "ids as int16": changed(PULocationID=pa.int16(), DOLocationID=pa.int16()),
    "passengers as double": changed(passenger_count=pa.float64()),
    "passengers as int8": changed(passenger_count=pa.int8()),
    "distance as float32": changed(trip_distance=pa.float32()),
    "times in ns": changed(lpep_pickup_datetime=pa.timestamp("ns"), lpep_dropoff_datetime=pa.timestamp("ns")),
    "times in ms": changed(lpep_pickup_datetime=pa.timestamp("ms"), lpep_dropoff_datetime=pa.timestamp("ms")),
    "times in s and ns": changed(
        lpep_pickup_datetime=pa.timestamp("s"), lpep_dropoff_datetime=pa.timestamp("ns")
    ),
    "times in UTC": changed(lpep_pickup_datetime=in_zone("UTC"), lpep_dropoff_datetime=in_zone("UTC")),
    "times in New York": changed(
        lpep_pickup_datetime=in_zone("America/New_York"), lpep_dropoff_datetime=in_zone("America/New_York")
    ),
    "other order": changed().select(changed().column_names[::-1]),
    "other case": changed().rename_columns([name.upper() for name in changed().column_names]),
    "no fares": changed().drop_columns(list(MONEY)),
    "more columns": changed()
    .append_column("store_and_fwd_flag", pa.array(["N", None], pa.large_string()))
    .append_column("ehail_fee", pa.nulls(2))
    .append_column("cbd_congestion_fee", pa.array([0.75, None]))
    .append_column("__index_level_0__", pa.array([0, 1])),
}


@pytest.mark.parametrize("table", DRIFT.values(), ids=DRIFT)
def test_drift_is_absorbed(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "drifted.parquet", version="2.6")
    expected, trips = cleaned(tmp_path, trip(), LATER)

    assert check_columns(tmp_path / "drifted.parquet", "green") == 2
    assert clean_file(tmp_path / "drifted.parquet", "green", MAY, tmp_path / "found.parquet") == expected
    assert pq.read_table(tmp_path / "found.parquet").to_pylist() == trips.to_pylist()


def test_a_distance_column_of_nulls_only_is_read_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    pq.write_table(changed(trip_distance=lambda values: pa.nulls(len(values))), path)
    quality = clean_file(path, "green", MAY, tmp_path / "clean.parquet")

    assert (quality.kept, quality.test_rows) == (0, 2)
    assert read_requests(tmp_path / "clean.parquet")["distance_miles"].isna().all()


def test_a_file_without_passengers_is_read_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    pq.write_table(changed().drop_columns(["passenger_count"]), path)

    assert clean_file(path, "green", MAY, tmp_path / "clean.parquet").test_rows == 2
    assert read_requests(tmp_path / "clean.parquet")["passenger_count"].isna().all()


@pytest.mark.parametrize("count", [-1.0, 1.5, float("inf"), 1e300])
def test_a_count_of_passengers_that_cannot_be_is_read_as_unknown(count: float, tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    pq.write_table(changed(passenger_count=lambda values: pa.array([count, 2.0])), path)

    assert clean_file(path, "green", MAY, tmp_path / "clean.parquet").test_rows == 2
    assert read_requests(tmp_path / "clean.parquet")["passenger_count"].tolist() == [pd.NA, 2]


def test_drift_is_told_in_words() -> None:
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


# --- What is not a month of trips ---------------------------------------------------------------------------


def whole(folder: Path) -> bytes:
    """Bytes of a month that is large enough to be cut in the middle of its pages."""
    return source.write_month(folder / "whole.parquet", "green", MAY, rows=2000).read_bytes()


def refusal(path: Path, service: str = "green") -> TripSchemaError:
    """The error of reading a file as a month, by which no file may be left."""
    target = path.parent / "out" / "clean.parquet"
    with pytest.raises(TripSchemaError) as refused:
        check_columns(path, service)
        clean_file(path, service, MAY, target)
    with pytest.raises(TripSchemaError):
        clean_file(path, service, MAY, target)
    assert list(target.parent.iterdir()) == []
    return refused.value


def unreadable(path: Path, reason: str) -> str:
    return f"{path}: expected a whole Parquet file; got one that cannot be read ({reason}). Fetch it again."


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "green_tripdata_2023-05.parquet"
    path.write_text("<html>403 Forbidden</html>")

    assert str(refusal(path)) == unreadable(
        path,
        "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.",
    )


def test_a_file_of_no_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "green_tripdata_2023-05.parquet"
    path.touch()

    assert str(refusal(path)) == unreadable(path, "Parquet file size is 0 bytes")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    path, content = tmp_path / "green_tripdata_2023-05.parquet", whole(tmp_path)
    path.write_bytes(content[: int(len(content) * share)])

    assert str(refusal(path)) == unreadable(
        path,
        "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.",
    )


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TripSchemaError, match=r"^/.*/none\.parquet: expected a whole Parquet file; got one"):
        read_schema(tmp_path / "none.parquet")


def test_a_file_with_damaged_pages_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path, content = tmp_path / "green_tripdata_2023-05.parquet", bytearray(whole(tmp_path))
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)  # the footer, at the end, stays whole
    path.write_bytes(content)

    text = str(refusal(path))
    assert text.startswith(f"{path}: expected readable green trips; got damaged pages (")
    assert text.endswith("). Fetch the file again.")


def test_an_empty_month_is_refused(tmp_path: Path) -> None:
    path = write_month(tmp_path / "green_tripdata_2023-05.parquet", "green")
    with pytest.raises(TripSchemaError) as refused:
        check_columns(path, "green")

    assert str(refused.value) == (
        f"{path}: expected a month of green trips; got an empty file (0 rows). "
        "Fetch it again, or look at what the source published."
    )


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("name", ["pickup_at", "dropoff_at", "pickup_zone", "dropoff_zone", "distance_miles"])
def test_a_missing_column_is_named(service: str, name: str, tmp_path: Path) -> None:
    names, table = TLC_NAMES[service], month_table(service, trip())
    path = tmp_path / "month.parquet"
    pq.write_table(table.drop_columns([names[name]]), path)
    error = refusal(path, service)

    assert error.columns == (names[name],)
    assert str(error) == (
        f"{path}: column '{names[name]}' missing; expected {list(names.values())}, "
        f"got {[c for c in table.column_names if c != names[name]]}. Is this a {service} file?"
    )


def test_a_file_of_another_service_is_refused(tmp_path: Path) -> None:
    path = write_month(tmp_path / "yellow_tripdata_2023-05.parquet", "yellow", trip())
    error = refusal(path, "green")

    assert error.columns == ("lpep_pickup_datetime", "lpep_dropoff_datetime")
    assert str(error).startswith(
        f"{path}: columns 'lpep_pickup_datetime', 'lpep_dropoff_datetime' missing; expected ['lpep_pickup_"
    )
    assert str(error).endswith(". Is this a green file?")


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("PULocationID", pa.string(), "a number"),
        ("DOLocationID", pa.large_string(), "a number"),
        ("trip_distance", pa.string(), "a number"),
        ("passenger_count", pa.string(), "a number"),
        ("lpep_pickup_datetime", pa.string(), "a timestamp"),
        ("lpep_dropoff_datetime", pa.int64(), "a timestamp"),
    ],
)
def test_a_column_of_another_kind_is_refused(
    column: str, kind: pa.DataType, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "green_tripdata_2023-05.parquet"
    pq.write_table(changed(**{column: kind}), path)
    error = refusal(path)

    assert error.columns == (column,)
    assert str(error) == (
        f"{path}: column '{column}' is of type {kind}; expected {expected}. Is this a green file?"
    )


def test_a_failure_leaves_the_file_of_an_earlier_success(tmp_path: Path) -> None:
    good = write_month(tmp_path / "good.parquet", "green", trip())
    target = tmp_path / "out" / "clean.parquet"
    clean_file(good, "green", MAY, target)
    before = target.read_bytes()

    def breaks(trips: Columns, month: Month) -> np.ndarray:
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        clean_file(good, "green", MAY, target, (Rule("breaks", breaks),))
    assert [path.name for path in target.parent.iterdir()] == ["clean.parquet"]
    assert target.read_bytes() == before


# --- The contract -------------------------------------------------------------------------------------------


def clean_table(**columns: list[Any]) -> pa.Table:
    """Two clean trips, with the named columns replaced."""
    table = as_table(clean(make_trips(2), MAY)[0])
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def written(folder: Path, table: pa.Table) -> Path:
    pq.write_table(table, folder / "clean.parquet")
    return folder / "clean.parquet"


def test_clean_trips_keep_their_contract(tmp_path: Path) -> None:
    check_trips(written(tmp_path, clean_table()))
    check_trips(written(tmp_path, clean_table(distance_miles=[None, 1.0], passenger_count=[1, None])))
    check_trips(written(tmp_path, clean_table().slice(0, 0)))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("duration_minutes", [0.99, 10.0]),
        ("duration_minutes", [60.01, 10.0]),
        ("duration_minutes", [None, 10.0]),
        ("pickup_zone", [-1, 1]),
        ("dropoff_zone", [1, -1]),
        ("passenger_count", [-1, 1]),
        ("pickup_at", [None, datetime(2023, 5, 1)]),
        ("distance_miles", ["far", "near"]),
    ],
)
def test_a_broken_contract_names_the_column(column: str, values: list[Any], tmp_path: Path) -> None:
    path = written(tmp_path, clean_table(**{column: values}))
    with pytest.raises(TripSchemaError) as refused:
        check_trips(path)

    assert str(refused.value).startswith(f"{path}: a clean trip breaks its contract: ")
    assert f"'{column}'" in str(refused.value)


@pytest.mark.parametrize(
    "table",
    [clean_table().drop_columns(["for_training"]), clean_table().append_column("tip", pa.array([1, 2]))],
)
def test_a_column_too_few_or_too_many_breaks_the_contract(table: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(
        TripSchemaError, match=r"(?s)a clean trip breaks its contract: .*'(for_training|tip)'"
    ):
        check_trips(written(tmp_path, table))


@pytest.mark.parametrize(
    "passengers",
    [
        pd.array([1, None, 3], "Int64"),
        np.array([1.0, np.nan, 3.0]),
        np.array([1, None, 3], object),
        [1, 2, 3],
    ],
    ids=["Int64", "float", "object", "int"],
)
def test_a_request_may_lack_passengers_and_distance(passengers: Any) -> None:
    requests = make_requests(3).assign(passenger_count=passengers, distance_miles=[1.0, np.nan, 2.0])

    valid = REQUESTS.validate(requests)
    assert valid["passenger_count"].dtype == "Int64"
    assert valid["passenger_count"].isna().tolist() == pd.isna(pd.Series(passengers)).tolist()
    assert valid["distance_miles"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("column", "value"),
    [("pickup_zone", -1), ("dropoff_zone", -1), ("passenger_count", -1), ("pickup_at", "soon")],
)
def test_a_request_that_makes_no_sense_is_refused(column: str, value: Any) -> None:
    refused = (pandera.errors.SchemaError, pandera.errors.SchemaErrors)
    with pytest.raises(refused, match=column):
        REQUESTS.validate(make_requests(3).assign(**{column: value}))


def test_a_request_keeps_only_what_is_known_beforehand() -> None:
    assert list(REQUESTS.validate(make_requests(3).assign(fare_amount=9.0)).columns) == list(
        make_requests(1).columns
    )


def test_requests_and_minutes_are_the_clean_trips_row_by_row(tmp_path: Path) -> None:
    _, table = cleaned(
        tmp_path, trip(seconds=60), trip(pickup_zone=0, passenger_count=None), trip(distance_miles=None)
    )
    requests, minutes = read_requests(tmp_path / "clean.parquet"), read_minutes(tmp_path / "clean.parquet")

    assert requests["pickup_zone"].tolist() == table["pickup_zone"].to_pylist() == [74, 0, 74]
    assert requests["passenger_count"].tolist() == [1, pd.NA, 1]
    assert minutes.tolist() == [1.0, 10.0, 10.0]
    assert "duration_minutes" not in requests
