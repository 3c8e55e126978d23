"""`Estimator`: boosted trees with the intervals around their predictions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from .intervals import INTERVAL_COLUMNS, Intervals
from .row_predictor import Forest

Array = npt.NDArray[Any]
# Measured with 400 trees of 290 nodes: 9 % less time from some thousand rows on, for 50 to 130 trees at once.
GROUPED_TREES, MANY_ROWS = 100, 4_000
SHORTEST_MINUTES, LONGEST_MINUTES = 1.0, 60.0  # range of the training durations, so also of the predictions


@dataclass(frozen=True, eq=False)
class Estimator:
    """Boosted trees that predict minutes from a row of a model's matrix.

    Parameters
    ----------
    booster : xgboost.Booster
    intervals : Intervals, optional
        Without them, as during tuning, only the minutes are predicted.
    """

    booster: xgb.Booster
    intervals: Intervals | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what it predicts."""
        return ("duration_minutes", *(INTERVAL_COLUMNS if self.intervals else ()))

    def predict(self, table: Array) -> Array:
        """Minutes and bounds of n rows, float64 of shape (n, columns), 1 to 60."""
        minutes = possible(_sums(self.booster, table).astype(np.float64))
        if self.intervals is None:
            return minutes[:, None]
        return np.column_stack([minutes, possible(self.intervals.bounds(table, minutes))])

    def predict_one(self, row: Array) -> list[float]:
        """As `predict`, for one row of shape (features,). The first call prepares the trees."""
        minutes = _possible(self._forest.predict_one(row))
        bounds = self.intervals.bounds_one(row, minutes) if self.intervals else []
        return [minutes, *map(_possible, bounds)]

    def contributions(self, table: Array) -> Array:
        """Minutes that each column adds to the prediction of each of n rows, and the mean prediction.

        Returns
        -------
        float64 array of shape (n, columns + 1), the mean prediction last
            Each row adds up to the prediction before it is limited to 1 to 60 minutes.

        Notes
        -----
        Source: S. Lundberg et al., "From local explanations to global understanding with explainable AI for
        trees", Nature Machine Intelligence 2, 2020 (TreeSHAP), as XGBoost implements it.
        """
        rows = xgb.DMatrix(table, feature_types=self.booster.feature_types)
        return np.asarray(self.booster.predict(rows, pred_contribs=True), np.float64)

    def save(self, folder: Path, ending: str = "") -> list[float] | None:
        """Write ``booster.ubj`` and ``scale.ubj``, `ending` in their names; gives the intervals' quantiles."""
        self.booster.save_model(folder / f"booster{ending}.ubj")
        if self.intervals is None:
            return None
        self.intervals.booster.save_model(folder / f"scale{ending}.ubj")
        return [float(quantile) for quantile in self.intervals.quantiles]

    @classmethod
    def load(cls, folder: Path, ending: str, quantiles: Sequence[float] | None) -> Estimator:
        """Estimator that `save` wrote."""
        booster = xgb.Booster(model_file=folder / f"booster{ending}.ubj")
        if quantiles is None:
            return cls(booster)
        scale = xgb.Booster(model_file=folder / f"scale{ending}.ubj")
        return cls(booster, Intervals(scale, np.array(quantiles)))

    @functools.cached_property
    def _forest(self) -> Forest:
        return Forest.from_booster(bytes(self.booster.save_raw("json")))


def _sums(booster: xgb.Booster, table: Array) -> Array:
    """Sums of the trees' leaf values for n rows, float32: bit for bit those of one call for all trees.

    XGBoost takes 64 rows through all trees, then the next 64. Many trees do not fit into the processor's cache, so
    many rows go through one group of trees after the other, each of which starts with the sums of the one before.
    """
    trees = booster.num_boosted_rounds()
    if len(table) < MANY_ROWS or trees <= GROUPED_TREES:
        return np.asarray(booster.inplace_predict(table))
    sums = None
    for start in range(0, trees, GROUPED_TREES):
        group = (start, min(start + GROUPED_TREES, trees))
        sums = booster.inplace_predict(table, iteration_range=group, predict_type="margin", base_margin=sums)
    return np.asarray(sums)


def possible(minutes: Array) -> Array:
    """Minutes, limited to the range of durations."""
    return np.clip(minutes, SHORTEST_MINUTES, LONGEST_MINUTES)


def _possible(minutes: float) -> float:
    return min(max(minutes, SHORTEST_MINUTES), LONGEST_MINUTES)
