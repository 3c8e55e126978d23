"""What the middlewares share: the types of ASGI, what they note about a request, and how they refuse one.

A middleware here is a class that is made with the application it wraps, and called with ``scope``, ``receive`` and
``send``: the ASGI specification, version 3. None of them needs FastAPI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from mlops.serving import problems

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBES = frozenset({"/healthz", "/readyz"})  # for supervisors: without key, limits and log
REQUEST_ID, CLIENT, REFUSED = "request_id", "client", "refused"  # names of notes about a request
NO_KEY, FOREIGN = "key", "host"  # why a middleware refuses a request
TOO_MANY, TOO_FAST, TOO_LARGE, TOO_SLOW = "concurrency", "rate", "size", "slow"
REASONS = (NO_KEY, FOREIGN, TOO_MANY, TOO_FAST, TOO_LARGE, TOO_SLOW)  # of refusals: values of `REFUSED`


@dataclass(frozen=True)
class Refusal:
    """The answer of a middleware that does not let a request pass.

    Parameters
    ----------
    status : int
    reason : str
        One of `REASONS`, for the metrics.
    detail : str
        For the client: what was expected, what came, what to do.
    headers : tuple of (bytes, bytes)
        More headers, in lower case.
    """

    status: int
    reason: str
    detail: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def notes(scope: Scope) -> dict[str, Any]:
    """What the middlewares note about this request; Starlette shows the same as ``request.state``."""
    found: dict[str, Any] = scope.setdefault("state", {})
    return found


def header(scope: Scope, name: bytes) -> bytes | None:
    """A header of the request, by its name in lower case; None where it has none.

    Examples
    --------
    >>> header({"headers": [(b"content-length", b"17")]}, b"content-length")
    b'17'
    """
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None


async def refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Answer with a problem (RFC 9457), and note why."""
    about = notes(scope)
    about[REFUSED] = refusal.reason
    body = problems.body(refusal.status, refusal.detail, about.get(REQUEST_ID, ""))
    kind, length = problems.MEDIA_TYPE.encode(), b"%d" % len(body)
    sent = [(b"content-type", kind), (b"content-length", length), *refusal.headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
