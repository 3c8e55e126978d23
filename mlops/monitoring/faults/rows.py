"""Detectors of rows that are there too often: copies within the file, of other days and of other months."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import ZONES, Profile
from mlops.monitoring.faults.spread import Measured
from mlops.registry.monitoring_record import Finding

Array = npt.NDArray[Any]
COPIES, OUTSIDE, REPEATED, STALE = 0.01, 0.01, 0.01, 0.05  # smallest shares of interest
NEAR_SECONDS = 5


def find(compared: Compared) -> Iterator[Finding]:
    """Findings about rows that are there too often or belong to other months."""
    yield from duplicated_trips(compared)
    yield from near_copies(compared)
    yield from repeated_day(compared)
    yield from stale_copy(compared)
    yield from outside_month(compared)


def _rejected(name: str, profile: Profile) -> float:
    return profile.quality.rejected.get(name, 0) / max(profile.quality.rows, 1)


def duplicated_trips(compared: Compared) -> Iterator[Finding]:
    """Rows that are equal to an earlier row in all columns."""
    measured = compared.measured(lambda profile: _rejected("duplicate", profile), COPIES)
    if measured.strength >= 1:
        text = f"{measured.now:.1%} of the rows repeat an earlier row, usually {measured.usual:.2%}"
        yield Finding("duplicated_trips", text, measured.now, True, measured.strength)


def _near_copies(profile: Profile) -> float:
    """Share of the trips that are nearly another: same zones, times that differ by seconds."""
    length = np.nan_to_num(profile.minutes * 60)
    order = np.lexsort((profile.seconds, profile.pair))
    same_pair = np.diff(profile.pair[order]) == 0
    apart, longer = np.abs(np.diff(profile.seconds[order])), np.abs(np.diff(length[order]))
    is_near = same_pair & (apart <= NEAR_SECONDS) & (longer <= NEAR_SECONDS) & (length[order][1:] > 60)
    exact = profile.rows["is_duplicate"].to_numpy()[order]
    return float((is_near & ~exact[1:] & ~exact[:-1]).sum() / max(len(profile.rows), 1))


def near_copies(compared: Compared) -> Iterator[Finding]:
    """Rows that are nearly equal to another one."""
    measured = compared.measured(_near_copies, COPIES)
    if measured.strength >= 1:
        text = (
            f"{measured.now:.1%} of the trips have the zones and, within {NEAR_SECONDS} seconds, the times of "
            f"another trip, usually {measured.usual:.2%}"
        )
        yield Finding("duplicated_trips", text, measured.now, True, measured.strength)


def _keys(profile: Profile) -> Array:
    """What a trip is but for its date: second of the day, zones, distance, duration."""
    hundredths = np.nan_to_num(np.clip(profile.miles, 0, 99) * 100).astype(np.int64)
    length = np.clip(np.nan_to_num(profile.minutes * 60), 0, 7200).astype(np.int64)
    return ((profile.seconds % 86_400 * ZONES * ZONES + profile.pair) * 10_000 + hundredths) * 7_201 + length


def _repeats(profile: Profile) -> tuple[float, Array]:
    """Share of the trips that are on a later day again, and their number by pair of days."""
    keys = _keys(profile)
    order = np.lexsort((profile.day, keys))
    days = profile.day[order]
    again = (np.diff(keys[order]) == 0) & (np.diff(days) > 0)
    pairs = np.bincount((days[:-1] * 31 + days[1:])[again], minlength=31 * 31)
    return float(again.sum() / max(len(keys), 1)), pairs


def repeated_day(compared: Compared) -> Iterator[Finding]:
    """Days whose trips are those of another day."""
    measured = compared.measured(lambda profile: _repeats(profile)[0], REPEATED)
    if measured.strength >= 1:
        first, second = np.divmod(int(_repeats(compared.now)[1].argmax()), 31)
        text = (
            f"{measured.now:.1%} of the trips are on another day again, most of them of day {first + 1} on "
            f"day {second + 1}"
        )
        yield Finding("repeated_day", text, measured.now, True, measured.strength)


def stale_copy(compared: Compared) -> Iterator[Finding]:
    """Trips of a month before, with other dates."""
    known = [_keys(profile) for profile in compared.before]
    if not known:
        return
    here = _keys(compared.now)
    again = [float(np.isin(here, keys).mean()) if len(here) else 0.0 for keys in known]
    usual = [float(np.isin(a, b).mean()) for a, b in zip(known[1:], known[:-1], strict=True)]
    measured = Measured(max(again), tuple(usual), STALE)
    if measured.strength >= 1:
        month = compared.before[int(np.argmax(again))].month
        text = f"{measured.now:.1%} of the trips are those of {month} with other dates"
        yield Finding("stale_copy", text, measured.now, True, measured.strength)


def outside_month(compared: Compared) -> Iterator[Finding]:
    """Trips whose pickup is in another month."""
    measured = compared.measured(lambda profile: _rejected("outside_month", profile), OUTSIDE)
    if measured.strength >= 1:
        text = f"{measured.now:.1%} of the trips begin in another month, usually {measured.usual:.2%}"
        yield Finding("outside_month", text, measured.now, True, measured.strength)
