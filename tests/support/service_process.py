"""The service as a process of its own, in its own environment, and a client that counts what is answered."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from support.doors import PROJECT, end_group, wait_until
from support.mlflow_site import free_port

PYTHON = PROJECT / ".venv-serving" / "bin" / "python"
RIDE = {
    "pickup_at": "2023-06-01T08:30:00",
    "pickup_zone": 74,
    "dropoff_zone": 75,
    "distance_miles": 2.5,
    "passenger_count": 1,
}


@dataclass
class Service:
    """`python -m mlops.serving` for the registry and state folder in `variables`.

    Parameters
    ----------
    folder : Path
        For its log.
    variables : dict
        Its environment, in addition to what every process has.
    """

    folder: Path
    variables: Mapping[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "service.log").read_text(errors="replace")

    def start(self, seconds: float = 60) -> float:
        """Start it; return the seconds until it can answer."""
        began = time.monotonic()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        own = {"SERVE_PORT": str(self.port), "MLOPS_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "mlops.serving"],
                cwd=PROJECT, env={**kept, **own, **self.variables}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self.is_ready, seconds, lambda: self.log)
        return time.monotonic() - began

    def is_ready(self) -> bool:
        """Whether it has a model; fails when its process has ended."""
        assert self.process and self.process.poll() is None, self.log
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process:
            end_group(self.process)

    def get(self, path: str) -> Any:
        """JSON of a page."""
        answer = requests.get(f"{self.url}{path}", timeout=30)
        return answer.json()

    def predict(self, asked: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Any:
        """Answer to one request, or answers to a list of them."""
        answer = requests.post(f"{self.url}/predict", json=asked, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.contextmanager
def running_service(folder: Path, **variables: str) -> Iterator[Service]:
    """A service that is ready, and is ended with the block."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make install` builds it")
    service = Service(folder, variables)
    try:
        service.start()
        yield service
    finally:
        service.stop()


@dataclass(frozen=True)
class Answer:
    """What came back for one request: a prediction, or in `failure` what else.

    ``sent`` and ``received`` are of `time.monotonic`.
    """

    sent: float
    received: float
    version: str = ""
    minutes: float = 0.0
    failure: str = ""


class Load:
    """Threads that ask for a prediction again and again, each over one connection, while the block runs.

    Parameters
    ----------
    service : Service
    clients : int
        Number of threads.
    pause : float
        Seconds between an answer and the next request of the same thread.
    """

    def __init__(self, service: Service, clients: int = 4, pause: float = 0.01) -> None:
        self.service, self.pause = service, pause
        self.answers: list[Answer] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def first_of(self, version: str, since: float, seconds: float = 30) -> Answer:
        """The first answer of a version to a request sent since then."""

        def found() -> list[Answer]:
            return [each for each in self.answers if each.sent >= since and each.version == version]

        wait_until(
            lambda: bool(found()), seconds, lambda: (version, self.answers[-1:], self.service.log[-3000:])
        )
        return found()[0]

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=30)
        while not self._over.wait(self.pause):
            sent = time.monotonic()
            try:
                found = _ask_once(connection)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                found = {"failure": repr(error)}
            self.answers.append(Answer(sent, time.monotonic(), **found))
        connection.close()


def _ask_once(connection: http.client.HTTPConnection) -> dict[str, Any]:
    connection.request("POST", "/predict", json.dumps(RIDE), {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read().decode()
    if response.status != 200:
        return {"failure": f"{response.status} {text}"}
    found = json.loads(text)
    return {"version": str(found["model_version"]), "minutes": float(found["duration_minutes"])}
