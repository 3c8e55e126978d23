"""Past runs of a model: which months they used, and how to delete their trials and artefacts.

`operations.retention` decides what may be deleted; this module only deletes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlops.registry.client import mlflow, with_retry  # first: it sets what mlflow reads
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID, RUN_KEY, trials_of

# isort: split
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

MAX_RUNS = 50_000  # MLflow's limit for one answer


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
    """

    run_id: str
    status: str
    started_at: float
    ended_at: float | None
    run_key: str | None
    test_month: str | None
    month_digests: frozenset[str]
    has_trials: bool


@with_retry("{0}: looking for old runs")
def list_runs(name: str) -> tuple[PastRun, ...]:
    """Parent runs of a model, newest first, without deleted runs.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    tracking = mlflow.MlflowClient()
    experiment = tracking.get_experiment_by_name(name)
    if experiment is None:
        return ()
    found = tracking.search_runs([experiment.experiment_id], max_results=MAX_RUNS)
    with_trials = {run.data.tags.get(MLFLOW_PARENT_RUN_ID) for run in found}
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
    tracking = mlflow.MlflowClient()
    run = tracking.get_run(run_id)
    models = _models(run)
    if not models and not tracking.list_artifacts(run_id):
        return None
    places = [run.info.artifact_uri, *(model.artifact_location for model in models)]
    return sum(sum(_sizes(get_artifact_repository(place))) for place in places)


@with_retry("run {0}: deleting its trials")
def delete_trials(run_id: str) -> None:
    """Delete the trials of a run; the run itself stays.

    Raises
    ------
    TrackingError
        When the server refuses or does not answer.
    """
    tracking = mlflow.MlflowClient()
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
    tracking = mlflow.MlflowClient()
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
    )


def _models(run: Any) -> list[Any]:
    query = f"source_run_id = '{run.info.run_id}'"
    return list(mlflow.MlflowClient().search_logged_models([run.info.experiment_id], query))


def _sizes(repository: Any, folder: str | None = None) -> Iterator[int]:
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            yield from _sizes(repository, entry.path)
        else:
            yield int(entry.file_size or 0)


def _empty(place: str) -> None:
    """Delete all artefacts at a place, one by one: not every store can delete the place itself."""
    repository: Any = get_artifact_repository(place)
    for entry in repository.list_artifacts():
        repository.delete_artifacts(entry.path)
