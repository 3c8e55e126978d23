"""Are the servers up? A small HTTP server plays the online service and Mage, with and without a stack."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from support.failures import closed_port
from support.small_server import answering_with

from mlops import config
from mlops.errors import command
from mlops.operations import servers
from mlops.registry.status_records import Answering, ServerStatus

SECONDS = 20.0  # so long that a busy machine answers, too
GREEN = {"service": "green", "model": {"version": "7"}, "problem": ""}
EMPTY = {"service": "yellow", "model": None, "problem": "it has no champion"}


def pages(
    model: object = None, status: int = 200, alive: object = None, scheduler: object = "running"
) -> Any:
    """The answers of the service and of Mage."""
    found = {
        "/healthz": (200, alive or {"status": "alive"}),
        "/model": (status, {"services": [GREEN, EMPTY], "problem": ""} if model is None else model),
        "/api/status": (200, {"statuses": [{"scheduler_status": scheduler}]}),
    }

    def answer(asked: BaseHTTPRequestHandler) -> tuple[int, str]:
        known, content = found[asked.path]
        return known, json.dumps(content)

    return answering_with(answer)


def start_stack(url: str = "http://127.0.0.1:1") -> None:
    """Files of a stack whose service and Mage are at this address."""
    stack = config.state().stack
    for name in ("run/mage", "client"):
        (stack / name).mkdir(parents=True, exist_ok=True)
    (stack / ".env").touch()
    (stack / "run" / "mage" / ".env").write_text(f"MAGE_PUBLIC_HOST='{url}'\n")
    (stack / "run" / "mage.json").write_text(json.dumps({"command": ["mage"], "cwd": str(stack)}))
    words = ["python", "-m", "mlops.serving", "--port", url.rpartition(":")[2]]
    (stack / "run" / "serving.json").write_text(json.dumps({"command": words}))


@pytest.fixture(autouse=True)
def _no_mage(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAGE_PUBLIC_HOST", "SERVE_HOST", "SERVE_PORT"):
        monkeypatch.delenv(name, raising=False)


def service(*, is_started: bool) -> ServerStatus:
    return servers.online_service(is_started, SECONDS)


def test_a_service_of_a_stack_that_answers() -> None:
    with pages() as url:
        start_stack(url)
        found = service(is_started=True)
    assert (found.address, found.state, found.act) == (url, "up", "")
    assert found.text == "it answers with trip-duration-green 7"
    assert found.answering == (
        Answering(model="trip-duration-green", version="7", problem=""),
        Answering(model="trip-duration-yellow", version=None, problem="it has no champion"),
    )


def test_a_service_without_a_model() -> None:
    with pages({"services": [], "problem": ""}) as url:
        start_stack(url)
        assert service(is_started=True).text == "it answers, but has no model yet"


def test_a_service_that_wants_a_key_is_not_checked() -> None:
    with pages(status=401) as url:
        start_stack(url)
        found = service(is_started=True)
    assert (found.state, found.act) == ("not checked", f"curl -H 'Authorization: Bearer KEY' {url}/model")
    assert found.text == "it answers, but not with which versions (it wants a key)"


@pytest.mark.parametrize("model", [[], {"services": [{}]}, {"services": None}])
def test_a_service_whose_report_cannot_be_read(model: object) -> None:
    with pages(model) as url:
        start_stack(url)
        found = service(is_started=True)
    assert (found.state, found.act) == ("not checked", f"curl {url}/model")


def test_a_service_of_a_stack_that_is_down() -> None:
    with closed_port() as port:
        start_stack(f"http://127.0.0.1:{port}")
        found = service(is_started=True)
    assert (found.state, found.act) == ("down", "make stack")
    assert found.text.startswith("no answer (<urlopen error [Errno 111] Connection refused")


def test_a_service_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        start_stack(f"http://127.0.0.1:{listening.getsockname()[1]}")
        found = servers.online_service(True, 0.2)
        monkeypatch.setenv("SERVE_PORT", str(listening.getsockname()[1]))
        mage = servers.mage(True, 0.2)
    assert (found.state, found.text, found.act) == (
        "down", "no answer within 0.2 s", "make stack-stop stack"
    )  # fmt: skip
    assert mage and (mage.state, mage.text, mage.act) == (found.state, found.text, found.act)


def test_a_stack_of_earlier_code_has_no_service() -> None:
    start_stack()
    (config.state().stack / "run" / "serving.json").unlink()
    found = service(is_started=True)
    assert (found.state, found.act) == ("down", "make upgrade")


def test_without_a_stack_the_service_need_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as port:
        monkeypatch.setenv("SERVE_PORT", str(port))
        found = service(is_started=False)
    assert (found.address, found.state, found.text) == (f"http://127.0.0.1:{port}", "off", "not started here")
    with pages() as url:
        monkeypatch.setenv("SERVE_PORT", url.rpartition(":")[2])
        monkeypatch.setenv("SERVE_HOST", "0.0.0.0")
        assert service(is_started=False).state == "up"
    with pages(alive={"some": "thing"}) as url:
        monkeypatch.setenv("SERVE_PORT", url.rpartition(":")[2])
        found = service(is_started=False)
    assert (found.state, found.text) == ("off", "another program answers there")


def test_mage_of_a_stack() -> None:
    with pages() as url:
        start_stack(url)
        found = servers.mage(True, SECONDS)
    assert found and (found.address, found.state, found.text) == (url, "up", "its scheduler runs")


def test_a_scheduler_that_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pages(scheduler="stopped") as url:
        start_stack(url)
        found = servers.mage(True, SECONDS)
        assert found and (found.state, found.act) == ("down", "make stack-stop stack")
        assert found.text == "its scheduler is stopped, so no trigger runs; restart it"


def test_mage_without_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers.mage(False, SECONDS) is None
    with closed_port() as port:
        monkeypatch.setenv("MAGE_PUBLIC_HOST", f"http://me:secret@127.0.0.1:{port}")
        found = servers.mage(False, SECONDS)
    assert found and (found.address, found.state) == (f"http://127.0.0.1:{port}", "not checked")
    assert found.act == command("doctor") and "secret" not in found.model_dump_json()


def test_a_stopped_stack_is_not_checked() -> None:
    start_stack()
    for found in (servers.mage(False, SECONDS), service(is_started=False)):
        assert found and (found.state, found.act) == ("not checked", "make stack")
        assert found.text == "the stack is stopped, or another user started it"
