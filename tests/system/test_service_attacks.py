"""What an attacker can send to the service: the real program, over a socket. It has no model: 503 means let in."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from support.doors import PROJECT, wait_until
from support.service_process import PYTHON, RIDE, Service

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
LET_IN = 503


@dataclass
class Bare(Service):
    """A service that need not have a model."""

    def is_ready(self) -> bool:
        assert self.process and self.process.poll() is None, self.log
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def ask(self, path: str = "/predict", **headers: str) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=RIDE, headers=headers, timeout=30)

    def send(self, *pieces: bytes, pause: float = 0.0, seconds: float = 20.0) -> bytes:
        """What comes back for these bytes, until the service closes the connection or says nothing for long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            found = b""
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
                while b"\r\n\r\n" not in found and (more := connection.recv(65_536)):
                    found += more
            except (ConnectionError, TimeoutError):
                pass
        return found


def started(folder: Path, **variables: str) -> Iterator[Bare]:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make install` builds it")
    service = Bare(folder, {"MLOPS_STATE_DIR": str(folder / "state"), **variables})
    try:
        service.start()
        yield service
    finally:
        service.stop()


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "MLOPS_STATE_DIR": str(folder / "state")}
    return subprocess.run(
        [PYTHON, "-m", "mlops.serving", *arguments],
        cwd=PROJECT,
        env=variables,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bare, dict[str, str]]]:
    """A service with a file of keys and small limits, and the header with a key."""
    folder = tmp_path_factory.mktemp("locked")
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make install` builds it")
    key = run(folder, "key", "planner").stdout.strip()
    limits = {"SERVE_MOST_BYTES": "2000", "SERVE_BODY_SECONDS": "1", "SERVE_MOST_AT_ONCE": "1"}
    keys = {"SERVE_KEYS_FILE": str(folder / "state" / "serving" / "keys")}
    for service in started(folder, **limits, **keys):
        yield service, {"Authorization": f"Bearer {key}"}


def head(authorization: dict[str, str], *lines: str) -> bytes:
    own = [f"{name}: {value}" for name, value in authorization.items()]
    always = ["POST /predict HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    return "\r\n".join([*always, *own, *lines, "", ""]).encode()


def test_nothing_is_answered_without_a_key(locked: tuple[Bare, dict[str, str]]) -> None:
    service, key = locked
    wrong = {"Authorization": key["Authorization"][:-1] + "!"}
    for path in ("/predict", "/model", "/metrics", "//healthz", "/healthz/../predict", "/nothing"):
        assert [service.ask(path, **each).status_code for each in ({}, wrong)] == [401, 401]
    assert service.ask(**key).status_code == LET_IN
    assert key["Authorization"].removeprefix("Bearer ") not in service.log


def test_a_refusal_has_the_headers_for_security(locked: tuple[Bare, dict[str, str]]) -> None:
    refused = locked[0].ask()
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert refused.headers["x-request-id"] == refused.json()["request_id"]
    assert "server" not in refused.headers


def test_a_body_without_an_end_is_refused(locked: tuple[Bare, dict[str, str]]) -> None:
    service, key = locked
    pieces = [b"400\r\n" + b"x" * 1024 + b"\r\n"] * 3
    found = service.send(head(key, "Transfer-Encoding: chunked"), *pieces)
    assert found.startswith(b"HTTP/1.1 413 ")
    assert service.send(head(key, "Content-Length: 999999999")).startswith(b"HTTP/1.1 413 ")


def test_a_slow_body_takes_no_room_for_long(locked: tuple[Bare, dict[str, str]]) -> None:
    service, key = locked
    found = service.send(head(key, "Content-Length: 100"), b"{")  # the only room there is
    assert found.startswith(b"HTTP/1.1 408 ")
    assert service.ask(**key).status_code == LET_IN


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -5",),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5\x00",),
    ],
)
def test_two_lengths_are_no_request(locked: tuple[Bare, dict[str, str]], lines: tuple[str, ...]) -> None:
    """Else a proxy and the service could see two requests where the other one sees one."""
    service, key = locked
    found = service.send(head(key, *lines), b"0\r\n\r\n", seconds=5)
    assert found.startswith(b"HTTP/1.1 400 "), found


def test_a_proxy_s_header_makes_nobody_another_client(tmp_path: Path) -> None:
    for service in started(tmp_path, SERVE_REQUESTS_PER_SECOND="0.01", SERVE_BURST="2"):
        asked = [service.ask(**{"X-Forwarded-For": f"10.0.0.{number}"}) for number in range(3)]
        assert [each.status_code for each in asked] == [LET_IN, LET_IN, 429]
        assert 90 <= int(asked[-1].headers["retry-after"]) <= 100
        assert requests.get(f"{service.url}/readyz", timeout=5).status_code == 503, "a probe has no limit"


def test_without_keys_it_does_not_start_on_another_address(tmp_path: Path) -> None:
    done = run(tmp_path, "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "host: expected 127.0.0.1 without a file of keys; got '0.0.0.0'" in done.stderr


def test_no_worker_keeps_the_port_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    for service in started(tmp_path, SERVE_WORKERS="2"):
        assert service.process
        service.process.kill()
        wait_for_a_closed_port(service)


def wait_for_a_closed_port(service: Bare) -> None:
    def is_closed() -> bool:
        try:
            socket.create_connection(("127.0.0.1", service.port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_closed, 60, lambda: service.log)
