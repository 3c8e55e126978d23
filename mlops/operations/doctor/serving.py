"""The online service of a started stack: does it answer, with which versions, and are those the champions?

It is asked over HTTP, as its clients ask it. Its address comes from the file with which supervisord starts it.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.request import ProxyHandler, build_opener

from mlops import config
from mlops.errors import command, one_line
from mlops.operations.doctor.finding import Finding, Findings, not_checked
from mlops.registry.signed_version import PREFIX

SECONDS_TO_ANSWER = 5
PATIENCE_SECONDS = 40.0  # it asks the registry every 30 s, and loads a version within a few seconds
PAUSE_SECONDS = 1.0
ABOUT = "online service"
_NO_ANSWERS = (OSError, ValueError, LookupError, TypeError, http.client.HTTPException)


@dataclass(frozen=True)
class _State:
    """What answers for a model, a version's number or nothing, and what the service says is wrong."""

    version: str
    problem: str


def look_over(champions: Mapping[str, str] | None) -> Findings:
    """Findings about the online service; a champion of just now gets some time to take over.

    Parameters
    ----------
    champions : mapping or None
        Numbers of the champions by the names of their models; None where the service's registry cannot be asked.
    """
    url = address()
    if not url:
        text = "earlier code started this stack, which then had none; run make upgrade, which starts it"
        yield Finding(f"{ABOUT}: {text}", is_open=True)
        return
    try:
        _ask(f"{url}/healthz")
    except _NO_ANSWERS as error:
        yield _without_answer(url, error)
        return
    yield Finding(f"{ABOUT} at {url}: it answers")
    try:
        yield from _settled(url, champions)
    except _NO_ANSWERS as error:
        needs_key = getattr(error, "code", None) == 401
        why = "it wants a key" if needs_key else f"its answer cannot be used ({one_line(error, 200)})"
        yield not_checked(f"{ABOUT}: which versions answer", f"{why}; look at {url}/model")


def address() -> str:
    """Address of the online service of a started stack; empty if the stack was started without it."""
    file = config.state().stack / "run" / "serving.json"
    if not file.exists():
        return ""
    words = json.loads(file.read_text(encoding="utf-8"))["command"]
    return f"http://127.0.0.1:{words[words.index('--port') + 1]}"


def _settled(url: str, champions: Mapping[str, str] | None) -> Iterator[Finding]:
    """Findings about the versions, as soon as nothing is open, else when the patience is over."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = list(_versions(_ask(f"{url}/model"), champions))
        if time.monotonic() > deadline or not any(finding.is_open for finding in found):
            yield from found
            return
        time.sleep(PAUSE_SECONDS)


def _versions(report: Mapping[str, Any], champions: Mapping[str, str] | None) -> Iterator[Finding]:
    """Findings about each model that the service answers with, or should."""
    states = {f"{PREFIX}{each['service']}": _state(each) for each in report["services"]}
    lacking = _State("", str(report["problem"]))
    names = sorted({*states, *(champions or {})})
    for name in names:
        yield _compared(f"{ABOUT}: {name}", states.get(name, lacking), name, champions)
    if not names and champions is None:
        yield not_checked(
            f"{ABOUT}: which versions answer", f"none; {lacking.problem or 'no champion is known'}"
        )
    elif not names:
        yield Finding(f"{ABOUT}: no model has a champion yet, so requests get 503")


def _state(found: Mapping[str, Any]) -> _State:
    return _State(str(found["model"]["version"]) if found["model"] else "", str(found["problem"]))


def _compared(about: str, state: _State, name: str, champions: Mapping[str, str] | None) -> Finding:
    """The finding about one model: is what answers its champion?"""
    answers = f"version {state.version} answers" if state.version else "no version answers"
    why = f" ({state.problem})" if state.problem else ""
    if champions is None:
        return not_checked(
            f"{about}: {answers}{why}", "its champion is not known without the tracking server"
        )
    champion = champions.get(name)
    if state.version == champion:
        return Finding(f"{about}: {answers}, the champion{why}")
    if champion is None and not state.version:
        return Finding(f"{about}: it has no champion, so requests get 503")
    if champion is None:
        return Finding(
            f"{about}: {answers}, although no version is champion now; let one be: {command('promote --help')}",
            is_open=True,
        )
    return Finding(
        f"{about}: {answers}, but the champion is version {champion}{why}; correct that, or let another version "
        f"be champion: {command('rollback --help')}. The service's log is {_log()}",
        is_open=True,
    )


def _without_answer(url: str, error: BaseException) -> Finding:
    if isinstance(error, TimeoutError):  # where nothing listens, urllib raises another error
        act = "it is started, but hangs or is overloaded: if that lasts, make stack-stop stack"
        return Finding(f"{ABOUT} at {url}: no answer within {SECONDS_TO_ANSWER} s; {act}", is_open=True)
    why = one_line(error, 200)
    return Finding(
        f"{ABOUT} at {url}: no answer ({why}); start it with make stack. Its log is {_log()}", is_open=True
    )


def _ask(url: str) -> Any:
    opener = build_opener(ProxyHandler({}))  # a proxy cannot reach this machine's loopback
    with opener.open(url, timeout=SECONDS_TO_ANSWER) as answer:
        return json.load(answer)


def _log() -> str:
    return str(config.state().stack / "logs" / "serving.log")
