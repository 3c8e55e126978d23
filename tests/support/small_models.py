"""Small models that are quick to train."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from support.builders import make_batch, make_features

from mlops.model.duration_model import DurationModel
from mlops.model.intervals import Intervals
from mlops.training.boosting import Matrix, build_matrix, train

QUICK = {"learning_rate": 0.3, "max_depth": 5}


def matrix_of(n: int = 800, **options: Any) -> Matrix:
    """Matrix of a small town's trips, with as many to validate on as make a quarter."""
    return build_matrix([make_batch(n, 1)], [make_batch(n // 4, 2)], **{"seed": 1, "threads": 1, **options})


def model_of(matrix: Matrix, rounds: int = 30) -> DurationModel:
    fit = train(matrix, QUICK, seed=1, threads=1, rounds=rounds)
    features, took = make_features(400, 3)
    predicted = DurationModel(matrix.encoder, fit.booster, matrix.features).minutes(features)
    return DurationModel(
        matrix.encoder, fit.booster, matrix.features, Intervals.fit(features, predicted, took), matrix.learned
    )


def minutes(model: DurationModel, requests: pd.DataFrame) -> list[float]:
    found = model.predict(requests)["duration_minutes"].tolist()
    assert np.isfinite(found).all()
    assert all(1 <= value <= 60 for value in found)
    return found
