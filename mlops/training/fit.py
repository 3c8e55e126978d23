"""From feature files to a model: tune on the validation month, calibrate the intervals, fit again with it."""

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
from mlops.model.features import feature_names
from mlops.model.intervals import Intervals
from mlops.training import search
from mlops.training.boosting import Fit, Matrix, build_matrix, train
from mlops.training.feature_files import FeatureFiles, count_rows

Array = npt.NDArray[Any]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tuned:
    """Result of the search, with the predictions of its best fit on the validation month.

    The fit was not trained on the validation month.

    Parameters
    ----------
    search : Search
    intervals : Intervals
        Calibrated on these predictions.
    actual, predicted : array of shape (n,)
        Minutes of every trip of the validation month.
    training_rows : int
        Number of training trips.
    """

    search: search.Search
    intervals: Intervals
    actual: Array
    predicted: Array
    training_rows: int


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
    ) -> Tuned:
        """Result of the search: trials learn from the training months and are scored on the validation month.

        Months are feature files, as `feature_files.write_features` writes them. `starts` and `done` are passed
        to `search.run_search`.

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
            return self._train(matrices[rung.share], parameters, rung.rounds, stop_early=True)

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
        tuned = DurationModel(matrix.encoder, found.fit.booster, self.features)
        parts = [(batch, tuned.minutes(batch.features)) for batch in held_out]
        actual = np.concatenate([batch.minutes for batch, _ in parts])
        predicted = np.concatenate([minutes for _, minutes in parts])
        names = parts[0][0].features
        columns = {name: np.concatenate([batch.features[name] for batch, _ in parts]) for name in names}
        return Tuned(found, Intervals.fit(columns, predicted, actual), actual, predicted, rows)

    def fit(self, months: Sequence[Path], tuned: Tuned) -> DurationModel:
        """Model fitted on the trips of all the months, with the search's parameters, rounds and intervals."""
        matrix = self._matrix(months)
        best = tuned.search.best
        logger.info("final fit on %s trips with %d rounds", f"{matrix.training.num_row():,}", best.rounds)
        final = self._train(matrix, best.parameters, best.rounds)
        return DurationModel(matrix.encoder, final.booster, self.features, tuned.intervals, matrix.learned)

    def _matrix(
        self, months: Sequence[Path], held_out: FeatureFiles | None = None, share: float = 1.0
    ) -> Matrix:
        seed, half_life = self.settings.seed, self.settings.half_life_months
        files = FeatureFiles(tuple(months), True, share, seed, half_life)
        return build_matrix(files, held_out, features=self.features, seed=seed, threads=self.threads)

    def _train(
        self, matrix: Matrix, parameters: Mapping[str, Any], rounds: int, *, stop_early: bool = False
    ) -> Fit:
        return train(
            matrix,
            parameters,
            rounds=rounds,
            stop_early=stop_early,
            seed=self.settings.seed,
            threads=self.threads,
        )
