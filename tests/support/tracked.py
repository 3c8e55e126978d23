"""Small models and versions for the tracking store, and what tests read from it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.builders import make_batch, make_requests
from support.small_models import model_of

from mlops.model.duration_model import DurationModel
from mlops.registry import artifact, client, version_files, versions
from mlops.registry.client import MlflowException, mlflow
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID, Run
from mlops.registry.versions import Version
from mlops.training.boosting import build_matrix

NAME = "trip-duration-sample"
KEY, OTHER_KEY = "ab" * 32, "cd" * 32
AWAY = MlflowException("the database is away", error_code=2)  # TEMPORARILY_UNAVAILABLE, as a server answers


class Killed(BaseException):
    """Raised where the process would be killed: no code handles it."""


def mlflow_client() -> Any:
    return client.mlflow_client()


def runs_of(experiment: str = NAME) -> list[Any]:
    """Every run of the experiment, oldest first."""
    found = mlflow_client().get_experiment_by_name(experiment)
    return (
        mlflow_client().search_runs([found.experiment_id], order_by=["attributes.start_time"])
        if found
        else []
    )


def state_of(run_id: str) -> tuple[str, str | None]:
    """Status of a run, and its tag `error`."""
    run = mlflow_client().get_run(run_id)
    return str(run.info.status), run.data.tags.get("error")


def fitted(seed: int) -> DurationModel:
    """A small model."""
    matrix = build_matrix([make_batch(300, seed)], [make_batch(300, seed + 1)], seed=seed, threads=1)
    return model_of(matrix, rounds=5)


def save_artefact(folder: Path) -> Path:
    """Save a small model; return its folder."""
    return fitted(seed=0).save(folder / "model")


def bare_version(folder: Path, name: str = NAME, run_id: str | None = None, **tags: str) -> str:
    """Create a version without a model, whose signature is of no file; return its number."""
    with contextlib.suppress(MlflowException):
        mlflow_client().create_registered_model(name)
    tags = {"signature": version_files.signature_of(name, run_id or "", {}), **tags}
    return str(mlflow_client().create_model_version(name, folder.as_uri(), run_id=run_id, tags=tags).version)


def bare_signed(folder: Path) -> Version:
    """A version of ours without a model."""
    return versions.get(NAME, bare_version(folder, run_key=KEY))


@contextlib.contextmanager
def fails_at(method: str, error: BaseException, *, once: bool = False, after: bool = False) -> Iterator[None]:
    """Make a method of MLflow's client raise the error, each time or once, instead of acting or after it."""
    original, raised = getattr(mlflow.MlflowClient, method), []

    def call(*arguments: Any, **named: Any) -> Any:
        if raised and once:
            return original(*arguments, **named)
        raised.append(method)
        if after:
            original(*arguments, **named)
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, method, call)
        yield
    assert raised


def registered(artefact: Path, key: str = KEY, **tags: str) -> Version:
    """A version whose model is logged and found under a run key."""
    with start_run(NAME, "r", key) as run:
        uri = artifact.log_model(run.run_id, run.experiment_id, artefact, make_requests(3))
        return versions.register(NAME, uri, run.run_id, key, {"test_month": "2023-06", **tags}, "the first")


def trials_of(run: Run) -> list[Any]:
    return [found for found in runs_of() if found.data.tags.get(MLFLOW_PARENT_RUN_ID) == run.run_id]
