"""Compared months in MLflow: one finished run for each registered model, in an experiment of its own.

The run has a tag ``month.2023-11`` for each compared month, which is its record as JSON; metrics whose step is the
month, 202311, so that MLflow draws them over the months; and the files of the month in a folder ``2023-11``. The
tag comes last: a month without it was not compared, whatever else is there.

No experiment of a model changes: its runs, and what counts them, do not meet this one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlops.errors import command
from mlops.month import Month
from mlops.registry import monitoring_record, run_lifecycle, runs, server_facts
from mlops.registry.client import mlflow_client, with_retry  # first: it sets what mlflow reads
from mlops.registry.monitoring_record import Record

# isort: split
from mlflow.entities import Metric, ViewType

logger = logging.getLogger(__name__)

MODEL: Final = "mlops.monitored_model"  # tag of the run
_PREFIX: Final = "month."


def experiment_of(name: str) -> str:
    """Name of the experiment with the compared months of a registered model.

    Examples
    --------
    >>> experiment_of("trip-duration-green")
    'trip-duration-green-monitoring'
    """
    return f"{name}-monitoring"


@dataclass(frozen=True)
class Kept:
    """The compared months of a registered model.

    Parameters
    ----------
    texts : dict of str to str
        JSON of the record of each month (YYYY-MM), oldest first.
    place : str
        The run's page among MLflow's, for `server_facts.page`.
    """

    texts: dict[str, str]
    place: str


@with_retry("{0}: reading its compared months")
def read(name: str) -> Kept | None:
    """The compared months of a registered model, and where they are; None if no month was compared yet.

    Raises
    ------
    TrackingError
        When the server does not answer, or the experiment was deleted in MLflow.
    """
    found = _run(name)
    if found is None:
        return None
    return Kept(_texts(found), f"experiments/{found.info.experiment_id}/runs/{found.info.run_id}")


def months(name: str) -> dict[str, str]:
    """The JSON text of each compared month (YYYY-MM) of a registered model, oldest first.

    Raises
    ------
    TrackingError
        As `read`.
    """
    kept = read(name)
    return kept.texts if kept else {}


def records(name: str) -> tuple[Record, ...]:
    """The records of the compared months, oldest first. One that cannot be read is left out, with a warning.

    Raises
    ------
    TrackingError
        As `read`.
    """
    found, unreadable = monitoring_record.parsed(months(name))
    for month in unreadable:
        logger.warning("%s", explain_unreadable(name, month))
    return found


@with_retry("{0}: looking for its compared months")
def find_problems(name: str) -> tuple[str, ...]:
    """What is wrong with the compared months of a model, with the next act, as sentences; none if nothing is.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    experiment = experiment_of(name)
    deleted = run_lifecycle.find_deleted(experiment)
    if deleted:
        return (f"{name}: {deleted}",)
    found = _run(name)
    if found:
        _, unreadable = monitoring_record.parsed(_texts(found))
        return tuple(explain_unreadable(name, month) for month in unreadable)
    experiment_id = run_lifecycle.find_experiment(experiment)
    gone = _search(name, experiment_id, ViewType.DELETED_ONLY) if experiment_id else None
    if gone is None:
        return ()
    act = server_facts.command(f"runs restore --run-id {gone.info.run_id}")
    return (f"{name}: the run with its compared months was deleted in MLflow; restore it: `{act}`",)


def explain_unreadable(name: str, month: str) -> str:
    """What a record that cannot be read means, and what to do, for people."""
    return (
        f"{name}: the record of {month} cannot be read: somebody changed it, or a newer release wrote it. "
        f"The month counts as not compared; compare it again: {command('monitor --help')}"
    )


def write(name: str, month: str, text: str, metrics: Mapping[str, float], files: Sequence[Path] = ()) -> str:
    """Keep a compared month; returns the id of the run. Repeating it replaces what was kept of the month.

    The caller holds a lock of the model, so that only one process writes.

    Parameters
    ----------
    name : str
        Registered model.
    month : str
        YYYY-MM.
    text : str
        The record, as `monitoring_record.to_json` returns it.
    metrics : mapping of str to float
        Without those that are NaN.
    files : sequence of Path
        Files of the month.

    Raises
    ------
    TrackingError
        When the server refuses or does not answer, or the experiment was deleted in MLflow.
    """
    step = _step(month)
    run_id = _run_id(name)
    _log_files(run_id, files, month)
    _log_metrics(run_id, metrics, step)
    _set_tag(run_id, f"{_PREFIX}{month}", text)
    return run_id


def link(name: str) -> str:
    """Where to see the compared months: a page of the server, or the command that opens one; empty without any.

    Raises
    ------
    TrackingError
        As `read`.
    """
    kept = read(name)
    return server_facts.shown_at(kept.place) if kept else ""


def _run(name: str) -> Any:
    """MLflow's run with the compared months, or None; the oldest, if two processes made one at the same time."""
    experiment = experiment_of(name)
    experiment_id = run_lifecycle.find_experiment(experiment)
    if experiment_id is None:
        run_lifecycle.require_experiment(experiment)
        return None
    return _search(name, experiment_id, ViewType.ACTIVE_ONLY)


def _search(name: str, experiment_id: str, view: int) -> Any:
    query, oldest = f"tags.`{MODEL}` = '{name}'", ["attributes.start_time ASC", "attributes.run_id ASC"]
    found = mlflow_client().search_runs([experiment_id], query, view, max_results=1, order_by=oldest)
    return found[0] if found else None


def _texts(run: Any) -> dict[str, str]:
    tags = dict(run.data.tags)
    return {key.removeprefix(_PREFIX): tags[key] for key in sorted(tags) if key.startswith(_PREFIX)}


@with_retry("{0}: starting the run of its compared months")
def _run_id(name: str) -> str:
    """Id of the run, which is made if there is none; it is never left RUNNING."""
    client, found = mlflow_client(), _run(name)
    if found is None:
        tags = {**runs.origin_tags(), MODEL: name, runs.LOCK_TAG: runs.lock_place()}
        experiment_id = run_lifecycle.make_experiment(experiment_of(name))
        found = client.create_run(experiment_id, tags=tags, run_name=f"compared months of {name}")
    if found.info.status != "FINISHED":  # new, or made by a process that was killed
        client.set_terminated(found.info.run_id, "FINISHED")
    return str(found.info.run_id)


@with_retry("logging files of {2}")
def _log_files(run_id: str, files: Sequence[Path], month: str) -> None:
    for path in files:
        mlflow_client().log_artifact(run_id, str(path), month)


@with_retry("logging metrics")
def _log_metrics(run_id: str, metrics: Mapping[str, float], step: int) -> None:
    """Log the metrics at this step, without those that have this value there."""
    client, now = mlflow_client(), int(time.time() * 1000)
    known = client.get_run(run_id).data.metrics
    new = [
        Metric(name, float(value), now, step)
        for name, value in metrics.items()
        if value == value and not (name in known and _is_logged(run_id, name, value, step))
    ]
    if new:
        client.log_batch(run_id, metrics=new, synchronous=True)


def _is_logged(run_id: str, name: str, value: float, step: int) -> bool:
    """Whether the last value of a metric at a step is this one."""
    at_step = [each for each in mlflow_client().get_metric_history(run_id, name) if each.step == step]
    return bool(at_step) and max(at_step, key=lambda each: each.timestamp).value == value


@with_retry("tagging run {0}")
def _set_tag(run_id: str, key: str, text: str) -> None:
    mlflow_client().set_tag(run_id, key, text, synchronous=True)


def _step(month: str) -> int:
    """A month as the step of a metric.

    Examples
    --------
    >>> _step("2023-11")
    202311
    """
    found = Month.parse(month)
    return 100 * found.year + found.number
