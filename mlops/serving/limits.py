"""How often, how much at once and how large: what is above a limit gets 429, 413 or 408, before a route runs.

Limits count in one process: with several workers, each has its own. Nothing here needs a lock, because the
event loop runs one request at a time between two awaits.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlops.serving import rider
from mlops.serving.asgi import (
    CLIENT,
    PROBES,
    TOO_FAST,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    App,
    Message,
    Receive,
    Refusal,
    Scope,
    Send,
    header,
    notes,
    refuse,
)

MOST_CLIENTS = (
    20_000  # that the rate is known of: about 4 MB; the one that was quiet for longest is forgotten
)
WITHOUT_LIMIT = PROBES | rider.PATHS.keys()  # a page whose parts are refused would be blank
_LENGTH, _CHUNKED = b"content-length", b"transfer-encoding"


@dataclass(frozen=True)
class Limits:
    """Limits of one process.

    Parameters
    ----------
    requests_per_second : float
        For each client, over time; 0 is no limit.
    burst : int
        Requests that a client who was quiet may send at once.
    most_at_once : int
        Requests that are read and answered at the same time, of all clients together.
    most_bytes : int
        Size of a body.
    body_seconds : float
        Time until the whole body must be there.
    """

    requests_per_second: float = 0.0
    burst: int = 20
    most_at_once: int = 100
    most_bytes: int = 2**20
    body_seconds: float = 10.0


class Rate:
    """A token bucket for each client: `burst` tokens, `per_second` new ones; a request takes one.

    Stored is one number per client: the moment when its bucket is full again.

    Examples
    --------
    >>> rate = Rate(per_second=10, burst=2)
    >>> [rate.wait("a", now=0.0), rate.wait("a", now=0.0), rate.wait("a", now=0.0), rate.wait("b", now=0.0)]
    [0.0, 0.0, 0.1, 0.0]
    """

    def __init__(self, per_second: float, burst: int, most_clients: int = MOST_CLIENTS) -> None:
        self._each, self._room, self._most = 1 / per_second, (burst - 1) / per_second, most_clients
        self._full_at: dict[str, float] = {}  # in the order of the last request

    def wait(self, client: str, now: float) -> float:
        """Seconds until this client may send the request; 0 if it may now, and then the token is taken."""
        full_at = max(self._full_at.pop(client, now), now)
        too_early = full_at - now - self._room
        allowed = too_early < 1e-9
        self._full_at[client] = full_at + self._each if allowed else full_at
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]
        return 0.0 if allowed else too_early


class LimitCheck:
    """Middleware that keeps requests within the limits; the body that it lets pass is complete.

    A client is the name of its key, else its address; an IPv6 address counts by its first 64 bits, which one
    customer of a provider has for itself. The probes ``/healthz`` and ``/readyz`` have no limits,
    nor has the page for riders.

    Parameters
    ----------
    app : App
    limits : Limits
    clock : callable, optional
        Seconds, for tests.
    """

    def __init__(self, app: App, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._limits, self._clock = app, limits, clock
        per_second = limits.requests_per_second
        self._rate = Rate(per_second, limits.burst) if per_second else None
        self._at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the server."""
        if scope["type"] != "http" or scope["path"] in WITHOUT_LIMIT:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await refuse(scope, send, refusal)
            return
        self._at_once += 1
        try:
            whole = await self._read(scope, receive) if _has_body(scope) else receive
            if isinstance(whole, Refusal):
                await refuse(scope, send, whole)
            elif whole:
                await self._app(scope, whole, send)
        finally:
            self._at_once -= 1

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Why the request is refused before its body is read, if it is."""
        limits = self._limits
        length = header(scope, _LENGTH)
        if length and not (length.isdigit() and len(length) < 16 and int(length) <= limits.most_bytes):
            return self._too_large(length.decode("latin-1"))
        if self._rate:
            seconds = self._rate.wait(_client(scope), self._clock())
            if seconds:
                return _too_fast(limits, seconds)
        if self._at_once >= limits.most_at_once:
            return _too_many(limits)
        return None

    async def _read(self, scope: Scope, receive: Receive) -> Receive | Refusal | None:
        """The whole body, to be received by the application; None if the client is gone."""
        task, is_late = asyncio.current_task(), False

        def stop() -> None:
            nonlocal is_late
            is_late = True
            if task:
                task.cancel()

        timer = asyncio.get_running_loop().call_later(self._limits.body_seconds, stop)
        try:
            message = await receive()
            if message.get("more_body"):
                message = await self._join(message, receive)
        except asyncio.CancelledError:
            if not is_late:  # the server ends
                raise
            return self._too_slow()
        finally:
            timer.cancel()
        if message["type"] == "http.disconnect":
            return None
        return (
            self._too_large("more")
            if len(message["body"]) > self._limits.most_bytes
            else _again(message, receive)
        )

    async def _join(self, message: Message, receive: Receive) -> Message:
        """All pieces of a body in one message, until it is complete or too large."""
        pieces, size = [message["body"]], len(message["body"])
        while message.get("more_body") and size <= self._limits.most_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return message
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
        return {"type": "http.request", "body": b"".join(pieces), "more_body": False}

    def _too_large(self, got: str) -> Refusal:
        most = self._limits.most_bytes
        return Refusal(
            413,
            TOO_LARGE,
            f"body: expected at most {most:,} bytes; got {got[:20]}. Send a long list in parts.",
        )

    def _too_slow(self) -> Refusal:
        seconds = self._limits.body_seconds
        close = ((b"connection", b"close"),)
        return Refusal(
            408, TOO_SLOW, f"body: expected all of it within {seconds:g} seconds. Send it again.", close
        )


def _too_fast(limits: Limits, seconds: float) -> Refusal:
    after = max(1, math.ceil(seconds))
    detail = (
        f"expected at most {limits.requests_per_second:g} requests a second from one client, and {limits.burst} "
        f"at once; got more. Wait {after} s, or send lists, each of which counts as one request."
    )
    return Refusal(429, TOO_FAST, detail, ((b"retry-after", b"%d" % after),))


def _too_many(limits: Limits) -> Refusal:
    detail = (
        f"expected at most {limits.most_at_once} requests at the same time, of all clients together; got more. "
        "Wait 1 s and send it again."
    )
    return Refusal(429, TOO_MANY, detail, ((b"retry-after", b"1"),))


def _has_body(scope: Scope) -> bool:
    return any(name in (_LENGTH, _CHUNKED) for name, _ in scope["headers"])


def _client(scope: Scope) -> str:
    """Who sends a request: the name of its key, else its address; see `LimitCheck`."""
    named: str | None = notes(scope).get(CLIENT)
    if named:
        return f"key {named}"
    host = scope["client"][0] if scope.get("client") else ""
    return _network(host) if ":" in host else host


def _network(host: str) -> str:
    """The first 64 bits of an IPv6 address; an IPv4 address that is written as one stands for itself."""
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return str(host)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))


def _again(message: Message, receive: Receive) -> Receive:
    """Receives this message, then what comes after it."""
    is_taken = False

    async def first() -> Message:
        nonlocal is_taken
        if is_taken:
            return await receive()
        is_taken = True
        return message

    return first
