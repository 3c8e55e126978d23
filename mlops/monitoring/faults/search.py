"""All detectors, in the order in which one finding explains others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from mlops.monitoring import samples
from mlops.monitoring.faults import clocks, columns, counts, distances, inputs, rows, speed, zones
from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import Profile
from mlops.monitoring.months import Prepared
from mlops.registry.monitoring_record import Finding

Detector = Callable[[Compared], Iterable[Finding]]
DETECTORS: tuple[Detector, ...] = (
    rows.find, columns.find, distances.find, zones.find, clocks.find, counts.find, speed.find,
    inputs.find,
)  # fmt: skip
OF_FEW_TRIPS: tuple[Detector, ...] = (rows.find, counts.find)
FEWEST_TRIPS = 100  # of a month; with fewer, only the counts of the file are compared
MIXTURES = ("swapped_zones", "renumbered_zones", "clock_shift", "swapped_days")
OF_FEW_MONTHS = {1: 8.0, 2: 3.0}
"""Strength from which one of `MIXTURES` is believed beside so few months, whose own noise looks like a mixture.

In months of 20,000 generated trips without a fault it was at most 5.7 beside one month, and 1.4 beside two.
"""
ORDER = (
    "stale_copy", "outside_month", "repeated_day", "duplicated_trips", "negative_durations", "short_durations",
    "long_durations", "rounded_times", "capped_durations", "rounded_durations", "rounded_distances",
    "zero_distances", "absurd_distances", "constant_values", "missing_values", "equal_zones", "renumbered_zones",
    "swapped_zones", "new_zone", "mismatched_distances", "unit_of_distance", "clock_shift", "swapped_days",
    "missing_trips", "more_trips", "mismatched_durations", "slower_rides", "faster_rides", "drift",
)  # fmt: skip
"""Causes before what may be their consequences."""
_SPEED = {"slower_rides", "faster_rides", "mismatched_durations"}
_DISTANCES = {"unit_of_distance", "mismatched_distances", *_SPEED}
_TIMES = {"clock_shift", "swapped_days", "missing_trips", "more_trips", *_SPEED}
_ZONES = {"swapped_zones", "new_zone", "equal_zones", "missing_trips", *_DISTANCES}
EXPLAINS: dict[str, set[str]] = {
    "stale_copy": {*_TIMES, *_ZONES, "renumbered_zones"},
    "outside_month": {*_TIMES, *_ZONES, "renumbered_zones"},
    "repeated_day": {*_TIMES, "duplicated_trips"},
    "duplicated_trips": {"more_trips"},
    "negative_durations": {"short_durations", *_TIMES},
    "short_durations": {"missing_trips", *_SPEED},
    "long_durations": {"missing_trips", *_SPEED},
    "rounded_times": {"capped_durations", "rounded_durations", "short_durations", "duplicated_trips"},
    "capped_durations": {"rounded_durations", *_SPEED},
    "rounded_distances": {"zero_distances", "constant_values", *_DISTANCES},
    "zero_distances": _DISTANCES,
    "absurd_distances": {"mismatched_distances"},
    "constant_values": _DISTANCES,
    "equal_zones": {"swapped_zones", "missing_trips", *_DISTANCES},
    "renumbered_zones": _ZONES,
    "swapped_zones": {"missing_trips", *_DISTANCES},
    "mismatched_distances": _DISTANCES,
    "unit_of_distance": _SPEED,
    "mismatched_durations": _SPEED,
    "clock_shift": {"swapped_days", "missing_trips", *_SPEED},
    "swapped_days": {"missing_trips", *_SPEED},
}
"""Findings that follow from a fault, so that they are not reported beside it; each explains ``drift``."""


def find(now: Prepared, before: Sequence[Prepared]) -> tuple[Finding, ...]:
    """What is unusual about a month's trips, most important first.

    Parameters
    ----------
    now : Prepared
        The month.
    before : sequence of Prepared
        Months before it, oldest first, without known faults; perhaps none. Most detectors need at least one.

    Raises
    ------
    TripSchemaError
        When a published file cannot be read.
    """
    return find_in(samples.read(now), [samples.read(month) for month in before])


def find_in(now: samples.Sample, before: Sequence[samples.Sample]) -> tuple[Finding, ...]:
    """The same for samples of the months."""
    compared = Compared(Profile(now), tuple(map(Profile, before)))
    detectors = DETECTORS if len(compared.now.rows) >= FEWEST_TRIPS else OF_FEW_TRIPS
    least = OF_FEW_MONTHS.get(len(before), 1.0)
    found = [each for detector in detectors for each in detector(compared)]
    return ordered(each for each in found if each.cause not in MIXTURES or each.strength >= least)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings that no other one explains: faults before differences, causes before consequences, one of a cause.

    A cause is at least as strong as what comes after it, so an order by strength is the same.
    """
    strongest: dict[str, Finding] = {}
    for found in sorted(findings, key=lambda found: (not found.is_fault, -found.strength)):
        strongest.setdefault(found.cause, found)
    by_order = sorted(strongest.values(), key=lambda found: ORDER.index(found.cause))
    kept: list[Finding] = []
    explained: set[str] = set()
    for found in (found for found in by_order if found.is_fault):
        if found.cause not in explained:
            kept.append(found)
            explained |= {"drift", *EXPLAINS.get(found.cause, set())}
    explained |= {"drift"} if _SPEED & strongest.keys() else set()
    others = [found for found in by_order if not found.is_fault and found.cause not in explained]
    return (*_as_strong(kept), *_as_strong(others))


def _as_strong(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings, each at least as strong as those after it."""
    for place, found in enumerate(findings):
        yield replace(found, strength=max(later.strength for later in findings[place:]))
