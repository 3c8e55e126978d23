"""The change of an error adds up, and says which rides it is about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.monitoring import changes
from mlops.monitoring.changes import Change, split
from mlops.monitoring.measures import MEASURES, measure

KINDS = {
    "hour_band": ("6-10 h", "20-24 h"),
    "week": ("weekend", "Monday to Friday"),
    "distance": ("1-2 mi", "not known"),
    "airport": ("", "from JFK", "to LGA"),
}


def month_of(rng: np.random.Generator, rows: int, *, days: int = 5) -> pd.DataFrame:
    """Random sums of a month; a day and cell may stand in several rows."""
    trips = rng.integers(1, 500, rows)
    table = {name: rng.choice(values, rows) for name, values in KINDS.items()}
    table["day"] = [f"2023-06-{day:02d}" for day in rng.integers(1, days + 1, rows)]
    sums = {f"champion_{name}": rng.exponential(20, rows) * trips for name in MEASURES.values()}
    return pd.DataFrame({**table, "trips": trips, **sums, "champion_error": rng.normal(0, 5, rows) * trips})


def month(*cells: dict[str, Any], day: str = "2023-06-01") -> pd.DataFrame:
    """Sums of hand-written cells: ``trips``, and the mean squared error ``mse``."""
    usual = {"hour_band": "6-10 h", "week": "weekend", "distance": "1-2 mi", "airport": "", "day": day}
    rows = [usual | cell for cell in cells]
    for row in rows:
        row["champion_squared"] = row["trips"] * row.pop("mse")
    return pd.DataFrame(rows)


months = st.builds(
    lambda seed, rows, days: month_of(np.random.default_rng(seed), rows, days=days),
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(1, 6),
)


@given(months, months, st.sampled_from([*MEASURES]))
@settings(max_examples=40, deadline=None)
def test_parts_add_up_to_the_change(before: pd.DataFrame, now: pd.DataFrame, name: str) -> None:
    found = split(before, now, "champion", name)
    assert found.mix + found.within == pytest.approx(found.total, abs=1e-9)
    assert found.total == pytest.approx(
        measure(now, "champion")[name] - measure(before, "champion")[name], abs=1e-9
    )
    assert sum(cell.contribution for cell in found.cells) == pytest.approx(found.within, abs=1e-9)
    assert sum(minutes for _, minutes in found.days) == pytest.approx(found.within, abs=1e-9)
    assert sum(cell.share for cell in found.cells) == pytest.approx(1)


@given(months, st.sampled_from([*MEASURES]))
@settings(max_examples=10, deadline=None)
def test_equal_months_do_not_differ(sums: pd.DataFrame, name: str) -> None:
    found = split(sums, sums, "champion", name)
    assert (found.total, found.mix, found.within) == (0, 0, 0)
    assert {cell.contribution for cell in found.cells} == {0}


@given(months, st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_other_shares_of_the_same_rides_are_all_mix(sums: pd.DataFrame, seed: int) -> None:
    cells = [*KINDS]
    before = sums.groupby(cells, as_index=False).sum(numeric_only=True).assign(day="2023-06-01")
    factor = np.random.default_rng(seed).integers(1, 9, len(before))
    numbers = ["trips", *(f"champion_{name}" for name in MEASURES.values())]
    now = before.assign(**{name: before[name] * factor for name in numbers})
    for name in MEASURES:
        found = split(before, now, "champion", name)
        assert found.within == pytest.approx(0, abs=1e-9)
        assert found.mix == pytest.approx(found.total, abs=1e-9)


@given(months, st.floats(1.1, 3))
@settings(max_examples=20, deadline=None)
def test_other_errors_of_the_same_mix_are_all_within(sums: pd.DataFrame, factor: float) -> None:
    now = sums.assign(champion_squared=sums["champion_squared"] * factor)
    found = split(sums, now, "champion")
    assert found.mix == pytest.approx(0, abs=1e-9)
    assert found.within == pytest.approx(found.before * (factor**0.5 - 1), abs=1e-9)


def test_one_cell() -> None:
    found = split(month({"trips": 10, "mse": 4.0}), month({"trips": 30, "mse": 9.0}), "champion")
    assert (found.before, found.now, found.total, found.mix, found.within) == (2, 3, 1, 0, 1)
    assert [(cell.slice, cell.minutes, cell.share) for cell in found.cells] == [
        ("1-2 mi, 6-10 h, weekend", 1, 1)
    ]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_cell_that_only_one_month_has_is_all_mix(swapped: bool) -> None:
    usual = {"trips": 50, "mse": 4.0}
    both = [month(usual), month(usual, {"trips": 50, "mse": 14.0, "airport": "from JFK"})]
    before, now = both[::-1] if swapped else both
    found = split(before, now, "champion")
    assert found.total == pytest.approx(-1 if swapped else 1)
    assert (found.within, found.mix) == (0, pytest.approx(found.total))


def test_by_hand() -> None:
    """Shares 0.8 and 0.2, later 0.6 and 0.4; squared errors 4 and 9, later 4 and 25."""
    before = month({"trips": 80, "mse": 4.0}, {"trips": 20, "mse": 9.0, "airport": "to LGA"})
    now = month({"trips": 60, "mse": 4.0}, {"trips": 40, "mse": 25.0, "airport": "to LGA"})
    found = split(before, now, "champion")
    both = 5**0.5 + 12.4**0.5
    assert found.mix == pytest.approx((-0.2 * 4 + 0.2 * 17) / both)
    assert found.within == pytest.approx(0.3 * 16 / both)
    assert found.cells[0].slice == "airport rides (to LGA), 1-2 mi, 6-10 h, weekend"
    assert (found.cells[0].minutes, found.cells[0].share) == (pytest.approx(2), 0.4)


def of_slices(*worse: dict[str, str], factor: float = 3.0) -> Change:
    """The change between a month of all kinds of rides and one in which some have larger squared errors."""
    kinds = pd.MultiIndex.from_product(KINDS.values(), names=KINDS).to_frame(index=False)
    before = kinds.assign(trips=1000, day="2023-06-01", champion_squared=16_000.0)
    is_worse = np.zeros(len(kinds), bool)
    for values in worse:
        is_worse |= np.logical_and.reduce([kinds[name] == value for name, value in values.items()])
    return split(before, before.assign(champion_squared=np.where(is_worse, factor, 1.0) * 16_000), "champion")


@pytest.mark.parametrize(
    ("worse", "expected"),
    [
        ([{"airport": "from JFK"}], "airport rides (from JFK)"),
        ([{"airport": "from JFK"}, {"airport": "to LGA"}], "airport rides"),
        ([{"airport": "to LGA", "hour_band": "20-24 h"}], "airport rides (to LGA), 20-24 h"),
        ([{"week": "weekend", "hour_band": "20-24 h"}], "20-24 h, weekend"),
        ([{"distance": "not known"}], "distance not known"),
    ],
)
def test_the_slice_that_explains_most_is_named(worse: list[dict[str, str]], expected: str) -> None:
    found = of_slices(*worse)
    assert next(each.slice for each in found.slices if each.minutes > found.within) == expected


def test_a_slice_that_got_better_is_named_too() -> None:
    found = of_slices({"airport": "from JFK"}, factor=0.2).slices[0]
    assert (found.slice, found.share) == ("airport rides (from JFK)", pytest.approx(1 / 3))
    assert found.contribution < 0
    assert found.minutes == pytest.approx(4 * (0.2**0.5 - 1))


def test_small_slices_are_not_named() -> None:
    few = changes.LEAST_TRIPS - 1
    before, now = (
        month({"trips": 5000, "mse": 16.0}, {"trips": few, "mse": mse, "airport": "to LGA"})
        for mse in (16.0, 900.0)
    )
    found = split(before, now, "champion")
    assert {each.slice for each in found.slices} == {"6-10 h", "weekend", "1-2 mi"} | {
        each.slice for each in found.slices if len(each.dimensions) == 2
    }
    assert found.cells[0].contribution > 0


def test_intervals_are_those_of_days() -> None:
    """Equal days leave no doubt; one day with all of the change leaves much."""
    days = [f"2023-06-{day:02d}" for day in range(1, 11)]
    before = pd.concat([month({"trips": 100, "mse": 4.0}, day=day) for day in days])
    even = pd.concat([month({"trips": 100, "mse": 9.0}, day=day) for day in days])
    found = split(before, even, "champion")
    assert found.within_interval == pytest.approx((1, 1))
    mse = dict.fromkeys(days, 4.0) | {days[4]: 29.0, days[5]: 29.0}
    odd = pd.concat([month({"trips": 100, "mse": mse[day]}, day=day) for day in days])
    found = split(before, odd, "champion")
    assert found.within == pytest.approx(1)
    # In 95 % of the draws, 0 to 5 of the ten days are one of the two: the root of 4 + 25 * 0.5, minus 2.
    assert found.within_interval == pytest.approx((0, 2.06), abs=0.01)
    assert found.mix_interval == pytest.approx((0, 0))
    assert dict(found.days)[days[4]] == pytest.approx(0.5)


def test_the_same_months_give_the_same_intervals() -> None:
    sums = [month_of(np.random.default_rng(seed), 40) for seed in (1, 2)]
    assert split(*sums, "champion") == split(*sums, "champion")
