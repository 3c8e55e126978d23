"""Target encoding: smoothed means of past trips by zone pair, by zone and time, and by distance.

`Totals` adds up trips in batches and does not keep them. It gives the `Encoder`
of a model, and the training features of each trip: these are means over the trips
of the other folds, because a mean that contains the trip's own duration would leak
the target.

Source: D. Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes",
SIGKDD Explorations 3(1), 2001.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .features import ENCODED_FEATURES, MIN_MILES
from .request_columns import ZONES

Array = npt.NDArray[Any]

ENCODED = tuple(feature.name for feature in ENCODED_FEATURES)

# Zone codes in a matrix; with more, XGBoost needs two bytes instead of one for each value of every feature.
CODES = 256
ZONE_CODES = "zone_codes"
TIMES = 12  # weekday or weekend, six parts of the day
WEEK = 168  # hours of the week
SMOOTHING = 10.0  # weight of the parent's mean, in trips; for a pace, in miles
MAX_MILES = 100.0  # distances above this or below MIN_MILES are not used for pace
# Lower limits of the distance bands, a few percent of green trips in each; band 0 is for unmeasured distances.
BANDS_FROM = np.array([0.1, 0.5, 0.8, 1.1, 1.4, 1.7, 2.0, 2.4, 2.8, 3.3, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0])
BANDS = len(BANDS_FROM) + 1

SIZES = {
    "pair": ZONES * ZONES,
    "pair_time": ZONES * ZONES * TIMES,
    "pair_band": ZONES * ZONES * BANDS,
    "pickup": ZONES,
    "pickup_hour": ZONES * WEEK,
    "dropoff": ZONES,
    "dropoff_hour": ZONES * WEEK,
    "band": BANDS,
    "band_pickup": BANDS * ZONES,
    "band_dropoff": BANDS * ZONES,
}
"""Number of values of each key."""

QUANTITIES = {
    "minutes": ("minutes", "trips"),
    "minutes_square": ("minutes_square", "trips"),
    "pace": ("measured_minutes", "measured_miles"),
    "miles": ("measured_miles", "measured_trips"),
}
"""Each mean is the ratio of these two sums."""


@dataclass(frozen=True)
class Level:
    """A table of means of `quantity` by `key`; each entry of the parent table has `slots` entries here."""

    name: str
    key: str
    quantity: str
    parent: str | None = None
    slots: int = 1


LEVELS = (
    Level("pair_minutes", "pair", "minutes"),
    Level("pair_minutes_square", "pair", "minutes_square"),
    Level("pair_time_minutes", "pair_time", "minutes", "pair_minutes", TIMES),
    Level("pair_band_minutes", "pair_band", "minutes", "pair_minutes", BANDS),
    Level("pickup_minutes", "pickup", "minutes"),
    Level("pickup_hour_minutes", "pickup_hour", "minutes", "pickup_minutes", WEEK),
    Level("dropoff_minutes", "dropoff", "minutes"),
    Level("dropoff_hour_minutes", "dropoff_hour", "minutes", "dropoff_minutes", WEEK),
    Level("band_minutes", "band", "minutes"),
    Level("band_pickup_minutes", "band_pickup", "minutes", "band_minutes", ZONES),
    Level("band_dropoff_minutes", "band_dropoff", "minutes", "band_minutes", ZONES),
    Level("pair_pace", "pair", "pace"),
    Level("pair_time_pace", "pair_time", "pace", "pair_pace", TIMES),
    Level("pair_miles", "pair", "miles"),
)
"""Parents come first. Each mean is smoothed towards its parent's mean, which a pair without trips gets."""

MADE_FROM = {
    **{level.name: (level.name,) for level in LEVELS},
    "pair_spread": ("pair_minutes", "pair_minutes_square"),
    "pair_trips": ("pair_trips",),
    "pace_minutes": ("pair_time_pace",),
    "distance_ratio": ("pair_miles",),
}
"""Tables from which each encoded feature is computed; ``pair_trips`` is a count, the others are levels."""

_KEYS = {**{level.name: level.key for level in LEVELS}, "pair_trips": "pair"}
_PARENTS = {level.name: level.parent for level in LEVELS}


class Encoder:
    """Smoothed means of past trips' minutes, pace and distance.

    Parameters
    ----------
    tables : dict of str to float32 array
        Flat tables from which the features are computed, indexed by their keys; and ``zone_codes``, the code of
        each zone in a matrix.
    features : sequence of str
        Encoded features, of `features.ENCODED_FEATURES`.
    """

    def __init__(self, tables: Mapping[str, Array], features: Sequence[str] = ENCODED) -> None:
        self.tables = dict(tables)
        self.features = tuple(features)
        self._looked_up = [name for name in self.tables if name != ZONE_CODES]

    @property
    def zone_codes(self) -> Array:
        """Code of each zone, float32 of shape (266,), below `CODES`; 0 for the rarest zones and unknown ids."""
        return self.tables[ZONE_CODES]

    @classmethod
    def fit(cls, columns: Mapping[str, Array], minutes: Array, features: Sequence[str] = ENCODED) -> Encoder:
        """Encoder of these trips: columns from `features.request_features`, minutes of shape (n,)."""
        totals = Totals(features, folds=1)
        totals.add(columns, minutes, np.zeros(len(minutes), np.int64))
        return totals.encoder()

    def transform(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Encoded features of each request, float32 of shape (n,); NaN only where the distance is NaN."""
        if not self.features:
            return {}
        keys = _keys(columns)
        means = {name: self.tables[name][keys[_KEYS[name]]] for name in self._looked_up}
        return _encoded(means, columns, self.features)


class Totals:
    """Sums over past trips for each key, by fold.

    Parameters
    ----------
    features : sequence of str
        Encoded features to compute; only the sums that they need are kept.
    folds : int
        Number of folds for `out_of_fold`; 1 when that is not used.
    """

    def __init__(self, features: Sequence[str], folds: int) -> None:
        self.features, self.folds = tuple(features), folds
        self._tables = dict.fromkeys(table for name in features for table in MADE_FROM[name])
        wanted = {name for table in self._tables for name in _with_parents(table)}
        self._levels = [level for level in LEVELS if level.name in wanted]
        needed = {(level.key, column) for level in self._levels for column in QUANTITIES[level.quantity]}
        needed |= {("pair", column) for _, column in needed}
        needed |= {(key, "trips") for key in ("pair", "pickup", "dropoff")}
        # Unused pages of zeros need no memory, and most zone pairs have no trips.
        self._by_fold = {(key, column): np.zeros(folds * SIZES[key]) for key, column in sorted(needed)}
        self._all: dict[tuple[str, str], Array] = {}

    def add(self, columns: Mapping[str, Array], minutes: Array, fold: Array) -> None:
        """Add trips: columns from `request_features`; minutes and fold (0 to folds - 1) of shape (n,)."""
        keys, summed = _keys(columns), _summed(columns, minutes)
        for (key, column), sums in self._by_fold.items():
            np.add.at(sums, fold * SIZES[key] + keys[key], summed[column])
        self._all = {}

    @property
    def trips(self) -> int:
        """Number of trips that were added."""
        return int(self._of_all("pair", "trips").sum())

    def encoder(self) -> Encoder:
        """Encoder of all added trips."""
        means = _smoothed(
            self._levels,
            self._of_all,
            overall=lambda column: self._of_all("pair", column).sum(),
            under=lambda parent, level: np.repeat(parent, level.slots),
        )
        means["pair_trips"] = self._of_all("pair", "trips")
        means[ZONE_CODES] = self._zone_codes()
        names = (*self._tables, ZONE_CODES)
        return Encoder({name: means[name].astype(np.float32) for name in names}, self.features)

    def _zone_codes(self) -> Array:
        """Codes from 1 for the busiest zones in the order of their ids; 0 for all others."""
        trips = self._of_all("pickup", "trips") + self._of_all("dropoff", "trips")
        trips[0] = -1  # unknown
        busiest = np.sort(np.argsort(-trips, kind="stable")[: CODES - 1])
        codes = np.zeros(ZONES)
        codes[busiest] = np.arange(1, CODES)
        return codes

    def out_of_fold(self, columns: Mapping[str, Array], fold: Array) -> dict[str, Array]:
        """Encoded features of trips that were added, each from the trips of the other folds only."""
        if not self.features:
            return {}
        keys = _keys(columns)

        @functools.cache  # several levels share a sum
        def of_others(key: str, column: str) -> Array:
            own = self._by_fold[key, column][fold * SIZES[key] + keys[key]]
            return np.asarray(self._of_all(key, column)[keys[key]] - own)

        @functools.cache
        def overall(column: str) -> Array:
            by_fold = self._by_fold["pair", column].reshape(self.folds, -1).sum(axis=1)
            return np.asarray((by_fold.sum() - by_fold)[fold])

        means = _smoothed(self._levels, of_others, overall, under=lambda parent, level: parent)
        # Scaled up to all folds, because these counts lack one fold.
        means["pair_trips"] = of_others("pair", "trips") * (self.folds / (self.folds - 1))
        return _encoded(
            {name: means[name].astype(np.float32) for name in self._tables}, columns, self.features
        )

    def _of_all(self, key: str, column: str) -> Array:
        """Sums of all folds, cached until more trips are added."""
        if (key, column) not in self._all:
            self._all[key, column] = self._by_fold[key, column].reshape(self.folds, -1).sum(axis=0)
        return self._all[key, column]


def _with_parents(name: str) -> tuple[str, ...]:
    parent = _PARENTS.get(name)
    return (name,) if parent is None else (name, *_with_parents(parent))


def _smoothed(
    levels: Sequence[Level],
    sums: Callable[[str, str], Array],
    overall: Callable[[str], Array],
    under: Callable[[Array, Level], Array],
) -> dict[str, Array]:
    """Means of each level. `sums` by key and column, `overall` by column; `under` expands a parent's means."""
    means: dict[str, Array] = {}
    for level in levels:
        top, bottom = QUANTITIES[level.quantity]
        if level.parent is None:
            with np.errstate(invalid="ignore"):  # 0 / 0 when no trip has a measured distance
                prior = np.divide(overall(top), overall(bottom))
        else:
            prior = under(means[level.parent], level)
        means[level.name] = (sums(level.key, top) + SMOOTHING * prior) / (sums(level.key, bottom) + SMOOTHING)
    return means


def _encoded(
    means: Mapping[str, Array], columns: Mapping[str, Array], features: Sequence[str]
) -> dict[str, Array]:
    """The features, computed from each trip's means and its distance."""
    miles = columns["distance_miles"]
    derived: dict[str, Callable[[], Array]] = {
        "pair_spread": lambda: np.sqrt(
            np.maximum(means["pair_minutes_square"] - means["pair_minutes"] ** 2, np.float32(0))
        ),
        "pair_trips": lambda: np.log1p(means["pair_trips"]),
        "pace_minutes": lambda: means["pair_time_pace"] * miles,
        "distance_ratio": lambda: miles / means["pair_miles"],
    }
    return {name: derived[name]() if name in derived else means[name] for name in features}


def _keys(columns: Mapping[str, Array]) -> dict[str, Array]:
    pickup, dropoff = columns["pickup_zone"].astype(np.int64), columns["dropoff_zone"].astype(np.int64)
    weekday, hour = columns["weekday"].astype(np.int64), columns["minute_of_day"].astype(np.int64) // 60
    miles = np.nan_to_num(columns["distance_miles"])
    pair, hour_of_week = pickup * ZONES + dropoff, weekday * 24 + hour
    band = np.searchsorted(BANDS_FROM, miles, side="right") * (miles <= MAX_MILES)
    return {
        "pair": pair,
        "pair_time": pair * TIMES + hour // 4 + TIMES // 2 * (weekday >= 5),
        "pair_band": pair * BANDS + band,
        "pickup": pickup,
        "pickup_hour": pickup * WEEK + hour_of_week,
        "dropoff": dropoff,
        "dropoff_hour": dropoff * WEEK + hour_of_week,
        "band": band,
        "band_pickup": band * ZONES + pickup,
        "band_dropoff": band * ZONES + dropoff,
    }


def _summed(columns: Mapping[str, Array], minutes: Array) -> dict[str, Array]:
    """Values of each trip for the sums."""
    miles = np.nan_to_num(columns["distance_miles"].astype(np.float64))
    measured = (miles >= np.float32(MIN_MILES)) & (miles <= MAX_MILES)
    return {
        "trips": np.ones(len(minutes)),
        "minutes": minutes,
        "minutes_square": minutes**2,
        "measured_trips": measured.astype(np.float64),
        "measured_minutes": np.where(measured, minutes, 0.0),
        "measured_miles": np.where(measured, miles, 0.0),
    }
