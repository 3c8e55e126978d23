"""Real MLflow servers, which can die and start again at the same address, and versions registered through them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from support.doors import PROJECT, end_group, wait_until

PROGRAM = PROJECT / ".venv-mlflow" / "bin" / "mlflow"


@dataclass
class MlflowServer:
    """A server that accepts only the host name 127.0.0.1.

    Parameters
    ----------
    folder : Path
        Its database, its log, and its artefacts if it keeps them.
    artefacts : tuple of str
        Its options about artefacts.
    """

    folder: Path
    artefacts: tuple[str, ...] = ()
    port: int = field(default_factory=lambda: free_port())
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and return once it answers."""
        options = (
            f"server --host 127.0.0.1 --port {self.port} --workers 1 --allowed-hosts 127.0.0.1:{self.port}"
        )
        store = f"sqlite:///{self.folder / 'mlflow.db'}"
        own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, *options.split(), "--backend-store-uri", store, *self.artefacts],
                cwd=self.folder, env=inherited | own, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self._answers, 120)

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process:
            end_group(self.process)

    def _answers(self) -> bool:
        assert self.process and self.process.poll() is None, (self.folder / "server.log").read_text()
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.uri}/health", timeout=1).status_code == 200
        return False


@contextlib.contextmanager
def running_server(folder: Path, *artefacts: str) -> Iterator[MlflowServer]:
    """A server with these options about artefacts; by default it keeps them and gives them out."""
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not there: `make install` builds it")
    kept = ("--serve-artifacts", "--artifacts-destination", str(folder / "served"))
    server = MlflowServer(folder, artefacts or kept)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as any_one:
        any_one.bind(("127.0.0.1", 0))
        return int(any_one.getsockname()[1])
