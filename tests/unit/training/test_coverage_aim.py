"""The coverage that a fit's ranges are calibrated to follows from what earlier months covered."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.errors import ConfigError
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.training.coverage_aim import LEAST, MOST, PARAMETERS, Aim, Covered, next_aim

NORMAL = NormalDist()
SHARES = st.floats(0, 1)


def covered(aim: float, growth: float) -> float:
    """Share of normal errors inside a range calibrated to `aim`, when they grew by this factor since then."""
    return 2 * NORMAL.cdf(NORMAL.inv_cdf((1 + aim) / 2) / growth) - 1


def months_of(*growths: float, noise: float = 0.0, seed: int = 0) -> list[Covered]:
    """Months in a row whose errors grew so much, each with the aim that follows from the months before it."""
    months: list[Covered] = []
    points = np.random.default_rng(seed).uniform(-noise, noise, len(growths))
    for number, (growth, off) in enumerate(zip(growths, points, strict=True), 1):
        aim = next_aim(months)
        measured = (covered(share, growth) for share in (aim.coverage_80, aim.coverage_95))
        # The noise of the 95 % range's coverage is about half as large.
        first, second = (value + part * off for value, part in zip(measured, (1, 0.5), strict=True))
        months.append(Covered(f"2023-{number:02}", first, second, aim))
    return months


def test_the_first_fit_aims_a_little_above_what_is_promised() -> None:
    assert next_aim([]) == Aim() == Aim(0.805, 0.9525)


def test_levels_cut_off_the_same_share_at_both_ends() -> None:
    levels = Aim(0.82, 0.96).levels

    assert levels == pytest.approx((0.09, 0.91, 0.02, 0.98))
    assert len(levels) == len(INTERVAL_COLUMNS)
    assert Aim().levels == pytest.approx((0.0975, 0.9025, 0.02375, 0.97625))


def test_several_months_in_a_row_with_growing_errors_come_back_to_what_is_promised() -> None:
    months = months_of(*[1.08] * 6)
    without_aim = covered(0.805, 1.08), covered(0.9525, 1.08)

    assert (months[0].coverage_80, months[0].coverage_95) == pytest.approx(without_aim)
    assert without_aim == pytest.approx((0.77, 0.9335), abs=0.001)
    assert [month.coverage_80 for month in months] == sorted(month.coverage_80 for month in months)
    for month in months[2:]:
        assert month.coverage_80 == pytest.approx(0.8, abs=0.02)
        assert month.coverage_95 == pytest.approx(0.95, abs=0.01)
    assert months[-1].coverage_80 == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("drift", [1.0, 1.012])
@pytest.mark.parametrize("seed", range(20))
def test_noise_of_one_point_moves_the_aim_by_less_than_a_point(drift: float, seed: int) -> None:
    """Errors are as large as in the month before, or so much larger that 0.805 becomes 0.80."""
    for month in months_of(*[drift] * 36, noise=0.01, seed=seed):
        assert 0.805 <= month.aim.coverage_80 < 0.815
        assert 0.9525 <= month.aim.coverage_95 < 0.9575


def test_one_month_with_larger_errors_does_not_make_the_next_ranges_too_wide() -> None:
    september, october, november = months_of(1.08, 1.0, 1.0)

    assert september.coverage_80 < 0.775
    assert 0.81 < october.coverage_80 < 0.82
    assert 0.95 < october.coverage_95 < 0.96
    assert november.aim.coverage_80 < october.aim.coverage_80


def test_months_that_covered_more_than_promised_never_make_the_ranges_narrower() -> None:
    assert next_aim(months_of(*[0.85] * 12)) == LEAST == Aim()


def test_they_do_not_slow_the_answer_to_a_poor_month_down() -> None:
    poor = Covered("2024-01", 0.77, 0.93)

    assert next_aim([*months_of(*[0.85] * 12), poor]) == next_aim([poor])


@given(st.lists(st.builds(Covered, st.just("2023-01"), SHARES, SHARES)))
def test_no_record_makes_an_aim_that_no_range_can_have(months: list[Covered]) -> None:
    aim = next_aim(months)

    for name in PARAMETERS:
        assert getattr(LEAST, name) <= getattr(aim, name) <= getattr(MOST, name)
    low_80, high_80, low_95, high_95 = aim.levels
    assert 0 < low_95 < low_80 < high_80 < high_95 < 1


def test_many_months_with_the_same_aim_count_no_more_than_what_they_lacked() -> None:
    """Months before there was an aim: each lacked two points, which is no reason for one of forty."""
    months = [Covered(f"2022-{number:02}", 0.78, 0.94) for number in range(1, 13)] * 2

    assert next_aim(months).coverage_80 == pytest.approx(0.825, abs=0.0002)
    assert next_aim(months).coverage_95 == pytest.approx(0.9625, abs=0.0002)


def test_the_newest_month_counts_most() -> None:
    poor, good = Covered("2023-01", 0.76, 0.93), Covered("2023-02", 0.805, 0.9525)

    assert (
        next_aim([good, poor]).coverage_80 > next_aim([poor, good]).coverage_80 > next_aim([good]).coverage_80
    )


@pytest.mark.parametrize("shares", [(0.0, 0.9), (0.9, 0.9), (0.96, 0.95), (0.8, 1.0), (float("nan"), 0.95)])
def test_an_aim_that_is_none_is_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(
        ConfigError, match=r"^coverage aim: expected two shares above 0 and below 1, that of the"
    ):
        Aim(*shares)


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        ((1.2, 0.95), "coverage_80 of 2023-05: expected 0 to 1; got 1.2"),
        ((0.8, float("nan")), "coverage_95 of 2023-05: expected 0 to 1; got nan"),
        ((float("-inf"), 0.9), "coverage_80 of 2023-05: expected 0 to 1; got -inf"),
    ],
)
def test_a_coverage_that_is_no_share_is_refused(shares: tuple[float, float], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Covered("2023-05", *shares)

    assert str(refused.value) == problem


@given(st.floats(0.001, 0.9), st.floats(0.91, 0.999))
def test_an_aim_is_read_from_the_parameters_that_record_it(first: float, second: float) -> None:
    aim = Aim(first, second)

    assert list(aim.parameters) == ["coverage_aim_80", "coverage_aim_95"]
    assert Aim.parse({"month": "2023-06", **aim.parameters}) == aim
    assert Aim.parse({"month": "2023-06"}) == Aim()


@pytest.mark.parametrize("text", ["much", "nan", "7", ""])
def test_a_recorded_aim_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^coverage aim: expected .* got "):
        Aim.parse({"coverage_aim_80": "0.81", "coverage_aim_95": text})
