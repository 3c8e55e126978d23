"""An interrupted search continues as if it had never been interrupted."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.searches import bowl, breaks, failing_at, fit, in_turn, reported, rungs

from mlops.training.boosting import Fit
from mlops.training.search import Evaluate, Rung, Trial, run_search
from mlops.training.search_space import clip_to_bounds

# --- Starts -------------------------------------------------------------------------------------------------


STARTS = [clip_to_bounds({"max_depth": 7, "reg_lambda": 9.0}), clip_to_bounds({"subsample": 0.77})]


# --- A search that is resumed -------------------------------------------------------------------------------


def cut_off(trials: Sequence[Trial], after: int) -> list[Trial]:
    """What a journal of JSON lines gives back of the first trials."""
    lines = [json.dumps(trial.as_dict(), allow_nan=False, sort_keys=True) for trial in trials[:after]]
    return [Trial.from_dict(json.loads(line)) for line in lines]


def counted(evaluate: Evaluate) -> tuple[Evaluate, list[dict[str, Any]]]:
    """An evaluation, and the parameters that it will have been asked for."""
    asked: list[dict[str, Any]] = []

    def evaluate_and_count(parameters: dict[str, Any], rung: Rung) -> Fit:
        asked.append(parameters)
        return evaluate(parameters, rung)

    return evaluate_and_count, asked


def brittle(parameters: dict[str, Any], rung: Rung) -> Fit:
    """A bowl that fails, as often as it is asked, where few columns are seen."""
    if parameters["colsample_bytree"] < 0.5:
        raise MemoryError("no room")
    return bowl(parameters, rung)


@pytest.mark.parametrize("after", range(22))
def test_an_interrupted_search_continues_as_if_it_had_not_been_interrupted(after: int) -> None:
    whole = run_search(brittle, rungs(15, 4, 2), seed=5, starts=STARTS)
    done, told_now = cut_off(whole.trials, after), []
    evaluate, asked = counted(brittle)
    resumed = run_search(
        evaluate, rungs(15, 4, 2), seed=5, starts=STARTS, done=done, on_trial=told_now.append
    )

    assert len(whole.trials) == 21
    assert 3 < sum(bool(trial.error) for trial in whole.trials) < 12
    assert reported(resumed) == reported(whole)
    assert [trial.seconds for trial in resumed.trials[:after]] == [t.seconds for t in whole.trials[:after]]
    assert (resumed.best.number, resumed.fit) == (whole.best.number, whole.fit)
    assert told_now == list(resumed.trials[after:])
    refitted = [whole.best.parameters] if whole.best.number <= after else []
    assert asked == [trial.parameters for trial in whole.trials[after:]] + refitted


def test_the_fit_of_a_better_trial_takes_the_place_of_one_read_back() -> None:
    whole = run_search(in_turn(1.0, 2.0, 7.0, 6.0), rungs(2, 2), seed=1)
    evaluate, asked = counted(in_turn(6.0))
    resumed = run_search(evaluate, rungs(2, 2), seed=1, done=whole.trials[:3])

    assert (resumed.best.number, resumed.fit, len(asked)) == (4, fit(6.0), 1)


def test_a_settled_search_is_settled_when_read_back(caplog: pytest.LogCaptureFixture) -> None:
    whole = run_search(lambda parameters, rung: fit(4.0), rungs(100, 2), seed=1)
    with caplog.at_level(logging.INFO, logger="mlops"):
        resumed = run_search(
            lambda parameters, rung: fit(4.0), rungs(100, 2), seed=1, done=whole.trials, tuning_seconds=1e6
        )

    assert resumed.trials == whole.trials
    assert not resumed.hit_ceiling
    assert caplog.messages[-1] == f"{len(whole.trials)} trials restored from an earlier attempt"


def test_restored_trials_are_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    whole = run_search(failing_at(2, how=breaks), rungs(6, 2), seed=1)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="mlops"):
        run_search(bowl, rungs(6, 2), seed=1, done=whole.trials[:6])

    assert caplog.messages[0] == "6 trials restored from an earlier attempt"
    assert [message.partition(",")[0] for message in caplog.messages[1:]] == ["trial 7 of 8", "trial 8 of 8"]


@pytest.mark.parametrize("change", ["parameters", "rung"])
def test_trials_after_one_of_another_search_are_dropped(
    change: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run_search(bowl, rungs(9, 3), seed=1)
    odd = whole.trials[4]
    nearly = odd.parameters | {"reg_lambda": math.nextafter(odd.parameters["reg_lambda"], math.inf)}
    odd = replace(odd, parameters=nearly) if change == "parameters" else replace(odd, rung=2)
    evaluate, asked = counted(bowl)
    with caplog.at_level(logging.INFO, logger="mlops"):
        resumed = run_search(evaluate, rungs(9, 3), seed=1, done=[*whole.trials[:4], odd, *whole.trials[5:]])

    assert reported(resumed) == reported(whole)
    assert len(asked) == 12 - 4
    assert caplog.messages[:2] == [
        "trial 5 differs from the earlier attempt; 8 trials of that attempt are discarded",
        "4 trials restored from an earlier attempt",
    ]
    assert [record.levelname for record in caplog.records[:2]] == ["WARNING", "INFO"]


def test_another_seed_has_only_the_first_guess_in_common() -> None:
    evaluate, asked = counted(bowl)
    resumed = run_search(evaluate, rungs(9, 3), seed=2, done=run_search(bowl, rungs(9, 3), seed=1).trials)

    assert reported(resumed) == reported(run_search(bowl, rungs(9, 3), seed=2))
    assert len(asked) == 11


def test_seconds_that_an_earlier_attempt_took_count_towards_the_ceiling(
    clock: Callable[[float], Evaluate],
) -> None:
    whole = run_search(clock(10), rungs(9, 3, 1), seed=1, tuning_seconds=100)

    for after in range(len(whole.trials) + 1):
        resumed = run_search(clock(10), rungs(9, 3, 1), seed=1, tuning_seconds=100, done=whole.trials[:after])
        assert reported(resumed) == reported(whole)
        assert resumed.hit_ceiling


def test_a_rung_that_an_earlier_attempt_left_at_its_ceiling_is_left_again(
    clock: Callable[[float], Evaluate],
) -> None:
    """What passed between its trials is in nobody's seconds."""
    whole = run_search(clock(10), rungs(9, 3, 1), seed=1, tuning_seconds=100)
    done = [replace(trial, seconds=8.0) for trial in whole.trials[:5]]
    resumed = run_search(clock(8), rungs(9, 3, 1), seed=1, tuning_seconds=100, done=done)

    assert [trial.rung for trial in whole.trials] == [1] * 4 + [2] * 3 + [3]
    assert reported(resumed) == reported(whole)
    assert resumed.hit_ceiling


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.text())
def test_a_trial_comes_back_from_json_as_it_was(number: float, whole: int, error: str) -> None:
    parameters = {"max_depth": whole, "reg_lambda": number}
    trial = Trial(3, 2, parameters, whole, math.nan if error else number, number, error)

    assert repr(cut_off([trial], 1)) == repr([trial])
