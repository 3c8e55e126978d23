"""Months that differ too much from their neighbours are refused before training."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mlops.config import Settings
from mlops.data.quality import check_months
from mlops.data.split import Split
from mlops.data.synthetic.source import write_month
from mlops.data.trips import Quality, clean_file, count_by_day
from mlops.errors import DataQualityError
from mlops.month import Month


def months(*numbers: int) -> tuple[Month, ...]:
    return tuple(Month(2023, number) for number in numbers)


SPLIT = Split(months(5, 6, 7), Month(2023, 8), Month(2023, 9))


def usual(rows: int = 1000, rejected: int = 50) -> Quality:
    return Quality(rows, rows - rejected, rows, {"under_1_minute": rejected, "over_60_minutes": 0})


def quality(**unusual: Quality) -> dict[Month, Quality]:
    """The months of `SPLIT`, all alike but for those given by their names."""
    names = dict(zip(("may", "june", "july", "august", "september"), SPLIT.months, strict=True))
    return {month: unusual.get(name, usual()) for name, month in names.items()}


def refusal(found: dict[Month, Quality], **settings: float) -> DataQualityError:
    with pytest.raises(DataQualityError) as refused:
        check_months(found, SPLIT, Settings(**settings))
    return refused.value


def test_months_alike_are_not_unusual() -> None:
    assert check_months(quality(), SPLIT, Settings()) == {}


def test_far_fewer_rows_are_refused_with_the_counts() -> None:
    error = refusal(quality(september=usual(rows=499, rejected=0)))

    assert error.counts == {
        "rows": 499,
        "usual_rows": 1000,
        "rejected_share": 0.0,
        "usual_rejected_share": pytest.approx(0.05),
    }
    assert str(error) == (
        "green 2023-09: 499 rows, far fewer than the 1,000 usual in the months before "
        "(0.50 times; allowed 0.5 to 2). Look at the file; if its data are correct, "
        "set allow_unusual_months to true."
    )


def test_far_more_rows_are_refused_with_the_counts() -> None:
    assert str(refusal(quality(august=usual(rows=2001)))) == (
        "green 2023-08: 2,001 rows, far more than the 1,000 usual in the months before "
        "(2.00 times; allowed 0.5 to 2). Look at the file; if its data are correct, "
        "set allow_unusual_months to true."
    )


def test_far_more_rejections_are_refused_with_the_worst_rules() -> None:
    error = refusal(quality(september=usual(rejected=101)))

    assert error.counts["rejected_share"] == pytest.approx(0.101)
    assert str(error) == (
        "green 2023-09: 10.1% of 1,000 rows rejected, far more than the 5.0% usual in the months before "
        "(allowed 10.0%): under_1_minute 101. Look at the file; if its data are correct, "
        "set allow_unusual_months to true."
    )


@pytest.mark.parametrize("rows", [500, 2000])
def test_half_and_double_are_still_allowed(rows: int) -> None:
    assert check_months(quality(september=usual(rows, rejected=0)), SPLIT, Settings()) == {}


@pytest.mark.parametrize("rejected", [0, 100])
def test_fewer_and_up_to_twice_the_rejections_are_still_allowed(rejected: int) -> None:
    assert check_months(quality(september=usual(rejected=rejected)), SPLIT, Settings()) == {}


def test_where_hardly_any_row_is_rejected_twice_as_many_say_nothing() -> None:
    calm = dict.fromkeys(SPLIT.months, usual(rejected=1))

    assert check_months({**calm, SPLIT.test: usual(rejected=20)}, SPLIT, Settings()) == {}
    assert "2.1% of 1,000 rows rejected" in str(refusal({**calm, SPLIT.test: usual(rejected=21)}))


def test_how_far_is_far_is_a_setting() -> None:
    few = quality(september=usual(rows=800, rejected=0))

    assert "(0.80 times; allowed 0.9 to 2)" in str(refusal(few, min_rows_ratio=0.9))
    assert "allowed 0.5 to 1.1" in str(refusal(quality(september=usual(rows=1200)), max_rows_ratio=1.1))
    assert "(allowed 5.5%)" in str(refusal(quality(september=usual(rejected=60)), max_rejections_ratio=1.1))


def test_a_month_is_compared_with_the_median_of_the_three_before() -> None:
    grown = quality(may=usual(rows=800), june=usual(rows=800), july=usual(rows=1500), august=usual(rows=1500))

    assert check_months({**grown, SPLIT.test: usual(rows=3000)}, SPLIT, Settings()) == {}
    assert "than the 1,500 usual" in str(refusal({**grown, SPLIT.test: usual(rows=700)}))


def test_an_unusual_month_may_be_allowed_and_is_then_logged(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(allow_unusual_months=True)
    with caplog.at_level(logging.WARNING, logger="mlops"):
        notes = check_months(quality(september=usual(rows=10, rejected=0)), SPLIT, settings)

    assert tuple(notes.values()) == (
        "green 2023-09: 10 rows, far fewer than the 1,000 usual in the months before "
        "(0.01 times; allowed 0.5 to 2)",
    )
    assert [record.message for record in caplog.records] == list(notes.values())


def test_an_unusual_training_month_is_only_noted() -> None:
    notes = check_months(quality(june=usual(rows=3000)), SPLIT, Settings())

    assert {str(month): note.split(",")[0] for month, note in notes.items()} == {
        "2023-06": "green 2023-06: 3"
    }


@pytest.mark.parametrize("month", ["may", "september"])
@pytest.mark.parametrize("allowed", [True, False])
def test_a_month_of_which_nothing_is_left_is_always_refused(month: str, allowed: bool) -> None:
    other = Quality(1000, 0, 0, {"outside_month": 990, "under_1_minute": 10, "over_60_minutes": 0})
    number = {"may": "05", "september": "09"}[month]

    assert str(refusal(quality(**{month: other}), allow_unusual_months=allowed)) == (
        f"green 2023-{number}: none of its 1,000 trips is left after cleaning "
        f"(outside_month 990, under_1_minute 10). Is this really the file of 2023-{number}?"
    )


def test_the_first_month_has_nothing_to_be_compared_with() -> None:
    assert check_months(quality(may=usual(rows=1, rejected=0)), SPLIT, Settings(min_rows_ratio=0)) != {}
    only = Split((Month(2023, 5),), Month(2023, 6), Month(2023, 7))
    assert check_months(dict.fromkeys(only.months, usual()), only, Settings()) == {}


# --- Days without trips -------------------------------------------------------------------------------------


def days(*missing: int, each: int = 40, of: int = 30, few: int = 0) -> Quality:
    """A month with `each` trips a day, but only `few` on the missing days."""
    by_day = tuple(few if day in missing else each for day in range(1, of + 1))
    return replace(usual(1000), by_day=by_day)


def test_a_sudden_end_is_unusual_and_named_with_dates() -> None:
    error = refusal(quality(september=days(*range(18, 31))))

    assert error.counts == {"days_without_trips": 13, "usual_trips_per_day": 40}
    assert str(error) == (
        "green 2023-09: no trips, or hardly any, on 13 of 30 days (2023-09-18 to 2023-09-30); the other days have "
        "40 on average. Look at the file; if its data are correct, set allow_unusual_months to true."
    )


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (range(1, 5), "4 of 30 days (2023-09-01 to 2023-09-04)"),
        ((29, 30), "2 of 30 days (2023-09-29 to 2023-09-30)"),
        ((3, 18, 19, 20, 30), "5 of 30 days (2023-09-03, 2023-09-18 to 2023-09-20, 2023-09-30)"),
        (range(6, 31), "25 of 30 days (2023-09-06 to 2023-09-30)"),
    ],
)
def test_gaps_are_named_with_dates(missing: Iterable[int], named: str) -> None:
    assert named in str(refusal(quality(september=days(*missing))))


def test_a_single_day_is_missing_where_a_day_has_many_trips() -> None:
    assert "1 of 31 days (2023-08-24)" in str(refusal(quality(august=days(24, each=60, of=31))))


def test_a_few_stray_trips_do_not_make_a_day() -> None:
    stray = days(*range(18, 31), each=2000, few=5)
    assert "13 of 30 days (2023-09-18 to 2023-09-30); the other days have 2,004" in str(
        refusal(quality(september=stray))
    )


@pytest.mark.parametrize(
    "month",
    [
        days(each=2000),
        days(7, 8, each=2000, few=100),  # a blizzard: the quietest days have more than 5 % of the usual trips
        days(3, each=40),  # where few trips are expected, none may come
        days(*range(20, 31), each=3),
        usual(),  # the days are not known
    ],
)
def test_quiet_days_are_not_missing(month: Quality) -> None:
    assert check_months(quality(september=month), SPLIT, Settings()) == {}


def test_a_training_month_with_missing_days_is_noted_also_the_first() -> None:
    notes = check_months(quality(may=days(1, 2, 3), june=days(12, 13)), SPLIT, Settings())

    assert {str(month): note.partition("(")[2].partition(")")[0] for month, note in notes.items()} == {
        "2023-05": "2023-05-01 to 2023-05-03", "2023-06": "2023-06-12 to 2023-06-13",
    }  # fmt: skip


def test_everything_unusual_about_a_month_is_named() -> None:
    half = replace(days(*range(11, 31)), rows=333, kept=233, rejected={"duplicate": 100})
    error = refusal(quality(september=half))

    assert set(error.counts) == {
        "days_without_trips", "usual_trips_per_day", "rows", "usual_rows", "rejected_share",
        "usual_rejected_share",
    }  # fmt: skip
    for part in (
        "on 20 of 30 days",
        "; 333 rows, far fewer",
        "; 30.0% of 333 rows rejected",
        "duplicate 100",
    ):
        assert part in str(error)


def test_missing_days_may_be_allowed(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(allow_unusual_months=True)
    notes = check_months(quality(september=days(*range(18, 31))), SPLIT, settings)
    assert "2023-09-18 to 2023-09-30" in notes[SPLIT.test]


# --- Counted from files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [300, 1500, 20_000])
def test_days_are_counted_from_the_clean_trips(rows: int, tmp_path: Path) -> None:
    path = write_month(tmp_path / "raw.parquet", "green", Month(2023, 6), rows=rows)
    counted = clean_file(path, "green", Month(2023, 6), tmp_path / "clean.parquet")
    pickups = pq.read_table(tmp_path / "clean.parquet")["pickup_at"].to_numpy()

    assert len(counted.by_day) == 30
    assert counted.by_day == tuple(int((pickups.astype("datetime64[D]") == day).sum()) for day in JUNE_DAYS)
    assert counted.by_day == count_by_day(tmp_path / "clean.parquet", Month(2023, 6))
    assert sum(counted.by_day) == counted.test_rows


JUNE_DAYS = np.arange("2023-06-01", "2023-07-01", dtype="datetime64[D]")


def test_a_month_cut_short_is_refused(tmp_path: Path) -> None:
    counted = {}
    for month in SPLIT.months:
        path = write_month(tmp_path / f"{month}.parquet", "green", month, rows=1500)
        if month == SPLIT.test:
            table = pq.read_table(path)
            cut = pc.less(table["lpep_pickup_datetime"], pc.cast("2023-09-18", "timestamp[us]"))
            pq.write_table(table.filter(cut), path)
        counted[month] = clean_file(path, "green", month, tmp_path / "clean.parquet")

    assert "on 13 of 30 days (2023-09-18 to 2023-09-30)" in str(refusal(counted))


@pytest.mark.parametrize(
    ("service", "first", "last"),
    [("green", Month(2023, 1), Month(2023, 10)), ("yellow", Month(2018, 1), Month(2019, 12))],
)
def test_no_real_month_has_days_without_trips(
    service: str, first: Month, last: Month, tlc_months: Path, tmp_path: Path
) -> None:
    """Among them: New Year, both nights of changed clocks, and the snow of 2018-01-04."""
    months = Month.range(first, last)
    counted = {
        month: clean_file(
            tlc_months / f"{service}_tripdata_{month}.parquet", service, month, tmp_path / "clean.parquet"
        )
        for month in months
    }
    assert min(min(each.by_day) / np.mean(each.by_day) for each in counted.values()) > 0.1
    split = Split(months[:-2], months[-2], months[-1])
    assert not any("no trips" in note for note in check_months(counted, split, Settings()).values())
