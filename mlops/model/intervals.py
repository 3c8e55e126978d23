"""Prediction intervals of a ride's duration: split conformal prediction with a learned size of the error.

A small booster predicts how large the error of such a ride usually is. The quantiles of the errors divided by that
size, on trips that no booster was trained on, times the size, are the bounds around a prediction. How they are
learned: `mlops.training.calibration`.

Source: H. Papadopoulos, A. Gammerman, V. Vovk, "Normalized nonconformity measures for regression conformal
prediction", AIA 2008.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from .row_predictor import Forest

Array = npt.NDArray[Any]

INTERVAL_COLUMNS = ("low_80_minutes", "high_80_minutes", "low_95_minutes", "high_95_minutes")
# Smallest root of an error: 0.04 minutes. The booster may predict less, or a negative root.
LEAST_ROOT = 0.2


@dataclass(frozen=True, eq=False)
class Intervals:
    """Bounds around predicted minutes.

    Parameters
    ----------
    booster : xgboost.Booster
        Predicts the square root of the usual absolute error, in minutes, from a row of the model's matrix.
    quantiles : float64 array of shape (4,)
        Of the errors divided by their usual size, in the order of `INTERVAL_COLUMNS`. The bounds below the
        prediction are at most 0, those above it at least 0.
    """

    booster: xgb.Booster
    quantiles: Array

    def bounds(self, table: Array, minutes: Array) -> Array:
        """`INTERVAL_COLUMNS` around the predicted minutes, float64 of shape (n, 4)."""
        usual = usual_errors(self.booster.inplace_predict(table))
        return np.asarray(minutes[:, None] + usual[:, None] * self.quantiles)

    def bounds_one(self, row: Array, minutes: float) -> list[float]:
        """As `bounds`, for one row of shape (features,)."""
        root = max(self._forest.predict_one(row), LEAST_ROOT)
        return [minutes + root * root * quantile for quantile in self.quantiles.tolist()]

    @functools.cached_property
    def _forest(self) -> Forest:
        return Forest.from_booster(bytes(self.booster.save_raw("json")))


def usual_errors(roots: Array) -> Array:
    """Usual absolute errors in minutes, float64, from what the booster of `Intervals` predicts."""
    roots = np.maximum(roots.astype(np.float64), LEAST_ROOT)
    return np.asarray(roots * roots)
