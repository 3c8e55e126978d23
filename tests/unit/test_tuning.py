"""The search: a budget in trials, repeatable, and not ended by one bad trial."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from mlops.errors import TuningError
from mlops.model import Fit
from mlops.tuning import FIRST_GUESS, SPACE, Search, Trial, search

BOUNDS = {
    "learning_rate": (0.05, 0.3),
    "max_depth": (5, 9),
    "min_child_weight": (2, 200),
    "subsample": (0.6, 1.0),
    "colsample_bytree": (0.4, 1.0),
    "reg_lambda": (0.1, 100),
    "reg_alpha": (0.001, 10),
}


def fit(rmse: float, rounds: int = 10) -> Fit:
    return Fit(booster=f"booster of {rmse}", rounds=rounds, validation_rmse=rmse)  # type: ignore[arg-type]


def bowl(parameters: dict[str, Any]) -> Fit:
    """Smooth, and best at a learning rate of 0.2 and a depth of 6."""
    return fit(4 + abs(math.log(parameters["learning_rate"] / 0.2)) + 0.1 * abs(parameters["max_depth"] - 6))


def failing_at(*numbers: int, how: Callable[[], Fit]) -> Callable[[dict[str, Any]], Fit]:
    """A bowl in which the trials with these numbers do something else."""
    count = iter(range(1, 1000))
    return lambda parameters: how() if next(count) in numbers else bowl(parameters)


def breaks() -> Fit:
    raise RuntimeError("out of memory")


def told(found: Search) -> list[tuple[Any, ...]]:
    """What must repeat: all but the time."""
    return [(t.number, t.parameters, t.rounds, t.validation_rmse, t.error) for t in found.trials]


@pytest.mark.parametrize("max_trials", [1, 2, 15])
def test_the_budget_is_spent_and_not_more(max_trials: int) -> None:
    found = search(bowl, max_trials=max_trials, seed=1)

    assert [trial.number for trial in found.trials] == list(range(1, max_trials + 1))
    assert not found.hit_ceiling


def test_the_first_trial_is_the_first_guess() -> None:
    (trial,) = search(bowl, max_trials=1, seed=1).trials

    assert trial.parameters == FIRST_GUESS
    assert set(FIRST_GUESS) == set(SPACE)


def test_parameters_stay_inside_the_space() -> None:
    found = search(bowl, max_trials=40, seed=1)

    assert set(BOUNDS) == set(SPACE)
    for trial in found.trials:
        assert set(trial.parameters) == set(BOUNDS)
        assert type(trial.parameters["max_depth"]) is int
        for name, (least, most) in BOUNDS.items():
            assert least <= trial.parameters[name] <= most


def test_trials_differ_from_one_another() -> None:
    found = search(bowl, max_trials=15, seed=1)

    assert len({trial.parameters["learning_rate"] for trial in found.trials}) == 15
    assert len({trial.parameters["max_depth"] for trial in found.trials}) > 2


def test_the_best_trial_and_its_fit_are_kept() -> None:
    found = search(bowl, max_trials=20, seed=1)

    assert found.best.validation_rmse == min(trial.validation_rmse for trial in found.trials)
    assert found.fit == bowl(found.best.parameters)
    assert found.best.validation_rmse < found.trials[0].validation_rmse


def test_of_equal_trials_the_first_is_best() -> None:
    assert search(lambda parameters: fit(4.0), max_trials=3, seed=1).best.number == 1


def test_the_same_seed_gives_the_same_search() -> None:
    first, second = (search(bowl, max_trials=12, seed=7) for _ in range(2))

    assert told(first) == told(second)
    assert told(first) != told(search(bowl, max_trials=12, seed=8))


def test_a_longer_search_starts_like_a_shorter_one() -> None:
    assert told(search(bowl, max_trials=12, seed=7))[:8] == told(search(bowl, max_trials=8, seed=7))


def test_a_failing_trial_does_not_end_the_search(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        found = search(failing_at(1, 3, 7, how=breaks), max_trials=9, seed=1)

    assert [trial.number for trial in found.trials if trial.error] == [1, 3, 7]
    failed = found.trials[2]
    assert failed.error == "RuntimeError: out of memory"
    assert failed.rounds == 0
    assert math.isnan(failed.validation_rmse)
    assert found.best.number not in (1, 3, 7)
    assert not found.hit_ceiling
    assert "trial 3 of 9 failed: RuntimeError: out of memory" in caplog.messages


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_trial_without_a_finite_loss_failed(loss: float) -> None:
    found = search(failing_at(1, 2, how=lambda: fit(loss)), max_trials=4, seed=1)

    assert [trial.error for trial in found.trials] == [f"TuningError: validation RMSE is {loss}"] * 2 + [
        ""
    ] * 2
    assert found.best.number in (3, 4)
    assert math.isfinite(found.best.validation_rmse)


@pytest.mark.parametrize("max_trials", [1, 3, 8])
def test_when_every_trial_fails_the_first_reason_is_given(max_trials: int) -> None:
    reasons = iter(range(1, 100))

    def evaluate(parameters: dict[str, Any]) -> Fit:
        raise ValueError(f"reason {next(reasons)}")

    with pytest.raises(TuningError) as refused:
        search(evaluate, max_trials=max_trials, seed=1)

    assert str(refused.value) == (
        f"all {max_trials} trials of the search failed; the first: ValueError: reason 1"
    )


def test_each_trial_is_told_once_and_in_order() -> None:
    seen: list[Trial] = []
    found = search(failing_at(2, how=breaks), max_trials=6, seed=1, on_trial=seen.append)

    assert seen == list(found.trials)


def test_an_error_of_the_listener_ends_the_search() -> None:
    def loses_the_server(trial: Trial) -> None:
        raise ConnectionError("tracking server is gone")

    with pytest.raises(ConnectionError, match="tracking server is gone"):
        search(bowl, max_trials=5, seed=1, on_trial=loses_the_server)


def test_an_interrupt_ends_the_search() -> None:
    def interrupted() -> Fit:
        raise KeyboardInterrupt

    seen: list[Trial] = []
    with pytest.raises(KeyboardInterrupt):
        search(failing_at(3, how=interrupted), max_trials=9, seed=1, on_trial=seen.append)
    assert len(seen) == 2


def test_a_search_that_hits_its_ceiling_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def slow(parameters: dict[str, Any]) -> Fit:
        time.sleep(0.4)
        return bowl(parameters)

    with caplog.at_level(logging.WARNING, logger="mlops"):
        found = search(slow, max_trials=1000, seed=1, tuning_seconds=1)

    assert found.hit_ceiling
    assert 2 <= len(found.trials) <= 4
    assert caplog.messages == [
        f"tuning stopped at its ceiling after 1 s, with {len(found.trials)} of 1000 trials: "
        "it cannot be repeated exactly"
    ]


def test_a_ceiling_that_is_not_hit_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mlops"):
        found = search(bowl, max_trials=6, seed=1, tuning_seconds=1000)

    assert told(found) == told(search(bowl, max_trials=6, seed=1))
    assert not found.hit_ceiling
    assert caplog.messages == []


def test_progress_is_logged_trial_by_trial(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        search(lambda parameters: fit(4.25, rounds=33), max_trials=2, seed=1)

    assert [message.split(" in ")[0] for message in caplog.messages] == [
        "trial 1 of 2: validation RMSE 4.2500 min with 33 rounds",
        "trial 2 of 2: validation RMSE 4.2500 min with 33 rounds",
    ]
    assert all(message.endswith("best 4.2500 (trial 1)") for message in caplog.messages)
