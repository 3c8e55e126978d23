"""Detectors of columns that are wrong by themselves: missing, constant, rounded, cut off, impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import Profile
from mlops.registry.monitoring_record import Finding

Array = npt.NDArray[Any]
LONGEST = 1439.0  # minutes; longer rides are meters that ran until the next day


@dataclass(frozen=True)
class Check:
    """A share of the trips that must not grow.

    Parameters
    ----------
    cause : str
    share : callable
        The share of a month's trips, 0 to 1.
    floor : float
        A smaller growth is never of interest.
    what : str
        What these trips have, for the sentence "34 % of the trips have WHAT".
    """

    cause: str
    share: Callable[[Profile], float]
    floor: float
    what: str


def _mean(values: Any) -> float:
    """Share of the true values; 0 of none."""
    return float(np.mean(values)) if len(values) else 0.0


def _commonest(values: Array) -> float:
    """Share of the commonest value."""
    if not len(values):
        return 0.0
    return float(np.unique(values, return_counts=True)[1].max() / len(values))


def _outstanding(values: Array) -> float:
    """Share of the commonest value minus that of the second; rounded values are all common."""
    counts = np.sort(np.unique(values, return_counts=True)[1])
    return float((counts[-1] - counts[-2]) / len(values)) if len(counts) > 1 else float(len(counts))


def _known(values: Array) -> Array:
    return values[~np.isnan(values)]


def _moving(profile: Profile) -> Array:
    """Distances above 0."""
    with np.errstate(invalid="ignore"):
        return profile.miles[profile.miles > 0]


def _has_no_seconds(profile: Profile) -> Array:
    seconds = profile.minutes * 60
    with np.errstate(invalid="ignore"):
        has_none = np.abs(seconds - 60 * np.round(seconds / 60)) < 0.5
        return np.asarray((profile.seconds % 60 == 0) & has_none)


def _is_whole_duration(profile: Profile) -> Array:
    known = _known(profile.minutes)
    return np.asarray(np.abs(known - np.round(known)) < 1e-6)


def _at_one_duration(profile: Profile) -> float:
    """Share of the trips with the one duration of more than five minutes that stands out."""
    seconds = np.round(_known(profile.minutes) * 60)
    longer = seconds[seconds > 300]
    return _outstanding(longer) * len(longer) / max(len(seconds), 1)


def _is_unknown(profile: Profile) -> Array:
    zones = profile.rows[["pickup_zone", "dropoff_zone"]].to_numpy()
    return np.asarray(((zones < 1) | (zones == 264) | (zones == 265)).any(axis=1))


def _constant_passengers(profile: Profile) -> float:
    return _commonest(_known(profile.passengers))


CHECKS = (
    Check("negative_durations", lambda p: _mean(p.minutes < 0), 0.005, "a drop-off before the pickup"),
    Check("short_durations", lambda p: _mean((p.minutes >= 0) & (p.minutes < 1)), 0.03, "less than a minute"),
    Check("long_durations", lambda p: _mean(p.minutes > 60), 0.04, "more than an hour"),
    Check("capped_durations", _at_one_duration, 0.006, "exactly the same duration"),
    Check("rounded_times", lambda p: _mean(_has_no_seconds(p)), 0.05, "times without seconds"),
    Check("rounded_durations", lambda p: _mean(_is_whole_duration(p)), 0.05, "a duration of whole minutes"),
    Check("missing_values", lambda p: _mean(np.isnan(p.passengers)), 0.06, "no passenger count"),
    Check("missing_values", lambda p: _mean(np.isnan(p.miles)), 0.02, "no distance"),
    Check("missing_values", lambda p: _mean(_is_unknown(p)), 0.03, "no zone of New York"),
    Check("constant_values", _constant_passengers, 0.05, "the same passenger count"),
    Check("constant_values", lambda p: _outstanding(_moving(p)), 0.03, "the same distance"),
    Check(
        "equal_zones", lambda p: _mean(p.pickup == p.dropoff), 0.06, "the same zone for pickup and drop-off"
    ),
    Check("zero_distances", lambda p: _mean(p.miles == 0), 0.04, "a distance of 0"),
    Check(
        "rounded_distances",
        lambda p: _mean(_moving(p) == np.round(_moving(p))),
        0.05,
        "a distance of whole miles",
    ),
    Check(
        "absurd_distances", lambda p: _mean((p.miles < 0) | (p.miles > 100)), 0.01, "an impossible distance"
    ),
)


def find(compared: Compared) -> Iterator[Finding]:
    """A finding for each check whose share grew by more than is usual."""
    if not compared.before:
        return
    for check in CHECKS:
        measured = compared.measured(check.share, check.floor)
        if measured.strength >= 1:
            text = f"{measured.now:.1%} of the trips have {check.what}, usually {measured.usual:.1%}"
            yield Finding(check.cause, text, measured.difference, True, measured.strength)
