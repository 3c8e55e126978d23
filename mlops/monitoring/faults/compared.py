"""A month beside the months before it, with what several detectors need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.monitoring.faults.profile import HOURS, ZONES, Profile
from mlops.monitoring.faults.spread import Measured, without_one

Array = npt.NDArray[Any]
Measure = Callable[[Profile], float]
LEAST_MEASURED = 0.3  # share of the trips with a distance and a duration
_BANDS = 40  # of the logarithm of the distance
_FEW = 10.0  # trips of a pair or an hour that count as much as what is usual for all


@dataclass(frozen=True)
class Durations:
    """How much longer rides took than usual for their distance, zones and hour; measured trips of one month.

    Parameters
    ----------
    where : array of shape (n,)
        Places of the trips in their profile.
    longer : array of shape (n,)
        Logarithm of the duration minus the usual one; at the usual hour effect of the trip's hour.
    without_hour : array of shape (n,)
        The same without the effect of the hour.
    hour_effect : array of shape (3, 24)
        Usual effect of the hour, by kind of day.
    """

    where: Array
    longer: Array
    without_hour: Array
    hour_effect: Array


@dataclass(frozen=True)
class Compared:
    """A month, and the months before it (oldest first; perhaps none)."""

    now: Profile
    before: tuple[Profile, ...]

    def measured(self, measure: Measure, floor: float) -> Measured:
        """A value of each month by itself, as a share of its trips."""
        return Measured(measure(self.now), tuple(measure(profile) for profile in self.before), floor)

    @cached_property
    def against_others(self) -> tuple[tuple[Profile, tuple[Profile, ...]], ...]:
        """The month with the months before it, then each of those with the others, if there are others."""
        pairs = [(profile, others) for profile, others in without_one(self.before) if others]
        return ((self.now, self.before), *pairs)

    @property
    def has_rides(self) -> bool:
        """Whether enough trips have a distance and a duration, so that rides can be compared."""
        return bool(self.before) and float(self.now.is_measured.mean()) >= LEAST_MEASURED

    @cached_property
    def durations(self) -> tuple[Durations, ...]:
        """`Durations` of the month, and of each month before it against the others."""
        return tuple(durations_of(profile, others) for profile, others in self.against_others)


def durations_of(profile: Profile, others: Sequence[Profile]) -> Durations:
    """How much longer a month's rides took than those of other months."""
    usual = [_trips(other) for other in others]
    miles, minutes, pair, hour = (np.concatenate(parts) for parts in zip(*usual, strict=True))
    edges = np.quantile(miles, np.linspace(0, 1, _BANDS + 1)[1:-1])
    centre = minutes.mean()
    left = minutes - centre
    by_band = _means(np.searchsorted(edges, miles), left, _BANDS)
    left = left - by_band[np.searchsorted(edges, miles)]
    by_pair = _means(pair, left, ZONES * ZONES)
    left = left - by_pair[pair]
    by_hour = _means(hour, left, 3 * HOURS)
    miles, minutes, pair, hour = _trips(profile)
    found = minutes - centre - by_band[np.searchsorted(edges, miles)] - by_pair[pair]
    return Durations(
        np.flatnonzero(profile.is_measured), np.clip(found - by_hour[hour], -1.5, 1.5),
        np.clip(found, -1.5, 1.5), by_hour.reshape(3, HOURS),
    )  # fmt: skip


def _trips(profile: Profile) -> tuple[Array, Array, Array, Array]:
    """Logarithms of distance and duration, pair and hour of each measured trip."""
    kept = profile.is_measured
    hours = profile.hour_of_kind[kept]
    return np.log(profile.miles[kept]), np.log(profile.minutes[kept]), profile.pair[kept], hours


def _means(place: Array, values: Array, size: int) -> Array:
    """Mean by place; of few trips nearer to 0."""
    return np.bincount(place, values, size) / (np.bincount(place, minlength=size) + _FEW)
