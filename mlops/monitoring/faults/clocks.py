"""Detectors of clocks that are wrong: hours too early or late, afternoons as mornings, days exchanged.

Three things show by how many hours a share of the trips is off: the surcharge for rush hours and nights, which the
meter added by the right clock; the number of rides by hour; and how fast they were by hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.monitoring.faults.compared import Compared, Durations
from mlops.monitoring.faults.profile import HOURS, Profile
from mlops.monitoring.faults.spread import Measured, share_changed, shares, without_one
from mlops.registry.monitoring_record import Finding

Array = npt.NDArray[Any]
Shift = Callable[[Array], Array]  # of a table whose second axis is the hour
SURCHARGE, RIDES, WEEK = 0.08, 0.25, 0.15  # smallest share of interest
KIND_SHARES = np.array([[5], [1], [1]]) / 7  # so much each kind of day counts, whatever its trips are
LEAST_SURCHARGE = 0.005  # share of the trips from which an amount counts as usual


@dataclass(frozen=True)
class Candidate:
    """A way in which a clock may be wrong: what it does to a table by hour, and how to say it."""

    cause: str
    shift: Shift
    what: str


def _rolled(hours: int) -> Shift:
    return lambda table: np.roll(table, hours, axis=1)


def _as_mornings(table: Array) -> Array:
    """Hours from 12 to 23 counted as 0 to 11."""
    half = HOURS // 2
    moved = np.zeros_like(table)
    moved[:, :half] = table[:, :half] + table[:, half:]
    return moved


def _other_days(table: Array) -> Array:
    """Trips of each kind of day counted on days of another kind, as with dates that are some days off."""
    return np.stack([0.6 * table[0] + (table[1] + table[2]), 0.2 * table[0], 0.2 * table[0]])


def _said(hours: int) -> str:
    late = f"{abs(hours)} hour{'s' if abs(hours) > 1 else ''} {'late' if hours > 0 else 'early'}"
    return late + (", as in UTC" if hours in (4, 5) else "")


CANDIDATES = (
    *(
        Candidate("clock_shift", _rolled(hours), f"a clock {_said(hours)}")
        for hours in (*range(-11, 0), *range(1, 13))
    ),
    Candidate("clock_shift", _as_mornings, "an afternoon that is written as a morning"),
    Candidate("swapped_days", _other_days, "the hours of another kind of day: their dates may be wrong"),
)


def find(compared: Compared) -> Iterator[Finding]:
    """Findings about clocks and calendars."""
    if not compared.before:
        return
    found = [*_by_surcharge(compared), *_by_rides(compared)]
    for measured, best in sorted(found, key=lambda each: -each[0].strength)[:1]:
        share = min(measured.difference, 1.0)
        yield Finding(
            best.cause, f"about {share:.0%} of the trips have {best.what}", share, True, measured.strength
        )


# --- Surcharges ---------------------------------------------------------------------------------------------


def _amounts(others: Sequence[Profile]) -> Array:
    """The usual surcharges, in cents, sorted."""
    cents = np.concatenate([_cents(other) for other in others])
    values, counts = np.unique(cents[cents >= 0], return_counts=True)
    return np.asarray(values[counts > LEAST_SURCHARGE * max(counts.sum(), 1)])


def _cents(profile: Profile) -> Array:
    return np.round(np.nan_to_num(profile.rows["surcharge"].to_numpy() * 100, nan=-1)).astype(np.int64)


def _by_amount(profile: Profile, amounts: Array) -> Array:
    """Trips by kind of day, hour and surcharge, shape (3, 24, amounts)."""
    cents = _cents(profile)
    place = np.clip(np.searchsorted(amounts, cents), 0, len(amounts) - 1)
    kept = (amounts[place] == cents) & (profile.day_kind < 3)
    cell = profile.hour_of_kind * len(amounts) + place
    counts = np.bincount(cell[kept], minlength=3 * HOURS * len(amounts))
    return counts.reshape(3, HOURS, len(amounts)).astype(float)


def _by_surcharge(compared: Compared) -> Iterator[tuple[Measured, Candidate]]:
    amounts = _amounts(compared.before)
    if len(amounts) < 2:
        return
    tables = [_by_amount(profile, amounts) for profile in (compared.now, *compared.before)]
    yield from _best(tables[0], tables[1:], _surcharge_share, SURCHARGE)


def _surcharge_share(now: Array, others: Sequence[Array], shift: Shift) -> tuple[float, float]:
    """Share of the trips whose surcharge is that of the shifted hour, and how much better this explains them."""
    usual = np.sum(others, axis=0)
    hours = usual.sum(axis=2, keepdims=True)
    expected, found = usual / np.maximum(hours, 1), now / np.maximum(now.sum(axis=2, keepdims=True), 1)
    moved_hours = shift(hours)
    moved = shift(usual) / np.maximum(moved_hours, 1)
    weight = (now.sum(axis=2, keepdims=True) > 0) * shares(hours) / (expected + moved + 0.01)
    # Of the trips that are now in an hour, those that moved there are a share of their own.
    direction = (moved - expected) * moved_hours / np.maximum(hours + moved_hours, 1) * 2
    return _fit(weight, direction, found - expected)


def _fit(weight: Array, direction: Array, difference: Array) -> tuple[float, float]:
    length, along = (weight * direction**2).sum(), (weight * direction * difference).sum()
    share = float(along / length) if length > 0 else 0.0
    return share, float(along * share) if share > 0 else 0.0


Fit = Callable[[Array, Sequence[Array], Shift], tuple[float, float]]


def _best(
    now: Array, before: Sequence[Array], fit: Fit, floor: float
) -> Iterator[tuple[Measured, Candidate]]:
    """The candidate that explains the month best, if its share is unusual."""
    best = max(CANDIDATES, key=lambda candidate: fit(now, before, candidate.shift)[1])
    alone = [fit(table, others, best.shift)[0] for table, others in without_one(before) if others]
    measured = Measured(fit(now, before, best.shift)[0], tuple(alone), floor)
    if measured.strength >= 1:
        yield measured, best


# --- Rides and speed ----------------------------------------------------------------------------------------


def _by_rides(compared: Compared) -> Iterator[tuple[Measured, Candidate]]:
    """Candidates for which rides and speed agree: the mean of both shares is unusual."""
    if not compared.has_rides:
        return
    tables = [_hours_of(profile, taken) for (profile, _), taken in zip(
        compared.against_others, compared.durations, strict=True)]  # fmt: skip
    if len(tables) > 1:
        yield from _best(tables[0], tables[1:], _rides_share, RIDES)


def _hours_of(profile: Profile, taken: Durations) -> Array:
    """Shares of the rides by hour, mean slowness by hour, and its usual effect, shape (3, 24, 3)."""
    hour = profile.hour_of_kind[taken.where]
    counts = np.bincount(hour, minlength=3 * HOURS)
    slow = np.bincount(hour, taken.without_hour, 3 * HOURS) / np.maximum(counts, 1)
    rides = profile.by_hour / np.maximum(profile.by_hour.sum(axis=1, keepdims=True), 1e-9)
    parts = (rides * KIND_SHARES, slow.reshape(3, HOURS), taken.hour_effect)
    return np.stack(parts, axis=2)


def _rides_share(now: Array, others: Sequence[Array], shift: Shift) -> tuple[float, float]:
    usual = np.mean(others, axis=0)
    rides, moved = usual[:, :, 0], shift(usual[:, :, 0])
    share = share_changed(now[:, :, 0], rides, moved)
    effect = now[:, :, 2]
    moved_effect = shift(rides * effect) / np.maximum(moved, 1e-9)
    speed, gain = _fit(rides, _centred(moved_effect - effect, rides), _centred(now[:, :, 1] - effect, rides))
    both = (share + speed) / 2
    weight = 1 / (rides + moved + 1e-4)
    return both, float((weight * (moved - rides) ** 2).sum()) * both * max(both, 0.0) if gain > 0 else 0.0


def _centred(values: Array, weight: Array) -> Array:
    return np.asarray(values - (values * weight).sum() / weight.sum())
