"""Ladders of rungs, and functions that a search may evaluate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from mlops.training.boosting import Fit
from mlops.training.search import Evaluate, Rung, Search, Trial


def rungs(*trials: int) -> tuple[Rung, ...]:
    """So many trials on each rung, the highest on all trips; on each a learning rate of its own."""
    count = len(trials)
    return tuple(
        Rung(n, share=3.0 ** (i - count + 1), rounds=100 * (i + 1), learning_rate=0.3 / (i + 1), until=until)
        for i, (n, until) in enumerate(zip(trials, (0.35, 0.65, 1.0)[-count:], strict=True))
    )


def fit(rmse: float, rounds: int = 10) -> Fit:
    return Fit(booster=f"booster of {rmse}", rounds=rounds, validation_rmse=rmse)  # type: ignore[arg-type]


def bowl(parameters: dict[str, Any], rung: Rung) -> Fit:
    """Smooth, best at a shrinkage of 10 and a depth of 7, and a little better the more trips are seen."""
    off = abs(math.log(parameters["reg_lambda"] / 10)) + 0.1 * abs(parameters["max_depth"] - 7)
    return fit(4 + off + 0.1 * (1 - rung.share))


def falling(by: float = 0.01) -> Evaluate:
    """Each trial better than the one before by this share."""
    count = itertools.count()
    return lambda parameters, rung: fit(10 * (1 - by) ** next(count))


def in_turn(*losses: float | Exception) -> Evaluate:
    """Losses of the first trials, one after another; an exception is raised."""
    left = iter(losses)

    def evaluate(parameters: dict[str, Any], rung: Rung) -> Fit:
        loss = next(left)
        if isinstance(loss, Exception):
            raise loss
        return fit(loss)

    return evaluate


def failing_at(*numbers: int, how: Callable[[], Fit]) -> Evaluate:
    """A bowl in which the trials with these numbers do something else."""
    count = itertools.count(1)
    return lambda parameters, rung: how() if next(count) in numbers else bowl(parameters, rung)


def breaks() -> Fit:
    raise RuntimeError("out of memory")


def reported(found: Search) -> list[tuple[Any, ...]]:
    """What must repeat: all but the time; the RMSE in digits, as NaN is not equal to itself."""
    return [
        (t.number, t.rung, t.parameters, t.rounds, repr(t.validation_rmse), t.error) for t in found.trials
    ]


def of_rung(found: Search, rung: int) -> list[Trial]:
    return [trial for trial in found.trials if trial.rung == rung]


def searched(trial: Trial) -> dict[str, Any]:
    """A trial's parameters without what its rung brings along."""
    return {name: value for name, value in trial.parameters.items() if name != "learning_rate"}
