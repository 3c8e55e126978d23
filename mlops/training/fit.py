"""From feature files to a model: tune on the validation month, learn the intervals, fit again with that month."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.config import Settings
from mlops.model.duration_model import DurationModel
from mlops.model.estimator import Estimator, possible
from mlops.model.features import feature_names
from mlops.model.intervals import Intervals
from mlops.training import calibration, search
from mlops.training.boosting import Fit, Matrix, build_matrix, train
from mlops.training.coverage_aim import Aim
from mlops.training.feature_files import FeatureFiles, count_rows

Array = npt.NDArray[Any]
logger = logging.getLogger(__name__)

# For requests without a distance, beside the parameters of the search. This estimator is small: with depth and
# rounds of the other one, its RMSE was 0.3 % lower and its file four times as large.
SMALL, SMALL_ROUNDS = {"max_depth": 6, "learning_rate": 0.15}, 250


@dataclass(frozen=True)
class Tuned:
    """Result of the search, with the predictions of its best fit on the validation month.

    The fit was not trained on the validation month.

    Parameters
    ----------
    search : Search
    intervals : Intervals
        Calibrated on these predictions.
    without_distance : WithoutDistance, optional
        None if the model does not use the distance.
    actual, predicted : array of shape (n,)
        Minutes of every trip of the validation month.
    training_rows : int
        Number of training trips.
    """

    search: search.Search
    intervals: Intervals
    without_distance: WithoutDistance | None
    actual: Array
    predicted: Array
    training_rows: int


@dataclass(frozen=True)
class WithoutDistance:
    """What the estimator for requests without a distance is fitted with: XGBoost parameters, rounds, intervals."""

    parameters: dict[str, Any]
    rounds: int
    intervals: Intervals


@dataclass(frozen=True)
class Fitting:
    """How the models of one run are fitted.

    Parameters
    ----------
    settings : Settings
    threads : int
        Threads that XGBoost uses.
    features : tuple of str
        Columns of the matrix. An experiment may pass others than the settings ask for.
    """

    settings: Settings
    threads: int
    features: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, threads: int) -> Fitting:
        """Fitting with the features that the settings ask for."""
        return cls(settings, threads, feature_names(settings.use_distance))

    def tune(
        self,
        training: Sequence[Path],
        validation: Path,
        *,
        starts: Sequence[Mapping[str, float]] = (),
        done: Sequence[search.Trial] = (),
        on_trial: Callable[[search.Trial], None] = lambda trial: None,
        aim: Aim = Aim(),
    ) -> Tuned:
        """Result of the search: trials learn from the training months and are scored on the validation month.

        Months are feature files, as `feature_files.write_features` writes them. `starts` and `done` are passed
        to `search.run_search`; the intervals contain the shares of the validation trips that `aim` has.

        Raises
        ------
        TuningError, EmptyTrainingSetError
        """
        rows = count_rows(training, for_training=True)
        held_out = FeatureFiles((validation,), for_training=False)
        rungs = search.ladder(self.settings.max_trials, rows)
        logger.info(
            "tuning: %s training trips, %s validation trips, at most %s trials",
            f"{rows:,}", f"{count_rows([validation], for_training=False):,}",
            " + ".join(str(rung.trials) for rung in rungs),
        )  # fmt: skip
        # Built before the first trial, so that an error in the months fails the run and not only a trial.
        matrices = {rungs[0].share: self._matrix(training, held_out, rungs[0].share)}

        def evaluate(parameters: dict[str, Any], rung: search.Rung) -> Fit:
            if rung.share not in matrices:
                matrices.clear()  # the lower rungs do not need theirs any more
                matrices[rung.share] = self._matrix(training, held_out, rung.share)
            matrix = matrices[rung.share]
            return train(matrix, parameters, rounds=rung.rounds, stop_early=True, **self._fixed)

        found = search.run_search(
            evaluate,
            rungs,
            seed=self.settings.seed,
            starts=starts,
            done=done,
            tuning_seconds=self.settings.tuning_seconds,
            on_trial=on_trial,
        )
        (matrix,) = matrices.values()
        best, actual = found.best, np.concatenate([batch.minutes for batch in held_out])
        predicted = possible(found.fit.booster.predict(matrix.validation).astype(np.float64))
        logger.info("learning the ranges from the errors of a fit on half of the trips")
        quick = {**best.parameters, "learning_rate": calibration.HALF_RATE}
        half = calibration.fit_half(matrix, quick, **self._fixed)
        intervals = calibration.learn_intervals(matrix, half, predicted, actual, aim, **self._fixed)
        without = self._tune_without_distance(matrix, best.parameters, actual, aim)
        return Tuned(found, intervals, without, actual, predicted, rows)

    def _tune_without_distance(
        self, matrix: Matrix, parameters: Mapping[str, Any], actual: Array, aim: Aim
    ) -> WithoutDistance | None:
        if not self._distance_free:
            return None
        logger.info("the same for requests without a distance")
        only: dict[str, Any] = {**self._fixed, "only": self._distance_free}
        small = {**parameters, **SMALL}
        half = calibration.fit_half(matrix, small, rounds=SMALL_ROUNDS, stop_early=True, **only)
        predicted = possible(half.fit.booster.predict(matrix.validation).astype(np.float64))
        intervals = calibration.learn_intervals(matrix, half, predicted, actual, aim, **only)
        return WithoutDistance(small, half.fit.rounds, intervals)

    def fit(self, months: Sequence[Path], tuned: Tuned) -> DurationModel:
        """Model fitted on the trips of all the months, with the search's parameters, rounds and intervals."""
        matrix = self._matrix(months)
        best, only = tuned.search.best, self._distance_free
        logger.info("final fit on %s trips with %d rounds", f"{matrix.training.num_row():,}", best.rounds)
        booster = train(matrix, best.parameters, rounds=best.rounds, **self._fixed).booster
        without = None
        if only and (other := tuned.without_distance):
            small = train(matrix, other.parameters, rounds=other.rounds, only=only, **self._fixed).booster
            without = Estimator(small, other.intervals)
        main = Estimator(booster, tuned.intervals)
        return DurationModel(matrix.encoder, main, self.features, matrix.learned, without)

    @property
    def _fixed(self) -> dict[str, Any]:
        return {"seed": self.settings.seed, "threads": self.threads}

    @property
    def _distance_free(self) -> tuple[str, ...]:
        """Features that need no distance, if others do."""
        found = tuple(name for name in self.features if name in feature_names(use_distance=False))
        return found if len(found) < len(self.features) else ()

    def _matrix(
        self, months: Sequence[Path], held_out: FeatureFiles | None = None, share: float = 1.0
    ) -> Matrix:
        seed, half_life = self.settings.seed, self.settings.half_life_months
        files = FeatureFiles(tuple(months), True, share, seed, half_life)
        return build_matrix(files, held_out, features=self.features, seed=seed, threads=self.threads)
