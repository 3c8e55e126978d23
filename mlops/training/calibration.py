"""Learn the ranges of an estimator: how large the error of such a ride usually is, and how much larger it can be.

A fit on half of the training trips predicts the other half. From these errors, of all training months, a small
booster learns the size of a ride's error. Then the errors of the validation month, divided by that size, give the
quantiles: neither fit nor size has seen that month.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb

from mlops.model.duration_model import Array
from mlops.model.estimator import possible
from mlops.model.intervals import Intervals, usual_errors
from mlops.training.boosting import Fit, Matrix, train
from mlops.training.coverage_aim import Aim

HALF_RATE, HALF_ROUNDS = 0.15, 150  # a fit that shows how errors differ need not be the best one
SCALE = {
    "max_depth": 7,
    "min_child_weight": 100.0,
    "subsample": 0.9,
    "colsample_bytree": 0.5,
    "learning_rate": 0.1,
}
SCALE_ROUNDS = 60
"""Of the booster that learns the size of the errors. More rounds or depth gained nothing and cost each request."""


@dataclass(frozen=True, eq=False)
class Half:
    """A fit on half of the training trips.

    Parameters
    ----------
    fit : Fit
    errors : array of shape (n,)
        Actual minus predicted minutes of every training trip.
    unseen : bool array of shape (n,)
        The trips that it was not fitted on.
    """

    fit: Fit
    errors: Array
    unseen: Array


def fit_half(
    matrix: Matrix,
    parameters: Mapping[str, Any],
    *,
    seed: int,
    threads: int,
    rounds: int = HALF_ROUNDS,
    stop_early: bool = False,
    only: Sequence[str] = (),
) -> Half:
    """Fit on a random half of the training trips; the parameters are those of `boosting.train`."""
    seen = np.random.default_rng(seed).random(matrix.training.num_row()) < 0.5
    if seen.all() or not seen.any():  # a trip or two
        seen, unseen = np.ones_like(seen), np.ones_like(seen)
    else:
        unseen = ~seen
    with _changed(matrix.training, seen):
        fit = train(
            matrix, parameters, seed=seed, threads=threads, rounds=rounds, stop_early=stop_early, only=only
        )
    predicted = possible(fit.booster.predict(matrix.training))
    return Half(fit, matrix.training.get_label() - predicted, unseen)


def learn_intervals(
    matrix: Matrix,
    half: Half,
    predicted: Array,
    actual: Array,
    aim: Aim,
    *,
    seed: int,
    threads: int,
    only: Sequence[str] = (),
) -> Intervals:
    """Intervals around the predictions of a fit that has not seen the validation month.

    Parameters
    ----------
    matrix : Matrix
        With the validation month.
    predicted, actual : array of shape (n,)
        Minutes of the validation month's trips, in the matrix's order.
    aim : Aim
        Shares of these trips that the intervals contain.
    only : sequence of str
        Features that the size of the error may depend on; by default all.
    """
    with _changed(matrix.training, half.unseen, np.sqrt(np.abs(half.errors))):
        scale = train(matrix, SCALE, seed=seed, threads=threads, rounds=SCALE_ROUNDS, only=only).booster
    scaled = (actual - predicted) / usual_errors(scale.predict(matrix.validation))
    quantiles = np.quantile(scaled, aim.levels)
    # The interval contains the prediction, also when all of these trips were faster or all were slower.
    quantiles[0::2], quantiles[1::2] = np.minimum(quantiles[0::2], 0), np.maximum(quantiles[1::2], 0)
    return Intervals(scale, quantiles)


@contextlib.contextmanager
def _changed(trips: xgb.QuantileDMatrix, chosen: Array, label: Array | None = None) -> Iterator[None]:
    """Let fits see only the chosen trips, and another label, until the end of the block."""
    labels, weights = trips.get_label(), trips.get_weight()
    trips.set_weight(np.where(chosen, weights if len(weights) else 1.0, 0.0))
    trips.set_label(labels if label is None else label)
    try:
        yield
    finally:
        trips.set_weight(weights)
        trips.set_label(labels)
