"""Learn the ranges of an estimator: how large the error of such a ride usually is, and how much larger it can be.

A fit on half of the training trips predicts the other half. From these errors, of all training months, a small
booster learns the size of a ride's error; a few more trees learn it from half of the newest month, the validation
month. The errors of that month's other half, divided by the size, give the quantiles: no fit has seen these trips.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
SCALE_ROUNDS, NEWEST_ROUNDS = 60, 20
"""Of the booster that learns the size of the errors, from all training months and then from the newest month. More
rounds or depth gained nothing and cost each request."""


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
    seen, unseen = _halves(matrix.training.num_row(), seed)
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
        Shares of trips like these that the intervals contain.
    only : sequence of str
        Features that the size of the error may depend on; by default all.

    Raises
    ------
    ValueError
        When the matrix has no validation month.
    """
    if matrix.validation is None:
        raise ValueError("intervals: expected a matrix with a validation month; got one without")
    how: dict[str, Any] = {"seed": seed, "threads": threads, "only": only}
    errors, newest = actual - predicted, replace(matrix, training=matrix.validation)
    learnt, held_out = _halves(len(errors), seed)
    with _changed(matrix.training, half.unseen, np.sqrt(np.abs(half.errors))):
        scale = train(matrix, SCALE, rounds=SCALE_ROUNDS, **how).booster
    with _changed(newest.training, learnt, np.sqrt(np.abs(errors))):
        scale = train(newest, SCALE, rounds=NEWEST_ROUNDS, start=scale, **how).booster
    scaled = (errors / usual_errors(scale.predict(newest.training)))[held_out]
    quantiles = np.quantile(scaled, aim.levels)
    # The interval contains the prediction, also when all of these trips were faster or all were slower.
    quantiles[0::2], quantiles[1::2] = np.minimum(quantiles[0::2], 0), np.maximum(quantiles[1::2], 0)
    return Intervals(scale, quantiles)


def _halves(trips: int, seed: int) -> tuple[Array, Array]:
    """A random half of the trips and the other half; all of them twice where there are only a few."""
    one = np.random.default_rng(seed).random(trips) < 0.5
    few = one.all() or not one.any()
    return (np.ones(trips, bool), np.ones(trips, bool)) if few else (one, ~one)


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
