"""Months: text, order and addition."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.errors import ConfigError
from mlops.month import Month

months = st.builds(Month, st.integers(1, 9998), st.integers(1, 12))
usual = st.builds(Month, st.integers(1900, 2100), st.integers(1, 12))
steps = st.integers(-500, 500)


@given(months)
def test_a_month_s_text_can_be_parsed_again(month: Month) -> None:
    assert Month.parse(str(month)) == month
    assert eval(repr(month), {"Month": Month.parse}) == month


@given(usual, steps, steps)
def test_adding_is_counting_months(month: Month, a: int, b: int) -> None:
    assert month + a + b == month + (a + b)
    assert month + a - a == month
    assert (month + a > month) == (a > 0)


@given(usual, usual)
def test_order_is_the_order_of_time(a: Month, b: Month) -> None:
    assert (a < b) == (a.start < b.start) == (str(a) < str(b))


@given(months)
def test_a_month_ends_where_the_next_one_starts(month: Month) -> None:
    assert timedelta(days=28) <= month.end - month.start <= timedelta(days=31)
    assert month.end.day == 1
    assert (month.end - timedelta(microseconds=1)).month == month.number


@given(usual, st.integers(0, 40))
def test_the_months_before_are_the_range_that_ends_before(month: Month, count: int) -> None:
    before = month.before(count)

    assert len(before) == count
    assert before == Month.range(month - count, month - 1)
    assert list(before) == sorted(set(before))
    assert month not in before


def test_a_range_includes_both_ends() -> None:
    assert Month.range(Month(2023, 12), Month(2023, 12)) == (Month(2023, 12),)
    assert Month.range(Month(2023, 12), Month(2024, 1)) == (Month(2023, 12), Month(2024, 1))
    assert Month.range(Month(2024, 1), Month(2023, 12)) == ()


def test_a_month_starts_at_midnight_without_a_time_zone() -> None:
    assert Month(2023, 12).start == datetime(2023, 12, 1)
    assert Month(2023, 12).end == datetime(2024, 1, 1)
    assert Month(2023, 12).start.tzinfo is None


def test_blanks_around_a_month_do_not_matter() -> None:
    assert Month.parse(" 2023-10\n") == Month(2023, 10)


@pytest.mark.parametrize(
    "text", ["", "2023", "2023-1", "2023-10-01", "23-10", "10-2023", "2023/10", "october", None]
)
def test_anything_else_than_a_month_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Month.parse(text)

    assert str(refused.value) == f"month: expected YYYY-MM, for example 2023-10; got {text!r}"


@pytest.mark.parametrize("text", ["2023-13", "2023-00", "0000-01", "9999-01"])
def test_a_month_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Month.parse(text)

    assert str(refused.value) == (
        f"month: there is no month {text}; write YYYY-MM with MM from 01 to 12, for example 2023-10"
    )


def test_a_month_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Month(2023, 10).number = 11  # type: ignore[misc]
