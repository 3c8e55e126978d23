"""Detectors of trips that are gone: days, parts of days, weekends, zones, vendors, or a share of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.model.request_columns import CITY
from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import HOURS, ZONES, Profile
from mlops.monitoring.faults.spread import FEWEST, Measured
from mlops.registry.monitoring_record import Finding

Array = npt.NDArray[Any]
DAY_SHARE, FEWEST_OF_A_DAY = 0.3, 20.0  # a day with a smaller share of what is usual is gone
GAP_SHARE, FEWEST_OF_A_GAP = 0.05, 30.0  # the same of hours
LEVEL, WEEKENDS, HOUR_BAND, WEEKDAY = 0.2, 0.2, 0.4, 0.4  # smallest decrease of interest (logarithm)
LARGE_ZONE, SMALL_ZONE, VENDOR = 0.8, 1.5, 0.5
LARGE = 0.02  # share of the trips from which a zone is large: small ones change with what is built or closed
FEWEST_OF_A_ZONE, LEAST_OF_A_VENDOR = 100.0, 0.03
Parts = Callable[[Profile], Array]
BANDS = ("0-4 h", "4-8 h", "8-12 h", "12-16 h", "16-20 h", "20-24 h")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def find(compared: Compared) -> Iterator[Finding]:
    """Findings about trips that are gone; the most special first."""
    if not compared.before:
        return
    yield from missing_days(compared)
    yield from missing_hours(compared)
    yield from missing_weekends(compared)
    if len(compared.before) >= FEWEST:  # of many parts, one is unlike one or two months by chance
        yield from missing_part(compared, "hours", BANDS, _by_band, HOUR_BAND)
        yield from missing_part(compared, "weekday", WEEKDAYS, _by_weekday, WEEKDAY)
        yield from missing_zone(compared)
        yield from missing_vendor(compared)
    yield from missing_share(compared)


def _finding(text: str, share: float, strength: float) -> Finding:
    return Finding("missing_trips", text, min(max(share, 0.0), 1.0), True, strength)


def _unique_rows(profile: Profile) -> float:
    """Rows of the file per day, without repeated ones."""
    return (profile.quality.rows - profile.quality.rejected.get("duplicate", 0)) / profile.days


def _usual_by_hour(before: Sequence[Profile]) -> Array:
    """Trips of an average day by kind of day and hour, shape (3, 24)."""
    return np.asarray(np.median([profile.by_hour for profile in before], axis=0))


def missing_days(compared: Compared) -> Iterator[Finding]:
    """Days with hardly any trips."""
    usual = _usual_by_hour(compared.before).sum(axis=1)[np.minimum(compared.now.day_kinds, 2)]
    counts = compared.now.by_day_and_hour.sum(axis=1)
    gone = (counts < DAY_SHARE * usual) & (usual >= FEWEST_OF_A_DAY)
    if gone.any():
        days = ", ".join(str(day + 1) for day in np.flatnonzero(gone))
        share = float((usual - counts)[gone].sum() / usual.sum())
        yield _finding(f"hardly any trips on the days {days} of the month", share, 10.0 * gone.sum())


def missing_hours(compared: Compared) -> Iterator[Finding]:
    """Hours without trips within days that have some."""
    now, usual = compared.now, _usual_by_hour(compared.before)[np.minimum(compared.now.day_kinds, 2)]
    counts = now.by_day_and_hour
    empty = (counts <= GAP_SHARE * usual) & _exists(now)
    longest, start, lost = _longest_run(empty.ravel(), usual.ravel() * now.taken.share)
    if lost >= FEWEST_OF_A_GAP and longest < HOURS:
        begin = now.month.start + timedelta(hours=start)
        text = f"no trips for {longest} hours from {begin:%Y-%m-%d %H} h on, usually {lost:.0f} in the sample"
        yield _finding(text, lost / max(float(usual.sum()), 1.0), lost / FEWEST_OF_A_GAP)


def _exists(profile: Profile) -> Array:
    """Whether each hour of the month is on New York's clocks, shape (days, 24); one in March is not."""
    hours = pd.date_range(profile.month.start, profile.month.end, freq="h", inclusive="left")
    there = hours.tz_localize(CITY, ambiguous=np.zeros(len(hours), bool), nonexistent="NaT").notna()
    return np.asarray(there, bool).reshape(-1, HOURS)


def _longest_run(is_empty: Array, usual: Array) -> tuple[int, int, float]:
    """Length, start and usual trips of the run of empty hours that usually has most trips."""
    best = (0, 0, 0.0)
    start = None
    for hour, empty in enumerate([*is_empty, False]):
        if empty and start is None:
            start = hour
        elif not empty and start is not None:
            lost = float(usual[start:hour].sum())
            best = max(best, (hour - start, start, lost), key=lambda run: run[2])
            start = None
    return best


def _less(parts: Parts, place: int) -> Callable[[Profile], float]:
    """How much smaller a part of the trips is, beside all other trips: minus the logarithm of the odds."""

    def measure(profile: Profile) -> float:
        counts = parts(profile)
        return -math.log((counts[place] + 0.5) / (counts.sum() - counts[place] + 0.5))

    return measure


def _weekends(profile: Profile) -> Array:
    by_day, weekday = profile.by_day_and_hour.sum(axis=1), _weekdays(profile)
    week = by_day[profile.day_kinds == 0].mean()
    return np.array([by_day[weekday >= 5].mean(), week])


def _weekdays(profile: Profile) -> Array:
    return (np.arange(profile.days) + profile.month.start.weekday()) % 7


def _by_band(profile: Profile) -> Array:
    """Trips of an average day by band of four hours; the days before and after the weekend are alike."""
    return np.asarray((profile.by_hour * np.array([[5], [1], [1]])).sum(axis=0).reshape(6, 4).sum(axis=1))


def _by_weekday(profile: Profile) -> Array:
    by_day, weekday = profile.by_day_and_hour.sum(axis=1), _weekdays(profile)
    chosen = [by_day[(weekday == day) & (profile.day_kinds < 3)] for day in range(7)]
    return np.array([days.mean() if len(days) else 0.0 for days in chosen])


def missing_weekends(compared: Compared) -> Iterator[Finding]:
    """Weekends with fewer trips, beside the other days."""
    measured = compared.measured(_less(_weekends, 0), WEEKENDS)
    if measured.strength >= 1:
        gone = 1 - math.exp(-measured.difference)
        yield _finding(f"{gone:.0%} of the trips on weekends are missing", gone * 2 / 7, measured.strength)


def missing_part(
    compared: Compared, noun: str, names: Sequence[str], parts: Parts, floor: float
) -> Iterator[Finding]:
    """The part of the trips that lost most, beside all others."""
    found = [compared.measured(_less(parts, place), floor) for place in range(len(names))]
    place = max(range(len(names)), key=lambda number: found[number].strength)
    if found[place].strength >= 1:
        gone = 1 - math.exp(-found[place].difference)
        share = float(np.mean([_share(parts(profile), place) for profile in compared.before])) * gone
        text = f"{gone:.0%} of the trips of {noun} {names[place]} are missing"
        yield _finding(text, share, found[place].strength)


def _share(counts: Array, place: int) -> float:
    return float(counts[place] / max(counts.sum(), 1.0))


def missing_zone(compared: Compared) -> Iterator[Finding]:
    """A zone that lost most of its rides."""
    for noun, end in (("from", "pickup"), ("to", "dropoff")):
        large = LARGE * len(compared.before[-1].rows)
        yield from _missing_group(compared, f"rides {noun} zone", end, LARGE_ZONE, large)
        yield from _missing_group(compared, f"rides {noun} zone", end, SMALL_ZONE, FEWEST_OF_A_ZONE)


def missing_vendor(compared: Compared) -> Iterator[Finding]:
    """A vendor that lost most of its rides."""
    least = LEAST_OF_A_VENDOR * len(compared.before[-1].rows)
    yield from _missing_group(compared, "rides of vendor", "vendor", VENDOR, least)


def _missing_group(
    compared: Compared, noun: str, name: str, floor: float, fewest: float
) -> Iterator[Finding]:
    def parts(profile: Profile) -> Array:
        values = getattr(profile, name)
        return np.bincount(values[values >= 0], minlength=ZONES).astype(float)

    usual = np.mean([parts(profile) for profile in compared.before], axis=0)
    places = np.flatnonzero(usual >= fewest)
    found = {int(place): compared.measured(_less(parts, place), floor) for place in places}
    if not found:
        return
    place = max(found, key=lambda number: found[number].strength)
    measured = found[place]
    if measured.strength >= 1:
        gone = 1 - math.exp(-measured.difference)
        text = f"{gone:.0%} of the {noun} {place} are missing"
        yield _finding(text, gone * _share(usual, place), measured.strength)


def missing_share(compared: Compared) -> Iterator[Finding]:
    """Fewer trips than in the months before, on all days."""
    level = compared.measured(lambda profile: -math.log(max(_unique_rows(profile), 0.01)), LEVEL)
    if level.strength >= 1:
        gone = 1 - math.exp(-level.difference)
        yield _finding(
            f"{gone:.0%} of the trips are missing: fewer rows than in any usual month", gone, level.strength
        )
    more = Measured(-level.now, tuple(-value for value in level.before), LEVEL)
    if more.strength >= 1.5:
        text = f"{math.exp(more.difference) - 1:.0%} more trips than in the months before"
        yield Finding("more_trips", text, 1 - math.exp(-more.difference), more.strength >= 2.5, more.strength)
