"""`LearnedRange`: which requests are outside of what a version was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .request_columns import ZONES

Array = npt.NDArray[Any]
OUT_OF_RANGE = "out_of_range"  # name of the column in an answer
PLACES = ("pickup_zone", "dropoff_zone")
QUANTITIES = ("distance_miles", "passenger_count")


@dataclass(frozen=True, eq=False)
class LearnedRange:
    """Zones of the training trips, and their largest distance and passenger count.

    Parameters
    ----------
    zones : dict of str to bool array of shape (266,)
        For each of `PLACES`, the zones in which a training trip began or ended; never zone 0.
    largest : dict of str to float
        For each of `QUANTITIES`, the largest value of a training trip. Absent if no trip has one, or if the model
        does not use it.
    """

    zones: dict[str, Array] = field(default_factory=lambda: {name: np.zeros(ZONES, bool) for name in PLACES})
    largest: dict[str, float] = field(default_factory=dict)

    def including(self, columns: Mapping[str, Array], features: Sequence[str]) -> LearnedRange:
        """A range that also covers the training trips of a batch.

        Parameters
        ----------
        columns : mapping
            Features from `features.request_features`.
        features : sequence of str
            Columns of the model's matrix.
        """
        zones, largest = {}, dict(self.largest)
        for name, seen in self.zones.items():
            zones[name] = seen | (np.bincount(columns[name], minlength=ZONES) > 0)
            zones[name][0] = False  # stands for every unknown id
        for name in QUANTITIES:
            most = np.fmax.reduce(columns[name], initial=np.nan)  # NaN only where all are NaN
            if name in features and not np.isnan(most):
                largest[name] = max(float(most), largest.get(name, 0.0))
        return LearnedRange(zones, largest)

    def outside(self, requests: Mapping[str, Array]) -> Array:
        """Whether each request is outside, bool of shape (n,).

        True for a zone without a training trip, also an unknown id or null; and for a quantity that is negative or
        above the largest. False for a quantity that is null, or zero, as from a meter that did not run. Times are
        not judged, because every request is later than the training trips.

        Parameters
        ----------
        requests : mapping
            Columns from `request_columns.read_requests`.
        """
        pickup, dropoff = (seen[requests[name]] for name, seen in self.zones.items())
        found = ~(pickup & dropoff)
        for name, most in self.largest.items():
            found |= (requests[name] < 0) | (requests[name] > most)
        return np.asarray(found)

    def as_dict(self) -> dict[str, Any]:
        """Zones as lists of ids, and the largest quantities, for JSON."""
        return {**{name: np.flatnonzero(seen).tolist() for name, seen in self.zones.items()}, **self.largest}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LearnedRange:
        """The range that `as_dict` describes."""
        zones = {name: np.isin(np.arange(ZONES), values[name]) for name in PLACES}
        return cls(zones, {name: values[name] for name in QUANTITIES if name in values})
