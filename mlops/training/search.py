"""The search for hyperparameters: a named space, TPE, rungs, a budget. The only importer of hyperopt.

Many trials look at few trips, the best of them at more, the best of those at
all (successive halving). The budget is counted in trials and rounds, so a run
can be repeated to the last digit. ``tuning_seconds`` is a ceiling for those who
need one; a search that hits it says so, because how far it came depends on the
machine.

Source: J. Bergstra, R. Bardenet, Y. Bengio, B. Kegl, "Algorithms for Hyper-Parameter Optimization", NIPS 2011
(tree-structured Parzen estimator); K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization", AISTATS 2016 (successive halving).
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, fmin, hp, tpe
from hyperopt.exceptions import AllTrialsFailed
from hyperopt.fmin import generate_trial

from mlops.errors import TuningError
from mlops.training.boosting import Fit

logger = logging.getLogger(__name__)

BOUNDS = {
    # Depth 5 misses zone x zone x hour; past 8 a model grows too large to serve, for gains within the noise.
    "max_depth": (6, 8),
    # Trips in a leaf: the noise of one trip is 4 minutes, so a mean of few says little.
    "min_child_weight": (10, 200),
    # Rows and columns a tree sees. The encodings say much the same, so half the columns do.
    "subsample": (0.6, 1.0),
    "colsample_bytree": (0.3, 0.8),
    # Shrinkage of leaves, up to the weight of a hundred and fifty trips; below 1 it changed nothing.
    "reg_lambda": (1, 150),
    "reg_alpha": (0.001, 10),
}
"""Where the search looks, with the reason for each bound. The learning rate is not searched: see `Rung`."""

SPACE = {
    "max_depth": hp.quniform("max_depth", *BOUNDS["max_depth"], 1),
    "min_child_weight": hp.loguniform("min_child_weight", *map(math.log, BOUNDS["min_child_weight"])),
    "subsample": hp.uniform("subsample", *BOUNDS["subsample"]),
    "colsample_bytree": hp.uniform("colsample_bytree", *BOUNDS["colsample_bytree"]),
    "reg_lambda": hp.loguniform("reg_lambda", *map(math.log, BOUNDS["reg_lambda"])),
    "reg_alpha": hp.loguniform("reg_alpha", *map(math.log, BOUNDS["reg_alpha"])),
}

FIRST_GUESS = {
    "max_depth": 8,
    "min_child_weight": 50.0,
    "subsample": 0.9,
    "colsample_bytree": 0.5,
    "reg_lambda": 20.0,
    "reg_alpha": 0.01,
}
"""The first trial: good on every month tried by hand, so a search of one trial is not a lottery."""

RANDOM_TRIALS = 4  # drawn at random, after the starts and before TPE has something to model
PATIENCE = 8  # trials over which the gain to be expected of the next ones is estimated
MIN_GAIN = 0.0005  # share of the RMSE; less is not worth the trials that are left
MIN_TRIPS = 20_000  # on fewer a rung tells noise from noise


@dataclass(frozen=True)
class Rung:
    """How closely a trial is looked at.

    Parameters
    ----------
    trials : int
        At most; above the lowest rung only the best of the one below are tried.
    share : float
        Of the training trips.
    rounds : int
        At most; early stopping keeps fewer.
    learning_rate : float
        Not searched: a lower one is better and slower, so it belongs to the budget.
    until : float
        Share of a ceiling in seconds after which no trial of this rung starts, but for its first.
    """

    trials: int
    share: float
    rounds: int
    learning_rate: float
    until: float


LADDER = (
    Rung(trials=9, share=1 / 9, rounds=120, learning_rate=0.25, until=0.3),
    Rung(trials=3, share=1 / 3, rounds=200, learning_rate=0.15, until=0.6),
    Rung(trials=1, share=1.0, rounds=400, learning_rate=0.1, until=1.0),
)
"""Rungs from the lowest, with their trials in proportion.

400 rounds of depth 8 are some 120,000 nodes: up to there a batch costs no more than the course's recipe does
(docs/decisions), and half the learning rate with twice the rounds gained less than the noise of a seed.
"""


@dataclass(frozen=True)
class Trial:
    """One evaluation of the search.

    Parameters
    ----------
    number : int
        From 1.
    rung : int
        From 1, the lowest; losses compare within a rung only.
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
    rung: int
    parameters: dict[str, Any]
    rounds: int
    validation_rmse: float
    seconds: float
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """What `from_dict` makes an equal trial of, also by way of JSON, which has no NaN.

        Examples
        --------
        >>> failed = Trial(1, 1, {"max_depth": 8}, 0, math.nan, 1.5, "MemoryError: no room")
        >>> failed.as_dict()["validation_rmse"], Trial.from_dict(failed.as_dict()).validation_rmse
        (None, nan)
        """
        return asdict(self) | {"validation_rmse": None if self.error else self.validation_rmse}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Trial:
        """The trial that `as_dict` was asked of."""
        trial = cls(**fields)
        return replace(trial, validation_rmse=math.nan) if trial.error else trial


@dataclass(frozen=True)
class Search:
    """All trials in their order, the best of the highest rung, and its fit."""

    trials: tuple[Trial, ...]
    best: Trial
    fit: Fit
    hit_ceiling: bool


Evaluate = Callable[[dict[str, Any], Rung], Fit]


def ladder(max_trials: int, trips: int) -> tuple[Rung, ...]:
    """Rungs for a budget: `max_trials` on the lowest, a third of them on the next, a ninth on the highest.

    A rung whose share of the trips would be too few to tell anything is left out.

    Examples
    --------
    >>> [(rung.trials, round(rung.share, 2)) for rung in ladder(18, trips=500_000)]
    [(18, 0.11), (6, 0.33), (2, 1.0)]
    >>> [(rung.trials, round(rung.share, 2)) for rung in ladder(18, trips=76_000)]
    [(18, 0.33), (2, 1.0)]
    """
    lowest, *above = (rung for rung in LADDER if rung.share * trips >= MIN_TRIPS or rung.share == 1)
    fewer = (replace(rung, trials=math.ceil(max_trials * rung.trials / LADDER[0].trials)) for rung in above)
    return (replace(lowest, trials=max_trials), *fewer)


def run_search(
    evaluate: Evaluate,
    rungs: Sequence[Rung],
    *,
    seed: int,
    starts: Sequence[Mapping[str, float]] = (),
    tuning_seconds: float | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    done: Sequence[Trial] = (),
) -> Search:
    """Best parameters that the rungs find: TPE on the lowest, the best of each tried again on the next.

    The lowest rung ends early when its last trials let hardly any gain be expected of those left.

    What TPE suggests follows from the seed and the losses so far. So a search that was cut off goes on from its
    `done` trials as if it never had been; but one with a ceiling depends on the clock, and may go on otherwise.

    Parameters
    ----------
    evaluate : callable
        From XGBoost parameters and a rung to a fit with its validation RMSE. What it raises fails the trial, not
        the search.
    rungs : sequence of Rung
        As from `ladder`.
    seed : int
        Of TPE.
    starts : sequence of mapping
        Points to try after `FIRST_GUESS`, before TPE has its say: what did well before.
    tuning_seconds : float, optional
        Ceiling; what the trials in `done` took counts.
    on_trial : callable
        Called after each trial that was evaluated, in order.
    done : sequence of Trial
        The first trials of an earlier attempt at the same search, in order: taken as they were, up to the first
        that is not the one to be taken now. If the best is one of them, it is evaluated once more for its fit.

    Raises
    ------
    TuningError
        When every trial of a rung failed.
    """
    climb = _Search(evaluate, tuple(rungs), tuning_seconds, on_trial, done)
    climb.explore([FIRST_GUESS, *(start for start in starts if dict(start) != FIRST_GUESS)], seed)
    for below in range(len(rungs) - 1):
        climb.retry(below)
    best = climb.ranked(len(rungs) - 1)[0]
    if climb.hit_ceiling:
        logger.warning(
            "tuning stopped at its ceiling after %.0f s, with %d trials: it cannot be repeated exactly",
            climb.seconds(), len(climb.trials),
        )  # fmt: skip
    fit = climb.fit or evaluate(best.parameters, rungs[-1])
    return Search(tuple(climb.trials), best, fit, climb.hit_ceiling)


def clip_to_bounds(point: Mapping[str, float]) -> dict[str, float]:
    """Point of the space nearest to one from elsewhere; what that leaves open is as in `FIRST_GUESS`.

    Examples
    --------
    >>> clip_to_bounds({"max_depth": 30, "gamma": 1.0})["max_depth"]
    8.0
    """
    known = {name: value for name, value in point.items() if name in BOUNDS and value == value}
    given = {**FIRST_GUESS, **known}
    return {name: float(min(max(given[name], low), high)) for name, (low, high) in BOUNDS.items()}


class _Search:
    """A search under way; hyperopt keeps only losses."""

    def __init__(
        self,
        evaluate: Evaluate,
        rungs: tuple[Rung, ...],
        tuning_seconds: float | None,
        on_trial: Callable[[Trial], None],
        done: Sequence[Trial],
    ) -> None:
        self.evaluate, self.rungs = evaluate, rungs
        self.tuning_seconds, self.on_trial = tuning_seconds, on_trial
        self.started = time.monotonic()
        self.trials: list[Trial] = []
        self.done, self.done_seconds = list(done), 0.0  # left to be read back; what was took so long
        self.fit: Fit | None = None  # of the best trial of the highest rung so far; none if it was read back
        self.hit_ceiling = False

    def explore(self, starts: Sequence[Mapping[str, float]], seed: int) -> None:
        """Trials of the lowest rung: the starts, then what TPE makes of the trials so far."""

        def suggest(new_ids: list[int], domain: Any, trials: Trials, seed: int) -> Any:
            if len(trials.trials) < len(starts):
                return [generate_trial(new_ids[0], dict(starts[len(trials.trials)]))]
            return tpe.suggest(new_ids, domain, trials, seed, n_startup_jobs=len(starts) + RANDOM_TRIALS)

        def objective(point: Mapping[str, float]) -> dict[str, Any]:
            trial = self._take(
                {name: int(value) if name == "max_depth" else float(value) for name, value in point.items()},
                0,
            )
            return {"loss": trial.validation_rmse, "status": STATUS_FAIL if trial.error else STATUS_OK}

        with contextlib.suppress(AllTrialsFailed):
            fmin(
                objective,
                SPACE,
                algo=suggest,
                max_evals=self.rungs[0].trials,
                early_stop_fn=lambda trials: (self._settled(len(starts)) or self._over(0), {}),
                trials=Trials(),
                rstate=np.random.default_rng(seed),
                show_progressbar=False,
                return_argmin=False,
            )

    def retry(self, below: int) -> None:
        """Trials of the rung above, with the parameters that did best on the one below."""
        answered = False
        for trial in self.ranked(below)[: self.rungs[below + 1].trials]:
            if answered and self._over(below + 1):
                break
            answered |= not self._take(trial.parameters, below + 1).error

    def ranked(self, rung: int) -> list[Trial]:
        """Trials of a rung that did not fail, best first; of equals the earlier."""
        tried = [trial for trial in self.trials if trial.rung == rung + 1]
        fine = sorted((trial for trial in tried if not trial.error), key=lambda trial: trial.validation_rmse)
        if not fine:
            raise TuningError(f"all {len(tried)} trials of the search failed; the first: {tried[0].error}")
        return fine

    def seconds(self) -> float:
        """Since the search began, with what the trials took that were read back."""
        return time.monotonic() - self.started + self.done_seconds

    def _take(self, parameters: dict[str, Any], rung: int) -> Trial:
        parameters = {**parameters, "learning_rate": self.rungs[rung].learning_rate}
        read = self._read_back(parameters, rung)
        trial, fit = (read, None) if read else self._evaluate(parameters, rung)
        self.trials.append(trial)
        if not trial.error and self.ranked(rung)[0] is trial:
            self.fit = fit
        if not read:
            self._tell(trial)
            self.on_trial(trial)
        return trial

    def _read_back(self, parameters: dict[str, Any], rung: int) -> Trial | None:
        """The next trial of the earlier attempt, if it is the one to be taken now."""
        if not self.done:
            return None
        trial = self.done.pop(0)
        same = (trial.rung, trial.parameters) == (rung + 1, parameters)
        if same:
            self.done_seconds += trial.seconds
        else:
            logger.warning(
                "trial %d is not what it was in an earlier attempt: %d of its trials dropped",
                len(self.trials) + 1, len(self.done) + 1,
            )  # fmt: skip
            self.done.clear()
        if not self.done:
            logger.info("%d trials read back from an earlier attempt", len(self.trials) + same)
        return trial if same else None

    def _evaluate(self, parameters: dict[str, Any], rung: int) -> tuple[Trial, Fit | None]:
        started, fit, error = time.monotonic(), None, ""
        try:
            fit = self.evaluate(parameters, self.rungs[rung])
            if not math.isfinite(fit.validation_rmse):
                raise TuningError(f"validation RMSE is {fit.validation_rmse}")
        except Exception as problem:  # whatever one trial meets, the search goes on
            fit, error = None, f"{type(problem).__name__}: {problem}"
        rounds, rmse = (fit.rounds, fit.validation_rmse) if fit else (0, math.nan)
        seconds = time.monotonic() - started
        return Trial(len(self.trials) + 1, rung + 1, parameters, rounds, rmse, seconds, error), fit

    def _tell(self, trial: Trial) -> None:
        which = f"trial {trial.number} of {sum(rung.trials for rung in self.rungs)}"
        if len(self.rungs) > 1:
            which += f", on {self.rungs[trial.rung - 1].share:.0%} of the trips"
        if trial.error:
            logger.warning("%s failed: %s", which, trial.error)
            return
        best = self.ranked(trial.rung - 1)[0]
        logger.info(
            "%s: validation RMSE %.4f min with %d rounds in %.1f s; best %.4f (trial %d)",
            which, trial.validation_rmse, trial.rounds, trial.seconds, best.validation_rmse, best.number,
        )  # fmt: skip

    def _over(self, rung: int) -> bool:
        """Whether the rung has used its part of the ceiling, with trials left."""
        if self.tuning_seconds is None:
            return False
        # An earlier attempt went up from here, after a little more than its trials' seconds.
        went_up = bool(self.done) and self.done[0].rung > rung + 1
        if not went_up and self.seconds() < self.tuning_seconds * self.rungs[rung].until:
            return False
        left = self.rungs[rung].trials - sum(trial.rung == rung + 1 for trial in self.trials)
        self.hit_ceiling |= left > 0
        return True

    def _settled(self, starts: int) -> bool:
        """Whether what the last trials gained, carried on to the trials left, is too little to go on."""
        losses = [math.inf if trial.error else trial.validation_rmse for trial in self.trials]
        if len(losses) < starts + RANDOM_TRIALS + PATIENCE:
            return False
        best, before = min(losses), min(losses[:-PATIENCE])
        left = self.rungs[0].trials - len(losses)
        settled = (before - best) / PATIENCE * left < MIN_GAIN * best
        if settled and left:
            logger.info("%d trials left out: the last %d gained too little", left, PATIENCE)
        return settled
