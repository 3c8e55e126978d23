"""Are the servers up? Each is asked once, briefly, and nothing is changed; `doctor` looks deeper."""

from __future__ import annotations

import errno
import http.client
import json
import os
from typing import Any, Final
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from mlops import config
from mlops.errors import command, one_line
from mlops.operations.doctor import mage_service, serving, stack
from mlops.registry import local_stack
from mlops.registry.signed_version import PREFIX
from mlops.registry.status_records import Answering, ServerStatus

SERVICE, MAGE = "online service", "Mage"
_NO_ANSWERS = (OSError, ValueError, LookupError, TypeError, http.client.HTTPException)
_START: Final = "make stack"
_HANGS: Final = "make stack-stop stack"
_DEFAULT_PORT: Final = "8000"  # of `python -m mlops.serving`


def online_service(is_started: bool, seconds: float) -> ServerStatus:
    """Whether the online service answers, and with which versions.

    Without a stack, nothing says that it should run: then it is asked where this shell would start it.

    Parameters
    ----------
    is_started : bool
        Whether this state folder has a stack that is started.
    seconds : float
        For each of two answers.
    """
    if _is_stopped(is_started):
        return _stopped(SERVICE)
    url = serving.address() if is_started else _own_address()
    if not url:
        text = "earlier code started this stack, which then had no online service"
        return ServerStatus(name=SERVICE, address="", state="down", text=text, act="make upgrade")
    try:
        is_ours = _ask(f"{url}/healthz", seconds) == {"status": "alive"}
    except _NO_ANSWERS as error:
        return _without_answer(url, error, is_started, seconds)
    if not is_ours and not is_started:
        text = "another program answers there"
        return ServerStatus(name=SERVICE, address=url, state="off", text=text, act="")
    return _answering(url, seconds)


def mage(is_started: bool, seconds: float) -> ServerStatus | None:
    """Whether Mage's scheduler runs; None where no Mage is known.

    Parameters
    ----------
    is_started, seconds
        As in `online_service`.
    """
    if _is_stopped(is_started):
        return _stopped(MAGE)
    host = stack.mage(is_started).variables.get("MAGE_PUBLIC_HOST")
    if not host:
        return None
    address = config.without_credentials(host)
    try:
        state = mage_service.scheduler_status(host, seconds)
    except _NO_ANSWERS as error:
        text = f"no answer{_why(error, seconds)}"
        act = _HANGS if _is_timeout(error) else _START
        act = act if is_started else command("doctor")
        known = "down" if is_started else "not checked"
        return ServerStatus(name=MAGE, address=address, state=known, text=text, act=act)
    if state == "running":
        return ServerStatus(name=MAGE, address=address, state="up", text="its scheduler runs", act="")
    text = f"its scheduler is {one_line(state, 40)}, so no trigger runs; restart it"
    act = _HANGS if is_started else command("doctor")
    return ServerStatus(name=MAGE, address=address, state="down", text=text, act=act)


def _is_stopped(is_started: bool) -> bool:
    return local_stack.exists() and not is_started


def _stopped(name: Any) -> ServerStatus:
    text = "the stack is stopped, or another user started it"
    return ServerStatus(name=name, address="", state="not checked", text=text, act=_START)


def _own_address() -> str:
    host = os.environ.get("SERVE_HOST") or "127.0.0.1"
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # it listens on all of them
    return f"http://{shown}:{os.environ.get('SERVE_PORT') or _DEFAULT_PORT}"


def _answering(url: str, seconds: float) -> ServerStatus:
    """What the service answers with; it is up in any case."""
    try:
        report = _ask(f"{url}/model", seconds)
        found = tuple(_one(each) for each in report["services"])
    except _NO_ANSWERS as error:
        needs_key = getattr(error, "code", None) == 401
        why = "it wants a key" if needs_key else one_line(error, 160)
        text = f"it answers, but not with which versions ({why})"
        key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
        act = f"curl{key} {url}/model"
        return ServerStatus(name=SERVICE, address=url, state="not checked", text=text, act=act)
    versions = ", ".join(f"{each.model} {each.version}" for each in found if each.version)
    text = f"it answers with {versions}" if versions else "it answers, but has no model yet"
    return ServerStatus(name=SERVICE, address=url, state="up", text=text, act="", answering=found)


def _one(each: Any) -> Answering:
    version = str(each["model"]["version"]) if each["model"] else None
    return Answering(model=f"{PREFIX}{each['service']}", version=version, problem=str(each["problem"]))


def _without_answer(url: str, error: Exception, is_started: bool, seconds: float) -> ServerStatus:
    if is_started:
        act = _HANGS if _is_timeout(error) else _START
        text = f"no answer{_why(error, seconds)}"
        return ServerStatus(name=SERVICE, address=url, state="down", text=text, act=act)
    if _is_refused(error):
        text = "not started here"
        return ServerStatus(name=SERVICE, address=url, state="off", text=text, act="")
    text = f"something is there, but gives no answer of the service{_why(error, seconds)}"
    return ServerStatus(name=SERVICE, address=url, state="off", text=text, act="")


def _why(error: Exception, seconds: float) -> str:
    return f" within {seconds:g} s" if _is_timeout(error) else f" ({one_line(error, 160)})"


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)


def _is_refused(error: Exception) -> bool:
    reason = error.reason if isinstance(error, URLError) else error
    return getattr(reason, "errno", None) == errno.ECONNREFUSED


def _ask(url: str, seconds: float) -> Any:
    opener = build_opener(ProxyHandler({}))  # a proxy cannot reach this machine's loopback
    with opener.open(url, timeout=seconds) as answer:
        return json.load(answer)
