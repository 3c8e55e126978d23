"""What past trips say about a request: smoothed means by zone pair, and by zone and time.

`Totals` takes trips batch by batch and never holds them; from it come the
`Encoder` that a model carries, and what each trip may know while a model is
fitted: the means of the other folds' trips, since a mean that holds the trip's
own duration would let the trees read the answer.

Source: D. Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes",
SIGKDD Explorations 3(1), 2001.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.features import ENCODED_FEATURES, ZONES

Array = npt.NDArray[Any]

BANDS = 12  # weekday or weekend, six bands of the day
HOURS = 168  # of the week
SMOOTHING = 10.0  # weight of the parent's mean: trips for minutes and miles, miles for pace
LEAST_MILES, MOST_MILES = 0.1, 100.0  # outside these a meter did not run, and says nothing about pace

SIZES = {
    "pair": ZONES * ZONES,
    "pair_band": ZONES * ZONES * BANDS,
    "pickup_zone": ZONES,
    "dropoff_zone": ZONES,
    "pickup_hour": ZONES * HOURS,
    "dropoff_hour": ZONES * HOURS,
}
"""How many values each key has."""

QUANTITIES = {
    "minutes": ("minutes", "trips"),
    "pace": ("measured_minutes", "measured_miles"),
    "miles": ("measured_miles", "measured_trips"),
}
"""Each mean as the two sums that it is the ratio of."""


@dataclass(frozen=True)
class Level:
    """A table of means of `quantity` by `key`; `slots` of its entries lie under one of its parent's."""

    name: str
    key: str
    quantity: str
    parent: str | None = None
    slots: int = 1


LEVELS = (
    Level("pair_minutes", "pair", "minutes"),
    Level("pair_band_minutes", "pair_band", "minutes", "pair_minutes", BANDS),
    Level("pickup_minutes", "pickup_zone", "minutes"),
    Level("pickup_hour_minutes", "pickup_hour", "minutes", "pickup_minutes", HOURS),
    Level("dropoff_minutes", "dropoff_zone", "minutes"),
    Level("dropoff_hour_minutes", "dropoff_hour", "minutes", "dropoff_minutes", HOURS),
    Level("pair_pace", "pair", "pace"),
    Level("pair_band_pace", "pair_band", "pace", "pair_pace", BANDS),
    Level("pair_miles", "pair", "miles"),
)
"""Parents first. Each mean is drawn towards its parent's, so a pair never seen gets the coarser answer."""


class Encoder:
    """Smoothed means of past trips' minutes, pace and distance.

    Parameters
    ----------
    tables : dict of str to float32 array
        The smoothed means of each level, flat, indexed by the level's key.
    """

    def __init__(self, tables: Mapping[str, Array]) -> None:
        self.tables = dict(tables)

    @classmethod
    def fit(cls, features: Mapping[str, Array], minutes: Array) -> Encoder:
        """Encoder of the trips given: features as from `features.request_features`, minutes of shape (n,)."""
        totals = Totals(folds=1)
        totals.add(features, minutes, np.zeros(len(minutes), np.int64))
        return totals.encoder()

    def transform(self, features: Mapping[str, Array]) -> dict[str, Array]:
        """`ENCODED_FEATURES` of each request, float32 of shape (n,); NaN only where the distance is."""
        keys = _keys(features)
        return _encoded({level.name: self.tables[level.name][keys[level.key]] for level in LEVELS}, features)


class Totals:
    """Sums over past trips under each level's keys, fold by fold.

    Parameters
    ----------
    folds : int
        Of the trips' own encodings; 1 where none are asked for.
    """

    def __init__(self, folds: int) -> None:
        self.folds = folds
        needed = {(level.key, column) for level in LEVELS for column in QUANTITIES[level.quantity]}
        # Untouched pages of zeros cost no memory: most pairs of zones are never driven.
        self._by_fold = {(key, column): np.zeros(folds * SIZES[key]) for key, column in sorted(needed)}
        self._all: dict[tuple[str, str], Array] = {}

    def add(self, features: Mapping[str, Array], minutes: Array, fold: Array) -> None:
        """Take trips in: features as from `request_features`; minutes and fold (0 to folds - 1) of shape (n,)."""
        keys, columns = _keys(features), _columns(features, minutes)
        for (key, column), sums in self._by_fold.items():
            np.add.at(sums, fold * SIZES[key] + keys[key], columns[column])
        self._all = {}

    @property
    def trips(self) -> int:
        """How many trips were taken in."""
        return int(self._of_all("pair", "trips").sum())

    def encoder(self) -> Encoder:
        """Encoder of all the trips."""
        means = _smoothed(
            self._of_all,
            overall=lambda column: self._of_all("pair", column).sum(),
            under=lambda parent, level: np.repeat(parent, level.slots),
        )
        return Encoder({name: table.astype(np.float32) for name, table in means.items()})

    def out_of_fold(self, features: Mapping[str, Array], fold: Array) -> dict[str, Array]:
        """`ENCODED_FEATURES` of trips that were taken in, each learnt from the trips of the other folds only."""
        keys = _keys(features)

        def of_others(key: str, column: str) -> Array:
            own = self._by_fold[key, column][fold * SIZES[key] + keys[key]]
            return np.asarray(self._of_all(key, column)[keys[key]] - own)

        def overall(column: str) -> Array:
            by_fold = self._by_fold["pair", column].reshape(self.folds, -1).sum(axis=1)
            return np.asarray((by_fold.sum() - by_fold)[fold])

        means = _smoothed(of_others, overall, under=lambda parent, level: parent)
        return _encoded({name: values.astype(np.float32) for name, values in means.items()}, features)

    def _of_all(self, key: str, column: str) -> Array:
        """Sums of all folds, kept until more trips come."""
        if (key, column) not in self._all:
            self._all[key, column] = self._by_fold[key, column].reshape(self.folds, -1).sum(axis=0)
        return self._all[key, column]


def _smoothed(
    sums: Callable[[str, str], Array],
    overall: Callable[[str], Array],
    under: Callable[[Array, Level], Array],
) -> dict[str, Array]:
    """Means of each level. `sums` by key and column, `overall` by column; `under` spreads a parent's."""
    means: dict[str, Array] = {}
    for level in LEVELS:
        top, bottom = QUANTITIES[level.quantity]
        if level.parent is None:
            with np.errstate(invalid="ignore"):  # where no meter ran at all
                prior = np.divide(overall(top), overall(bottom))
        else:
            prior = under(means[level.parent], level)
        means[level.name] = (sums(level.key, top) + SMOOTHING * prior) / (sums(level.key, bottom) + SMOOTHING)
    return means


def _encoded(means: Mapping[str, Array], features: Mapping[str, Array]) -> dict[str, Array]:
    """`ENCODED_FEATURES` from the means of each level and the trip's own distance."""
    miles = features["distance_miles"]
    made = {
        **means,
        "pace_minutes": (means["pair_band_pace"] * miles).astype(np.float32),
        "distance_ratio": (miles / means["pair_miles"]).astype(np.float32),
    }
    return {feature.name: made[feature.name] for feature in ENCODED_FEATURES}


def _keys(features: Mapping[str, Array]) -> dict[str, Array]:
    pickup, dropoff = features["pickup_zone"].astype(np.int64), features["dropoff_zone"].astype(np.int64)
    weekday, hour = features["weekday"].astype(np.int64), features["minute_of_day"].astype(np.int64) // 60
    band = hour // 4 + np.where(weekday >= 5, BANDS // 2, 0)
    hour_of_week = weekday * 24 + hour
    pair = pickup * ZONES + dropoff
    return {
        "pair": pair,
        "pair_band": pair * BANDS + band,
        "pickup_zone": pickup,
        "dropoff_zone": dropoff,
        "pickup_hour": pickup * HOURS + hour_of_week,
        "dropoff_hour": dropoff * HOURS + hour_of_week,
    }


def _columns(features: Mapping[str, Array], minutes: Array) -> dict[str, Array]:
    """What is summed, trip by trip."""
    miles = np.nan_to_num(features["distance_miles"].astype(np.float64))
    measured = (miles >= LEAST_MILES) & (miles <= MOST_MILES)
    return {
        "minutes": minutes,
        "trips": np.ones(len(minutes)),
        "measured_minutes": np.where(measured, minutes, 0.0),
        "measured_miles": np.where(measured, miles, 0.0),
        "measured_trips": measured.astype(np.float64),
    }
