"""Detectors of rides that took longer or shorter than before, at the same zones, distance and hour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.monitoring.faults.compared import Compared, Durations
from mlops.monitoring.faults.profile import AIRPORTS, Profile
from mlops.monitoring.faults.spread import FEWEST, Measured, pooled_spreads
from mlops.registry.monitoring_record import Finding

Array = npt.NDArray[Any]
# Smallest changes of interest (logarithm): of all rides, of a slice beside the others.
ALL, SLICE = 0.03, 0.06
FAULT_OF_ALL, FAULT_STRENGTH = 0.14, 2.0  # from here on all rides changed by more than a city does
FAULT_OF_SLICE, FAULT_OF_ZONE = 0.08, 0.16  # a single zone changes with what is built or closed in it
FAR, FAR_SHARE = 1.0, 0.04  # a factor of 2.7; smallest share of interest
FEWEST_TRIPS = 80  # of a slice in each month
BUSIEST = 12  # pickup zones that are slices
SLOWER, FASTER = "slower_rides", "faster_rides"
BANDS = ("0-6 h", "6-10 h", "10-16 h", "16-20 h", "20-24 h")
BAND_STARTS = (6, 10, 16, 20)
MILES = (1.0, 2.0, 5.0, 10.0)


def find(compared: Compared) -> Iterator[Finding]:
    """Findings about the time that rides take."""
    if not compared.has_rides:
        return
    yield from all_rides(compared)
    yield from one_slice(compared)
    yield from mismatched_durations(compared)


def mismatched_durations(compared: Compared) -> Iterator[Finding]:
    """Durations far from what is usual at their zones, distance and hour, in both directions."""
    ends = [(float((t.longer < -FAR).mean()), float((t.longer > FAR).mean())) for t in compared.durations]
    sums = [2 * min(end) for end in ends]
    measured = Measured(sums[0], tuple(sums[1:]), FAR_SHARE)
    if measured.strength >= 1:
        text = f"{measured.now:.0%} of the durations are far from the usual ones at their zones and distance"
        yield Finding("mismatched_durations", text, measured.difference, True, measured.strength)


def _cause(difference: float) -> str:
    return SLOWER if difference > 0 else FASTER


def _percent(difference: float) -> str:
    return f"{abs(math.expm1(difference)):.0%} {'more' if difference > 0 else 'less'} time"


def _both_ways(now: float, before: Sequence[float], floor: float) -> Measured:
    """The value if it grew, else its negative."""
    measured = Measured(now, tuple(before), floor)
    return measured if measured.difference >= 0 else Measured(-now, tuple(-value for value in before), floor)


def all_rides(compared: Compared) -> Iterator[Finding]:
    """All rides are slower or faster; a fault only if by more than traffic can change."""
    means = [float(taken.longer.mean()) if len(taken.longer) else 0.0 for taken in compared.durations]
    measured = _both_ways(means[0], means[1:], ALL)
    if measured.strength < 1:
        return
    change = means[0] - (float(np.median(means[1:])) if means[1:] else 0.0)
    is_fault = abs(change) >= FAULT_OF_ALL and measured.strength >= FAULT_STRENGTH
    text = f"rides take {_percent(change)} than before, at the same zones, distance and hour"
    yield Finding(_cause(change), text, 1.0, is_fault, measured.strength)


def one_slice(compared: Compared) -> Iterator[Finding]:
    """The slice of the rides that changed most clearly, beside all others."""
    months = [profile for profile, _ in compared.against_others]
    busiest = np.argsort(-np.bincount(compared.before[-1].pickup))[:BUSIEST]
    slices = [
        _slices(profile, taken, busiest) for profile, taken in zip(months, compared.durations, strict=True)
    ]
    found = _changes(compared.durations, slices)
    clear = {name: each for name, each in found.items() if each.strength >= 1}
    if not clear:
        return
    name = max(clear, key=lambda key: clear[key].difference ** 2 * float(slices[0][key].mean()))
    change, share = clear[name].signed, float(slices[0][name].mean())
    least = FAULT_OF_ZONE if name in {_from_zone(zone) for zone in busiest} else FAULT_OF_SLICE
    is_fault = (
        abs(change) >= least and len(compared.before) >= FEWEST
    )  # of many slices, one differs by chance
    text = f"{name} take {_percent(change)} than before, beside all other rides ({share:.1%} of the trips)"
    yield Finding(_cause(change), text, share, is_fault, clear[name].strength)


def _changes(months: Sequence[Durations], slices: Sequence[dict[str, Array]]) -> dict[str, Change]:
    """How much each slice changed that is in all months, by its name."""
    apart, errors = {}, {}
    for name in slices[0]:
        if min(each[name].sum() if name in each else 0 for each in slices) >= FEWEST_TRIPS:
            apart[name] = [
                _apart(taken.longer, each[name]) for taken, each in zip(months, slices, strict=True)
            ]
            errors[name] = float(months[0].longer.std() / math.sqrt(slices[0][name].sum()))
    limits = pooled_spreads({name: values[1:] for name, values in apart.items()}, errors)
    return {
        name: Change(values[0], tuple(values[1:]), max(SLICE, limits[name])) for name, values in apart.items()
    }


@dataclass(frozen=True)
class Change:
    """A difference of a slice that may have either sign, beside those of the months before."""

    now: float
    before: tuple[float, ...]
    threshold: float

    @property
    def signed(self) -> float:
        """Difference to the usual value."""
        return self.now - (float(np.median(self.before)) if self.before else 0.0)

    @property
    def difference(self) -> float:
        """Size of the difference."""
        return abs(self.signed)

    @property
    def strength(self) -> float:
        """Size divided by the threshold."""
        return self.difference / self.threshold


def _from_zone(zone: int) -> str:
    return f"rides from zone {zone}"


def _apart(longer: Array, where: Array) -> float:
    """Mean within a slice minus the mean of all other trips."""
    return float(longer[where].mean() - longer[~where].mean()) if where.any() and not where.all() else 0.0


def _slices(profile: Profile, taken: Durations, busiest: Array) -> dict[str, Array]:
    """Which of the measured trips are in each slice, by its name."""
    start, end = profile.pickup[taken.where], profile.dropoff[taken.where]
    ids = list(AIRPORTS)
    slices = {
        "airport rides": np.isin(start, ids) | np.isin(end, ids),
        "rides from an airport": np.isin(start, ids),
        "rides to an airport": np.isin(end, ids),
    }
    week = np.where(profile.day_kind[taken.where] == 0, "from Monday to Friday", "on weekends and holidays")
    band = np.array(BANDS)[np.searchsorted(BAND_STARTS, profile.hour[taken.where], side="right")]
    for day in np.unique(week):
        slices[f"rides {day}"] = week == day
        slices |= {f"rides at {hours} {day}": (band == hours) & (week == day) for hours in BANDS}
    reach = np.searchsorted(MILES, profile.miles[taken.where], side="right")
    names = (
        "of less than 1 mile",
        "of 1 to 2 miles",
        "of 2 to 5 miles",
        "of 5 to 10 miles",
        "of 10 miles and more",
    )
    slices |= {f"rides {name}": reach == place for place, name in enumerate(names)}
    vendor = profile.vendor[taken.where]
    slices |= {f"rides of vendor {number}": vendor == number for number in np.unique(vendor) if number >= 0}
    return slices | {_from_zone(zone): start == zone for zone in busiest}
