"""Which months raise an alarm, and the order of their causes."""

from __future__ import annotations

import math

import pytest

from mlops.monitoring import causes
from mlops.monitoring.causes import Judgement, judge
from mlops.monitoring.settings import MonitoringSettings
from mlops.registry.monitoring_record import Finding, Record

USUAL = MonitoringSettings()  # 10 % of 4 minutes are 0.4 minutes
AS_PROMISED = {
    "rmse": 4.0, "rmse_promised": 4.0, "rmse_baseline": 6.0, "change_within": 0.0, "change_within_low": -0.1,
}  # fmt: skip
GREW = AS_PROMISED | {"rmse": 4.6, "change_within": 0.6, "change_within_low": 0.2}
BEATEN = AS_PROMISED | {"gain_predecessor": 0.2, "gain_predecessor_low": 0.05}
SLOWER = Finding("slower_rides", "rides take 0.9 minutes more", 1.0, False, 1.8)


def fault(cause: str, strength: float) -> Finding:
    return Finding(cause, f"{cause} was found", 0.5, True, strength)


def judged(measured: dict[str, float], *findings: Finding) -> tuple[bool, tuple[str, ...]]:
    found: Judgement = judge(measured, findings, USUAL)
    return found.alarm, found.causes


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (AS_PROMISED, (False, ())),
        ({}, (False, ())),
        (GREW, (True, ("error_at_constant_mix",))),
        (GREW | {"change_within": 0.4}, (False, ())),  # not more than a tenth
        (GREW | {"change_within_low": 0.0}, (False, ())),  # not significant
        (GREW | {"change_within_low": math.nan}, (False, ())),
        (AS_PROMISED | {"change_mix": 0.9}, (False, ("mix",))),
        (AS_PROMISED | {"change_mix": -0.9}, (False, ("mix",))),
        (AS_PROMISED | {"change_mix": 0.08}, (False, ())),
        (BEATEN, (True, ("worse_than_predecessor",))),
        (BEATEN | {"gain_predecessor": 0.11}, (False, ())),  # less than 3 % of 4 minutes
        (BEATEN | {"gain_predecessor_low": 0.0}, (False, ())),
        (AS_PROMISED | {"rmse_baseline": 3.9}, (True, ("worse_than_baseline",))),
    ],
)
def test_the_errors_alone(measured: dict[str, float], expected: tuple[bool, tuple[str, ...]]) -> None:
    assert judged(measured) == expected


def test_an_error_that_had_grown_by_the_month_before_is_named_without_an_alarm() -> None:
    again = {"change_within_last_month": 0.5, "change_within_last_month_low": 0.1}
    assert judged(GREW | again) == (False, ("error_at_constant_mix",))
    assert judged(GREW | again, fault("clock_shift", 2.0))[0]
    assert judged(BEATEN | GREW | again)[0]


def test_faults_come_first_and_stand_for_the_error_that_they_cause() -> None:
    measured = GREW | {"change_mix": 0.5}
    faults = fault("new_zone", 1.5), fault("unit_of_distance", 9.0)
    expected = ("unit_of_distance", "new_zone", "slower_rides", "mix")
    assert judged(measured, SLOWER, *faults) == (True, expected)


def test_slower_rides_stand_for_a_larger_error_and_raise_no_alarm_alone() -> None:
    assert judged(GREW, SLOWER) == (True, ("slower_rides",))
    assert judged(AS_PROMISED, SLOWER) == (False, ("slower_rides",))


@pytest.mark.parametrize(
    ("change", "low", "high", "cause", "much"),
    [
        (-0.8, -1.0, -0.6, "slower_rides", "0.8 minutes more"),
        (0.8, 0.6, 1.0, "faster_rides", "0.8 minutes less"),
    ],
)  # fmt: skip
def test_a_bias_says_that_rides_take_more_or_less_time(
    change: float, low: float, high: float, cause: str, much: str
) -> None:
    measured = {"bias_within": change, "bias_within_low": low, "bias_within_high": high}
    (found,) = causes.of_bias(measured, None)
    assert found.text == f"rides take {much} than the champion expects, at constant mix"
    assert (found.cause, found.is_fault, found.strength) == (cause, False, abs(change) / 0.5)


@pytest.mark.parametrize(
    ("change", "low", "high"), [(0.5, 0.4, 0.6), (-0.8, -1.7, 0.1), (math.nan, -1.0, 1.0)]
)
def test_a_small_or_uncertain_bias_is_not_named(change: float, low: float, high: float) -> None:
    measured = {"bias_within": change, "bias_within_low": low, "bias_within_high": high}
    assert list(causes.of_bias(measured, None)) == []


@pytest.mark.parametrize(("cause", "named"), [("slower_rides", True), ("faster_rides", False)])
def test_the_season_is_named_if_last_year_was_the_same(cause: str, named: bool) -> None:
    last_year = Record("2022-09", "1", "", "2022-08", 100, {}, False, (cause,))
    measured = {"bias_within": -0.8, "bias_within_low": -1.0, "bias_within_high": -0.6}
    texts = [found.text for found in causes.of_bias(measured, last_year) if found.cause == causes.SEASON]
    assert texts == (["rides took more time than expected in 2022-09, too"] if named else [])
