"""The online service of a stack as it may answer, played by a small HTTP server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from support.small_server import answering_with

from mlops import config
from mlops.errors import command
from mlops.operations.doctor import serving
from mlops.operations.doctor.finding import Finding, not_checked
from mlops.serving.models import Models
from mlops.serving.status import report
from stack.compose import Compose
from stack.secret_values import fill_in
from stack.supervision import Supervisord

NAME = "trip-duration-green"
AWAY = "the registry cannot be asked: no answer"


def served(version: str = "", problem: str = "") -> dict[str, Any]:
    """The page /model where green may have a version."""
    green = {"service": "green", "model": {"version": version} if version else None, "problem": problem}
    return {"services": [green], "problem": ""}


@contextmanager
def answering(*pages: object, status: int = 200) -> Iterator[None]:
    """The stack's service, which is alive: /model is each of the pages in turn, then always the last one."""
    left = list(pages)

    def answer(asked: BaseHTTPRequestHandler) -> tuple[int, str]:
        if asked.path == "/healthz":
            return 200, json.dumps({"status": "alive"})
        return status, json.dumps(left.pop(0) if len(left) > 1 else left[0])

    with answering_with(answer) as url:
        launched_at(int(url.rpartition(":")[2]))
        yield


def launched_at(port: int) -> str:
    """Write the file from which supervisord starts the service, as the stack does; return the address."""
    folder = config.state().stack
    folder.mkdir(parents=True, exist_ok=True)
    compose = Compose.read(fill_in(folder / ".env", {"SERVING_PORT": str(port)}), folder, {})
    Supervisord(folder).describe_launch("serving", compose.command("serving"), {}, folder)
    return f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(serving, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(serving, "PAUSE_SECONDS", 0.0)


def about(page: object, champions: Mapping[str, str] | None, **how: int) -> Finding:
    """The finding beside that the service answers."""
    with answering(page, **how):
        first, second = serving.look_over(champions)
    assert (first.label, first.text.endswith(": it answers")) == ("ok", True)
    return second


def test_the_champion_answers() -> None:
    expected = f"online service: {NAME}: version 7 answers, the champion"
    assert about(served("7"), {NAME: "7"}) == Finding(expected)
    assert about(served("7", AWAY), {NAME: "7"}) == Finding(f"{expected} ({AWAY})")


def test_another_version_than_the_champion_is_open_and_says_why() -> None:
    assert about(served("6", "version 7, the champion, does not load"), {NAME: "7"}) == Finding(
        f"online service: {NAME}: version 6 answers, but the champion is version 7 (version 7, the champion, does "
        f"not load); correct that, or let another version be champion: {command('rollback --help')}. The "
        f"service's log is {config.state().stack}/logs/serving.log",
        is_open=True,
    )


def test_no_version_although_there_is_a_champion_is_open() -> None:
    for page in (served(), {"services": [], "problem": AWAY}):
        found = about(page, {NAME: "7"})
        assert found.is_open
        assert found.text.startswith(
            f"online service: {NAME}: no version answers, but the champion is version 7"
        )


def test_a_version_that_is_champion_no_more_is_open() -> None:
    found = about(served("6"), {})
    assert found == Finding(
        f"online service: {NAME}: version 6 answers, although no version is champion now; let one be: "
        f"{command('promote --help')}",
        is_open=True,
    )


def test_without_a_champion_there_is_nothing_to_correct() -> None:
    assert about({"services": [], "problem": ""}, {}) == Finding(
        "online service: no model has a champion yet, so requests get 503"
    )
    assert about(served(problem=f"{NAME} has no champion"), {}) == Finding(
        f"online service: {NAME}: it has no champion, so requests get 503"
    )


def test_without_the_registry_nothing_is_compared() -> None:
    why = "its champion is not known without the tracking server"
    assert about(served("6", AWAY), None) == not_checked(
        f"online service: {NAME}: version 6 answers ({AWAY})", why
    )
    assert about({"services": [], "problem": AWAY}, None) == not_checked(
        "online service: which versions answer", f"none; {AWAY}"
    )


def test_a_new_champion_has_time_to_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PATIENCE_SECONDS", 60.0)
    with answering(served("6"), served("6"), served("7")):
        _, found = serving.look_over({NAME: "7"})
    assert found == Finding(f"online service: {NAME}: version 7 answers, the champion")


def test_a_service_with_keys_is_not_checked_further() -> None:
    found = about({}, {NAME: "7"}, status=401)
    assert found.label == "not checked"
    assert found.text.startswith(
        "online service: which versions answer: it wants a key; look at http://127.0.0.1:"
    )


@pytest.mark.parametrize("page", [None, [], {}, {"services": [{"service": "green"}], "problem": ""}])
def test_a_page_of_another_program_is_not_checked_further(page: object) -> None:
    found = about(page, {NAME: "7"})
    assert found.label == "not checked"
    assert found.text.startswith("online service: which versions answer: its answer cannot be used (")


def test_a_service_that_is_away_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SECONDS_TO_ANSWER", 0.2)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = launched_at(listening.getsockname()[1])
        (away,) = serving.look_over({})
        listening.listen()
        (hangs,) = serving.look_over({})
    assert away.is_open
    assert away.text.startswith(f"online service at {url}: no answer (")
    assert "; start it with make stack. Its log is " in away.text
    assert hangs == Finding(
        f"online service at {url}: no answer within 0.2 s; it is started, but hangs or is overloaded: if that "
        "lasts, make stack-stop stack",
        is_open=True,
    )


def test_a_stack_that_earlier_code_started_has_none() -> None:
    (found,) = serving.look_over({})
    assert found == Finding(
        "online service: earlier code started this stack, which then had none; run make upgrade, which starts it",
        is_open=True,
    )


def test_the_page_is_the_services_own() -> None:
    """What this file plays has the keys that `mlops.serving` writes."""
    page = report(Models(["green"])).model_dump(mode="json")
    played = served(problem=page["services"][0]["problem"])
    assert page == {**played, "problem": page["problem"]}
