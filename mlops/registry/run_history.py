"""Past runs of a model: what they logged, which months they used, how to delete their trials and artefacts.

A run may be gone: anybody can delete it in MLflow's pages, and `mlflow gc` then removes it with its files.
`operations.retention` decides what may be deleted; this module only deletes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mlops.errors import TrackingDownError, TrackingError, one_line
from mlops.registry import runs, server_facts
from mlops.registry.client import (  # first: it sets what mlflow reads
    MlflowException,
    artefacts_at,
    mlflow_client,
    with_retry,
)
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID, RUN_KEY, trials_of
from mlops.registry.versions import Version

# isort: split
from mlflow.entities import ViewType

MAX_RUNS = 50_000  # MLflow's limit for one answer
MONTHS: Final = "months.csv"  # artefact of a run: its months, with the sha256 of their files
ACTIVE: Final = "active"
DELETED: Final = "deleted"  # in MLflow's pages; it can be restored, and its files can still be read
GONE: Final = "gone"  # for good
_INSTEAD = "restore a backup, or train the month again with --force and delete this version"


@dataclass(frozen=True)
class PastRun:
    """A parent run of a model, as the tracking server has it.

    Parameters
    ----------
    run_id : str
        Its id.
    status : str
        ``RUNNING``, ``SCHEDULED``, ``FINISHED``, ``FAILED`` or ``KILLED``.
    started_at : float
        Seconds since 1970.
    ended_at : float or None
        Seconds since 1970; None if it has not ended.
    run_key : str or None
        None if the run has no run key.
    test_month : str or None
        YYYY-MM; None if the run failed before it logged its parameters.
    month_digests : frozenset of str
        First 36 digits of the sha256 of each month that it used; MLflow keeps no more.
    has_trials : bool
        Whether it has trials that are not deleted.
    is_deleted : bool
        Whether it was deleted in MLflow; its record stays until `mlflow gc` removes it.
    """

    run_id: str
    status: str
    started_at: float
    ended_at: float | None
    run_key: str | None
    test_month: str | None
    month_digests: frozenset[str]
    has_trials: bool
    is_deleted: bool = False


@with_retry("looking up run {0}")
def stage_of(run_id: str) -> str:
    """`ACTIVE`, `DELETED` or `GONE`; GONE also for an empty id, of a version that has no run.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    try:
        return str(mlflow_client().get_run(run_id).info.lifecycle_stage)
    except MlflowException as error:
        if error.error_code in server_facts.ABSENT:
            return GONE
        raise


def explain_loss(run_id: str) -> str:
    """What happened to a run, or to a file of it that cannot be fetched, and what to do, for people."""
    if not run_id:
        return "it has no run, because another program or a person registered it"
    stage = stage_of(run_id)
    if stage == DELETED:
        act = server_facts.command(f"runs restore --run-id {run_id}")
        return f"its run {run_id} was deleted in MLflow; restore it: `{act}`"
    what = "has lost this file" if stage == ACTIVE else "no longer exists in MLflow"
    return f"its run {run_id} {what}; {_INSTEAD}"


def fetch(version: Version, name: str, folder: Path) -> Path:
    """Path of a file that a version's run logged, downloaded into `folder`.

    Raises
    ------
    TrackingError
        When it is gone: the message says whether the run is, and what to do.
    TrackingDownError
        When the server does not answer.
    """
    try:
        return runs.fetch_artefact(version.run_id, name, folder)
    except TrackingDownError:
        raise
    except TrackingError as error:
        why = explain_loss(version.run_id)
        raise TrackingError(f"{version.uri}: {name} cannot be read: {why}") from error


def months_of(version: Version) -> pd.DataFrame:
    """Months that a version's run used, from its ``months.csv``: at least ``month`` and ``sha256``, all as text.

    Raises
    ------
    TrackingError
        As `fetch`, and when the file is not such a table.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = fetch(version, MONTHS, Path(folder))
        try:
            table = pd.read_csv(path, dtype=str)
        except ValueError as error:  # also pandas' own errors, and a text that is not UTF-8
            raise TrackingError(
                f"{version.uri}: {MONTHS} of its run {version.run_id} is damaged ({one_line(error, 100)}); "
                f"{_INSTEAD}"
            ) from error
    if not {"month", "sha256"} <= set(table.columns):
        raise TrackingError(
            f"{version.uri}: {MONTHS} of its run {version.run_id}: expected the columns month and sha256; "
            f"got {list(table.columns)}; {_INSTEAD}"
        )
    return table


def card_of(version: Version, folder: Path) -> tuple[str, str]:
    """The model card that a version's run logged, as Markdown and as a page, downloaded into `folder`.

    Raises
    ------
    TrackingError
        As `fetch`.
    """
    markdown, page = (fetch(version, f"model_card.{kind}", folder) for kind in ("md", "html"))
    return markdown.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")


@with_retry("{0.uri}: changing its model card")
def replace_card(version: Version, markdown: str, page: str) -> None:
    """Log another model card in the place of the one that `card_of` returns.

    Raises
    ------
    TrackingError
        When the server refuses or does not answer.
    """
    runs.Run(version.run_id, "").log_card(markdown, page)


@with_retry("run {0}: looking for its files")
def has_file(run_id: str, name: str) -> bool:
    """Whether a run has an artefact of this name, outside any folder."""
    return name in {str(entry.path) for entry in mlflow_client().list_artifacts(run_id)}


@with_retry("{0}: looking for old runs")
def list_runs(name: str) -> tuple[PastRun, ...]:
    """Parent runs of a model, newest first; also deleted ones.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    tracking = mlflow_client()
    experiment = tracking.get_experiment_by_name(name)
    if experiment is None:
        return ()
    found = tracking.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, max_results=MAX_RUNS)
    with_trials = {run.data.tags.get(MLFLOW_PARENT_RUN_ID) for run in found if not _is_deleted(run)}
    return tuple(
        _past_run(run, run.info.run_id in with_trials)
        for run in found
        if MLFLOW_PARENT_RUN_ID not in run.data.tags
    )


@with_retry("run {0}: looking for artefacts")
def artefact_bytes(run_id: str) -> int | None:
    """Bytes of a run's artefacts, including its logged models; None if it has no artefact.

    Raises
    ------
    TrackingError
        When the server or the artefact store does not answer.
    """
    tracking = mlflow_client()
    run = tracking.get_run(run_id)
    models = _models(run)
    if not models and not tracking.list_artifacts(run_id):
        return None
    places = [run.info.artifact_uri, *(model.artifact_location for model in models)]
    return sum(sum(_sizes(_files_at(place))) for place in places)


@with_retry("run {0}: deleting its trials")
def delete_trials(run_id: str) -> None:
    """Delete the trials of a run; the run itself stays.

    Raises
    ------
    TrackingError
        When the server refuses or does not answer.
    """
    tracking = mlflow_client()
    for trial in trials_of(tracking.get_run(run_id).info.experiment_id, run_id):
        tracking.delete_run(trial.info.run_id)


@with_retry("run {0}: deleting its artefacts")
def delete_artefacts(run_id: str) -> None:
    """Delete the artefacts of a run and its logged models; the run itself stays.

    Raises
    ------
    TrackingError
        When the server or the artefact store refuses or does not answer.
    """
    tracking = mlflow_client()
    run = tracking.get_run(run_id)
    for model in _models(run):
        _empty(model.artifact_location)
        tracking.delete_logged_model(model.model_id)
    _empty(run.info.artifact_uri)


def _past_run(run: Any, has_trials: bool) -> PastRun:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return PastRun(
        run_id=str(run.info.run_id),
        status=str(run.info.status),
        started_at=run.info.start_time / 1000,
        ended_at=run.info.end_time / 1000 if run.info.end_time else None,
        run_key=run.data.tags.get(RUN_KEY),
        test_month=run.data.params.get("month"),
        month_digests=frozenset(str(given.dataset.digest) for given in inputs),
        has_trials=has_trials,
        is_deleted=_is_deleted(run),
    )


def _is_deleted(run: Any) -> bool:
    return bool(run.info.lifecycle_stage == DELETED)


def _models(run: Any) -> list[Any]:
    query = f"source_run_id = '{run.info.run_id}'"
    return list(mlflow_client().search_logged_models([run.info.experiment_id], query))


def _files_at(place: str) -> Any:
    return artefacts_at(place)


def _sizes(repository: Any, folder: str | None = None) -> Iterator[int]:
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            yield from _sizes(repository, entry.path)
        else:
            yield int(entry.file_size or 0)


def _empty(place: str) -> None:
    """Delete all artefacts at a place, one by one: not every store can delete the place itself."""
    repository = _files_at(place)
    for entry in repository.list_artifacts():
        repository.delete_artifacts(entry.path)
