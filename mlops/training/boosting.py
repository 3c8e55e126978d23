"""Trips binned once for any number of trials, and boosted trees fitted on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb

from mlops.errors import EmptyTrainingSetError
from mlops.model.duration_model import Array, feature_matrix
from mlops.model.encoder import ENCODED, Encoder, Totals
from mlops.model.features import CATEGORICAL, feature_names
from mlops.training.feature_files import Batch

EARLY_STOPPING_ROUNDS = 20
FOLDS = 5
BINS = 256


@dataclass(frozen=True)
class Matrix:
    """Encoded and binned trips, ready for any number of trials.

    Parameters
    ----------
    training, validation : QuantileDMatrix
        Binned once; validation uses the cuts of training.
    encoder : Encoder
        Fitted on the training trips.
    features : tuple of str
        Columns, in their order.
    """

    training: xgb.QuantileDMatrix
    validation: xgb.QuantileDMatrix | None
    encoder: Encoder
    features: tuple[str, ...]


@dataclass(frozen=True)
class Fit:
    """A booster and how it came about."""

    booster: xgb.Booster
    rounds: int
    validation_rmse: float


def build_matrix(
    training: Iterable[Batch],
    validation: Iterable[Batch] | None = None,
    *,
    features: tuple[str, ...] = feature_names(),
    seed: int,
    threads: int,
) -> Matrix:
    """Encoder and binned matrices of one fit: training trips encoded out of fold, validation trips by the whole.

    Both are gone through several times, batch by batch: what is held is the sums of the encoder and the bins.

    Parameters
    ----------
    training, validation : iterable of Batch
        The same batches each time.
    features : tuple of str
        Columns of the matrix, in their order.

    Raises
    ------
    EmptyTrainingSetError
        When there is no training trip.
    """
    totals = Totals([name for name in features if name in ENCODED], FOLDS)
    for number, batch in enumerate(training):
        totals.add(batch.features, batch.minutes, _folds(seed, number, batch))
    if totals.trips == 0:
        raise EmptyTrainingSetError(
            "no trip is left to learn from after cleaning; look at the rejections of the training months, "
            "or choose another month or source"
        )
    encoder = totals.encoder()

    def out_of_fold(number: int, batch: Batch) -> Array:
        encoded = totals.out_of_fold(batch.features, _folds(seed, number, batch))
        return feature_matrix(features, batch.features, encoded, encoder.zone_codes)

    def by_the_whole(number: int, batch: Batch) -> Array:
        return feature_matrix(features, batch.features, encoder.transform(batch.features), encoder.zone_codes)

    options = {"max_bin": BINS, "nthread": threads}
    matrix = xgb.QuantileDMatrix(_Tables(training, out_of_fold, features), **options)
    held_out = None
    if validation is not None:
        held_out = xgb.QuantileDMatrix(_Tables(validation, by_the_whole, features), ref=matrix, **options)
    return Matrix(matrix, held_out, encoder, features)


class _Tables(xgb.DataIter):
    """Batches as XGBoost asks for them: table, minutes and weight, from the start as often as it likes."""

    def __init__(
        self, batches: Iterable[Batch], table: Callable[[int, Batch], Array], features: Sequence[str]
    ) -> None:
        self._batches, self._table, self._types = batches, table, _types(features)
        self._left: Iterator[tuple[int, Batch]] = iter(())
        super().__init__()

    def reset(self) -> None:
        self._left = enumerate(self._batches)

    def next(self, input_data: Callable[..., None]) -> bool:
        number, batch = next(self._left, (0, None))
        if batch is None:
            return False
        table = self._table(number, batch)
        input_data(data=table, label=batch.minutes, weight=batch.weight, feature_types=self._types)
        return True


def _folds(seed: int, number: int, batch: Batch) -> Array:
    """Fold of each trip of a batch, the same at every pass."""
    return np.random.default_rng((seed, number)).integers(0, FOLDS, len(batch.minutes))


def train(
    matrix: Matrix,
    parameters: Mapping[str, Any],
    *,
    seed: int,
    threads: int,
    rounds: int,
    stop_early: bool = False,
) -> Fit:
    """Boosted trees on the matrix: `rounds` of them, or fewer where the validation RMSE stops falling.

    Parameters
    ----------
    matrix : Matrix
        With a validation part, if `stop_early`.
    parameters : mapping
        XGBoost's, by its names.
    """
    fixed = {
        "objective": "reg:squarederror",
        "tree_method": "hist",
        "max_bin": BINS,
        "eval_metric": "rmse",
        "seed": seed,
        "nthread": threads,
    }
    if not stop_early:
        booster = xgb.train({**fixed, **parameters}, matrix.training, rounds)
        return Fit(booster, rounds, float("nan"))
    booster = xgb.train(
        {**fixed, **parameters},
        matrix.training,
        rounds,
        evals=[(matrix.validation, "validation")],
        early_stopping_rounds=EARLY_STOPPING_ROUNDS,
        verbose_eval=False,
    )
    best = int(booster.best_iteration) + 1
    return Fit(booster[:best], best, float(booster.best_score))


def _types(features: Sequence[str]) -> list[str]:
    return ["c" if name in CATEGORICAL else "q" for name in features]
