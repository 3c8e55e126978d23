"""What a person sets for MLflow in the same process changes nothing of a run, and stays as it was."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.builders import make_batch
from support.tracked import KEY, NAME, OTHER_KEY, registered, runs_of, save_artefact, state_of

from mlops import config
from mlops.registry import client, run_history, runs, version_files
from mlops.registry.client import mlflow
from mlops.registry.run_lifecycle import start_run
from mlops.training.boosting import build_matrix, train


@dataclass
class Person:
    """What a person has set: a store of their own, which is also their registry, and a run in it."""

    uri: str
    run_id: str
    before: dict[str, str]

    @property
    def client(self) -> Any:
        """Their own client."""
        return mlflow.MlflowClient(self.uri, self.uri)

    def runs(self) -> list[Any]:
        """All their runs, in every experiment."""
        found = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(found))


@pytest.fixture
def person(
    store: Path, migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Person]:
    """A person at work in this process, who has set all that can be set."""
    shutil.copy(migrated_store, tmp_path / "own.db")
    uri = f"sqlite:///{tmp_path / 'own.db'}"
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID"):  # MLflow sets them; undone by monkeypatch
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    own = mlflow.MlflowClient().create_experiment("own", (tmp_path / "own").as_uri())
    mlflow.set_experiment("own")
    run = mlflow.start_run(run_name="own")
    other = str(mlflow.MlflowClient().create_run(own, run_name="of another program").info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", other)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "own")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", own)
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", f'{{"mlflow.parentRunId": "{other}", "run_key": "other"}}')
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    yield Person(uri, run.info.run_id, dict(os.environ))
    mlflow.end_run()
    mlflow.set_registry_uri("")
    mlflow.tracking.fluent._active_experiment_id = None


def assert_left_alone(person: Person) -> None:
    assert mlflow.active_run().info.run_id == person.run_id
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == (person.uri, person.uri)
    assert {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")} == {
        name: value for name, value in person.before.items() if name.startswith("MLFLOW_")
    }
    assert {run.info.run_name for run in person.runs()} == {"own", "of another program"}
    assert {run.info.status for run in person.runs()} == {"RUNNING"}
    assert [(run.data.params, run.data.metrics) for run in person.runs()] == [({}, {}), ({}, {})]
    assert list(person.client.search_registered_models()) == []
    own = [experiment.experiment_id for experiment in person.client.search_experiments()]
    assert list(person.client.search_logged_models(own)) == []


def test_a_run_goes_to_our_store_and_its_model_too(
    person: Person, store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = registered(save_artefact(tmp_path))
    (run,) = runs_of()

    assert (run.info.run_id, run.info.run_name, run.info.status) == (
        version.run_id,
        "r, attempt 1",
        "FINISHED",
    )
    assert run.info.artifact_uri.startswith((store / "artifacts").as_uri())
    assert run.data.tags["run_key"] == KEY
    assert "mlflow.parentRunId" not in run.data.tags
    (model,) = client.mlflow_client().search_logged_models([run.info.experiment_id])
    assert (model.source_run_id, model.status) == (run.info.run_id, "READY")
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    said = "MLFLOW_RUN_ID=" + os.environ["MLFLOW_RUN_ID"]
    (line,) = [message for message in caplog.messages if "MLFLOW_RUN_ID" in message]
    assert line == f"{said} is ignored: each run is one of its own, in the experiment of its model"
    assert_left_alone(person)


def test_what_was_logged_is_read_back_from_our_store(person: Person, tmp_path: Path) -> None:
    version = registered(save_artefact(tmp_path))
    with pytest.raises(ValueError, match="no trips"), start_run(NAME, "r", OTHER_KEY) as failed:
        failed.log_parameters({"month": "2023-06"})
        failed.log_trial("trial 1", {"max_depth": 8}, {"validation_rmse": 4.5}, "")
        failed.log_text("months.csv", "month\n")
        raise ValueError("no trips")
    with start_run(NAME, "r", OTHER_KEY) as again:
        assert state_of(again.run_id) == ("RUNNING", None)
        assert again.trials_logged() == {"trial 1"}

    assert again.run_id == failed.run_id
    assert runs.parameters_of(again.run_id) == {"month": "2023-06"}
    assert runs.fetch_artefact(again.run_id, "months.csv", tmp_path / "fetched").read_text() == "month\n"
    assert (version_files.fetch(version, tmp_path / "version") / "MLmodel").is_file()
    assert {run.run_id for run in run_history.list_runs(NAME)} == {again.run_id, version.run_id}
    assert_left_alone(person)


@pytest.fixture
def autologging() -> Iterator[None]:
    """A person has switched it on."""
    from mlflow.utils.autologging_utils import safety

    mlflow.xgboost.autolog(log_models=False, silent=True)
    yield
    mlflow.xgboost.autolog(disable=True, silent=True)
    safety.revert_patches("xgboost")


@pytest.mark.usefixtures("autologging")
def test_autologging_logs_nothing_of_a_run_and_goes_on_afterwards(person: Person) -> None:
    import xgboost

    with start_run(NAME, "r", KEY) as run:
        matrix = build_matrix([make_batch(300, 0)], seed=0, threads=1)
        train(matrix, {"learning_rate": 0.3, "max_depth": 4}, seed=0, threads=1, rounds=2)

    assert [(found.info.run_id, found.data.params) for found in runs_of()] == [(run.run_id, {})]
    assert_left_alone(person)
    rows = xgboost.DMatrix([[1.0], [2.0], [3.0]], label=[1.0, 2.0, 3.0])
    xgboost.train({"max_depth": 2}, rows, 1)
    assert person.client.get_run(person.run_id).data.params["max_depth"] == "2"


SET = """
import mlflow
from mlops import config
mlflow.set_tracking_uri("sqlite:////elsewhere/mlflow.db")
print(config.tracking_uri())
"""


def test_an_address_set_for_a_person_s_own_runs_is_not_ours() -> None:
    given = {"MLFLOW_TRACKING_URI": "http://mlflow.example:5000"}
    answer = subprocess.run(
        [sys.executable, "-c", SET], env=os.environ | given, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == given["MLFLOW_TRACKING_URI"]


def test_an_address_in_the_environment_counts_also_if_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("http://mlflow.example:5000", "http://mlflow.example:5001"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        assert config.tracking_uri() == given


def test_without_such_a_run_nothing_is_said(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), start_run(NAME, "r", KEY):
        pass
    assert caplog.messages == []
