"""From feature files to a model: tuned on one month, intervals calibrated on it, fitted again with it."""

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
    """What the search found, and how its fit, which has not seen the validation month, answers there.

    Parameters
    ----------
    search : Search
    intervals : Intervals
        Calibrated on these answers.
    actual, predicted : array of shape (n,)
        Minutes of every trip of the validation month.
    training_rows : int
        Trips that the search learnt from.
    """

    search: search.Search
    intervals: Intervals
    actual: Array
    predicted: Array
    training_rows: int


@dataclass(frozen=True)
class Fitting:
    """How models of one run are fitted.

    Parameters
    ----------
    settings : Settings
    threads : int
        For XGBoost.
    features : tuple of str
        Columns of the matrix; those of the settings, unless something is tried.
    """

    settings: Settings
    threads: int
    features: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, threads: int) -> Fitting:
        """The way the settings ask for."""
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
        """Best of the trials, which learn from the training months and are scored on the next one.

        Months are feature files, as `feature_files.write_features` writes them; `starts` and `done`
        as `search.run_search` takes them.

        Raises
        ------
        TuningError, EmptyTrainingSetError
        """
        rows = count_rows(training, for_training=True)
        held_out = FeatureFiles((validation,), for_training=False)
        rungs = search.ladder(self.settings.max_trials, rows)
        logger.info(
            "tuning on %s trips, scored on %s, at most %s trials",
            f"{rows:,}", f"{count_rows([validation], for_training=False):,}",
            " + ".join(str(rung.trials) for rung in rungs),
        )  # fmt: skip
        # Now, and not in a trial: what is wrong with the months fails the run, not a trial.
        matrices = {rungs[0].share: self._matrix(training, held_out, rungs[0].share)}

        def evaluate(parameters: dict[str, Any], rung: search.Rung) -> Fit:
            if rung.share not in matrices:
                matrices.clear()  # the rungs below are done with
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
        """Model of all the months' trips: parameters and rounds as the search found them, and its intervals."""
        matrix = self._matrix(months)
        best = tuned.search.best
        logger.info("final fit on %s trips with %d rounds", f"{matrix.training.num_row():,}", best.rounds)
        final = self._train(matrix, best.parameters, best.rounds)
        return DurationModel(matrix.encoder, final.booster, self.features, tuned.intervals)

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
