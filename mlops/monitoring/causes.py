"""Whether a compared month raises an alarm, and its causes by name.

A changed mix of rides is no alarm: the model is as good as before, the rides are others. An alarm needs a fault of
the data, a champion that is worse than what it replaced, or an error that grew at constant mix. An error that had
grown by the month before raises no second alarm: it is named, and that is all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlops.monitoring.settings import MonitoringSettings
from mlops.registry.monitoring_record import Finding, Record

GREW, WORSE_THAN_PREDECESSOR, WORSE_THAN_BASELINE = (
    "error_at_constant_mix", "worse_than_predecessor", "worse_than_baseline",
)  # fmt: skip
LAST_MONTH = "_last_month"  # ends the names of measured values of the month before the compared one
MIX = "mix"
SLOWER, FASTER, SEASON = "slower_rides", "faster_rides", "season"
SLOWNESS = (SLOWER, FASTER, SEASON)  # explain an error that grew at constant mix
MAY_LAST = (SLOWER, FASTER, "new_zone", "missing_trips", "more_trips")
"""Faults that may be changes of the city: the trips that are there are right, and the next month may be alike."""
LEAST_BIAS = 0.5  # minutes by which rides must be longer or shorter than expected, to be named
MIX_SHARE = 0.02  # of the promised RMSE: a mix that changes RMSE by less is not named


@dataclass(frozen=True)
class Judgement:
    """What a month's comparison means.

    Parameters
    ----------
    alarm : bool
        Whether somebody must look.
    causes : tuple of str
        By name, most important first; also those that are no reason for an alarm.
    findings : tuple of Finding
        In the order of the causes.
    """

    alarm: bool
    causes: tuple[str, ...]
    findings: tuple[Finding, ...]


def judge(
    measured: Mapping[str, float], findings: Sequence[Finding], settings: MonitoringSettings
) -> Judgement:
    """Alarm and causes of a compared month.

    Parameters
    ----------
    measured : mapping
        As `Record.measured`; a name that is missing, or NaN, says nothing.
    findings : sequence of Finding
        What `faults.find` found in the trips.
    settings : MonitoringSettings

    Examples
    --------
    >>> grew = {"rmse_promised": 4.0, "change_within": 0.6, "change_within_low": 0.2}
    >>> judge(grew, [], MonitoringSettings())
    Judgement(alarm=True, causes=('error_at_constant_mix',), findings=())
    """
    faults = sorted((found for found in findings if found.is_fault), key=lambda found: -found.strength)
    others = sorted((found for found in findings if not found.is_fault), key=lambda found: -found.strength)
    worse = tuple(_worse(measured, settings))
    is_new = [cause for cause in worse if cause != GREW or not has_grown(measured, settings, LAST_MONTH)]
    explained = [found for found in others if found.cause in SLOWNESS]
    rest = [found for found in others if found.cause not in SLOWNESS]
    ordered = [*faults, *(explained if GREW in worse else ()), *rest]
    ordered += [found for found in explained if found not in ordered]
    causes = [found.cause for found in faults]
    causes += [cause for cause in worse if cause != GREW or not (faults or explained)]
    causes += [found.cause for found in ordered if not found.is_fault]
    if _mix_counts(measured):
        causes.append(MIX)
    return Judgement(bool(faults or is_new), tuple(dict.fromkeys(causes)), tuple(ordered))


def _worse(measured: Mapping[str, float], settings: MonitoringSettings) -> Iterator[str]:
    """Causes that are in the errors themselves."""
    if is_beaten(measured, settings):
        yield WORSE_THAN_PREDECESSOR
    if _value(measured, "rmse") > _value(measured, "rmse_baseline"):
        yield WORSE_THAN_BASELINE
    if has_grown(measured, settings):
        yield GREW


def has_wrong_trips(record: Record) -> bool:
    """Whether the month's trips themselves are wrong, so that nothing can be learnt from them."""
    return any(found.is_fault and found.cause not in MAY_LAST for found in record.findings)


def of_bias(measured: Mapping[str, float], last_year: Record | None) -> Iterator[Finding]:
    """Rides that are longer or shorter than the champion expects, at constant mix; and the season, if it is why.

    Parameters
    ----------
    measured : mapping
        With ``bias_within``, ``bias_within_low`` and ``bias_within_high``: predicted minus actual minutes.
    last_year : Record or None
        The same month of the year before.
    """
    change, low, high = (_value(measured, f"bias_within{end}") for end in ("", "_low", "_high"))
    if not abs(change) > LEAST_BIAS or not (low > 0 or high < 0):
        return
    cause, word = (SLOWER, "more") if change < 0 else (FASTER, "less")
    strength = abs(change) / LEAST_BIAS
    text = f"rides take {abs(change):.1f} minutes {word} than the champion expects, at constant mix"
    yield Finding(cause, text, 1.0, False, strength)
    if last_year and cause in last_year.causes:
        text = f"rides took {word} time than expected in {last_year.month}, too"
        yield Finding(SEASON, text, 1.0, False, strength)


def has_grown(measured: Mapping[str, float], settings: MonitoringSettings, when: str = "") -> bool:
    """Whether the champion's error at constant mix is above the promised one: significantly, and by enough.

    Parameters
    ----------
    when : str
        `LAST_MONTH` for the month before the compared one.
    """
    growth, low = _value(measured, f"change_within{when}"), _value(measured, f"change_within{when}_low")
    return growth > settings.max_error_growth * _value(measured, "rmse_promised") and low > 0


def is_beaten(measured: Mapping[str, float], settings: MonitoringSettings) -> bool:
    """Whether the predecessor would have been significantly better on the month, by enough for a rollback."""
    gain = _value(measured, "gain_predecessor")
    enough = gain >= settings.min_improvement * _value(measured, "rmse")
    return enough and _value(measured, "gain_predecessor_low") > 0


def _mix_counts(measured: Mapping[str, float]) -> bool:
    return abs(_value(measured, "change_mix")) > MIX_SHARE * _value(measured, "rmse_promised")


def _value(measured: Mapping[str, float], name: str) -> float:
    """The number, or NaN; each comparison with NaN is false."""
    return measured.get(name, math.nan)
