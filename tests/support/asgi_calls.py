"""Call an ASGI application without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops.serving.asgi import App, Message, Receive, Scope, Send


@dataclass
class Answer:
    """What an application sent."""

    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        pairs = [(name.decode(), value.decode()) for name, value in self.messages[0]["headers"]]
        assert len(dict(pairs)) == len(pairs), "a header was sent twice"
        return dict(pairs)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status
        return found


def scope(path: str = "/predict", method: str = "POST", client: str = "10.0.0.1", **headers: str) -> Scope:
    """The scope of a request, as uvicorn makes it; ``content_length`` is the header ``content-length``."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": pairs,
        "client": (client, 4711),
        "query_string": b"",
        "state": {},
    }


def pieces(*bodies: bytes) -> Receive:
    """A body that arrives in pieces; afterwards the client closes the connection."""
    left = [
        {"type": "http.request", "body": body, "more_body": number < len(bodies)}
        for number, body in enumerate(bodies, 1)
    ]

    async def receive() -> Message:
        return left.pop(0) if left else {"type": "http.disconnect"}

    return receive


async def send_to(app: App, request: Scope, receive: Receive | None = None) -> Answer:
    """The answer of an application to one request."""
    answer = Answer()

    async def send(message: Message) -> None:
        answer.messages.append(message)

    await app(request, receive or pieces(b""), send)
    return answer


def call(app: App, request: Scope, receive: Receive | None = None) -> Answer:
    """As `send_to`, from a test that is no coroutine."""
    return asyncio.run(send_to(app, request, receive))


def answering(
    seen: list[Scope] | None = None,
    before: Callable[[], Awaitable[None]] | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> App:
    """An application that answers every request with the body that came."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if seen is not None:
            seen.append(scope)
        if before:
            await before()
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return app
