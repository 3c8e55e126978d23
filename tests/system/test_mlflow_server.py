"""Real MLflow servers: the doctor's checks, and what the cleanup deletes through them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.builders import make_requests
from support.doors import PROJECT
from support.losses import delete_experiment, delete_run
from support.mlflow_site import running_server
from support.tracked import NAME, registered, save_artefact

from mlops.errors import MlopsError, TrackingDownError, TrackingError
from mlops.operations.doctor import tracking_server
from mlops.operations.doctor.finding import Finding
from mlops.operations.retention import cleanup
from mlops.operations.retention.cleanup import Retention
from mlops.operations.retention.policy import ARTEFACTS
from mlops.registry import client, run_history, run_lifecycle, version_files, versions
from mlops.registry.client import mlflow


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with which clients write artefacts themselves."""
    folder = tmp_path_factory.mktemp("server")
    options = ("--no-serve-artifacts", "--default-artifact-root", str(folder / "artifacts"))
    with running_server(folder, *options) as server:
        yield server.port


def test_a_host_name_that_the_server_refuses(port: int) -> None:
    (reported,) = tracking_server.look_over(f"http://localhost:{port}", 10.0)
    assert reported.is_open
    assert (
        f"it refuses the host name localhost:{port}; start it with localhost:{port} added to" in reported.text
    )


def test_the_server_answers_and_has_our_version(port: int) -> None:
    uri, ours = f"http://127.0.0.1:{port}", mlflow.__version__
    assert list(tracking_server.look_over(uri, 10.0)) == [
        Finding(f"tracking server {uri}: it answers"),
        Finding(f"MLflow versions: server {ours}, client {ours}"),
    ]


def test_its_artefacts_are_in_its_own_folder(port: int, tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{port}"
    client.connect(uri, tmp_path / "state", 10.0)
    (here,) = tracking_server.artefacts(uri, ["trip-duration-green"], 10.0)
    assert not here.is_open
    assert "a folder on this machine; runs on other machines cannot reach it" in here.text
    (elsewhere,) = tracking_server.artefacts("http://mlflow:5000", ["trip-duration-green"], 10.0)
    assert elsewhere.is_open
    assert "--serve-artifacts" in elsewhere.text


def test_artefacts_through_a_server_that_does_not_give_them_out(port: int, tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{port}"
    client.connect(uri, tmp_path / "state", 10.0)
    client.mlflow_client().create_experiment("trip-duration-yellow", "mlflow-artifacts:/7")
    (reported,) = tracking_server.artefacts(uri, ["trip-duration-yellow"], 10.0)
    assert reported.is_open
    assert "through the server, which answered 503 for it; start it with --serve-artifacts" in reported.text


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a server through which artefacts go, and the folder that it keeps them in."""
    folder = tmp_path_factory.mktemp("serving")
    with running_server(folder) as server:
        yield server.uri, folder / "served"


@pytest.fixture
def proxied(served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the artefacts of that server, which is connected to."""
    uri, destination = served
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client.connect(uri, tmp_path / "state", 10.0)
    return destination


@pytest.mark.long
def test_artefacts_of_a_run_that_failed_go_through_a_server_that_proxies_them(proxied: Path) -> None:
    store, long_ago = client.mlflow_client(), int((time.time() - 100 * 86_400) * 1000)
    experiment = run_lifecycle.make_experiment("trip-duration-green")
    (reported,) = tracking_server.artefacts(client.tracking_uri(), ["trip-duration-green"], 10.0)
    assert (reported.label, reported.text.partition(", ")[2]) == (
        "ok",
        "through the server, which can read that place",
    )

    run_id = store.create_run(experiment, start_time=long_ago).info.run_id
    store.log_text(run_id, "four", "verdict.json")
    store.log_text(run_id, "four", "plots/errors.txt")
    store.set_terminated(run_id, "FAILED", end_time=long_ago)
    kept = [path for path in proxied.rglob("*") if path.is_file()]
    assert len(kept) == 2

    limits = Retention()
    found = cleanup.find_leftovers(limits)
    assert found[["kind", "place", "megabytes"]].to_numpy().tolist() == [[ARTEFACTS, run_id, 8e-6]]
    assert cleanup.delete_leftovers(found, limits)["deleted"].tolist() == [1]
    assert not any(path.exists() for path in kept)
    assert cleanup.find_leftovers(limits).empty


@pytest.mark.long
def test_files_that_are_gone_from_a_server_are_no_outage(proxied: Path, tmp_path: Path) -> None:
    version = registered(save_artefact(tmp_path))
    client.mlflow_client().log_text(version.run_id, "month,sha256\n2023-06,ab\n", "months.csv")
    assert version_files.find_damage(version, tmp_path / "whole") == ""
    assert len(run_history.months_of(version)) == 1
    for path in [path for path in proxied.rglob("*") if path.is_file()]:
        path.unlink()

    assert "are gone or changed" in version_files.find_damage(version, tmp_path / "gone")
    with pytest.raises(MlopsError) as unreadable:
        versions.predict(version, make_requests(3), tmp_path / "predictions")
    with pytest.raises(TrackingError) as lost:
        run_history.months_of(version)
    assert not isinstance(unreadable.value, TrackingDownError)
    assert not isinstance(lost.value, TrackingDownError)
    assert "has lost this file" in str(lost.value)


@pytest.mark.long
def test_the_commands_that_restore_what_was_deleted_work(proxied: Path) -> None:
    run_id = client.mlflow_client().create_run(run_lifecycle.make_experiment(NAME)).info.run_id
    delete_run(run_id)
    subprocess.run(run_history.explain_loss(run_id).split("`")[1], shell=True, cwd=PROJECT, check=True)
    assert run_history.stage_of(run_id) == run_history.ACTIVE

    delete_experiment()
    subprocess.run(run_lifecycle.find_deleted(NAME).split("`")[1], shell=True, cwd=PROJECT, check=True)
    assert run_lifecycle.find_deleted(NAME) == ""
