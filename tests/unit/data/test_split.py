"""Which months a run needs, and the role of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.config import TLC_SITE, Settings
from mlops.data.split import Split, months_needed, months_to_query, plan_split
from mlops.errors import EmptyTrainingSetError, MonthNotPublishedError
from mlops.month import Month

OCTOBER = Settings(service="green", month="2023-10", train_months=3)


HELD = Month.range(Month(2023, 1), Month(2023, 12))


def months(*numbers: int) -> tuple[Month, ...]:
    return tuple(Month(2023, number) for number in numbers)


# --- Which months -------------------------------------------------------------------------------------------


def test_the_test_month_follows_the_validation_month_follows_training() -> None:
    assert months_needed(OCTOBER) == months(6, 7, 8, 9, 10)
    assert plan_split(OCTOBER, HELD, "tlc") == Split(months(6, 7, 8), Month(2023, 9), Month(2023, 10))


def test_a_split_knows_the_role_of_each_month() -> None:
    split = plan_split(OCTOBER, HELD, "tlc")

    assert [(str(month), split.role(month)) for month in split.months] == [
        ("2023-06", "training"),
        ("2023-07", "training"),
        ("2023-08", "training"),
        ("2023-09", "validation"),
        ("2023-10", "test"),
    ]


@given(st.builds(Month, st.integers(2015, 2030), st.integers(1, 12)), st.integers(1, 40), st.integers(0, 45))
def test_no_two_roles_share_a_month(test: Month, train_months: int, held: int) -> None:
    settings = Settings(month=str(test), train_months=train_months)
    available = (*test.before(held), test)
    try:
        split = plan_split(settings, available, "tlc")
    except (MonthNotPublishedError, EmptyTrainingSetError):
        assert held < 2
        return

    assert split.test == test
    assert split.validation == test - 1
    assert split.training == (test - 1).before(min(train_months, held - 1))
    assert len(set(split.months)) == len(split.months)
    assert list(split.months) == sorted(split.months)
    assert max(split.training) < split.validation < split.test


def test_the_sources_first_month_shortens_the_window() -> None:
    assert plan_split(OCTOBER, months(8, 9, 10), "tlc").training == months(8)


def test_one_training_month_is_enough() -> None:
    assert plan_split(Settings(month="2023-10", train_months=1), HELD, "tlc").training == months(8)


@pytest.mark.parametrize(
    ("where", "when"), [("/data", ""), (TLC_SITE, "TLC publishes a month about seven weeks after its end. ")]
)
@pytest.mark.parametrize(
    ("available", "missing", "role"),
    [
        (months(7, 8, 9), "2023-10", "test"),
        (months(7, 8, 10), "2023-09", "validation"),
        ((), "2023-10", "test"),
    ],
)
def test_a_missing_test_or_validation_month_is_named(
    available: tuple[Month, ...], missing: str, role: str, where: str, when: str
) -> None:
    with pytest.raises(MonthNotPublishedError) as refused:
        plan_split(OCTOBER, available, where)

    assert (refused.value.service, refused.value.month) == ("green", missing)
    assert str(refused.value) == (
        f"green {missing}: the {role} month is not published at {where}. {when}"
        "Choose an earlier month or another source."
    )


def test_a_gap_in_the_window_is_an_error() -> None:
    with pytest.raises(MonthNotPublishedError) as refused:
        plan_split(OCTOBER, months(6, 8, 9, 10), "/data")

    assert (refused.value.service, refused.value.month) == ("green", "2023-07")
    assert str(refused.value) == (
        "green 2023-07: missing at /data, although 2023-06 and 2023-10 are there. "
        "Put it in place, or set train_months to 1 to start after it."
    )


@given(st.sets(st.sampled_from(Month(2023, 9).before(8)), min_size=1))
def test_what_a_gap_advises_is_what_helps(held: set[Month]) -> None:
    available = {*held, Month(2023, 9), Month(2023, 10)}
    try:
        split = plan_split(Settings(month="2023-10", train_months=8), available, "/data")
    except MonthNotPublishedError as error:
        if "set train_months" not in str(error):
            assert Month(2023, 8) not in held  # no window can start after this gap
            return
        advised = int(str(error).partition("train_months to ")[2].split()[0])
        split = plan_split(Settings(month="2023-10", train_months=advised), available, "/data")

    assert set(split.training) <= held


def test_without_a_training_month_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(EmptyTrainingSetError) as refused:
        plan_split(OCTOBER, months(9, 10), "/data")

    assert str(refused.value) == (
        "green 2023-10: /data starts with 2023-09, so no month is left to train on before the "
        "validation month 2023-09. Choose 2023-11 or a later month."
    )


def test_a_hole_at_the_windows_start_is_a_gap_where_older_months_are_there() -> None:
    settings = Settings(month="2023-06", train_months=3)
    assert str(months_to_query(settings)[0]) == "2023-01"
    held = [month for month in months_to_query(settings) if str(month) != "2023-02"]
    with pytest.raises(
        MonthNotPublishedError, match="2023-02: missing at there, although 2023-01 and 2023-06"
    ):
        plan_split(settings, held, "there")


def test_a_shortened_window_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(month="2023-06", train_months=3)
    plan_split(settings, [Month(2023, number) for number in (3, 4, 5, 6)], "there")
    assert "2 training months instead of 3, since there starts with 2023-03" in caplog.text
