"""Detectors of zones that are wrong: new ones, exchanged ends of a ride, other numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import ZONES, Profile, sums_of
from mlops.monitoring.faults.spread import Measured, shares
from mlops.registry.monitoring_record import Finding

Array = npt.NDArray[Any]
# Smallest share of interest; share of a rare zone; growth that makes it new.
NEW, RARE, TIMES = 0.0015, 0.0005, 8.0
SWAPPED, RENUMBERED = 0.03, 0.08
MANY = 6  # so many new zones at once are old ones with other numbers
_SMOOTHING = 0.3  # trips of a pair that are added, spread like the products of the zones' shares


def find(compared: Compared) -> Iterator[Finding]:
    """Findings about zones."""
    if not compared.before:
        return
    yield from renumbered_zones(compared)
    yield from swapped_zones(compared)
    yield from new_zone(compared)


def _by_zone(profile: Profile) -> Array:
    """Trips that begin or end in each zone."""
    return np.asarray(profile.by_pair.sum(axis=0) + profile.by_pair.sum(axis=1) - np.diag(profile.by_pair))


def _new(profile: Profile, others: Sequence[Profile]) -> Array:
    """Share of the month's trips in each zone that was not or hardly used in the other months."""
    usual = np.max([_by_zone(other) / max(len(other.rows), 1) for other in others], axis=0)
    now = _by_zone(profile) / max(len(profile.rows), 1)
    return np.where((usual < RARE) & (now >= TIMES * usual), now, 0.0)


def new_zone(compared: Compared) -> Iterator[Finding]:
    """Zones with a share of the rides that had none, or hardly any, in the months before."""
    found = [_new(profile, others) for profile, others in compared.against_others]
    measured = Measured(float(found[0].max()), tuple(float(f.max()) for f in found[1:]), NEW)
    if measured.strength < 1:
        return
    zones = np.flatnonzero(found[0] >= measured.usual + measured.threshold)
    names = ", ".join(_name(compared.now, zone) for zone in zones[:5])
    share = float(found[0][zones].sum())
    text = f"{share:.1%} of the trips begin or end in zones without trips in the months before: {names}"
    yield Finding("new_zone", text, min(share, 1.0), True, measured.strength)


def _name(profile: Profile, zone: int) -> str:
    """Number of a zone; of those that are counted together the commonest."""
    if zone < ZONES - 1:
        return str(zone)
    ids = profile.rows[["pickup_zone", "dropoff_zone"]].to_numpy().ravel()
    values, counts = np.unique(ids[ids >= zone], return_counts=True)
    return str(values[counts.argmax()])


def _swapped(profile: Profile, others: Sequence[Profile]) -> float:
    """Share of the trips for which the reversed direction explains the counts by pair."""
    counts = sums_of(others, "by_pair")
    starts, ends = shares(counts.sum(axis=1)), shares(counts.sum(axis=0))
    usual = shares(counts + _SMOOTHING * np.outer(starts, ends) * np.count_nonzero(counts))
    now = shares(profile.by_pair)
    direction = (usual.T - usual) / (usual + usual.T + 1e-12)
    expected, reversed_ = float((direction * usual).sum()), float((direction * usual.T).sum())
    return (float((direction * now).sum()) - expected) / max(reversed_ - expected, 1e-9)


def swapped_zones(compared: Compared) -> Iterator[Finding]:
    """Trips whose pickup zone is their drop-off zone, and the other way round."""
    found = [_swapped(profile, others) for profile, others in compared.against_others]
    measured = Measured(found[0], tuple(found[1:]), SWAPPED)
    if measured.strength >= 1:
        share = min(measured.difference / max(1 - measured.usual, 0.1), 1.0)
        text = f"about {share:.0%} of the trips have pickup and drop-off zone exchanged"
        yield Finding("swapped_zones", text, share, True, measured.strength)


def _distance_between(profile: Profile, others: Sequence[Profile]) -> tuple[float, float]:
    """How far the shares of the zones are from the usual ones: as they are, and sorted by size (0 to 1 each)."""
    usual, now = shares(sum(map(_by_zone, others), np.zeros(ZONES))), shares(_by_zone(profile))
    sorted_distance = np.abs(np.sort(usual) - np.sort(now)).sum() / 2
    return float(np.abs(usual - now).sum() / 2), float(sorted_distance)


def renumbered_zones(compared: Compared) -> Iterator[Finding]:
    """Zones that have the shares of other zones."""
    found = [_distance_between(profile, others) for profile, others in compared.against_others]
    values = [apart - by_size for apart, by_size in found]
    measured = Measured(values[0], tuple(values[1:]), RENUMBERED)
    new = int((_new(compared.now, compared.before) >= NEW).sum())
    if measured.strength >= 1 or (new >= MANY and values[0] > max(values[1:], default=0.0)):
        text = (
            f"zones have the shares of other zones, as if about {min(measured.difference, 1):.0%} of the trips "
            "had other zone numbers"
        )
        yield Finding(
            "renumbered_zones", text, min(measured.difference, 1.0), True, max(measured.strength, 1.0)
        )
