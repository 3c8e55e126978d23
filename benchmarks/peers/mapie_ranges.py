"""MAPIE: split conformal regression with the residual-normalised score, around our model's predictions.

Its residual model is LightGBM with default parameters, fitted on one half of the validation month.
"""

from __future__ import annotations

import numpy as np
from encoded import SHARES, answer, minutes, with_predicted
from lightgbm import LGBMRegressor
from mapie.conformity_scores import ResidualNormalisedScore
from mapie.regression import SplitConformalRegressor
from rows import task
from sklearn.base import BaseEstimator, RegressorMixin


class Given(RegressorMixin, BaseEstimator):
    """The predictions are the last column."""

    is_fitted_ = True

    def fit(self, rows: np.ndarray, minutes: np.ndarray) -> Given:
        """Nothing to fit."""
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The last column."""
        return rows[:, -1]


job = task()
score = ResidualNormalisedScore(
    LGBMRegressor(n_jobs=job.threads, random_state=job.seed, verbosity=-1),
    split_size=0.5,
    random_state=job.seed,
)
levels = [1 - outside for outside in SHARES.values()]
conformal = SplitConformalRegressor(Given(), confidence_level=levels, conformity_score=score, prefit=True)
conformal.conformalize(with_predicted(job, "validation"), minutes(job, "validation"))
_, intervals = conformal.predict_interval(with_predicted(job, "test"))  # shape (trips, 2, levels)
answer(job, list(np.moveaxis(intervals, 2, 0)))
