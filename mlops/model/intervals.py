"""Prediction intervals of a ride's duration: split conformal prediction with a normalised error.

The intervals are calibrated on the errors of a fit on a month that it was not
trained on. Each error is divided by the usual error of such a ride (a mean absolute
error by predicted minutes, kind, hour, weekday and zones). The quantiles of these
ratios, multiplied by the usual error, give the interval around a prediction.

Source: H. Papadopoulos, A. Gammerman, V. Vovk, "Normalized nonconformity measures for regression conformal
prediction", AIA 2008.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .features import MIN_MILES
from .request_columns import ZONES

Array = npt.NDArray[Any]

INTERVAL_COLUMNS = ("low_80_minutes", "high_80_minutes", "low_95_minutes", "high_95_minutes")
# Data drift from month to month, so coverage drops a little in the next month. To compensate, the intervals are
# calibrated to 80.5 % and 95.25 % coverage instead of 80 % and 95 %.
QUANTILE_LEVELS = (0.0975, 0.9025, 0.02375, 0.97625)
LENGTHS = 12  # bins of the predicted minutes, with equal counts
# The meter ran or not, combined with passengers entered or not: without either, errors are larger.
KINDS = 4
WHOLE, PART = 300.0, 50.0  # smoothing: number of trips at which a group's own value has half the weight


@dataclass(frozen=True)
class Factor:
    """Ratio of a group's errors to the usual errors, by a key with `size` values."""

    name: str
    size: int
    smoothing: float


FACTORS = (
    Factor("length", KINDS * LENGTHS, PART),
    Factor("hour", 48, 4 * PART),
    Factor("pickup_zone", ZONES, 4 * PART),
    Factor("dropoff_zone", ZONES, 4 * PART),
    Factor("weekday", 7, 4 * PART),
)
"""Each factor is fitted after the factors before it are divided out."""


class Intervals:
    """Bounds around predicted minutes.

    Parameters
    ----------
    tables : dict of str to float64 array
        ``lengths``: inner edges of the bins of predicted minutes. ``scale``: the mean absolute error in minutes.
        One table for each of `FACTORS`. ``quantiles``, shape (kinds x 3, 4): quantiles of the scaled errors at
        `QUANTILE_LEVELS`.
    """

    def __init__(self, tables: Mapping[str, Array]) -> None:
        self.tables = dict(tables)

    @classmethod
    def fit(cls, columns: Mapping[str, Array], predicted: Array, actual: Array) -> Intervals:
        """Intervals calibrated on n trips that were not used to fit the model.

        Parameters
        ----------
        columns : mapping
            Features from `features.request_features`.
        predicted, actual : array of shape (n,)
            Minutes.
        """
        error = actual - predicted
        edges = np.quantile(predicted, np.linspace(0, 1, LENGTHS + 1)[1:-1])
        usual = np.full(len(error), max(float(np.abs(error).mean()), 1e-6))
        found = cls({"lengths": edges, "scale": usual[:1].copy()})
        keys = found._keys(columns, predicted)
        for factor in FACTORS:
            key, prior = keys[factor.name], factor.smoothing * usual.mean()
            seen = np.bincount(key, np.abs(error), factor.size) + prior
            table = seen / (np.bincount(key, usual, factor.size) + prior)
            found.tables[factor.name] = table
            usual = usual * table[key]
        scaled, group = error / usual, keys["group"]
        overall = np.quantile(scaled, QUANTILE_LEVELS)
        quantiles = np.tile(overall, (KINDS * 3, 1))
        for number in np.unique(group):
            own = scaled[group == number]
            quantiles[number] = (len(own) * np.quantile(own, QUANTILE_LEVELS) + WHOLE * overall) / (
                len(own) + WHOLE
            )
        # The interval contains the prediction, also when all calibration trips were faster or all were slower.
        outer = [
            np.minimum(quantiles[:, i], 0) if i % 2 == 0 else np.maximum(quantiles[:, i], 0) for i in range(4)
        ]
        found.tables["quantiles"] = np.stack(outer, axis=1)
        return found

    def bounds(self, columns: Mapping[str, Array], minutes: Array) -> dict[str, Array]:
        """`INTERVAL_COLUMNS` around the predicted minutes, float64 of shape (n,) each."""
        keys = self._keys(columns, minutes)
        usual = np.full(len(minutes), self.tables["scale"][0])
        for factor in FACTORS:
            usual = usual * self.tables[factor.name][keys[factor.name]]
        quantiles = self.tables["quantiles"][keys["group"]]
        return {name: minutes + usual * quantiles[:, i] for i, name in enumerate(INTERVAL_COLUMNS)}

    def _keys(self, columns: Mapping[str, Array], minutes: Array) -> dict[str, Array]:
        length = np.searchsorted(self.tables["lengths"], minutes)
        unmeasured = ~(columns["distance_miles"] >= MIN_MILES)
        kind = 2 * np.isnan(columns["passenger_count"]) + unmeasured
        weekend = columns["weekday"] >= 5
        return {
            "length": kind * LENGTHS + length,
            "hour": columns["minute_of_day"] // 60 + 24 * weekend,
            "pickup_zone": columns["pickup_zone"],
            "dropoff_zone": columns["dropoff_zone"],
            "weekday": columns["weekday"],
            "group": kind * 3 + length * 3 // LENGTHS,
        }
