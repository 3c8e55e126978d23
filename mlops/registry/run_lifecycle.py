"""Start a run, keep it alive, and close it even when its process is gone."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from mlops import config, locks, masking
from mlops.errors import BusyError, TrackingError, one_line
from mlops.registry import server_facts
from mlops.registry.client import (
    MlflowException,
    mlflow_client,
    require_own_server,
    tracking_uri,
    with_retry,
    without_retry,
)
from mlops.registry.runs import (
    LOCK_TAG,
    OUTCOME,
    RUN_KEY,
    WHOLE,
    Run,
    lock_place,
    origin_tags,
    trials_of,  # first: it sets what mlflow reads
)

# isort: split
from mlflow.entities import RunTag, ViewType
from mlflow.utils.autologging_utils import disable_autologging
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID as MLFLOW_PARENT_RUN_ID

logger = logging.getLogger(__name__)

ATTEMPT, HEARTBEAT = "attempt", "mlops.heartbeat"
ABOUT, NUMBER = "mlops.about", "mlops.attempt_number"  # tags of an attempt: service and month; 1, 2 and so on
NO_ATTEMPT = "failed before training"  # ends the name of a run that only shows an error
RUN_ID = "MLFLOW_RUN_ID"  # set by `mlflow run` and some CI systems for a run of theirs
HEARTBEAT_SECONDS, STALE_SECONDS = 30.0, 15 * 60.0


@contextlib.contextmanager
def start_run(
    experiment: str, about: str, key: str, attempt: str = "", *, forced: bool = False
) -> Iterator[Run]:
    """The run of a run key: a new one, or the unfinished one of `attempt`, the id in its work folder.

    Its name says what it is about and which attempt it is: "green 2023-06, attempt 2 (forced)"; its end gives it
    another name (`runs.Run.rename`).

    It ends with the block: FINISHED, FAILED on an error, KILLED on an interrupt. The caller holds the model's lock
    (`work_lock`), so the previous holder is gone, and the runs that it left RUNNING are closed here.

    It is not MLflow's active run, and no active run, experiment or autologging of this process changes what is
    logged: in Mage's editor these belong to the user.
    """
    if os.environ.get(RUN_ID):
        logger.warning(
            "%s=%s is ignored: each run is one of its own, in the experiment of its model",
            RUN_ID,
            os.environ[RUN_ID],
        )
    experiment_id = make_experiment(experiment)
    close_orphans(experiment_id)
    run_id = _begin(experiment_id, about, key, attempt or key, forced)
    guard, status, ended = _start_guard(experiment), "FINISHED", threading.Event()
    heart = threading.Thread(target=_beat, args=(run_id, ended), daemon=True)
    heart.start()
    try:
        with disable_autologging():  # it would log our fits as runs of its own
            yield Run(run_id, experiment_id)
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        with contextlib.suppress(AttributeError):  # for the caller that reports the error
            error.run_id = run_id  # type: ignore[attr-defined]
        with (
            contextlib.suppress(TrackingError),
            without_retry(),
        ):  # the error itself matters more than its tag
            _set_tag(run_id, "error", _as_tag(error))
        raise
    finally:
        ended.set()
        heart.join()
        _finish(run_id, experiment_id, status)
        guard.communicate(b"ended")


@with_retry("logging a failure")
def log_failure(experiment: str, about: str, error: BaseException) -> str:
    """Id of the run that shows an error: the error's own run, or a new FAILED one if no run had started."""
    known = getattr(error, "run_id", "")
    if known:
        return str(known)
    client = mlflow_client()
    name, tags = f"{about}, {NO_ATTEMPT}", {"error": _as_tag(error)}
    run_id = str(client.create_run(make_experiment(experiment), run_name=name, tags=tags).info.run_id)
    client.set_terminated(run_id, "FAILED")
    return run_id


def close_orphans(experiment_id: str) -> int:
    """Close the RUNNING runs whose process is gone, as KILLED; returns how many.

    The caller holds the model's lock, so no other process under the same lock is alive. For a run under another
    lock (on a host that shares only the tracking server), the age of its last heartbeat decides.
    """
    closed = 0
    for run in _running(experiment_id):
        cause = _cause_of_death(run.data.tags, run.info.start_time)
        if cause and _is_complete(run.info.run_id):
            mark_finished(run.info.run_id)
        elif cause:
            _end(run.info.run_id, "KILLED", cause)
            closed += 1
            if MLFLOW_PARENT_RUN_ID not in run.data.tags:
                logger.warning("run %s was still RUNNING; closed as KILLED: %s", run.info.run_id, cause)
    return closed


def clear_up(experiment: str) -> int | None:
    """Close a model's orphaned runs; returns how many, or None if another run holds the lock (it closed them)."""
    found = find_experiment(experiment)
    try:
        with work_lock(experiment, "refuse", "closing runs whose process is gone"):
            return close_orphans(found) if found else 0
    except BusyError:
        return None


@with_retry("looking up runs")
def running_under(experiment: str) -> list[str]:
    """For each run with status RUNNING, without trials: the place of its locks, for example ``HOST:FOLDER``."""
    found = find_experiment(experiment)
    tags = [run.data.tags for run in _running(found)] if found else []
    return [t.get(LOCK_TAG, "an unknown host") for t in tags if MLFLOW_PARENT_RUN_ID not in t]


def work_lock(
    name: str, on_busy: Literal["wait", "refuse"], about: str
) -> contextlib.AbstractContextManager[locks.Lock]:
    """The lock that allows one run of a registered model at a time."""
    return locks.hold(f"{name}.work", on_busy=on_busy, about=about)


@with_retry("ending run {0}")
def mark_finished(run_id: str) -> None:
    """Mark a run FINISHED that was interrupted after its version got its final tag; skips a deleted run."""
    client = mlflow_client()
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in server_facts.ABSENT:
            return
        raise
    if run.info.status != "FINISHED" and run.info.lifecycle_stage == "active":
        if "error" in run.data.tags:
            client.delete_tag(run_id, "error")
        client.set_terminated(run_id, "FINISHED")


@with_retry("experiment {0}")
def find_deleted(experiment: str) -> str:
    """That an experiment was deleted in MLflow, and the command that restores it; empty if it was not."""
    found = mlflow_client().get_experiment_by_name(experiment)
    if not found or found.lifecycle_stage == "active":
        return ""
    act = server_facts.command(f"experiments restore -x {found.experiment_id}")
    return f"experiment {experiment} was deleted in MLflow, with all its runs; restore it: `{act}`"


def require_experiment(experiment: str) -> None:
    """Raise if the experiment was deleted in MLflow: no run can start in it, nor in a new one of its name.

    Raises
    ------
    TrackingError
        With the command that restores it.
    """
    deleted = find_deleted(experiment)
    if deleted:
        raise TrackingError(deleted)


@with_retry("experiment {0}")
def make_experiment(name: str) -> str:
    """Id of the experiment of this name, which is made if there is none.

    Raises
    ------
    TrackingError
        As `require_experiment`, and as `client.require_own_server`.
    """
    client = mlflow_client()
    found = find_experiment(name)
    if found:
        return found
    require_experiment(name)
    # A server chooses where artefacts go; with a plain database MLflow would use the working directory.
    remote = tracking_uri().startswith("http")
    artifacts = None if remote else config.state().artifacts.as_uri()
    # With this kind, MLflow shows its pages for training and not those for chat models.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return str(client.create_experiment(name, artifacts, tags=kind))
    except MlflowException:
        raced = find_experiment(name)
        if raced is None:
            raise
        return raced


def find_experiment(name: str) -> str | None:
    """Id of the experiment of this name; None if there is none, or it was deleted.

    Raises
    ------
    TrackingError
        As `client.require_own_server`.
    """
    found = mlflow_client().get_experiment_by_name(name)
    if not found or found.lifecycle_stage != "active":
        return None
    require_own_server(str(found.artifact_location))
    return str(found.experiment_id)


@with_retry("starting a run")
def _begin(experiment_id: str, about: str, key: str, attempt: str, forced: bool) -> str:
    """Id of this attempt's run; an interrupted one is set to RUNNING again."""
    client = mlflow_client()
    tags = {RUN_KEY: key, ATTEMPT: attempt, LOCK_TAG: lock_place(), HEARTBEAT: _now()}
    query = f"attributes.status != 'FINISHED' and tags.{ATTEMPT} = '{attempt}'"
    earlier = client.search_runs(
        [experiment_id], query, order_by=["attributes.start_time DESC"], max_results=1
    )
    if not earlier:
        number = _next_number(experiment_id, about)
        tags |= {**origin_tags(), ABOUT: about, NUMBER: str(number)}
        name = f"{about}, attempt {number}" + (" (forced)" if forced else "")
        created = client.create_run(experiment_id, tags=tags, run_name=name)
        return str(created.info.run_id)
    run_id = str(earlier[0].info.run_id)
    logger.info("continuing run %s, which an earlier attempt did not finish", run_id)
    client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()], synchronous=True)
    if "error" in earlier[0].data.tags:
        client.delete_tag(run_id, "error")
    _sweep(experiment_id, run_id)
    client.update_run(run_id, status="RUNNING")
    return run_id


def _next_number(experiment_id: str, about: str) -> int:
    """Number of a new attempt, after those before it, also those deleted since."""
    query = f"tags.`{ABOUT}` = '{about}'"
    earlier = mlflow_client().search_runs([experiment_id], query, ViewType.ALL, max_results=50_000)
    numbers = [int(text) for run in earlier if (text := run.data.tags.get(NUMBER, "")).isdecimal()]
    return 1 + (max(numbers) if numbers else _attempts_from_before(experiment_id, about))


def _attempts_from_before(experiment_id: str, about: str) -> int:
    """Number of attempts by a release before 2026-12: only the start of their names says what they are about.

    The record of a failure before training has such a name too, but no run key.
    """
    query = f"attributes.run_name LIKE '{about}%' and tags.{RUN_KEY} LIKE '%'"
    return len(mlflow_client().search_runs([experiment_id], query, ViewType.ALL, max_results=50_000))


def _finish(run_id: str, experiment_id: str, status: str) -> None:
    """Delete incomplete trials, then end the run; if the server is away, the next run does both."""
    try:
        with contextlib.nullcontext() if status == "FINISHED" else without_retry():
            _tidy(run_id, experiment_id)
            _terminate(run_id, status)
    except TrackingError as error:
        logger.warning("run %s could not be closed; the next run of the model closes it: %s", run_id, error)


@with_retry("ending run {0}")
def _terminate(run_id: str, status: str) -> None:
    mlflow_client().set_terminated(run_id, status)


@with_retry("ending run {0}")
def _end(run_id: str, status: str, cause: str) -> None:
    client = mlflow_client()
    client.set_tag(run_id, "error", cause, synchronous=True)
    client.set_terminated(run_id, status)


@with_retry("tagging run {0}")
def _set_tag(run_id: str, name: str, value: str) -> None:
    mlflow_client().set_tag(run_id, name, value, synchronous=True)


@with_retry("looking up trials")
def _tidy(run_id: str, experiment_id: str) -> None:
    _sweep(experiment_id, run_id)


def _sweep(experiment_id: str, run_id: str) -> None:
    """Delete incomplete trials of the run; the work folder holds them complete."""
    client = mlflow_client()
    for trial in trials_of(experiment_id, run_id):
        if trial.info.status not in WHOLE:
            client.delete_run(trial.info.run_id)


@with_retry("looking up the version of run {0}")
def _is_complete(run_id: str) -> bool:
    found = mlflow_client().search_model_versions(f"run_id = '{run_id}'")
    return any(OUTCOME in version.tags for version in found)


@with_retry("looking up runs")
def _running(experiment_id: str) -> list[Any]:
    return list(mlflow_client().search_runs([experiment_id], "attributes.status = 'RUNNING'"))


def _cause_of_death(tags: Mapping[str, str], started: int) -> str:
    """Why the run's process counts as dead, in words; an empty text if it may still be alive."""
    place = tags.get(LOCK_TAG, "an unknown host")
    if place == lock_place():
        return "its process ended without closing it"
    last = tags.get(HEARTBEAT) or datetime.fromtimestamp(started / 1000, timezone.utc).isoformat(
        timespec="seconds"
    )
    if datetime.now(timezone.utc) - datetime.fromisoformat(last) > timedelta(seconds=STALE_SECONDS):
        return f"no heartbeat from {place} since {last}"
    return ""


def _beat(run_id: str, ended: threading.Event) -> None:
    """Write the run's heartbeat regularly: other hosts read from it that the run is alive."""
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(Exception):  # a failed heartbeat must not end the run
            mlflow_client().set_tag(run_id, HEARTBEAT, _now(), synchronous=True)


def _as_tag(error: BaseException) -> str:
    """An error as the run's tag ``error``; a tag holds 5,000 characters."""
    text = masking.mask(one_line(error))[:4000] if str(error) else ""
    return f"{type(error).__name__}: {text}"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _start_guard(experiment: str) -> subprocess.Popen[bytes]:
    """Start a guard process that closes this process's runs if this process dies unexpectedly.

    It waits on a pipe, so it costs nothing and notices at once; it imports mlflow only when it has to act.
    """
    act = f"from mlops.registry.run_lifecycle import clear_up; clear_up({experiment!r})"
    code = f"import sys\nif sys.stdin.read() != 'ended':\n    {act}\n"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # The URI may hold a password, so it goes into the environment: any user can list the arguments.
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking_uri()},
        start_new_session=True,  # a Ctrl-C or a signal to the group must not end it
    )
