"""What is usual: thresholds from the spread among months, and shares in mixtures."""

from __future__ import annotations

import numpy as np
import pytest

from mlops.monitoring.faults.inputs import psi, wasserstein
from mlops.monitoring.faults.spread import Measured, pooled_spreads, share_changed, spread, without_one


def test_the_threshold_grows_with_the_spread_and_is_at_least_the_floor() -> None:
    assert Measured(0.5, (0.1, 0.1, 0.1, 0.1), 0.05).threshold == 0.05
    assert Measured(0.5, (0.0, 0.1, 0.2, 0.1), 0.05).threshold == pytest.approx(spread((0.0, 0.1, 0.2, 0.1)))


def test_with_few_months_the_threshold_is_twice_the_floor() -> None:
    assert Measured(0.5, (0.0, 0.4), 0.05).threshold == 0.1
    assert Measured(0.5, (), 0.05).strength == pytest.approx(5)


def test_values_of_the_same_spread_are_rarely_above_the_threshold() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 0.5, (4000, 7))
    above = np.mean([Measured(row[0], tuple(row[1:]), 1e-9).strength >= 1 for row in values])
    assert above < 0.004


def test_a_value_that_is_not_a_number_is_not_unusual() -> None:
    assert Measured(float("nan"), (0.1, 0.1, 0.2), 0.05).strength == 0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7, 1.0])
def test_the_share_of_a_mixture_is_found(share: float) -> None:
    usual, changed = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.0, 0.2, 0.3, 0.5])
    assert share_changed((1 - share) * usual + share * changed, usual, changed) == pytest.approx(share)


def test_without_a_difference_there_is_no_share() -> None:
    usual = np.array([0.5, 0.5])
    assert share_changed(np.array([0.9, 0.1]), usual, usual) == 0.0


def test_a_group_that_is_alike_by_chance_gets_a_threshold_from_the_others() -> None:
    rng = np.random.default_rng(1)
    groups = {str(number): tuple(rng.normal(0, 0.1, 6)) for number in range(20)} | {
        "calm": (0.0,) * 5 + (1e-6,)
    }
    found = pooled_spreads(groups, dict.fromkeys(groups, 0.1))
    assert found["calm"] > 0.2
    assert spread(groups["calm"]) < 1e-4


def test_with_few_months_a_group_has_five_standard_errors() -> None:
    assert pooled_spreads({"all": (0.0, 1.0)}, {"all": 0.2}) == {"all": 1.0}
    assert pooled_spreads({}, {}) == {}


def test_each_month_is_compared_with_the_others() -> None:
    assert without_one((1, 2, 3)) == [(1, (2, 3)), (2, (1, 3)), (3, (1, 2))]


def test_psi_is_zero_for_the_same_shares_and_grows_with_the_difference() -> None:
    usual = np.array([600.0, 300.0, 100.0])
    assert psi(usual / 10, usual) == pytest.approx(0)
    assert 0 < psi(np.array([550.0, 300.0, 150.0]), usual) < psi(np.array([300.0, 300.0, 400.0]), usual)


def test_wasserstein_is_the_shift_in_the_unit_of_the_values() -> None:
    values = np.random.default_rng(2).normal(5, 1, 5000)
    assert wasserstein(values + 0.5, [values]) == pytest.approx(0.5)
    assert np.isnan(wasserstein(np.array([np.nan]), [values]))
