"""Bounds are in order, contain the prediction, and are the same for one request as for many."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st

from mlops.model.estimator import Estimator
from mlops.model.intervals import INTERVAL_COLUMNS, LEAST_ROOT, Intervals, usual_errors

QUANTILES = np.array([-1.0, 1.5, -2.0, 4.0])
RNG = np.random.default_rng(1)
TABLE = RNG.uniform(0, 10, (500, 3)).astype(np.float32)
TABLE[::7, 1] = -1  # missing


def trees(target: np.ndarray) -> xgb.Booster:
    """Trees of three features that learn a target for the rows of the table."""
    matrix = xgb.QuantileDMatrix(TABLE, target)
    return xgb.train({"max_depth": 4, "learning_rate": 0.3, "nthread": 1}, matrix, 20)


SCALE = trees(np.sqrt(1 + TABLE[:, 0]))
INTERVALS = Intervals(SCALE, QUANTILES)
ESTIMATOR = Estimator(trees(5 + 3 * TABLE[:, 2]), INTERVALS)


def test_bounds_are_the_quantiles_times_the_usual_error() -> None:
    minutes = np.linspace(5, 50, 500)
    usual = SCALE.inplace_predict(TABLE).astype(np.float64) ** 2
    bounds = INTERVALS.bounds(TABLE, minutes)

    assert bounds.shape == (500, len(INTERVAL_COLUMNS))
    assert bounds.dtype == np.float64
    np.testing.assert_allclose(bounds, minutes[:, None] + usual[:, None] * QUANTILES, rtol=1e-12)


def test_the_usual_error_is_never_nothing() -> None:
    assert usual_errors(np.array([-3.0, 0.0, LEAST_ROOT, 2.0], np.float32)).tolist() == [
        LEAST_ROOT**2, LEAST_ROOT**2, pytest.approx(LEAST_ROOT**2), 4.0,
    ]  # fmt: skip
    flat = Intervals(trees(np.full(500, -1.0)), QUANTILES)

    assert (flat.bounds(TABLE, np.full(500, 9.0))[:, 1] > 9).all()
    assert flat.bounds_one(TABLE[0], 9.0)[1] > 9


@given(st.integers(0, 499))
def test_one_row_has_the_bounds_of_the_batch_to_the_last_bit(position: int) -> None:
    batch, alone = ESTIMATOR.predict(TABLE), ESTIMATOR.predict(TABLE[[position]])

    assert ESTIMATOR.predict_one(TABLE[position]) == batch[position].tolist() == alone[0].tolist()


def test_no_rows_have_no_bounds() -> None:
    assert ESTIMATOR.predict(TABLE[:0]).shape == (0, 5)


def test_minutes_and_bounds_are_possible_durations_in_order() -> None:
    estimator = Estimator(trees(np.linspace(-20, 90, 500)), INTERVALS)
    found = estimator.predict(TABLE)
    low_95, low_80, minutes, high_80, high_95 = found[:, [3, 1, 0, 2, 4]].T

    assert (found >= 1).all()
    assert (found <= 60).all()
    assert found.min() == 1
    assert found.max() == 60
    assert (np.diff([low_95, low_80, minutes, high_80, high_95], axis=0) >= 0).all()


def test_without_intervals_only_minutes_are_predicted() -> None:
    bare = Estimator(ESTIMATOR.booster)

    assert bare.columns == ("duration_minutes",)
    assert ESTIMATOR.columns == ("duration_minutes", *INTERVAL_COLUMNS)
    assert bare.predict(TABLE)[:, 0].tolist() == ESTIMATOR.predict(TABLE)[:, 0].tolist()
    assert bare.predict_one(TABLE[3]) == ESTIMATOR.predict_one(TABLE[3])[:1]
