"""The search for hyperparameters: a named space, TPE, a budget. The only importer of hyperopt.

The budget is counted in trials, so a run can be repeated to the last digit.
``tuning_seconds`` is a ceiling for those who need one; a search that hits it
says so, because how far it came depends on the machine.

Source: J. Bergstra, R. Bardenet, Y. Bengio, B. Kegl, "Algorithms for
Hyper-Parameter Optimization", NIPS 2011 (tree-structured Parzen estimator).
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, fmin, hp, tpe
from hyperopt.exceptions import AllTrialsFailed
from hyperopt.fmin import generate_trial

from mlops.errors import TuningError
from mlops.model import Fit

logger = logging.getLogger(__name__)

SPACE = {
    # Below 0.05 a fit needs more rounds than it is worth; above 0.3 single trees are too rash.
    "learning_rate": hp.loguniform("learning_rate", math.log(0.05), math.log(0.3)),
    # Depth 5 misses zone x zone x hour; past 9 half a million trips gained 0.1 % for twice the time.
    "max_depth": hp.quniform("max_depth", 5, 9, 1),
    # Trips in a leaf: the noise of one trip is 4 minutes, so a mean of few says little.
    "min_child_weight": hp.loguniform("min_child_weight", math.log(2), math.log(200)),
    # Rows and columns a tree sees; less than these slow learning without a better mean.
    "subsample": hp.uniform("subsample", 0.6, 1.0),
    "colsample_bytree": hp.uniform("colsample_bytree", 0.4, 1.0),
    # Shrinkage of leaves, from hardly any to the weight of a hundred trips.
    "reg_lambda": hp.loguniform("reg_lambda", math.log(0.1), math.log(100)),
    "reg_alpha": hp.loguniform("reg_alpha", math.log(0.001), math.log(10)),
}
"""Where the search looks, with the reason for each bound."""

FIRST_GUESS = {
    "learning_rate": 0.1,
    "max_depth": 8.0,
    "min_child_weight": 20.0,
    "subsample": 0.9,
    "colsample_bytree": 0.7,
    "reg_lambda": 3.0,
    "reg_alpha": 0.01,
}
"""The first trial: good on every month tried by hand, so a search of one trial is not a lottery."""

RANDOM_TRIALS = 5  # drawn at random before TPE has something to model


@dataclass(frozen=True)
class Trial:
    """One evaluation of the search.

    Parameters
    ----------
    number : int
        From 1.
    parameters : dict
        Resolved, as XGBoost took them.
    rounds : int
        Kept by early stopping; 0 when the trial failed.
    validation_rmse : float
        Minutes; NaN when the trial failed.
    seconds : float
        Wall time.
    error : str
        Why it failed, or nothing.
    """

    number: int
    parameters: dict[str, Any]
    rounds: int
    validation_rmse: float
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Search:
    """All trials in their order, the best of them, and its fit."""

    trials: tuple[Trial, ...]
    best: Trial
    fit: Fit
    hit_ceiling: bool


@dataclass
class _Progress:
    """What the objective leaves behind; hyperopt keeps only losses."""

    trials: list[Trial] = field(default_factory=list)
    best: Trial | None = None
    fit: Fit | None = None

    def take(self, trial: Trial, fit: Fit | None, of: int) -> None:
        self.trials.append(trial)
        if trial.error:
            logger.warning("trial %d of %d failed: %s", trial.number, of, trial.error)
            return
        if self.best is None or trial.validation_rmse < self.best.validation_rmse:
            self.best, self.fit = trial, fit
        logger.info(
            "trial %d of %d: validation RMSE %.4f min with %d rounds in %.1f s; best %.4f (trial %d)",
            trial.number,
            of,
            trial.validation_rmse,
            trial.rounds,
            trial.seconds,
            self.best.validation_rmse,
            self.best.number,
        )


def search(
    evaluate: Callable[[dict[str, Any]], Fit],
    *,
    max_trials: int,
    seed: int,
    tuning_seconds: float | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Search:
    """Best parameters that `max_trials` trials find.

    Parameters
    ----------
    evaluate : callable
        From XGBoost parameters to a fit with its validation RMSE. What it raises fails the trial, not the search.
    max_trials : int
        Budget.
    seed : int
        Of TPE.
    tuning_seconds : float, optional
        Ceiling: no trial starts after it.
    on_trial : callable
        Called after each trial, in order.

    Raises
    ------
    TuningError
        When every trial failed.
    """
    progress, started = _Progress(), time.monotonic()

    def objective(point: Mapping[str, float]) -> dict[str, Any]:
        trial, fit = _evaluate(evaluate, len(progress.trials) + 1, point)
        progress.take(trial, fit, max_trials)
        on_trial(trial)
        return {"loss": trial.validation_rmse, "status": STATUS_FAIL if trial.error else STATUS_OK}

    with contextlib.suppress(AllTrialsFailed):
        fmin(
            objective,
            SPACE,
            algo=_suggest,
            max_evals=max_trials,
            timeout=None if tuning_seconds is None else math.ceil(tuning_seconds),
            trials=Trials(),
            rstate=np.random.default_rng(seed),
            show_progressbar=False,
            return_argmin=False,
        )
    if progress.best is None or progress.fit is None:
        first = progress.trials[0].error if progress.trials else "no trial was started"
        raise TuningError(f"all {len(progress.trials)} trials of the search failed; the first: {first}")
    hit = len(progress.trials) < max_trials
    if hit:
        logger.warning(
            "tuning stopped at its ceiling after %.0f s, with %d of %d trials: it cannot be repeated exactly",
            time.monotonic() - started,
            len(progress.trials),
            max_trials,
        )
    return Search(tuple(progress.trials), progress.best, progress.fit, hit)


def _suggest(new_ids: list[int], domain: Any, trials: Trials, seed: int) -> Any:
    """The first guess, then what TPE makes of the trials so far."""
    if not trials.trials:
        return [generate_trial(new_ids[0], FIRST_GUESS)]
    return tpe.suggest(new_ids, domain, trials, seed, n_startup_jobs=RANDOM_TRIALS)


def _evaluate(
    evaluate: Callable[[dict[str, Any]], Fit], number: int, point: Mapping[str, float]
) -> tuple[Trial, Fit | None]:
    parameters = {name: int(value) if name == "max_depth" else float(value) for name, value in point.items()}
    started = time.monotonic()
    try:
        fit = evaluate(parameters)
        rmse, rounds, error = fit.validation_rmse, fit.rounds, ""
        if not math.isfinite(rmse):
            raise TuningError(f"validation RMSE is {rmse}")
    except Exception as problem:  # whatever one trial meets, the search goes on
        fit, rmse, rounds = None, math.nan, 0
        error = f"{type(problem).__name__}: {problem}"
    seconds = time.monotonic() - started
    return Trial(number, parameters, rounds, rmse, seconds, error), fit
