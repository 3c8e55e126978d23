"""Months that differ too much from their neighbours are refused before training."""

from __future__ import annotations

import logging

import pytest

from mlops.config import Settings
from mlops.data.quality import check_months
from mlops.data.split import Split
from mlops.data.trips import Quality
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
