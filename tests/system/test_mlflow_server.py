"""The doctor's questions, asked of a real MLflow server that lets clients write artefacts themselves."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from doors import PROJECT, end_group, wait_until

from mlops import tracking, tracking_checks
from mlops.findings import Finding
from mlops.tracking import mlflow


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a server that knows itself as 127.0.0.1 alone, and proxies no artefacts."""
    program, folder = PROJECT / ".venv-mlflow" / "bin" / "mlflow", tmp_path_factory.mktemp("server")
    if not program.exists():
        pytest.skip(f"{program} is not there: `make install` builds it")
    with socket.socket() as any_one:
        any_one.bind(("127.0.0.1", 0))
        number = int(any_one.getsockname()[1])
    options = f"server --host 127.0.0.1 --port {number} --workers 1 --allowed-hosts 127.0.0.1:{number}"
    stores = (
        f"--backend-store-uri sqlite:///{folder / 'mlflow.db'} --no-serve-artifacts --default-artifact-root"
    )
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [program, *options.split(), *stores.split(), str(folder / "artifacts")],
            cwd=folder, env=inherited | own, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

        def answers() -> bool:
            assert server.poll() is None, (folder / "server.log").read_text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"http://127.0.0.1:{number}/health", timeout=1).status_code == 200
            return False

        try:
            wait_until(answers, 120)
            yield number
        finally:
            end_group(server)


def test_a_name_that_the_server_does_not_know(port: int) -> None:
    (told,) = tracking_checks.look_over(f"http://localhost:{port}", 10.0)
    assert told.is_open
    assert f"refuses the name localhost:{port}; start it with localhost:{port} added to" in told.text


def test_the_server_answers_and_has_our_version(port: int) -> None:
    uri, ours = f"http://127.0.0.1:{port}", mlflow.__version__
    assert list(tracking_checks.look_over(uri, 10.0)) == [
        Finding(f"tracking server {uri}: answers"),
        Finding(f"MLflow: the server is {ours}, this client {ours}"),
    ]


def test_its_artefacts_lie_in_its_own_folder(port: int, tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{port}"
    tracking.connect(uri, tmp_path / "state", 10.0)
    (here,) = tracking_checks.artefacts(uri, ["trip-duration-green"])
    assert not here.is_open
    assert "a folder of this machine" in here.text
    (elsewhere,) = tracking_checks.artefacts("http://mlflow:5000", ["trip-duration-green"])
    assert elsewhere.is_open
    assert "--serve-artifacts" in elsewhere.text
