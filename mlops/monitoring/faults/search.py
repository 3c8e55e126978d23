"""All detectors, in the order in which one finding explains others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from mlops.monitoring import samples
from mlops.monitoring.faults import clocks, columns, counts, distances, rows, speed, zones
from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import Profile
from mlops.monitoring.months import Prepared
from mlops.registry.monitoring_record import Finding

Detector = Callable[[Compared], Iterable[Finding]]
DETECTORS: tuple[Detector, ...] = (
    rows.find, columns.find, distances.unit_of_distance, zones.find, clocks.find, counts.find, speed.find,
)  # fmt: skip
FEWEST_TRIPS = 100  # of a month; with fewer, only the counts of the file are compared
ORDER = (
    "stale_copy", "outside_month", "repeated_day", "duplicated_trips", "negative_durations", "short_durations",
    "long_durations", "rounded_times", "capped_durations", "rounded_durations", "rounded_distances",
    "zero_distances", "absurd_distances", "constant_values", "missing_values", "equal_zones", "renumbered_zones",
    "swapped_zones", "new_zone", "unit_of_distance", "clock_shift", "swapped_days", "missing_trips", "more_trips",
    "slower_rides", "faster_rides", "season", "mix", "drift",
)  # fmt: skip
"""Causes before what may be their consequences."""
_SPEED = {"slower_rides", "faster_rides"}
_TIMES = {"clock_shift", "swapped_days", "missing_trips", "more_trips", *_SPEED}
_ZONES = {"swapped_zones", "new_zone", "unit_of_distance", "equal_zones", "missing_trips", *_SPEED}
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
    "rounded_distances": {"zero_distances", "constant_values", "unit_of_distance", *_SPEED},
    "zero_distances": {"unit_of_distance", *_SPEED},
    "constant_values": {"unit_of_distance", *_SPEED},
    "equal_zones": {"swapped_zones", "unit_of_distance", "missing_trips", *_SPEED},
    "renumbered_zones": _ZONES,
    "swapped_zones": {"unit_of_distance", "missing_trips", *_SPEED},
    "unit_of_distance": {"absurd_distances", *_SPEED},
    "clock_shift": {"swapped_days", "missing_trips", *_SPEED},
    "swapped_days": {"missing_trips", *_SPEED},
}
"""Findings that follow from a fault, so that they are not reported beside it."""


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
    detectors = DETECTORS if len(compared.now.rows) >= FEWEST_TRIPS else DETECTORS[:1]
    return ordered([found for detector in detectors for found in detector(compared)])


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings that no other one explains: faults before differences, causes before consequences, one of a cause.

    A cause is at least as strong as what comes after it, so an order by strength is the same.
    """
    strongest: dict[str, Finding] = {}
    for found in sorted(findings, key=lambda found: (not found.is_fault, -found.strength)):
        strongest.setdefault(found.cause, found)
    kept: list[Finding] = []
    explained: set[str] = set()
    for found in sorted(strongest.values(), key=lambda found: (not found.is_fault, ORDER.index(found.cause))):
        if found.cause not in explained:
            kept.append(found)
            explained |= EXPLAINS.get(found.cause, set()) if found.is_fault else set()
    strengths = np.maximum.accumulate([found.strength for found in kept[::-1]])[::-1]
    return tuple(replace(found, strength=float(value)) for found, value in zip(kept, strengths, strict=True))
