"""The newest runs of a model that did not succeed, and the one that is at work: read with few questions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal

from mlops.errors import one_line
from mlops.registry.client import mlflow_client, with_retry  # first: it sets what mlflow reads
from mlops.registry.run_lifecycle import ABOUT, HEARTBEAT, STALE_SECONDS
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID
from mlops.registry.status_records import FailureStatus, RunningStatus

PAGE: Final = 100  # runs in one answer; the trials of a run are among them
MOST_ERROR: Final = 1000  # characters
_HOW: Final[dict[str, Literal["failed", "interrupted"]]] = {"FAILED": "failed", "KILLED": "interrupted"}


@with_retry("experiment {0}: looking up its newest runs")
def look_up(experiment_id: str, now: datetime) -> tuple[FailureStatus | None, RunningStatus | None]:
    """The newest run of an experiment that did not succeed, and the newest one that is at work; None without one.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    running: RunningStatus | None = None
    for run in _without_end(experiment_id):
        status, alive = str(run.info.status), _alive_at(run)
        if status in _HOW:
            return _failure(run, _HOW[status], _moment(run.info.end_time) or alive, experiment_id), running
        if now - alive > timedelta(seconds=STALE_SECONDS):
            return _failure(run, "died", alive, experiment_id), running
        started = _moment(run.info.start_time) or alive
        running = running or RunningStatus(run_id=str(run.info.run_id), about=_about(run), since=started)
    return None, running


def _without_end(experiment_id: str) -> Iterator[Any]:
    """The runs that did not finish, newest first, without trials: MLflow has no question for those."""
    token = None
    while True:
        found = mlflow_client().search_runs(
            [experiment_id], "attributes.status != 'FINISHED'", order_by=["attributes.start_time DESC"],
            max_results=PAGE, page_token=token,
        )  # fmt: skip
        yield from (run for run in found if MLFLOW_PARENT_RUN_ID not in run.data.tags)
        token = found.token
        if not token:
            return


def _failure(
    run: Any, how: Literal["failed", "interrupted", "died"], at: datetime, experiment_id: str
) -> FailureStatus:
    error = run.data.tags.get("error", "").strip()
    return FailureStatus(
        run_id=str(run.info.run_id),
        about=_about(run),
        at=at,
        how=how,
        error=one_line(error, MOST_ERROR) if error else "",
        is_over=_succeeded_after(experiment_id, run.info.start_time),
    )


def _succeeded_after(experiment_id: str, started: int) -> bool:
    """Whether a run that started later finished: only parent runs log a month, trials do not."""
    query = (
        f"attributes.status = 'FINISHED' and attributes.start_time > {started} and params.month LIKE '%-%'"
    )
    return bool(mlflow_client().search_runs([experiment_id], query, max_results=1))


def _about(run: Any) -> str:
    """What a run is about, as ``green 2023-07``; the record of a failure before training has only a name."""
    return one_line(run.data.tags.get(ABOUT) or run.info.run_name or "", 100)


def _alive_at(run: Any) -> datetime:
    """When a run gave its last sign of life."""
    started = _moment(run.info.start_time) or datetime.fromtimestamp(0, timezone.utc)
    try:
        beat = datetime.fromisoformat(run.data.tags.get(HEARTBEAT, ""))
    except ValueError:
        return started
    return beat if beat.tzinfo else beat.replace(tzinfo=timezone.utc)


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc) if milliseconds else None
