"""The newest run that did not succeed, and the one at work, among trials and runs that did."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.tracked import NAME, mlflow_client

from mlops.registry import newest_runs, run_lifecycle
from mlops.registry.run_lifecycle import ABOUT, HEARTBEAT, STALE_SECONDS
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID
from mlops.registry.status_records import FailureStatus, RunningStatus

NOW = datetime(2023, 10, 20, 8, 30, tzinfo=timezone.utc)
Found = tuple[FailureStatus | None, RunningStatus | None]


@pytest.fixture
def experiment(store: Path) -> str:
    return run_lifecycle.make_experiment(NAME)


def run(experiment: str, hours_ago: float, status: str = "", month: str = "", **tags: str) -> str:
    """A run that started so long ago and ended a minute later; without a status it is at work."""
    started = int((NOW - timedelta(hours=hours_ago)).timestamp() * 1000)
    made = mlflow_client().create_run(experiment, start_time=started, tags=tags, run_name="green, attempt 1")
    run_id = str(made.info.run_id)
    if month:
        mlflow_client().log_param(run_id, "month", month)
    if status:
        mlflow_client().set_terminated(run_id, status, end_time=started + 60_000)
    return run_id


def look_up(experiment: str) -> Found:
    return newest_runs.look_up(experiment, NOW)


def failure(experiment: str) -> FailureStatus:
    found, _ = look_up(experiment)
    assert found
    return found


def test_without_runs_and_with_successes_only(experiment: str) -> None:
    assert look_up(experiment) == (None, None)
    run(experiment, 2, "FINISHED", "2023-06")
    assert look_up(experiment) == (None, None)


def test_the_newest_failure_is_found_among_trials(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest_runs, "PAGE", 2)
    run(experiment, 9, "FAILED", error="the first")
    parent = run(experiment, 5, "FAILED", error="DownloadError:\n no answer", **{ABOUT: "green 2023-08"})
    for _ in range(5):
        run(experiment, 4, "FAILED", error="of a trial", **{MLFLOW_PARENT_RUN_ID: parent})
    found = failure(experiment)
    assert (found.run_id, found.about, found.how) == (parent, "green 2023-08", "failed")
    assert found.error == "DownloadError: no answer"
    assert found.at == NOW - timedelta(hours=5) + timedelta(minutes=1)
    assert not found.is_over


def test_a_later_success_ends_it(experiment: str) -> None:
    run(experiment, 9, "FINISHED", "2023-06")
    run(experiment, 5, "FAILED")
    assert not failure(experiment).is_over
    run(experiment, 4, "FINISHED", **{MLFLOW_PARENT_RUN_ID: "1"})  # a trial logs no month
    assert not failure(experiment).is_over
    run(experiment, 3, "FINISHED", "2023-07")
    assert failure(experiment).is_over


def test_a_run_that_was_ended_and_one_that_says_nothing(experiment: str) -> None:
    run(experiment, 5, "KILLED")
    found = failure(experiment)
    assert (found.how, found.error, found.about) == ("interrupted", "", "green, attempt 1")


@pytest.mark.parametrize(("late", "how"), [(-1, None), (1, "died")])
def test_a_run_without_a_sign_of_life_has_died(experiment: str, late: float, how: str | None) -> None:
    beat = NOW - timedelta(seconds=STALE_SECONDS + late)
    run_id = run(experiment, 5, **{HEARTBEAT: beat.isoformat()})
    found, running = look_up(experiment)
    assert (found and found.how) == how
    assert (running and running.run_id) == (None if how else run_id)
    assert found is None or found.at == beat.replace(microsecond=0)


def test_a_run_at_work_beside_an_earlier_failure(experiment: str) -> None:
    run(experiment, 5, "FAILED")
    at_work = run(experiment, 0.1, **{ABOUT: "green 2023-08"})
    found, running = look_up(experiment)
    assert found and found.how == "failed"
    assert running == RunningStatus(run_id=at_work, about="green 2023-08", since=NOW - timedelta(hours=0.1))


def test_tags_that_somebody_changed(experiment: str) -> None:
    run(experiment, 1, **{HEARTBEAT: "yesterday"})
    assert failure(experiment).at == NOW - timedelta(hours=1)
    beat: Any = NOW.replace(tzinfo=None)
    run(experiment, 1, **{HEARTBEAT: beat.isoformat()})
    assert look_up(experiment)[1] is not None
