"""Every row is kept, or counted for the rule that rejects it."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import MAY, TLC_NAMES, make_trips, trip, write_month
from support.clean_months import cleaned

from mlops.data.raw_trips import Columns, read_trips
from mlops.data.schemas import check_trips, read_minutes, read_requests
from mlops.data.synthetic import source
from mlops.data.trips import (
    RULES,
    TRIP_SCHEMA,
    Mask,
    Rule,
    as_table,
    clean,
    clean_file,
    require_usable,
    with_own,
)
from mlops.errors import ConfigError
from mlops.month import Month

SERVICES = tuple(TLC_NAMES)


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
def test_a_trip_of_an_unknown_zone_is_not_for_training(
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
def test_a_trip_of_an_absurd_distance_is_not_for_training(
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

    assert (quality.rows, quality.kept, quality.test_rows, quality.rejected) == (7, 7, 7, {})


def test_no_rows_are_no_trouble() -> None:
    columns, quality = clean({name: values[:0] for name, values in make_trips(3).items()}, MAY)

    assert (quality.rows, quality.kept, quality.rejected_share) == (0, 0, 0.0)
    assert as_table(columns).num_rows == 0


def test_a_file_is_cleaned_in_batches_like_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = source.write_month(tmp_path / "raw.parquet", "green", MAY, rows=1500)
    whole = clean_file(path, "green", MAY, tmp_path / "whole.parquet")
    monkeypatch.setattr("mlops.data.raw_trips.BATCH_ROWS", 101)

    assert clean_file(path, "green", MAY, tmp_path / "parts.parquet") == whole
    assert pq.read_table(tmp_path / "parts.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))


# --- Oracle: the same counts from SQL -----------------------------------------------------------------------


COUNTS_IN_SQL = """
with timed as (
    select *, dropoff_us - pickup_us as took,
        row_number() over (partition by pickup_us, dropoff_us, pu, do, miles, passengers) as copy
    from trips),
judged as (
    select case
        when pickup_us is null or dropoff_us is null then 'time_missing'
        when pickup_us < :first or pickup_us >= :end then 'outside_month'
        when took < 60000000 then 'under_1_minute'
        when took > 3600000000 then 'over_60_minutes'
        when coalesce(pu, 0) not between 1 and 265 or coalesce(do, 0) not between 1 and 265 then 'zone_unknown'
        when miles is null or not miles between 0 and 100 then 'distance_absurd'
        when copy > 1 then 'duplicate'
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
            "passengers": raw[names["passenger_count"]] if "passenger_count" in names else None,
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


# --- Rules of one's own -------------------------------------------------------------------------------------


def changing(trips: Columns, month: Month) -> Mask:
    trips["distance_miles"][:] = 0.0
    return trips["distance_miles"] > 1


@pytest.mark.parametrize(
    ("rejects", "problem"),
    [
        (
            lambda t, m: t["miles"] > 1,
            r"failed \(KeyError: 'miles'\). It is called with trips, a dict of the arrays pickup_at, ",
        ),
        (changing, r"failed \(ValueError: assignment destination is read-only\)"),
        (
            lambda t, m: t["distance_miles"],
            "expected true or false for each of 7 trips; got an array of float64",
        ),
        (lambda t, m: np.flatnonzero(t["distance_miles"] > 1), "got an array of int64 of shape"),
        (lambda t, m: np.median(t["distance_miles"]) > 1, r"got an array of bool of shape \(\)"),
        (lambda t, m: (t["distance_miles"] > 1)[:3], r"got an array of bool of shape \(3,\)"),
    ],
)
def test_a_rule_that_gives_no_mask_is_named(rejects: Any, problem: str) -> None:
    trips = make_trips(7)
    before = trips["distance_miles"].copy()
    with pytest.raises(ConfigError, match=f"^cleaning rule 'mine'.*{problem}.*Correct the rule.$"):
        clean(trips, MAY, (*RULES, Rule("mine", rejects)))
    np.testing.assert_array_equal(trips["distance_miles"], before)


@pytest.mark.parametrize(("names", "wrong"), [("", "none"), ("ab ", r"\[' '\]"), ("aba", r"\['a', 'a'\]")])
def test_each_rule_has_a_name_of_its_own(names: str, wrong: str) -> None:
    require_usable(RULES)
    with pytest.raises(
        ConfigError, match=f"at least one, each with another name; got {wrong}. Give each rule a name"
    ):
        require_usable([Rule(name, changing) for name in names])


MINE = Rule("mine", changing)


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        (MINE, "one Rule: put a comma behind it"),
        (None, "a value of type NoneType"),
        ({MINE}, "a value of type set"),
        ((MINE, changing), r"function in it: write Rule\(NAME, FUNCTION\)"),
        ((MINE, (MINE,)), r"tuple in it: write Rule\(NAME, FUNCTION\)"),
    ],
)
def test_own_rules_are_a_tuple_of_rules(own: Any, problem: str) -> None:
    assert with_own((MINE,)) == with_own([MINE]) == (*RULES, MINE)
    with pytest.raises(ConfigError, match=f"^OWN_RULES: expected a tuple of rules; got {problem}$"):
        with_own(own)
