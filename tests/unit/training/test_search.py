"""The search: rungs that the best go up, a budget in trials, repeatable, and not ended by one bad trial."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.errors import TuningError
from mlops.training import search
from mlops.training.boosting import Fit
from mlops.training.search import (
    BOUNDS,
    FIRST_GUESS,
    LADDER,
    MIN_TRIPS,
    PATIENCE,
    RANDOM_TRIALS,
    SPACE,
    Evaluate,
    Rung,
    Search,
    Trial,
    clip_to_bounds,
    ladder,
    run_search,
)

SETTLING = RANDOM_TRIALS + PATIENCE  # trials after the starts before a search may end early


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


def told(found: Search) -> list[tuple[Any, ...]]:
    """What must repeat: all but the time; the RMSE in digits, as NaN is not equal to itself."""
    return [
        (t.number, t.rung, t.parameters, t.rounds, repr(t.validation_rmse), t.error) for t in found.trials
    ]


def of_rung(found: Search, rung: int) -> list[Trial]:
    return [trial for trial in found.trials if trial.rung == rung]


def searched(trial: Trial) -> dict[str, Any]:
    """A trial's parameters without what its rung brings along."""
    return {name: value for name, value in trial.parameters.items() if name != "learning_rate"}


# --- One rung -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_trials", [1, 2, 15, SETTLING + 10])
def test_the_budget_is_spent_and_not_more(max_trials: int) -> None:
    found = run_search(falling(), rungs(max_trials), seed=1)

    assert [trial.number for trial in found.trials] == list(range(1, max_trials + 1))
    assert not found.hit_ceiling


def test_the_first_trial_is_the_first_guess() -> None:
    (trial,) = run_search(bowl, rungs(1), seed=1).trials

    assert searched(trial) == FIRST_GUESS
    assert set(FIRST_GUESS) == set(SPACE) == set(BOUNDS)
    assert clip_to_bounds(FIRST_GUESS) == FIRST_GUESS


def test_parameters_stay_inside_the_space() -> None:
    found = run_search(falling(), rungs(40, 5), seed=1)

    assert len(found.trials) == 45
    for trial in found.trials:
        assert set(trial.parameters) == {*BOUNDS, "learning_rate"}
        assert type(trial.parameters["max_depth"]) is int
        for name, (least, most) in BOUNDS.items():
            assert least <= trial.parameters[name] <= most


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

    assert told(first) == told(second)
    assert told(first) != told(run_search(bowl, rungs(12, 4, 2), seed=8))


def test_a_longer_search_starts_like_a_shorter_one() -> None:
    assert told(run_search(bowl, rungs(12), seed=7))[:8] == told(run_search(bowl, rungs(8), seed=7))


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


@given(st.dictionaries(st.sampled_from([*BOUNDS, "gamma", "learning_rate"]), st.floats(allow_nan=False)))
def test_a_point_from_elsewhere_is_brought_inside(point: dict[str, float]) -> None:
    found = clip_to_bounds(point)

    assert list(found) == list(BOUNDS)
    for name, (least, most) in BOUNDS.items():
        assert least <= found[name] <= most
        asked = point.get(name, FIRST_GUESS[name])
        assert found[name] == asked or found[name] == (least if asked < least else most)
    assert clip_to_bounds(found) == found


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

    assert str(refused.value) == ("all 2 trials of the search failed; the first: MemoryError: too many trips")


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
    assert f"{100 - taken} trials left out: the last {PATIENCE} gained too little" in caplog.messages


def test_a_search_that_still_gains_is_carried_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        found = run_search(falling(), rungs(3 * SETTLING), seed=1)

    assert len(found.trials) == 3 * SETTLING
    assert "left out" not in caplog.text


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

    assert "left out" not in caplog.text


# --- The ceiling --------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Evaluate]:
    """A bowl each trial of which takes so many seconds, on a clock that nothing else moves."""
    now = 1000.0

    def lasting(seconds: float) -> Evaluate:
        def evaluate(parameters: dict[str, Any], rung: Rung) -> Fit:
            nonlocal now
            now += seconds
            return bowl(parameters, rung)

        return evaluate

    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: now))
    return lasting


def test_a_search_that_hits_its_ceiling_says_so(
    clock: Callable[[float], Evaluate], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="mlops"):
        found = run_search(clock(10), rungs(9, 3, 1), seed=1, tuning_seconds=100)

    assert [trial.rung for trial in found.trials] == [1] * 4 + [2] * 3 + [3]  # the lowest may take 35 s
    assert {trial.seconds for trial in found.trials} == {10.0}
    assert found.hit_ceiling
    assert caplog.messages == [
        "tuning stopped at its ceiling after 80 s, with 8 trials: it cannot be repeated exactly"
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
    assert [searched(trial) for trial in found.trials] == [FIRST_GUESS] * 3
    assert found.best.number == 3
    assert found.hit_ceiling
    assert f"after {3 * seconds:.0f} s, with 3 trials" in caplog.text


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

    assert told(found) == told(run_search(bowl, rungs(6, 2), seed=1))
    assert not found.hit_ceiling
    assert caplog.messages == []


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

    assert str(refused.value) == (
        f"all {max_trials} trials of the search failed; the first: ValueError: reason 1"
    )


def test_each_trial_is_told_once_and_in_order() -> None:
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

    assert [message.split(" in ")[0] for message in caplog.messages] == [
        "trial 1 of 3, on 33% of the trips: validation RMSE 4.2500 min with 33 rounds",
        "trial 2 of 3, on 33% of the trips: validation RMSE 4.2500 min with 33 rounds",
        "trial 3 of 3, on 100% of the trips: validation RMSE 4.2500 min with 33 rounds",
    ]
    assert [message.split("best ")[1] for message in caplog.messages] == [
        "4.2500 (trial 1)", "4.2500 (trial 1)", "4.2500 (trial 3)",
    ]  # fmt: skip


# --- A search that is gone on with --------------------------------------------------------------------------


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
def test_a_search_goes_on_wherever_it_was_cut_off_as_if_it_had_not_been(after: int) -> None:
    whole = run_search(brittle, rungs(15, 4, 2), seed=5, starts=STARTS)
    done, told_now = cut_off(whole.trials, after), []
    evaluate, asked = counted(brittle)
    resumed = run_search(
        evaluate, rungs(15, 4, 2), seed=5, starts=STARTS, done=done, on_trial=told_now.append
    )

    assert len(whole.trials) == 21
    assert 3 < sum(bool(trial.error) for trial in whole.trials) < 12
    assert told(resumed) == told(whole)
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
    assert caplog.messages[-1] == f"{len(whole.trials)} trials read back from an earlier attempt"


def test_what_is_read_back_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    whole = run_search(failing_at(2, how=breaks), rungs(6, 2), seed=1)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="mlops"):
        run_search(bowl, rungs(6, 2), seed=1, done=whole.trials[:6])

    assert caplog.messages[0] == "6 trials read back from an earlier attempt"
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

    assert told(resumed) == told(whole)
    assert len(asked) == 12 - 4
    assert caplog.messages[:2] == [
        "trial 5 is not what it was in an earlier attempt: 8 of its trials dropped",
        "4 trials read back from an earlier attempt",
    ]
    assert [record.levelname for record in caplog.records[:2]] == ["WARNING", "INFO"]


def test_another_seed_has_only_the_first_guess_in_common() -> None:
    evaluate, asked = counted(bowl)
    resumed = run_search(evaluate, rungs(9, 3), seed=2, done=run_search(bowl, rungs(9, 3), seed=1).trials)

    assert told(resumed) == told(run_search(bowl, rungs(9, 3), seed=2))
    assert len(asked) == 11


def test_seconds_that_an_earlier_attempt_took_count_towards_the_ceiling(
    clock: Callable[[float], Evaluate],
) -> None:
    whole = run_search(clock(10), rungs(9, 3, 1), seed=1, tuning_seconds=100)

    for after in range(len(whole.trials) + 1):
        resumed = run_search(clock(10), rungs(9, 3, 1), seed=1, tuning_seconds=100, done=whole.trials[:after])
        assert told(resumed) == told(whole)
        assert resumed.hit_ceiling


def test_a_rung_that_an_earlier_attempt_left_at_its_ceiling_is_left_again(
    clock: Callable[[float], Evaluate],
) -> None:
    """What passed between its trials is in nobody's seconds."""
    whole = run_search(clock(10), rungs(9, 3, 1), seed=1, tuning_seconds=100)
    done = [replace(trial, seconds=8.0) for trial in whole.trials[:5]]
    resumed = run_search(clock(8), rungs(9, 3, 1), seed=1, tuning_seconds=100, done=done)

    assert [trial.rung for trial in whole.trials] == [1] * 4 + [2] * 3 + [3]
    assert told(resumed) == told(whole)
    assert resumed.hit_ceiling


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.text())
def test_a_trial_comes_back_from_json_as_it_was(number: float, whole: int, error: str) -> None:
    parameters = {"max_depth": whole, "reg_lambda": number}
    trial = Trial(3, 2, parameters, whole, math.nan if error else number, number, error)

    assert repr(cut_off([trial], 1)) == repr([trial])
