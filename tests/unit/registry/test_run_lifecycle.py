"""Runs that always end, and go on where an earlier attempt was cut off."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest
from support.builders import make_requests
from support.losses import delete_experiment, delete_run, remove_run
from support.tracked import (
    AWAY,
    KEY,
    NAME,
    OTHER_KEY,
    bare_version,
    fails_at,
    mlflow_client,
    runs_of,
    save_artefact,
    state_of,
    trials_of,
)

from mlops import locks
from mlops.errors import TrackingError
from mlops.registry import artifact, run_lifecycle, runs
from mlops.registry.client import mlflow
from mlops.registry.run_lifecycle import HEARTBEAT, LOCK_TAG, close_orphans, lock_place, start_run
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID, Run

DIED = ("KILLED", "its process ended without closing it")


# --- Runs end -----------------------------------------------------------------------------------------------


def test_a_run_that_goes_well_is_finished(store: Path) -> None:
    with start_run(NAME, "green 2023-06", KEY) as run:
        assert state_of(run.run_id) == ("RUNNING", None)
        assert mlflow.active_run() is None
        run.log_parameters({"seed": 1, "source": "sample"})
        run.log_metrics({"test_rmse": 4.5, "test_r2": float("nan")})
        run.set_tags({"forced": "false"})
    logged = mlflow_client().get_run(run.run_id)

    assert state_of(run.run_id) == ("FINISHED", None)
    assert mlflow.active_run() is None
    assert logged.info.run_name == "green 2023-06, attempt 1"
    assert logged.info.artifact_uri.startswith((store / "artifacts").as_uri())
    assert runs.parameters_of(run.run_id) == {"seed": "1", "source": "sample"}
    assert runs.metrics_of(run.run_id) == {"test_rmse": 4.5}
    tags = runs.tags_of(run.run_id)
    assert (tags["forced"], tags["run_key"], tags[LOCK_TAG]) == ("false", KEY, lock_place())


def test_a_run_that_fails_says_why(store: Path) -> None:
    with pytest.raises(ValueError, match="no trips"), start_run(NAME, "r", KEY) as run:
        raise ValueError("no trips")

    assert state_of(run.run_id) == ("FAILED", "ValueError: no trips")
    assert mlflow.active_run() is None


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_is_killed(interrupt: type[BaseException], store: Path) -> None:
    with pytest.raises(interrupt), start_run(NAME, "r", KEY) as run:
        raise interrupt

    assert state_of(run.run_id) == ("KILLED", f"{interrupt.__name__}: ")
    assert mlflow.active_run() is None


def test_a_run_whose_end_cannot_be_logged_keeps_its_error_and_is_closed_by_the_next(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(ValueError, match="no trips"),
        fails_at("set_terminated", AWAY),
        start_run(NAME, "r", KEY) as run,
    ):
        raise ValueError("no trips")
    assert state_of(run.run_id) == ("RUNNING", "ValueError: no trips")
    assert mlflow.active_run() is None
    assert f"run {run.run_id} could not be closed; the next run of the model closes it: " in caplog.text

    assert close_orphans(run.experiment_id) == 1
    assert state_of(run.run_id) == DIED


# --- Trials -------------------------------------------------------------------------------------------------


def half_logged(run: Run, name: str = "trial 1") -> str:
    tags = {MLFLOW_PARENT_RUN_ID: run.run_id, LOCK_TAG: lock_place()}
    return str(mlflow_client().create_run(run.experiment_id, tags=tags, run_name=name).info.run_id)


def test_a_trial_that_was_half_logged_is_swept_when_the_run_ends(store: Path) -> None:
    with start_run(NAME, "parent", KEY) as run:
        run.log_trial("trial 1", {"max_depth": 8}, {}, "")
        half_logged(run, "trial 2")

    assert [trial.info.run_name for trial in trials_of(run)] == ["trial 1"]


def test_tags_are_removed_when_the_next_attempt_starts_and_logged_again(store: Path) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(NAME, "parent", KEY) as run:
        run.log_trial("trial 1", {"max_depth": 8}, {}, "")
        run.log_trial("trial 2", {"max_depth": 9}, {}, "RuntimeError: boom")
        raise KeyboardInterrupt
    half_logged(run, "trial 3")
    with start_run(NAME, "parent", KEY) as again:
        assert again.trials_logged() == {"trial 1", "trial 2"}
        again.log_trial("trial 3", {"max_depth": 7}, {}, "")

    assert [trial.data.params["max_depth"] for trial in trials_of(again)] == ["8", "9", "7"]


# --- The next attempt ---------------------------------------------------------------------------------------


def test_the_next_attempt_continues_the_run_of_its_key(store: Path) -> None:
    with pytest.raises(ValueError, match="no trips"), start_run(NAME, "r", KEY) as first:
        first.log_parameters({"seed": 1})
        raise ValueError("no trips")
    with start_run(NAME, "r", KEY) as second:
        assert second.run_id == first.run_id
        assert state_of(second.run_id) == ("RUNNING", None)
        second.log_parameters({"seed": 1})

    assert state_of(second.run_id) == ("FINISHED", None)
    assert len(runs_of()) == 1


def test_another_key_is_another_run(store: Path) -> None:
    with pytest.raises(ValueError, match="no trips"), start_run(NAME, "one", KEY) as first:
        raise ValueError("no trips")
    with start_run(NAME, "two", OTHER_KEY) as second:
        pass

    assert first.run_id != second.run_id
    assert first.experiment_id == second.experiment_id
    assert state_of(first.run_id)[0] == "FAILED"


def test_a_finished_run_is_not_continued(store: Path) -> None:
    with start_run(NAME, "one", KEY) as first:
        pass
    with start_run(NAME, "forced", KEY) as second:
        pass

    assert first.run_id != second.run_id


def test_of_two_interrupted_runs_the_later_is_continued(store: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        pass
    tags = {"attempt": KEY, LOCK_TAG: lock_place()}
    later, earlier = (
        mlflow_client().create_run(run.experiment_id, start_time=at, tags=tags).info.run_id
        for at in (2000, 1000)
    )
    with start_run(NAME, "r", KEY) as again:
        assert again.run_id == later

    assert state_of(earlier) == DIED


def test_beginning_is_tried_again_without_a_second_run(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops.registry.client._Patience.seconds", 5.0)
    monkeypatch.setattr("mlops.registry.client.FIRST_PAUSE", 0.01)
    with fails_at("create_run", AWAY, once=True, after=True), start_run(NAME, "r", KEY) as run:
        pass

    assert [found.info.run_id for found in runs_of()] == [run.run_id]
    assert state_of(run.run_id) == ("FINISHED", None)


def test_a_run_killed_after_its_final_tag_is_finished_later(store: Path) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(NAME, "r", KEY) as run:
        raise KeyboardInterrupt
    run_lifecycle.mark_finished(run.run_id)
    ended = mlflow_client().get_run(run.run_id).info.end_time
    run_lifecycle.mark_finished(run.run_id)

    assert state_of(run.run_id) == ("FINISHED", None)
    assert mlflow_client().get_run(run.run_id).info.end_time == ended


def test_the_model_that_an_earlier_attempt_logged_is_replaced(store: Path, tmp_path: Path) -> None:
    artefact = save_artefact(tmp_path)
    with pytest.raises(KeyboardInterrupt), start_run(NAME, "r", KEY) as run:
        first = artifact.log_model(run.run_id, run.experiment_id, artefact, make_requests(3))
        raise KeyboardInterrupt
    with start_run(NAME, "r", OTHER_KEY) as other:
        others = artifact.log_model(other.run_id, other.experiment_id, artefact, make_requests(3))
    with start_run(NAME, "r", KEY) as run:
        second = artifact.log_model(run.run_id, run.experiment_id, artefact, make_requests(3))

    there = {model.model_uri for model in mlflow_client().search_logged_models([run.experiment_id])}
    assert there == {others.uri, second.uri}
    assert first.uri != second.uri


@pytest.mark.usefixtures("patient")
def test_going_on_with_a_run_is_tried_again_while_the_server_is_away(store: Path) -> None:
    with pytest.raises(ValueError, match="first"), start_run(NAME, "r", KEY):
        raise ValueError("first")
    with fails_at("log_batch", AWAY, once=True), start_run(NAME, "r", KEY) as run:
        pass

    assert [found.info.status for found in runs_of()] == ["FINISHED"]
    assert state_of(run.run_id) == ("FINISHED", None)


def test_a_run_that_cannot_be_ended_is_forgotten_by_this_process(store: Path) -> None:
    with contextlib.ExitStack() as away, pytest.raises(ValueError, match="first"), start_run(NAME, "r", KEY):
        away.enter_context(fails_at("search_runs", AWAY))
        raise ValueError("first")
    assert mlflow.active_run() is None
    with start_run(NAME, "r", KEY) as again:
        pass

    assert [found.info.run_id for found in runs_of()] == [again.run_id]
    assert state_of(again.run_id) == ("FINISHED", None)


# --- Runs whose process is gone -----------------------------------------------------------------------------


def experiment() -> str:
    found = mlflow_client().get_experiment_by_name(NAME)
    return str(found.experiment_id if found else mlflow_client().create_experiment(NAME))


def left_running(*, beat_ago: float | None = None, begun_ago: float = 0, place: str | None = None) -> str:
    """A run in the state in which a process that was killed leaves it; times in seconds."""
    now = datetime.now(timezone.utc)
    tags = {LOCK_TAG: place or lock_place()}
    if beat_ago is not None:
        tags[HEARTBEAT] = (now - timedelta(seconds=beat_ago)).isoformat(timespec="seconds")
    begun = int((now - timedelta(seconds=begun_ago)).timestamp() * 1000)
    return str(mlflow_client().create_run(experiment(), start_time=begun, tags=tags).info.run_id)


def test_who_has_the_lock_ends_what_its_last_holder_left(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = left_running(beat_ago=0)

    assert close_orphans(experiment()) == 1
    assert state_of(left) == DIED
    assert f"run {left} was still RUNNING; closed as KILLED: {DIED[1]}" in caplog.text
    assert close_orphans(experiment()) == 0


STALE = run_lifecycle.STALE_SECONDS


@pytest.mark.parametrize(
    ("beat_ago", "begun_ago", "closed"),
    [(STALE - 60, 9 * STALE, 0), (STALE + 60, 9 * STALE, 1), (None, STALE - 60, 0), (None, STALE + 60, 1)],
    ids=["alive", "silent", "just begun", "never a word"],
)
def test_the_heartbeat_of_a_run_under_another_lock_decides(
    beat_ago: float | None, begun_ago: float, closed: int, store: Path
) -> None:
    elsewhere = left_running(beat_ago=beat_ago, begun_ago=begun_ago, place="elsewhere:/state")

    assert close_orphans(experiment()) == closed
    status, error = state_of(elsewhere)
    assert status == ("KILLED" if closed else "RUNNING")
    if closed:
        assert str(error).startswith("no heartbeat from elsewhere:/state since 20")


def test_a_run_that_does_not_say_where_its_lock_is_counts_as_elsewhere(store: Path) -> None:
    begun = int(time.time() * 1000)
    new, old = (
        mlflow_client().create_run(experiment(), start_time=at).info.run_id
        for at in (begun, begun - 3_600_000)
    )

    assert close_orphans(experiment()) == 1
    assert state_of(new) == ("RUNNING", None)
    assert str(state_of(old)[1]).startswith("no heartbeat from an unknown host since ")


def test_the_trials_of_a_dead_run_are_ended_with_it_and_no_word_is_lost_on_them(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parent = Run(left_running(), experiment())
    trial = half_logged(parent)
    with start_run("trip-duration-green", "other model", KEY) as other:
        assert close_orphans(parent.experiment_id) == 2
        assert state_of(other.run_id)[0] == "RUNNING"

    assert state_of(trial) == DIED
    assert len(caplog.messages) == 1


def test_a_new_run_closes_what_an_earlier_one_left(store: Path) -> None:
    dead = left_running()
    with start_run(NAME, "second", KEY) as run:
        assert state_of(dead) == DIED

    assert state_of(run.run_id)[0] == "FINISHED"


def test_clearing_up_leaves_alone_whoever_is_at_work(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "GRACE_SECONDS", 0.0)
    assert run_lifecycle.clear_up(NAME) == 0  # no such experiment yet
    left = left_running()
    with run_lifecycle.work_lock(NAME, "refuse", "training"):
        assert run_lifecycle.clear_up(NAME) is None
        assert state_of(left)[0] == "RUNNING"

    assert run_lifecycle.clear_up(NAME) == 1
    assert state_of(left) == DIED


def test_the_run_of_a_judged_version_that_was_cut_off_is_finished(store: Path) -> None:
    judged, other = left_running(), left_running()
    bare_version(store, run_id=judged, outcome="champion")
    bare_version(store, run_id=other)

    assert close_orphans(experiment()) == 1
    assert state_of(judged) == ("FINISHED", None)
    assert state_of(other) == DIED


def test_another_attempt_at_the_same_key_has_a_run_of_its_own(store: Path) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(NAME, "r", KEY, "one") as first:
        raise KeyboardInterrupt
    with start_run(NAME, "r", KEY, "two") as second:
        pass
    with start_run(NAME, "r", KEY, "one") as again:
        pass

    assert first.run_id == again.run_id != second.run_id


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def test_a_run_gives_signs_of_life_until_it_ends(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lifecycle, "HEARTBEAT_SECONDS", 0.05)
    with start_run(NAME, "r", KEY) as run:
        mlflow_client().set_tag(run.run_id, HEARTBEAT, "long ago")
        assert wait_until(lambda: runs.tags_of(run.run_id)[HEARTBEAT] != "long ago")
    mlflow_client().set_tag(run.run_id, HEARTBEAT, "long ago")
    time.sleep(0.2)

    assert runs.tags_of(run.run_id)[HEARTBEAT] == "long ago"


IN_A_RUN = """
import time
from mlops import config
from mlops.registry import client, run_lifecycle

client.connect(config.tracking_uri(), config.state_dir(), 5.0)
with run_lifecycle.work_lock("trip-duration-sample", "wait", "training"):
    with run_lifecycle.start_run("trip-duration-sample", "r", "ab" * 32) as run:
        print(run.run_id, flush=True)
        time.sleep(60)
"""


@pytest.mark.long
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_dies_unexpectedly_leaves_no_run_running(sent: signal.Signals, store: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_RUN], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        assert state_of(run_id)[0] == "RUNNING"
        os.killpg(process.pid, sent)  # the whole group, as a terminal or a service manager does
        assert process.wait() == -sent

    assert wait_until(lambda: state_of(run_id) == DIED)


def test_the_guard_ends_with_the_run_and_knows_no_password_among_its_arguments(store: Path) -> None:
    before = psutil.Process().children()  # what tests before this one left to be reaped
    with start_run(NAME, "r", KEY):
        (guard,) = (child for child in psutil.Process().children() if child not in before)
        assert "mlflow.db" not in " ".join(guard.cmdline())

    assert [child for child in psutil.Process().children() if child not in before] == []
    assert not guard.is_running()


# --- What people delete ---------------------------------------------------------------------------------------


def test_no_run_starts_in_an_experiment_that_was_deleted_until_it_is_restored(store: Path) -> None:
    with start_run(NAME, "r", KEY):
        pass
    reported = delete_experiment()
    with pytest.raises(TrackingError) as refused, start_run(NAME, "r", OTHER_KEY):
        pass
    assert str(refused.value) == run_lifecycle.find_deleted(NAME) == reported
    assert run_lifecycle.clear_up(NAME) == 0
    with pytest.raises(TrackingError, match="experiments restore"):
        run_lifecycle.log_failure(NAME, "r", ValueError("no trips"))

    mlflow_client().restore_experiment(reported.rstrip("`").split()[-1])
    assert run_lifecycle.find_deleted(NAME) == ""
    with start_run(NAME, "r", OTHER_KEY):
        pass
    assert len(runs_of()) == 2


def test_a_deleted_run_is_not_finished_once_more(store: Path) -> None:
    ids = []
    for key in (KEY, OTHER_KEY):
        with pytest.raises(ValueError, match="no trips"), start_run(NAME, "r", key) as run:
            raise ValueError("no trips")
        ids.append(run.run_id)
    delete_run(ids[0])
    remove_run(ids[1])
    for run_id in (*ids, ""):
        run_lifecycle.mark_finished(run_id)
    assert state_of(ids[0])[0] == "FAILED"


def test_a_run_that_is_deleted_while_it_works_ends_with_one_error(store: Path) -> None:
    with (
        pytest.raises(TrackingError, match="must be in the 'active' state"),
        start_run(NAME, "r", KEY) as run,
    ):
        delete_run(run.run_id)
        run.log_metrics({"test_rmse": 4.5})
    with start_run(NAME, "r", KEY) as again:
        assert again.run_id != run.run_id
