"""A search that ends before its budget: it gains nothing more, or its time is over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from support.searches import bowl, falling, fit, in_turn, of_rung, reported, rungs, searched

from mlops.training import search
from mlops.training.boosting import Fit
from mlops.training.search import (
    PATIENCE,
    RANDOM_TRIALS,
    Evaluate,
    Rung,
    run_search,
)
from mlops.training.search_space import clip_to_bounds, first_guess

SETTLING = RANDOM_TRIALS + PATIENCE  # trials after the starts before a search may end early


# --- Starts -------------------------------------------------------------------------------------------------


STARTS = [clip_to_bounds({"max_depth": 7, "reg_lambda": 9.0}), clip_to_bounds({"subsample": 0.77})]


# --- An end before the budget's -----------------------------------------------------------------------------


@pytest.mark.parametrize("starts", [[], STARTS])
def test_a_search_that_gains_nothing_is_not_carried_on(
    starts: list[dict[str, float]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        found = run_search(lambda parameters, rung: fit(4.0), rungs(100, 2), seed=1, starts=starts)
    taken = 1 + len(starts) + SETTLING

    assert len(of_rung(found, 1)) == taken
    assert len(of_rung(found, 2)) == 2
    assert not found.hit_ceiling
    assert (
        f"search stopped early: no gain in the last {PATIENCE} trials; {100 - taken} trials skipped"
        in caplog.messages
    )


def test_a_search_that_still_gains_is_carried_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        found = run_search(falling(), rungs(3 * SETTLING), seed=1)

    assert len(found.trials) == 3 * SETTLING
    assert "stopped early" not in caplog.text


def test_a_search_ends_once_the_last_trials_gain_nothing() -> None:
    first = SETTLING + 7
    losses = [10 - 0.1 * number for number in range(first)]
    found = run_search(in_turn(*losses, *[losses[-1]] * 100), rungs(100), seed=1)

    assert len(found.trials) == first + PATIENCE


def test_a_small_gain_is_worth_many_trials_and_not_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of a percent a trial: with many left that is worth something, with few it is not."""
    monkeypatch.setattr(search, "MIN_GAIN", 0.001)

    assert len(run_search(falling(0.0001), rungs(200), seed=1).trials) == pytest.approx(190, abs=2)
    assert len(run_search(falling(0.0001), rungs(SETTLING + 5), seed=1).trials) == SETTLING + 1


def test_trials_that_fail_are_no_gain_and_do_not_end_a_search_that_has_found_nothing() -> None:
    found = run_search(in_turn(*[RuntimeError("a")] * (SETTLING + 3), *[4.0] * 100), rungs(60), seed=1)

    # The first that went well was a gain; from there on nothing is.
    assert len(found.trials) == SETTLING + 3 + 1 + PATIENCE


def test_a_budget_that_is_just_spent_leaves_nothing_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        run_search(lambda parameters, rung: fit(4.0), rungs(1 + SETTLING), seed=1)

    assert "stopped early" not in caplog.text


# --- The ceiling --------------------------------------------------------------------------------------------


def test_a_search_that_hits_its_ceiling_says_so(
    clock: Callable[[float], Evaluate], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="mlops"):
        found = run_search(clock(10), rungs(9, 3, 1), seed=1, tuning_seconds=100)

    assert [trial.rung for trial in found.trials] == [1] * 4 + [2] * 3 + [3]  # the lowest may take 35 s
    assert {trial.seconds for trial in found.trials} == {10.0}
    assert found.hit_ceiling
    assert caplog.messages == [
        "search stopped at its time limit after 80 s and 8 trials: it cannot be repeated exactly"
    ]


def test_a_higher_rung_is_cut_short_too(clock: Callable[[float], Evaluate]) -> None:
    found = run_search(clock(16), rungs(3, 3, 3), seed=1, tuning_seconds=100)

    # 48 s for all of the lowest, too long by then; 64 s and 80 s; one more, and another; 112 s.
    assert [trial.rung for trial in found.trials] == [1] * 3 + [2] * 2 + [3] * 2
    assert found.hit_ceiling


@pytest.mark.parametrize("seconds", [200, 10**6])
def test_however_slow_a_trial_is_each_rung_has_one(
    seconds: float, clock: Callable[[float], Evaluate], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="mlops"):
        found = run_search(clock(seconds), rungs(9, 3, 2), seed=1, tuning_seconds=1)

    assert [trial.rung for trial in found.trials] == [1, 2, 3]
    assert [searched(trial) for trial in found.trials] == [first_guess()] * 3
    assert found.best.number == 3
    assert found.hit_ceiling
    assert f"after {3 * seconds:.0f} s and 3 trials" in caplog.text


def test_past_the_ceiling_a_rung_whose_first_trial_fails_tries_the_next(
    clock: Callable[[float], Evaluate],
) -> None:
    slow, tried = clock(30), []

    def evaluate(parameters: dict[str, Any], rung: Rung) -> Fit:
        tried.append(rung.share)
        if tried.count(1) == 1 and rung.share == 1:
            slow(parameters, rung)
            raise MemoryError("no room")
        return slow(parameters, rung)

    found = run_search(evaluate, rungs(2, 2, 2), seed=1, tuning_seconds=150)

    assert [(trial.rung, bool(trial.error)) for trial in found.trials][-2:] == [(3, True), (3, False)]
    assert found.trials[-2].error == "MemoryError: no room"
    assert found.best is found.trials[-1]


def test_a_ceiling_that_is_hit_with_the_last_trial_is_not_hit(clock: Callable[[float], Evaluate]) -> None:
    found = run_search(clock(100), rungs(1, 1, 1), seed=1, tuning_seconds=10)

    assert [trial.rung for trial in found.trials] == [1, 2, 3]
    assert not found.hit_ceiling


def test_a_ceiling_that_is_not_hit_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mlops"):
        found = run_search(bowl, rungs(6, 2), seed=1, tuning_seconds=1000)

    assert reported(found) == reported(run_search(bowl, rungs(6, 2), seed=1))
    assert not found.hit_ceiling
    assert caplog.messages == []
