"""``GET /status``: whether all is well, for people and for programs, as the registry was when it was read last.

The thread that follows the champions reads the registry. A request never does.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from mlops import config
from mlops.errors import TrackingError, command
from mlops.registry import attention, state_disk, status_page
from mlops.registry.status_records import Answering, DiskStatus, ModelStatus, ServerStatus, Status
from mlops.serving import queries
from mlops.serving.problems import FieldError, shown, unprocessable

logger = logging.getLogger(__name__)

PAUSES: Final = 2  # questions which version is champion, for each look at the status
HTML, JSON = "html", "json"
_DIGEST: Final = base64.b64encode(hashlib.sha256(status_page.STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""The page's ``Content-Security-Policy``: its own style and its empty icon, and nothing else."""
PARAMETERS: Final = (
    queries.parameter(
        "format", "html or json; without it, as the header `Accept` says, else html.", JSON, is_required=False
    ),
)
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": Status,
        "description": "The status.",
        "content": {"text/html": {"schema": {"type": "string"}}},
    },
}


@dataclass(frozen=True)
class _Known:
    """What the registry had and what answered then, and when that was."""

    models: tuple[ModelStatus, ...] = ()
    answering: tuple[Answering, ...] = ()
    read_at: datetime | None = None


class Overview:
    """What an operator must know; one thread looks, and any thread may read what is known.

    Parameters
    ----------
    pause : float
        Seconds between two looks.

    Attributes
    ----------
    is_away : bool
        Whether the registry did not answer when it was asked last.
    """

    def __init__(self, pause: float) -> None:
        self._pause, self._next = pause, 0.0
        self._known = _Known()
        self.is_away = False

    def look(self, registry: Any, answering: Sequence[Answering]) -> None:
        """Read the status of all models, if it is time to; `answering` is what the service answers with now.

        Raises
        ------
        TrackingError
            When the registry does not answer; what was known stays.
        """
        if time.monotonic() < self._next and self._known.answering == tuple(answering):
            return
        now = datetime.now(timezone.utc)
        try:
            self._known = _Known(registry.statuses(now), tuple(answering), now)
        except TrackingError:
            raise
        except Exception:  # the models answer all the same
            logger.exception("the status cannot be read")
        self._next = time.monotonic() + self._pause

    def status(self, problem: str) -> Status:
        """What is known; `problem` says why the registry cannot be asked now, and is empty if it can."""
        known = self._known
        servers = [_store(known.read_at, problem, is_away=self.is_away), _service(known.answering)]
        return attention.status(known.models, servers, _disk(), datetime.now(timezone.utc), known.read_at)

    def answer(self, request: Request, problem: str) -> Response:
        """The answer to a request: the page, or the same as JSON.

        Raises
        ------
        ProblemError
            422 for a parameter that it cannot have.
        """
        wanted = _wanted(request)
        found = self.status(problem)
        if wanted == JSON:
            return Response(found.model_dump_json(), media_type="application/json")
        notes = [f"Now {problem}"] if problem and found.read_at else []
        return HTMLResponse(status_page.page(found, notes), headers={"content-security-policy": POLICY})


def _wanted(request: Request) -> str:
    given = queries.read(request, ["format"]).get("format")
    if given is None:
        accepted = request.headers.get("accept", "")
        return JSON if "application/json" in accepted and "text/html" not in accepted else HTML
    if given not in (HTML, JSON):
        raise unprocessable([FieldError("format", f"{HTML} or {JSON}", shown(given))])
    return given


def _store(read_at: datetime | None, problem: str, *, is_away: bool) -> ServerStatus:
    address = config.without_credentials(config.tracking_uri())
    known: Literal["up", "down", "not checked"]
    known, text, act = "up", "it answers", ""
    if is_away:
        known, text, act = "down", problem, command("doctor")
    elif read_at is None:
        known, text, act = "not checked", "it was not asked yet", command("status")
    return ServerStatus(name="tracking store", address=address, state=known, text=text, act=act)


def _service(answering: Sequence[Answering]) -> ServerStatus:
    """The service itself: whoever reads the answer knows that it is up."""
    versions = ", ".join(f"{each.model} {each.version}" for each in answering if each.version)
    text = f"it answers with {versions}" if versions else "it answers, but has no model yet"
    return ServerStatus(
        name="online service", address="", state="up", text=text, act="", answering=tuple(answering)
    )


def _disk() -> DiskStatus | None:
    with contextlib.suppress(OSError):
        return state_disk.measure(0.0)
    return None
