"""This process's connection, and the errors of MLflow: which are an outage, and which a refusal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import sqlalchemy
from support.scripted_mlflow import Serve
from support.tracked import NAME

from mlops.errors import TrackingDownError, TrackingError
from mlops.registry import client, runs, version_files, versions
from mlops.registry.client import MlflowException, tracking_errors
from mlops.registry.run_lifecycle import start_run

# --- Connected ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patience")
def test_no_password_is_shown_when_a_server_breaks_off(serve: Serve, tmp_path: Path) -> None:
    server = serve(0)
    with pytest.raises(TrackingDownError) as refused:
        client.connect(server.uri.replace("//", "//me:secret@"), tmp_path, 1.0)

    assert str(refused.value).startswith(f"tracking server {server.uri}: no answer within 1 s (it closes the")
    assert "secret" not in str(refused.value)


def test_connecting_says_for_how_long_to_keep_trying(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client._Patience, "seconds", 0.0)  # and back, whatever is made of it
    monkeypatch.setattr(client._Connection, "uri", "")
    client.connect(f"sqlite:///{store / 'mlflow.db'}", store, 5.0, patience=7.0)

    assert client._Patience.seconds == 7.0
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 1
    assert client.tracking_uri() == f"sqlite:///{store / 'mlflow.db'}"


# --- Away, or refusing --------------------------------------------------------------------------------------


def answered(status: int) -> requests.HTTPError:
    answer = requests.Response()
    answer.status_code = status
    return requests.HTTPError(f"status {status}", response=answer)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MlflowException("no database", error_code=2), TrackingDownError),
        (MlflowException("no such run", error_code=1000), TrackingError),
        (sqlalchemy.exc.OperationalError("select", {}, Exception("gone")), TrackingDownError),
        (sqlalchemy.exc.IntegrityError("insert", {}, Exception("twice")), TrackingError),
        (requests.ConnectionError("refused"), TrackingDownError),
        (requests.Timeout("silent"), TrackingDownError),
        (answered(502), TrackingDownError),
        (answered(404), TrackingError),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_outage_is_distinguished_from_a_refusal(error: Exception, kind: type[TrackingError]) -> None:
    with pytest.raises(TrackingError) as reported, tracking_errors("asking"):
        raise error

    assert type(reported.value) is kind
    assert str(reported.value).startswith("asking: MLflow failed: ")
    assert reported.value.__cause__ is error


def test_an_error_without_words_is_named_and_a_long_one_cut() -> None:
    with (
        pytest.raises(TrackingError, match=r"^asking: MLflow failed: ConnectionError$"),
        tracking_errors("asking"),
    ):
        raise requests.ConnectionError
    with pytest.raises(TrackingError) as reported, tracking_errors("asking"):
        raise MlflowException("x" * 1000 + "\nmore")

    assert str(reported.value) == f"asking: MLflow failed: {'x' * 300}"


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), tracking_errors("dividing"):
        _ = 1 / 0


@pytest.mark.parametrize(
    "address", ["sqlite:///{store}/mlflow.db?timeout=30", "sqlite:///mlflow.db?timeout=30&uri=false"]
)
def test_an_sqlite_address_may_be_relative_and_have_options(
    address: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in store.iterdir() if path.suffix != ".lock")
    monkeypatch.chdir(store)
    client.connect(address.format(store=store), store, 5.0)

    assert client.mlflow_client().search_experiments(max_results=1)
    assert sorted(path.name for path in store.iterdir() if path.suffix != ".lock") == before


@pytest.mark.parametrize("what", ["a version", "a run", "an experiment"])
def test_no_password_goes_to_a_server_that_somebody_registered(
    what: str, store: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = serve(200, (200, {"files": []}))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "owner")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "opensesame")
    mlflow = client.mlflow_client()
    place = f"{other.uri}/api/2.0/mlflow-artifacts/artifacts"
    run_id = mlflow.create_run(mlflow.create_experiment(NAME, place)).info.run_id
    mlflow.create_registered_model(NAME)
    mlflow.create_model_version(NAME, f"{place}/model", run_id)

    acts: dict[str, Callable[[], object]] = {
        "a version": lambda: version_files.fetch(versions.get(NAME, "1"), tmp_path / "fetched"),
        "a run": lambda: runs.fetch_artefact(run_id, "months.csv", tmp_path / "fetched"),
        "an experiment": lambda: start_run(NAME, "r", "key").__enter__(),
    }
    with pytest.raises(TrackingError, match="these artefacts are on another server than the tracking server"):
        acts[what]()
    assert other.asked == 0
