"""Real MLflow servers: the doctor's checks, and what the cleanup deletes through them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.doors import PROJECT, end_group, wait_until

from mlops.operations.doctor import tracking_server
from mlops.operations.doctor.finding import Finding
from mlops.operations.retention import cleanup
from mlops.operations.retention.cleanup import Retention
from mlops.operations.retention.policy import ARTEFACTS
from mlops.registry import client, run_lifecycle
from mlops.registry.client import mlflow


@contextlib.contextmanager
def server(folder: Path, *artefacts: str) -> Iterator[int]:
    """Port of a server that accepts only the host name 127.0.0.1, with these options for artefacts."""
    program = PROJECT / ".venv-mlflow" / "bin" / "mlflow"
    if not program.exists():
        pytest.skip(f"{program} is not there: `make install` builds it")
    with socket.socket() as any_one:
        any_one.bind(("127.0.0.1", 0))
        number = int(any_one.getsockname()[1])
    options = f"server --host 127.0.0.1 --port {number} --workers 1 --allowed-hosts 127.0.0.1:{number}"
    store = f"sqlite:///{folder / 'mlflow.db'}"
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *options.split(), "--backend-store-uri", store, *artefacts],
            cwd=folder, env=inherited | own, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

        def answers() -> bool:
            assert process.poll() is None, (folder / "server.log").read_text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"http://127.0.0.1:{number}/health", timeout=1).status_code == 200
            return False

        try:
            wait_until(answers, 120)
            yield number
        finally:
            end_group(process)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with which clients write artefacts themselves."""
    folder = tmp_path_factory.mktemp("server")
    with server(
        folder, "--no-serve-artifacts", "--default-artifact-root", str(folder / "artifacts")
    ) as number:
        yield number


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
    (here,) = tracking_server.artefacts(uri, ["trip-duration-green"])
    assert not here.is_open
    assert "a folder on this machine; runs on other machines cannot reach it" in here.text
    (elsewhere,) = tracking_server.artefacts("http://mlflow:5000", ["trip-duration-green"])
    assert elsewhere.is_open
    assert "--serve-artifacts" in elsewhere.text


def test_artefacts_of_a_run_that_failed_go_through_a_server_that_proxies_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(tmp_path, "--serve-artifacts", "--artifacts-destination", str(tmp_path / "served")) as port:
        uri = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        client.connect(uri, tmp_path / "state", 10.0)
        store, long_ago = mlflow.MlflowClient(), int((time.time() - 100 * 86_400) * 1000)
        experiment = run_lifecycle._experiment("trip-duration-green")
        (reported,) = tracking_server.artefacts(uri, ["trip-duration-green"])
        assert reported.text.endswith("through the server")

        run_id = store.create_run(experiment, start_time=long_ago).info.run_id
        store.log_text(run_id, "four", "verdict.json")
        store.log_text(run_id, "four", "plots/errors.txt")
        store.set_terminated(run_id, "FAILED", end_time=long_ago)
        served = [path for path in (tmp_path / "served").rglob("*") if path.is_file()]
        assert len(served) == 2

        limits = Retention()
        found = cleanup.find_leftovers(limits)
        assert found[["kind", "place", "megabytes"]].to_numpy().tolist() == [[ARTEFACTS, run_id, 8e-6]]
        assert cleanup.delete_leftovers(found, limits)["deleted"].tolist() == [1]
        assert not any(path.exists() for path in served)
        assert cleanup.find_leftovers(limits).empty
