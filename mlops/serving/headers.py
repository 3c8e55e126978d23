"""An id for each request, and the headers with which browsers protect themselves."""

from __future__ import annotations

import re
import secrets

from mlops.serving.asgi import REQUEST_ID, App, Message, Receive, Scope, Send, header, notes

ID_HEADER = b"x-request-id"
_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")  # what a client may send: nothing that a log or a page would obey
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_FRESH = (b"cache-control", b"no-store")  # an answer belongs to the champion of its moment


class Headers:
    """Middleware that gives a request its id, and its answer the id and the headers for security.

    The id is the client's own ``X-Request-ID`` if it is 8 to 64 letters, digits, ``-`` or ``_``; else it is
    random. It stands in ``request.state.request_id``, in the answer's header, and in each problem. A route that
    sets ``Content-Security-Policy`` or ``Cache-Control`` itself keeps its own, as the page of the API does.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id(header(scope, ID_HEADER))
        notes(scope)[REQUEST_ID] = request_id.decode()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = message["headers"] = [*message.get("headers", ()), (ID_HEADER, request_id), *_ALWAYS]
                own = {name for name, _ in sent}
                sent.extend(each for each in (_POLICY, _FRESH) if each[0] not in own)
            await send(message)

        await self._app(scope, receive, with_headers)


def _id(given: bytes | None) -> bytes:
    if given and _ID.fullmatch(given):
        return given
    return secrets.token_hex(8).encode()
