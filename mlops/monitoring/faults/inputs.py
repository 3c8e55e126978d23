"""How far each input of a month is from the months before: the detector for what no other detector names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import HOURS, Profile
from mlops.monitoring.faults.spread import Measured, shares, without_one
from mlops.registry.monitoring_record import Finding

Array = npt.NDArray[Any]
PSI_FLOOR = 0.02
UNUSUAL, FAULT, FAULT_PSI = 1.5, 3.0, 0.25  # strengths that are reported, or a fault if PSI is at least this
MOST_PASSENGERS = 7
# Passengers are entered by the driver, and habits change, as in February 2019, when 0 became usual; what is wrong
# with durations, `columns` and `speed` find.
NO_FAULT = ("passengers", "speed", "duration")
_BINS = 24
_SMALLEST = 1e-4  # share that is added to each bin, so that an empty one counts without being all
_QUANTILES = (np.arange(200) + 0.5) / 200 * 0.99  # without the largest hundredth, which is noise of meters


@dataclass(frozen=True)
class Input:
    """An input of the model, or what it is judged by.

    Parameters
    ----------
    name : str
    counts : callable
        Trips of a month by bin, shape (bins,).
    values : callable, optional
        The values themselves, NaN for missing, if they are a quantity.
    """

    name: str
    counts: Callable[[Profile], Array]
    values: Callable[[Profile], Array] | None = None


def _binned(values: Callable[[Profile], Array], lowest: float, highest: float) -> Callable[[Profile], Array]:
    """Counts in bins of equal ratio; the last two are for values of 0 and less, and for missing ones."""
    edges = np.geomspace(lowest, highest, _BINS - 1)

    def counts(profile: Profile) -> Array:
        found = values(profile)
        with np.errstate(invalid="ignore"):
            place = np.where(found > 0, np.searchsorted(edges, found), _BINS)
        place = np.where(np.isnan(found), _BINS + 1, place)
        return np.bincount(place, minlength=_BINS + 2).astype(float)

    return counts


def _passengers(profile: Profile) -> Array:
    place = np.nan_to_num(np.clip(profile.passengers, 0, MOST_PASSENGERS), nan=MOST_PASSENGERS + 1)
    return np.bincount(place.astype(np.int64), minlength=MOST_PASSENGERS + 2).astype(float)


def _by_weekday(profile: Profile) -> Array:
    """Mean trips of each weekday, so that a month with five Mondays is like one with four."""
    weekday = (np.arange(profile.days) + profile.month.start.weekday()) % 7
    by_day = profile.by_day_and_hour.sum(axis=1)
    return np.bincount(weekday, by_day, 7) / np.bincount(weekday, minlength=7)


def _speed(profile: Profile) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(profile.minutes > 0, profile.miles / (profile.minutes / 60), np.nan)


INPUTS = (
    Input("distance", _binned(lambda p: p.miles, 0.2, 30), lambda p: p.miles),
    Input("passengers", _passengers, lambda p: p.passengers),
    Input("hour", lambda p: np.bincount(p.hour, minlength=HOURS).astype(float)),
    Input("weekday", _by_weekday),
    Input("pickup zone", lambda p: p.by_pair.sum(axis=1)),
    Input("drop-off zone", lambda p: p.by_pair.sum(axis=0)),
    Input("pair of zones", lambda p: p.by_pair.ravel()),
    Input("speed", _binned(_speed, 1, 60), _speed),
    Input("duration", _binned(lambda p: p.minutes, 1, 120), lambda p: p.minutes),
)


def psi(found: Array, usual: Array) -> float:
    """Population stability index of counts by bin; bins with few usual trips are counted together.

    Examples
    --------
    >>> round(psi(np.array([50.0, 50.0]), np.array([80.0, 20.0])), 2)
    0.42
    """
    is_large = usual >= max(50.0, 0.0005 * float(usual.sum()))
    now, before = (shares(np.append(counts[is_large], counts[~is_large].sum())) for counts in (found, usual))
    now, before = now + _SMALLEST, before + _SMALLEST
    return float(((now - before) * np.log(now / before)).sum())


def measured_psi(each: Input, compared: Compared) -> Measured:
    """PSI of an input against the months before, and of each of these against the others."""
    counts = [each.counts(profile) for profile in compared.before]
    alone = [psi(found, np.sum(others, axis=0)) for found, others in without_one(counts) if others]
    return Measured(psi(each.counts(compared.now), np.sum(counts, axis=0)), tuple(alone), PSI_FLOOR)


def wasserstein(found: Array, usual: Sequence[Array]) -> float:
    """Mean distance between the quantiles of known values, in their unit; NaN if there are none."""
    known = [values[~np.isnan(values)] for values in (found, np.concatenate(list(usual)))]
    if not all(map(len, known)):
        return float("nan")
    now, before = (np.quantile(values, _QUANTILES) for values in known)
    return float(np.abs(now - before).mean())


def find(compared: Compared) -> Iterator[Finding]:
    """The input that moved most, if by far more than is usual."""
    if not compared.before:
        return
    found = {each.name: measured_psi(each, compared) for each in INPUTS}
    name = max(found, key=lambda key: found[key].strength)
    measured = found[name]
    if measured.strength >= UNUSUAL:
        is_fault = name not in NO_FAULT and measured.strength >= FAULT and measured.now >= FAULT_PSI
        text = f"{name} differs from the months before: PSI {measured.now:.2f}, usually {measured.usual:.2f}"
        yield Finding("drift", text, 1.0, is_fault, measured.strength)
