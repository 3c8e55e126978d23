"""What people delete in MLflow's pages, and what `mlflow gc` deletes after that."""

from __future__ import annotations

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModelAlias
from support.tracked import NAME, mlflow_client

from mlops.registry.client import tracking_uri


def delete_run(run_id: str) -> str:
    """Delete a run as MLflow's page does; returns the command that restores it."""
    mlflow_client().delete_run(run_id)
    return f"MLFLOW_TRACKING_URI={tracking_uri()} .venv/bin/mlflow runs restore --run-id {run_id}"


def remove_run(run_id: str) -> None:
    """Delete a run and its files for good, as `mlflow gc` does."""
    client = mlflow_client()
    place = client.get_run(run_id).info.artifact_uri
    client.delete_run(run_id)
    get_artifact_repository(place).delete_artifacts()
    client._tracking_client.store._hard_delete_run(run_id)


def delete_experiment(name: str = NAME) -> str:
    """Delete an experiment as MLflow's page does; returns the message about it."""
    found = mlflow_client().get_experiment_by_name(name)
    mlflow_client().delete_experiment(found.experiment_id)
    return (
        f"experiment {name} was deleted in MLflow, with all its runs; restore it: "
        f"`MLFLOW_TRACKING_URI={tracking_uri()} "
        f".venv/bin/mlflow experiments restore -x {found.experiment_id}`"
    )


def leave_alias(alias: str, version: int, name: str = NAME) -> None:
    """Point an alias at a version that does not exist."""
    store = mlflow_client()._get_registry_client().store
    with store.ManagedSessionMaker(read_only=False) as session:
        session.add(SqlRegisteredModelAlias(name=name, alias=alias, version=version))
