"""The search for hyperparameters: TPE, rungs and a budget. The only module that imports hyperopt.

What is searched is in `search_space`.

Many trials use few trips, the best of them use more, and the best of those use all (successive halving). The
budget is a number of trials and rounds, so a run can be repeated to the last digit. ``tuning_seconds`` is an
optional time limit. A search that reaches it logs a warning, because its result then depends on the machine.

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

from mlops import progress
from mlops.errors import TuningError
from mlops.training.boosting import Fit
from mlops.training.search_space import LOG, SPACE, WHOLE, Parameter, first_guess, require_usable

logger = logging.getLogger(__name__)

RANDOM_TRIALS = 4  # drawn at random after the starts: TPE needs some results first
PATIENCE = 8  # the gain of the last 8 trials is the estimate for the trials left
MIN_GAIN = 0.0005  # share of the RMSE; the search stops when it expects less than this
MIN_TRIPS = 20_000  # with fewer trips, differences between trials are noise


@dataclass(frozen=True)
class Rung:
    """The effort spent on each trial of one level of the search.

    Parameters
    ----------
    trials : int
        Most trials. Above the lowest rung, only the best trials of the rung below are tried again.
    share : float
        Share of the training trips that a trial uses.
    rounds : int
        Most boosting rounds; early stopping may keep fewer.
    learning_rate : float
        Not searched: a lower rate is better and slower, so it is part of the budget.
    until : float
        Share of the time limit after which no trial of this rung starts, except its first.
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
"""Rungs, lowest first, with their trials in proportion.

400 rounds of depth 8 are about 120,000 nodes. Predicting a batch then costs no more than with the course's recipe
(`baselines`). Half the learning rate with twice the rounds gained less than the difference between two seeds.
"""


@dataclass(frozen=True)
class Trial:
    """One evaluation of the search.

    Parameters
    ----------
    number : int
        Counts from 1.
    rung : int
        Counts from 1, the lowest. Losses are comparable only within a rung.
    parameters : dict
        XGBoost parameters.
    rounds : int
        Rounds that early stopping kept; 0 when the trial failed.
    validation_rmse : float
        Minutes; NaN when the trial failed.
    seconds : float
        Wall time.
    error : str
        Why it failed; empty when it did not.
    """

    number: int
    rung: int
    parameters: dict[str, Any]
    rounds: int
    validation_rmse: float
    seconds: float
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The trial as a dict that `from_dict` reads and that JSON can hold: NaN becomes None.

        Examples
        --------
        >>> failed = Trial(1, 1, {"max_depth": 8}, 0, math.nan, 1.5, "MemoryError: no room")
        >>> failed.as_dict()["validation_rmse"], Trial.from_dict(failed.as_dict()).validation_rmse
        (None, nan)
        """
        return asdict(self) | {"validation_rmse": None if self.error else self.validation_rmse}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Trial:
        """The trial that `as_dict` turned into `fields`."""
        trial = cls(**fields)
        return replace(trial, validation_rmse=math.nan) if trial.error else trial


@dataclass(frozen=True)
class Search:
    """All trials in order, the best trial of the highest rung, and its fit."""

    trials: tuple[Trial, ...]
    best: Trial
    fit: Fit
    hit_ceiling: bool


Evaluate = Callable[[dict[str, Any], Rung], Fit]


def ladder(max_trials: int, trips: int) -> tuple[Rung, ...]:
    """Rungs for a budget: `max_trials` on the lowest, a third of them on the next, a ninth on the highest.

    Rungs with fewer than `MIN_TRIPS` trips are skipped, except the highest.

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
    space: Sequence[Parameter] = SPACE,
) -> Search:
    """Best parameters that the rungs find: TPE on the lowest, then the best trials of each rung again on the next.

    The lowest rung ends early when its last trials show that the trials left will gain hardly anything.

    TPE's suggestions depend only on the seed and the losses so far, so an interrupted search continues from its
    `done` trials with the same result. With a time limit the result may differ.

    Parameters
    ----------
    evaluate : callable
        Takes XGBoost parameters and a rung, and returns a fit with its validation RMSE. An exception fails the
        trial, not the search.
    rungs : sequence of Rung
        As `ladder` returns them.
    seed : int
        Seed of TPE.
    starts : sequence of mapping
        Points that did well in earlier searches, tried after the first guess and before TPE's suggestions.
    tuning_seconds : float, optional
        Time limit in seconds. The seconds of the trials in `done` count.
    on_trial : callable
        Called after each evaluated trial, in order.
    done : sequence of Trial
        The first trials of an earlier attempt at the same search, in order. They are restored up to the first that
        this search would not evaluate. If the best trial is a restored one, it is evaluated again to get its fit.
    space : sequence of Parameter
        What is searched.

    Raises
    ------
    TuningError
        When every trial of a rung failed.
    ConfigError
        When the space cannot be searched; see `search_space.require_usable`.
    """
    require_usable(space)
    climb = _Search(evaluate, tuple(rungs), tuning_seconds, on_trial, done)
    guess = first_guess(space)
    with progress.step("search", sum(rung.trials for rung in rungs), progress.TRIALS) as climb.report:
        climb.explore([guess, *(start for start in starts if dict(start) != guess)], seed, space)
        for below in range(len(rungs) - 1):
            climb.retry(below)
    best = climb.ranked(len(rungs) - 1)[0]
    if climb.hit_ceiling:
        logger.warning(
            "search stopped at its time limit after %.0f s and %d trials: it cannot be repeated exactly",
            climb.seconds(), len(climb.trials),
        )  # fmt: skip
    fit = climb.fit or evaluate(best.parameters, rungs[-1])
    return Search(tuple(climb.trials), best, fit, climb.hit_ceiling)


def hyperopt_space(space: Sequence[Parameter]) -> dict[str, Any]:
    """Hyperopt's distribution of each parameter."""
    return {parameter.name: _distribution(parameter) for parameter in space}


def _distribution(parameter: Parameter) -> Any:
    name, low, high = parameter.name, parameter.low, parameter.high
    if parameter.kind == WHOLE:
        return hp.quniform(name, low, high, 1)
    if parameter.kind == LOG:
        return hp.loguniform(name, math.log(low), math.log(high))
    return hp.uniform(name, low, high)


class _Search:
    """State of a running search: hyperopt itself keeps only the losses."""

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
        self.done, self.done_seconds = list(done), 0.0  # trials to restore; seconds spent in restored trials
        self.fit: Fit | None = None  # of the best trial of the highest rung so far; None if that was restored
        self.hit_ceiling = False
        self.report: Callable[[int, int | None], None] = lambda done, total: None

    def explore(self, starts: Sequence[Mapping[str, float]], seed: int, space: Sequence[Parameter]) -> None:
        """Take the trials of the lowest rung: first the starts, then TPE's suggestions."""

        def suggest(new_ids: list[int], domain: Any, trials: Trials, seed: int) -> Any:
            if len(trials.trials) < len(starts):
                return [generate_trial(new_ids[0], dict(starts[len(trials.trials)]))]
            return tpe.suggest(new_ids, domain, trials, seed, n_startup_jobs=len(starts) + RANDOM_TRIALS)

        typed = {parameter.name: parameter.value for parameter in space}

        def objective(point: Mapping[str, float]) -> dict[str, Any]:
            trial = self._take({name: typed[name](value) for name, value in point.items()}, 0)
            return {"loss": trial.validation_rmse, "status": STATUS_FAIL if trial.error else STATUS_OK}

        with contextlib.suppress(AllTrialsFailed):
            fmin(
                objective,
                hyperopt_space(space),
                algo=suggest,
                max_evals=self.rungs[0].trials,
                early_stop_fn=lambda trials: (self._settled(len(starts)) or self._over(0), {}),
                trials=Trials(),
                rstate=np.random.default_rng(seed),
                show_progressbar=False,
                return_argmin=False,
            )

    def retry(self, below: int) -> None:
        """Take the trials of the next rung, with the best parameters of the rung `below`."""
        succeeded = False
        for trial in self.ranked(below)[: self.rungs[below + 1].trials]:
            if succeeded and self._over(below + 1):
                break
            succeeded |= not self._take(trial.parameters, below + 1).error

    def ranked(self, rung: int) -> list[Trial]:
        """Successful trials of a rung, best first; the earlier first where they are equal."""
        tried = [trial for trial in self.trials if trial.rung == rung + 1]
        fine = sorted((trial for trial in tried if not trial.error), key=lambda trial: trial.validation_rmse)
        if not fine:
            raise TuningError(f"all {len(tried)} trials failed; error of the first: {tried[0].error}")
        return fine

    def seconds(self) -> float:
        """Seconds since the search began, plus those spent in restored trials."""
        return time.monotonic() - self.started + self.done_seconds

    def _take(self, parameters: dict[str, Any], rung: int) -> Trial:
        parameters = {**parameters, "learning_rate": self.rungs[rung].learning_rate}
        restored = self._restore(parameters, rung)
        trial, fit = (restored, None) if restored else self._evaluate(parameters, rung)
        self.trials.append(trial)
        self.report(len(self.trials), sum(each.trials for each in self.rungs))
        if not trial.error and self.ranked(rung)[0] is trial:
            self.fit = fit
        if not restored:
            self._log(trial)
            self.on_trial(trial)
        return trial

    def _restore(self, parameters: dict[str, Any], rung: int) -> Trial | None:
        """The next trial of the earlier attempt, if it has this rung and these parameters."""
        if not self.done:
            return None
        trial = self.done.pop(0)
        same = (trial.rung, trial.parameters) == (rung + 1, parameters)
        if same:
            self.done_seconds += trial.seconds
        else:
            logger.warning(
                "trial %d differs from the earlier attempt; %d trials of that attempt are discarded",
                len(self.trials) + 1, len(self.done) + 1,
            )  # fmt: skip
            self.done.clear()
        if not self.done:
            logger.info("%d trials restored from an earlier attempt", len(self.trials) + same)
        return trial if same else None

    def _evaluate(self, parameters: dict[str, Any], rung: int) -> tuple[Trial, Fit | None]:
        started, fit, error = time.monotonic(), None, ""
        try:
            fit = self.evaluate(parameters, self.rungs[rung])
            if not math.isfinite(fit.validation_rmse):
                raise TuningError(f"validation RMSE is {fit.validation_rmse}")
        except Exception as problem:  # any error fails this trial only; the search continues
            fit, error = None, f"{type(problem).__name__}: {problem}"
        rounds, rmse = (fit.rounds, fit.validation_rmse) if fit else (0, math.nan)
        seconds = time.monotonic() - started
        return Trial(len(self.trials) + 1, rung + 1, parameters, rounds, rmse, seconds, error), fit

    def _log(self, trial: Trial) -> None:
        which = f"trial {trial.number} of {sum(rung.trials for rung in self.rungs)}"
        if len(self.rungs) > 1:
            which += f", on {self.rungs[trial.rung - 1].share:.0%} of the trips"
        if trial.error:
            logger.warning("%s failed: %s", which, trial.error)
            return
        best = self.ranked(trial.rung - 1)[0]
        logger.info(
            "%s: validation RMSE %.4f minutes, %d rounds, %.1f s; best so far %.4f (trial %d)",
            which, trial.validation_rmse, trial.rounds, trial.seconds, best.validation_rmse, best.number,
        )  # fmt: skip

    def _over(self, rung: int) -> bool:
        """Whether the rung has used its part of the time limit. Notes when that leaves trials undone."""
        if self.tuning_seconds is None:
            return False
        # The earlier attempt left this rung at the limit; its stored seconds lack those between trials.
        went_up = bool(self.done) and self.done[0].rung > rung + 1
        if not went_up and self.seconds() < self.tuning_seconds * self.rungs[rung].until:
            return False
        left = self.rungs[rung].trials - sum(trial.rung == rung + 1 for trial in self.trials)
        self.hit_ceiling |= left > 0
        return True

    def _settled(self, starts: int) -> bool:
        """Whether the trials left would gain too little, at the rate of the last `PATIENCE` trials."""
        losses = [math.inf if trial.error else trial.validation_rmse for trial in self.trials]
        if len(losses) < starts + RANDOM_TRIALS + PATIENCE:
            return False
        best, before = min(losses), min(losses[:-PATIENCE])
        left = self.rungs[0].trials - len(losses)
        settled = (before - best) / PATIENCE * left < MIN_GAIN * best
        if settled and left:
            message = "search stopped early: no gain in the last %d trials; %d trials skipped"
            logger.info(message, PATIENCE, left)
        return settled
