"""What old runs left in MLflow that nobody needs again: trials, and artefacts of runs that failed.

Parent runs, versions, verdicts and cards stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mlops.operations.retention.policy import ARTEFACTS, DAY_SECONDS, SHA_DIGITS, TRIALS, Candidate, Wanted
from mlops.pipeline import checkpoint
from mlops.registry import alias_log, versions
from mlops.registry.client import mlflow, with_retry
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID, RUN_KEY

MOST_RUNS = 50_000  # in one answer of MLflow's
_ENDED_BADLY = ("FAILED", "KILLED")


@with_retry("{0}: looking for old runs")
def candidates(name: str) -> list[Candidate]:
    """Parent runs of a model that have trials, or artefacts without a version."""
    parents, trials = _runs(name)
    with_trials = {trial.data.tags[MLFLOW_PARENT_RUN_ID] for trial in trials}
    registered = {version.run_id for version in versions.list_all(name)}
    found = []
    for run in parents:
        run_id = run.info.run_id
        if run.info.status == "RUNNING":
            continue
        if run_id in with_trials:
            found.append(Candidate(TRIALS, run_id, _ended(run), model=name))
        if run.info.status in _ENDED_BADLY and run_id not in registered and _has_artefacts(run):
            size = sum(_sizes(get_artifact_repository(run.info.artifact_uri)))
            size += sum(sum(_sizes(get_artifact_repository(m.artifact_location))) for m in _models(run))
            found.append(Candidate(ARTEFACTS, run_id, _ended(run), size, model=name))
    return found


@with_retry("{0}: looking for what is wanted")
def wanted(name: str, now: float, keep_days: int) -> Wanted:
    """What a model still wants: months of late and of champions, champions' runs, and where a search begins."""
    parents, _ = _runs(name)
    run_of = {version.number: version.run_id for version in versions.list_all(name)}
    reigned = {reign.version for reign in alias_log.tenures(alias_log.read(name))}
    reigned |= {alias_log.current(name, alias) for alias in (alias_log.CHAMPION, alias_log.CHALLENGER)}
    champions = {run_of[number] for number in reigned if number in run_of}
    unfinished = {kept.key for kept in checkpoint.unfinished(name)}
    begun = [run for run in parents if run.info.status == "FINISHED" and "month" in run.data.params]
    newest = sorted(begun, key=lambda run: (run.data.params["month"], run.info.start_time))[-1:]
    kept = [run.info.run_id for run in parents if run.data.tags.get(RUN_KEY) in unfinished]
    return Wanted(
        recent=_months(run for run in parents if now - _ended(run) <= keep_days * DAY_SECONDS),
        evidence=_months(run for run in parents if run.info.run_id in champions),
        places={*champions, *kept, *(run.info.run_id for run in newest)},
    )


@with_retry("deleting what run {0.place} left")
def delete(candidate: Candidate) -> bool:
    """Whether it is gone now."""
    client = mlflow.MlflowClient()
    run = client.get_run(candidate.place)
    if candidate.kind == TRIALS:
        query = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{candidate.place}'"
        for trial in client.search_runs([run.info.experiment_id], query, max_results=MOST_RUNS):
            client.delete_run(trial.info.run_id)
        return True
    for model in _models(run):
        _empty(model.artifact_location)
        client.delete_logged_model(model.model_id)
    _empty(run.info.artifact_uri)
    return True


def _runs(name: str) -> tuple[list[Any], list[Any]]:
    """Parent runs of a model's experiment, and trials."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return [], []
    found = client.search_runs([experiment.experiment_id], max_results=MOST_RUNS)
    return (
        [run for run in found if MLFLOW_PARENT_RUN_ID not in run.data.tags],
        [run for run in found if MLFLOW_PARENT_RUN_ID in run.data.tags],
    )


def _ended(run: Any) -> float:
    return float(run.info.end_time or run.info.start_time) / 1000


def _months(runs: Iterator[Any]) -> set[str]:
    """First digits of the sha256 of the months that runs were made from."""
    return {
        str(given.dataset.digest)[:SHA_DIGITS]
        for run in runs
        for given in (run.inputs.dataset_inputs if run.inputs else [])
    }


def _models(run: Any) -> list[Any]:
    query = f"source_run_id = '{run.info.run_id}'"
    return list(mlflow.MlflowClient().search_logged_models([run.info.experiment_id], query))


def _has_artefacts(run: Any) -> bool:
    return bool(mlflow.MlflowClient().list_artifacts(run.info.run_id)) or bool(_models(run))


def _sizes(repository: Any, folder: str | None = None) -> Iterator[int]:
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            yield from _sizes(repository, entry.path)
        else:
            yield int(entry.file_size or 0)


def _empty(place: str) -> None:
    """Delete all that lies at a place of artefacts, entry by entry: not every store takes the place itself."""
    repository: Any = get_artifact_repository(place)
    for entry in repository.list_artifacts():
        repository.delete_artifacts(entry.path)
