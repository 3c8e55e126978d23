"""Detector of distances in another unit: compared with the usual distance between the same two zones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import LONGEST_MILES, SHORTEST_MILES, ZONES, Profile
from mlops.monitoring.faults.spread import Measured, share_changed, shares
from mlops.registry.monitoring_record import Finding

Array = npt.NDArray[Any]
STEP = math.log(1.609344) / 9  # of the logarithm of the ratio, so that kilometres are 9 whole steps
LOWEST, HIGHEST = -120, 190  # steps: from 0.002 to 20,000 times the usual distance
NEAREST = 4  # steps; a smaller factor is a change of the routes, not of the unit
FAR = 16  # steps; a factor of 2.3
FEWEST_TRIPS = 10  # of a pair in the months before
FLOOR = 0.04
LEAST_MOVING = 0.2  # with fewer distances above 0, their unit is not the problem
UNITS = {
    1.609344: "kilometres", 1609.344: "metres", 5280.0: "feet", 1760.0: "yards", 10.0: "tenths of a mile",
    100.0: "hundredths of a mile", 1 / 1.609344: "miles that were converted from kilometres twice",
}  # fmt: skip


def find(compared: Compared) -> Iterator[Finding]:
    """Findings about distances that do not fit their zones."""
    if compared.before and (compared.now.miles > 0).mean() >= LEAST_MOVING:
        tables = [_ratios(profile, others) for profile, others in compared.against_others]
        yield from unit_of_distance(compared, tables[0], tables[1:])
        yield from mismatched_distances(tables[0], tables[1:])


def mismatched_distances(now: Array, before: Sequence[Array]) -> Iterator[Finding]:
    """Distances far from what is usual between their zones, in both directions, as after mixing up rows."""
    low, high = -FAR - LOWEST, FAR - LOWEST + 1
    ends = [(float(table[:low].sum()), float(table[high:].sum())) for table in (now, *before)]
    sums = [2 * min(end) for end in ends]
    measured = Measured(sums[0], tuple(sums[1:]), FLOOR)
    if measured.strength >= 1:
        text = f"{measured.now:.0%} of the distances are far from the usual ones between their zones"
        yield Finding("mismatched_distances", text, measured.difference, True, measured.strength)


def unit_of_distance(compared: Compared, now: Array, before: Sequence[Array]) -> Iterator[Finding]:
    """Distances that are a factor too large or too small for their zones."""
    usual = np.mean(before, axis=0) if before else _ratios(compared.before[0], compared.before)
    step = max((s for s in range(LOWEST, HIGHEST) if abs(s) >= NEAREST), key=lambda s: _gain(now, usual, s))
    measured = _measured(now, before, usual, step)
    if measured.strength >= 1:
        text = f"{min(measured.difference, 1):.0%} of the distances look like {_unit(step)}"
        vendor = _vendor(compared, usual, step)
        yield Finding(
            "unit_of_distance", text + vendor, min(measured.difference, 1.0), True, measured.strength
        )


def _measured(now: Array, before: Sequence[Array], usual: Array, step: int) -> Measured:
    moved = _moved(usual, step)
    alone = [share_changed(table, usual, moved) for table in before]
    return Measured(share_changed(now, usual, moved), tuple(alone), FLOOR)


def _usual_miles(others: Sequence[Profile]) -> Array:
    """Mean logarithm of the distance by pair of zones; NaN where there are few trips."""
    size = ZONES * ZONES
    sums, counts = np.zeros(size), np.zeros(size)
    for other in others:
        kept = (other.miles >= SHORTEST_MILES) & (other.miles <= LONGEST_MILES)
        sums += np.bincount(other.pair[kept], np.log(other.miles[kept]), size)
        counts += np.bincount(other.pair[kept], minlength=size)
    return np.where(counts >= FEWEST_TRIPS, sums / np.maximum(counts, 1), np.nan)


def _ratios(profile: Profile, others: Sequence[Profile], where: Array | None = None) -> Array:
    """Shares of the trips by distance divided by the usual one between their zones, in steps of its logarithm."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.log(profile.miles) - _usual_miles(others)[profile.pair]
    kept = np.isfinite(ratio) if where is None else np.isfinite(ratio) & where
    place = np.clip(np.round(ratio[kept] / STEP).astype(np.int64), LOWEST, HIGHEST) - LOWEST
    return shares(np.bincount(place, minlength=HIGHEST - LOWEST + 1).astype(float))


def _moved(usual: Array, step: int) -> Array:
    """The shares if each distance were this number of steps larger."""
    moved = np.roll(usual, step)
    if step > 0:
        moved[:step] = 0
    else:
        moved[step:] = 0
    return moved


def _gain(now: Array, usual: Array, step: int) -> float:
    """How much better the month is explained by a share of trips that many steps off."""
    moved = _moved(usual, step)
    share = min(max(share_changed(now, usual, moved), 0.0), 1.0)
    weight = 1 / (usual + moved + 1e-4)
    before, after = now - usual, now - usual - share * (moved - usual)
    return float((weight * (before * before - after * after)).sum())


def _unit(step: int) -> str:
    factor = math.exp(step * STEP)
    for known, name in UNITS.items():
        if abs(math.log(factor / known)) < 0.75 * STEP:
            return f"{name} instead of miles" if known > 1 else name
    return f"{factor:.3g} times the miles"


def _vendor(compared: Compared, usual: Array, step: int) -> str:
    """Which vendor it is, as the end of a sentence; empty if it is not one alone."""
    now, moved = compared.now, _moved(usual, step)
    known = [int(number) for number in np.unique(now.vendor) if (now.vendor == number).mean() > 0.01]
    found = {n: share_changed(_ratios(now, compared.before, now.vendor == n), usual, moved) for n in known}
    affected = [number for number, share in found.items() if share > 0.5]
    clean = [number for number, share in found.items() if share < FLOOR]
    if len(affected) == 1 and len(clean) == len(known) - 1 > 0:
        return f": all from vendor {affected[0]}"
    return ""
