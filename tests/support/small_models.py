"""Small models that are quick to train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from support.builders import make_batch

from mlops.model.duration_model import DurationModel
from mlops.model.estimator import Estimator
from mlops.model.features import feature_names
from mlops.training import calibration
from mlops.training.boosting import Matrix, build_matrix, train
from mlops.training.coverage_aim import Aim

QUICK = {"learning_rate": 0.3, "max_depth": 5}


def matrix_of(n: int = 800, **options: Any) -> Matrix:
    """Matrix of a small town's trips, with as many to validate on as make a quarter."""
    return build_matrix([make_batch(n, 1)], [make_batch(n // 4, 2)], **{"seed": 1, "threads": 1, **options})


def model_of(matrix: Matrix, rounds: int = 30) -> DurationModel:
    """Model with ranges; it has a second estimator if its features need a distance."""
    free = [name for name in matrix.features if name in feature_names(use_distance=False)]
    without = estimator_of(matrix, rounds, free) if len(free) < len(matrix.features) else None
    return DurationModel(
        matrix.encoder, estimator_of(matrix, rounds), matrix.features, matrix.learned, without
    )


def estimator_of(matrix: Matrix, rounds: int, only: Sequence[str] = ()) -> Estimator:
    """Trees with ranges that are calibrated on the matrix's validation trips."""
    fixed: dict[str, Any] = {"seed": 1, "threads": 1, "only": only}
    fit = train(matrix, QUICK, rounds=rounds, **fixed)
    half = calibration.fit_half(matrix, QUICK, rounds=rounds, **fixed)
    predicted, actual = fit.booster.predict(matrix.validation), matrix.validation.get_label()
    intervals = calibration.learn_intervals(matrix, half, predicted, actual, Aim(), **fixed)
    return Estimator(fit.booster, intervals)


def minutes(model: DurationModel, requests: pd.DataFrame) -> list[float]:
    found = model.predict(requests)["duration_minutes"].tolist()
    assert np.isfinite(found).all()
    assert all(1 <= value <= 60 for value in found)
    return found
