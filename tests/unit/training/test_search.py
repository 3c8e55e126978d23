"""The search: rungs that the best go up, repeatable, and not ended by one bad trial."""

from __future__ import annotations

import itertools
import logging
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.searches import (
    bowl,
    breaks,
    failing_at,
    falling,
    fit,
    in_turn,
    of_rung,
    reported,
    rungs,
    searched,
)

from mlops.errors import TuningError
from mlops.training.boosting import Fit
from mlops.training.search import (
    LADDER,
    MIN_TRIPS,
    PATIENCE,
    RANDOM_TRIALS,
    Rung,
    Trial,
    ladder,
    run_search,
)
from mlops.training.search_space import SPACE, clip_to_bounds, first_guess

FIRST_GUESS = first_guess()
SETTLING = RANDOM_TRIALS + PATIENCE  # trials after the starts before a search may end early


# --- One rung -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_trials", [1, 2, 15, SETTLING + 10])
def test_the_budget_is_spent_and_not_more(max_trials: int) -> None:
    found = run_search(falling(), rungs(max_trials), seed=1)

    assert [trial.number for trial in found.trials] == list(range(1, max_trials + 1))
    assert not found.hit_ceiling


def test_the_first_trial_is_the_first_guess() -> None:
    (trial,) = run_search(bowl, rungs(1), seed=1).trials

    assert searched(trial) == FIRST_GUESS


def test_parameters_stay_inside_the_space() -> None:
    found = run_search(falling(), rungs(40, 5), seed=1)

    assert len(found.trials) == 45
    for trial in found.trials:
        assert set(trial.parameters) == {*FIRST_GUESS, "learning_rate"}
        assert type(trial.parameters["max_depth"]) is int
        for parameter in SPACE:
            assert parameter.low <= trial.parameters[parameter.name] <= parameter.high


def test_trials_differ_from_one_another() -> None:
    found = run_search(bowl, rungs(SETTLING), seed=1)

    assert len({trial.parameters["reg_lambda"] for trial in found.trials}) == SETTLING
    assert len({trial.parameters["max_depth"] for trial in found.trials}) > 2


def test_the_best_trial_and_its_fit_are_kept() -> None:
    found = run_search(bowl, rungs(20), seed=1)

    assert found.best.validation_rmse == min(trial.validation_rmse for trial in found.trials)
    assert found.fit == bowl(found.best.parameters, *rungs(1))
    assert found.best.validation_rmse < found.trials[0].validation_rmse


def test_of_equal_trials_the_first_is_best() -> None:
    found = run_search(lambda parameters, rung: fit(4.0), rungs(9, 3, 1), seed=1)

    assert [searched(trial) for trial in of_rung(found, 2)] == [searched(trial) for trial in found.trials[:3]]
    assert searched(found.best) == FIRST_GUESS


def test_the_same_seed_gives_the_same_search() -> None:
    first, second = (run_search(bowl, rungs(12, 4, 2), seed=7) for _ in range(2))

    assert reported(first) == reported(second)
    assert reported(first) != reported(run_search(bowl, rungs(12, 4, 2), seed=8))


def test_a_longer_search_starts_like_a_shorter_one() -> None:
    assert reported(run_search(bowl, rungs(12), seed=7))[:8] == reported(run_search(bowl, rungs(8), seed=7))


# --- Starts -------------------------------------------------------------------------------------------------


STARTS = [clip_to_bounds({"max_depth": 7, "reg_lambda": 9.0}), clip_to_bounds({"subsample": 0.77})]


def test_what_did_well_before_is_tried_right_after_the_first_guess() -> None:
    found = run_search(bowl, rungs(6), seed=1, starts=STARTS)

    assert [searched(trial) for trial in found.trials[:3]] == [FIRST_GUESS, *STARTS]
    assert len(found.trials) == 6
    assert found.best.number == 2  # a start is a trial like any other


def test_a_budget_may_be_too_small_for_the_starts() -> None:
    found = run_search(bowl, rungs(2), seed=1, starts=STARTS)

    assert [searched(trial) for trial in found.trials] == [FIRST_GUESS, STARTS[0]]


@pytest.mark.parametrize("starts", [[], STARTS])
def test_what_comes_after_the_random_trials_follows_from_how_they_did(starts: list[dict[str, float]]) -> None:
    def the_wrong_way(parameters: dict[str, Any], rung: Rung) -> Fit:
        return fit(10 - bowl(parameters, rung).validation_rmse)

    one, other = (
        [searched(trial) for trial in run_search(evaluate, rungs(12), seed=1, starts=starts).trials]
        for evaluate in (bowl, the_wrong_way)
    )
    assert one[:RANDOM_TRIALS] == other[:RANDOM_TRIALS]
    assert one[-4:] != other[-4:]


# --- Rungs --------------------------------------------------------------------------------------------------


def test_the_best_go_up_in_their_order_to_the_rungs_own_learning_rate() -> None:
    looked_at: list[Rung] = []

    def evaluate(parameters: dict[str, Any], rung: Rung) -> Fit:
        looked_at.append(rung)
        return bowl(parameters, rung)

    three = rungs(12, 4, 2)
    found = run_search(evaluate, three, seed=2)

    assert [trial.rung for trial in found.trials] == [1] * 12 + [2] * 4 + [3] * 2
    assert looked_at == [three[trial.rung - 1] for trial in found.trials]
    for below, above, count in ((1, 2, 4), (2, 3, 2)):
        ranked = sorted(of_rung(found, below), key=lambda trial: trial.validation_rmse)
        assert [searched(trial) for trial in of_rung(found, above)] == [searched(t) for t in ranked[:count]]
    for trial in found.trials:
        assert trial.parameters["learning_rate"] == three[trial.rung - 1].learning_rate


def test_the_best_is_of_the_highest_rung_though_a_lower_one_may_look_better() -> None:
    found = run_search(in_turn(1.0, 2.0, 3.0, 9.0, 8.0, 7.0), rungs(3, 2, 1), seed=1)

    assert [trial.rung for trial in found.trials] == [1, 1, 1, 2, 2, 3]
    assert (found.best.number, found.best.validation_rmse) == (6, 7.0)
    assert found.fit == fit(7.0)
    assert searched(found.best) == searched(found.trials[1])  # 8.0 on the second rung, 2.0 on the first


@pytest.mark.parametrize(("top", "best"), [((7.0, 6.0), 5), ((6.0, 7.0), 4)])
def test_on_the_highest_rung_the_best_wins_and_not_the_first(top: tuple[float, float], best: int) -> None:
    found = run_search(in_turn(1.0, 2.0, 3.0, *top), rungs(3, 2), seed=1)

    assert (found.best.number, found.fit) == (best, fit(6.0))


def test_no_more_go_up_than_there_are() -> None:
    assert [trial.rung for trial in run_search(bowl, rungs(2, 5, 9), seed=1).trials] == [1, 1, 2, 2, 3, 3]


def test_what_failed_does_not_go_up() -> None:
    found = run_search(
        in_turn(1.0, RuntimeError("a"), 3.0, 2.0, ValueError("b"), 8.0, 9.0), rungs(4, 3), seed=1
    )

    assert [(trial.rung, trial.error) for trial in found.trials] == [
        (1, ""),
        (1, "RuntimeError: a"),
        (1, ""),
        (1, ""),
        (2, "ValueError: b"),
        (2, ""),
        (2, ""),
    ]
    assert [searched(found.trials[i]) for i in (4, 5, 6)] == [searched(found.trials[i]) for i in (0, 3, 2)]
    assert (found.best.number, found.fit) == (6, fit(8.0))


def test_when_every_trial_of_a_higher_rung_fails_the_first_reason_is_given() -> None:
    with pytest.raises(TuningError) as refused:
        run_search(
            in_turn(1.0, 2.0, 3.0, MemoryError("too many trips"), OSError("gone")), rungs(3, 2), seed=1
        )

    assert str(refused.value) == ("all 2 trials failed; error of the first: MemoryError: too many trips")


# --- The ladder ---------------------------------------------------------------------------------------------


def test_the_ladder_goes_up() -> None:
    for below, above in itertools.pairwise(LADDER):
        assert below.trials > above.trials
        assert below.share < above.share
        assert below.rounds < above.rounds
        assert below.learning_rate > above.learning_rate
        assert below.until < above.until
    assert LADDER[-1].share == LADDER[-1].until == 1.0


@given(st.integers(1, 10_000), st.integers(0, 10**9))
def test_a_ladder_keeps_its_proportions_and_leaves_out_rungs_of_too_few_trips(
    max_trials: int, trips: int
) -> None:
    found = ladder(max_trials, trips)
    kept = [rung for rung in LADDER if rung.share * trips >= MIN_TRIPS or rung.share == 1]

    assert [rung.share for rung in found] == [rung.share for rung in kept]
    assert [rung.learning_rate for rung in found] == [rung.learning_rate for rung in kept]
    assert [rung.rounds for rung in found] == [rung.rounds for rung in kept]
    assert found[0].trials == max_trials
    assert found[-1].share == 1.0
    for rung, proportion in zip(found[1:], kept[1:], strict=True):
        asked = max_trials * proportion.trials / LADDER[0].trials
        assert max(1, asked) <= rung.trials < asked + 1


# --- What a trial may meet ----------------------------------------------------------------------------------


def test_a_failing_trial_does_not_end_the_search(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        found = run_search(failing_at(1, 3, 7, how=breaks), rungs(9), seed=1)

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
    found = run_search(failing_at(1, 2, how=lambda: fit(loss)), rungs(4), seed=1)

    assert [trial.error for trial in found.trials] == [f"TuningError: validation RMSE is {loss}"] * 2 + [
        ""
    ] * 2
    assert found.best.number in (3, 4)
    assert math.isfinite(found.best.validation_rmse)


@pytest.mark.parametrize("max_trials", [1, 3, 8])
def test_when_every_trial_fails_the_first_reason_is_given(max_trials: int) -> None:
    reasons = itertools.count(1)

    def evaluate(parameters: dict[str, Any], rung: Rung) -> Fit:
        raise ValueError(f"reason {next(reasons)}")

    with pytest.raises(TuningError) as refused:
        run_search(evaluate, rungs(max_trials, 1), seed=1)

    assert str(refused.value) == (f"all {max_trials} trials failed; error of the first: ValueError: reason 1")


def test_each_trial_is_reported_once_and_in_order() -> None:
    seen: list[Trial] = []
    found = run_search(failing_at(2, how=breaks), rungs(6, 2, 1), seed=1, on_trial=seen.append)

    assert seen == list(found.trials)
    assert [trial.number for trial in seen] == list(range(1, 10))


def test_an_error_of_the_listener_ends_the_search() -> None:
    def loses_the_server(trial: Trial) -> None:
        raise ConnectionError("tracking server is gone")

    with pytest.raises(ConnectionError, match="tracking server is gone"):
        run_search(bowl, rungs(5), seed=1, on_trial=loses_the_server)


@pytest.mark.parametrize("number", [3, 10])
def test_an_interrupt_ends_the_search(number: int) -> None:
    def interrupted() -> Fit:
        raise KeyboardInterrupt

    seen: list[Trial] = []
    with pytest.raises(KeyboardInterrupt):
        run_search(failing_at(number, how=interrupted), rungs(9, 3), seed=1, on_trial=seen.append)
    assert len(seen) == number - 1


def test_progress_is_logged_trial_by_trial(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        run_search(lambda parameters, rung: fit(4.25, rounds=33), rungs(2, 1), seed=1)

    assert [message.rpartition(", ")[0] for message in caplog.messages] == [
        "trial 1 of 3, on 33% of the trips: validation RMSE 4.2500 minutes, 33 rounds",
        "trial 2 of 3, on 33% of the trips: validation RMSE 4.2500 minutes, 33 rounds",
        "trial 3 of 3, on 100% of the trips: validation RMSE 4.2500 minutes, 33 rounds",
    ]
    assert [message.split(" s; best so far ")[1] for message in caplog.messages] == [
        "4.2500 (trial 1)", "4.2500 (trial 1)", "4.2500 (trial 3)",
    ]  # fmt: skip
