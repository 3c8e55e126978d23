"""Bin the trips once for any number of trials, and fit boosted trees on them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import xgboost as xgb

from mlops.errors import EmptyTrainingSetError
from mlops.model.duration_model import Array, feature_matrix
from mlops.model.encoder import ENCODED, Encoder, Totals
from mlops.model.features import CATEGORICAL, feature_names
from mlops.model.learned_range import LearnedRange
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
        Binned once. The validation matrix uses the bin edges of the training matrix.
    encoder : Encoder
        Fitted on the training trips.
    features : tuple of str
        Columns, in order.
    learned : LearnedRange
        Of the training trips.
    """

    training: xgb.QuantileDMatrix
    validation: xgb.QuantileDMatrix | None
    encoder: Encoder
    features: tuple[str, ...]
    learned: LearnedRange


@dataclass(frozen=True)
class Fit:
    """A booster, its number of rounds and its validation RMSE in minutes."""

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
    """Encoder and binned matrices of one fit.

    Training trips are encoded out of fold, validation trips with the encoder of all training trips. Both iterables
    are read several times, batch by batch; only the encoder's sums and the bins stay in memory.

    Parameters
    ----------
    training, validation : iterable of Batch
        Must yield the same batches each time.
    features : tuple of str
        Columns of the matrix, in order.

    Raises
    ------
    EmptyTrainingSetError
        When there is no training trip.
    """
    totals, learned = Totals([name for name in features if name in ENCODED], FOLDS), LearnedRange()
    for number, batch in enumerate(training):
        totals.add(batch.features, batch.minutes, _folds(seed, number, batch))
        learned = learned.including(batch.features, features)
    if totals.trips == 0:
        raise EmptyTrainingSetError(
            "cleaning left no training trip. Look at the rejections of the training months, "
            "or choose another month or source"
        )
    encoder = totals.encoder()

    def out_of_fold(number: int, batch: Batch) -> Array:
        encoded = totals.out_of_fold(batch.features, _folds(seed, number, batch))
        return feature_matrix(features, batch.features, encoded, encoder.zone_codes)

    def with_all_trips(number: int, batch: Batch) -> Array:
        return feature_matrix(features, batch.features, encoder.transform(batch.features), encoder.zone_codes)

    options = {"max_bin": BINS, "nthread": threads}
    held_out = None
    with _signals_held() as held:
        matrix = xgb.QuantileDMatrix(_Tables(training, out_of_fold, features, held), **options)
        if validation is not None and not held:
            tables = _Tables(validation, with_all_trips, features, held)
            held_out = xgb.QuantileDMatrix(tables, ref=matrix, **options)
    return Matrix(matrix, held_out, encoder, features, learned)


@contextlib.contextmanager
def _signals_held() -> Iterator[list[int]]:
    """Hold SIGINT and SIGTERM until the end of the block; gives the list of those that came.

    XGBoost calls `_Tables` through ctypes. There an exception of a signal's handler, such as KeyboardInterrupt, is
    printed and dropped, and the run would go on with the batches read so far.
    """
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    handlers = {}
    if threading.current_thread() is threading.main_thread():  # the only one that runs handlers
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, hold)
        yield held
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for came in held[:1]:
            signal.raise_signal(came)


class _Tables(xgb.DataIter):
    """Iterator that gives XGBoost the table, minutes and weight of each batch; it can start again at any time.

    It ends early when a signal is held.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        table: Callable[[int, Batch], Array],
        features: Sequence[str],
        held: Sequence[int],
    ) -> None:
        self._batches, self._table, self._types = batches, table, _types(features)
        self._held = held
        self._left: Iterator[tuple[int, Batch]] = iter(())
        super().__init__()

    def reset(self) -> None:
        self._left = enumerate(self._batches)

    def next(self, input_data: Callable[..., None]) -> bool:
        number, batch = (0, None) if self._held else next(self._left, (0, None))
        if batch is None:
            return False
        table = self._table(number, batch)
        input_data(data=table, label=batch.minutes, weight=batch.weight, feature_types=self._types)
        return True


def _folds(seed: int, number: int, batch: Batch) -> Array:
    """Fold of each trip of a batch, the same each time the batch is read."""
    return np.random.default_rng((seed, number)).integers(0, FOLDS, len(batch.minutes))


def train(
    matrix: Matrix,
    parameters: Mapping[str, Any],
    *,
    seed: int,
    threads: int,
    rounds: int,
    stop_early: bool = False,
    only: Sequence[str] = (),
    start: xgb.Booster | None = None,
) -> Fit:
    """Boosted trees fitted on the matrix for `rounds` rounds, or fewer with `stop_early`.

    Parameters
    ----------
    matrix : Matrix
        Must have a validation matrix if `stop_early`.
    parameters : mapping
        XGBoost parameters by name.
    stop_early : bool
        Stop when the validation RMSE no longer falls, and keep the best number of rounds.
    only : sequence of str
        Features that the trees may use; by default all. `colsample_bytree` is then the share of these.
    start : xgboost.Booster, optional
        Trees to which the rounds are added.
    """
    fixed = {
        "objective": "reg:squarederror",
        "tree_method": "hist",
        "max_bin": BINS,
        "eval_metric": "rmse",
        "seed": seed,
        "nthread": threads,
    }
    chosen = {**fixed, **parameters}
    if only:  # a drawn column has a weight above 0, as long as no more are drawn than there are such columns
        chosen["colsample_bytree"] = chosen.get("colsample_bytree", 1.0) * len(only) / len(matrix.features)
        matrix.training.set_info(feature_weights=np.isin(matrix.features, only).astype(np.float32))
    try:
        if not stop_early:
            booster = xgb.train(chosen, matrix.training, rounds, xgb_model=start)
            return Fit(booster, rounds, float("nan"))
        booster = xgb.train(
            chosen,
            matrix.training,
            rounds,
            evals=[(matrix.validation, "validation")],
            early_stopping_rounds=EARLY_STOPPING_ROUNDS,
            verbose_eval=False,
            xgb_model=start,
        )
    finally:
        if only:
            matrix.training.set_info(feature_weights=np.empty(0, np.float32))
    best = int(booster.best_iteration) + 1
    return Fit(booster[:best], best, float(booster.best_score))


def _types(features: Sequence[str]) -> list[str]:
    return ["c" if name in CATEGORICAL else "q" for name in features]
