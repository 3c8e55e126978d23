"""The guard in front of Mage's server; `install` is called before Mage starts.

Mage 0.9.80 accepts every Host and Origin, lets each page read its answers (`Access-Control-Allow-Origin: *`), and
checks no user on some routes and when a websocket opens. The guard sees each request before Mage does:

- A page of another site, or of another port of this machine, gets 403. So does a foreign host name: it may lead to
  127.0.0.1 (DNS rebinding).
- Then a door asks for the editor's token or for a login, see `stack.mage_doors`; otherwise 401.

Source: make_app in server/server.py, api/middleware.py in mage_ai 0.9.80; Fetch Metadata (W3C) for `Sec-Fetch-*`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from mage_ai.server import server
from mage_ai.settings import REQUIRE_USER_AUTHENTICATION
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import Application, OutputTransform

from stack.mage_doors import Door, EditorDoor, LoginDoor, Refusal, Target, is_page

ALLOWED_HOSTS = "localhost:*,127.0.0.1:*"
"""Mage's host names with port, unless MAGE_ALLOWED_HOSTS names others. Containers and tunnels change the port."""
FOREIGN = (
    "Mage answers only to its own pages, and under its own host names (MAGE_ALLOWED_HOSTS). This request has {}. "
    "Open Mage at its own address."
)


def install() -> None:
    """Let every server that Mage makes in this process answer through the guard."""
    server.make_app = _guarded(server.make_app)


def _guarded(make_app: Callable[..., Application]) -> Callable[..., Application]:
    @functools.wraps(make_app)
    def make_guarded_app(*arguments: Any, **options: Any) -> Application:
        app = make_app(*arguments, **options)
        guard(app, LoginDoor() if REQUIRE_USER_AUTHENTICATION else EditorDoor())
        return app

    return make_guarded_app


def guard(app: Application, door: Door) -> None:
    """Put the guard with this door into an application."""
    find_handler, listen = app.find_handler, app.listen
    hosts = os.environ.get("MAGE_ALLOWED_HOSTS", ALLOWED_HOSTS).lower().split(",")

    def find_guarded(request: HTTPServerRequest, **more: Any) -> Any:
        route = find_handler(request, **more)
        why = foreign(request, hosts, is_visit=is_page(route))
        target: Target | None = (Refusal, {"status": 403, "text": FOREIGN.format(why)}) if why else None
        target = target or door.instead(request, route)
        if target is None:
            return route
        request.uri = request.path  # Mage logs it; the query may hold a token
        return app.get_handler_delegate(request, *target)

    def listen_and_say(port: int, address: str | None = None, **more: Any) -> Any:
        listening = listen(port, address, **more)
        door.say(address or "127.0.0.1", port)
        return listening

    app.find_handler, app.listen = find_guarded, listen_and_say  # type: ignore[method-assign]
    app.add_transform(OwnPagesOnly)


def foreign(request: HTTPServerRequest, hosts: list[str], is_visit: bool) -> str:
    """Return why a request comes from a page of another server; empty if it does not.

    Parameters
    ----------
    request : HTTPServerRequest
    hosts : list of str
        Allowed values of the header Host, with `*` for any text.
    is_visit : bool
        Whether the address is one of a page. A link on another page may lead there; nothing else may.
    """
    host, headers = request.headers.get("Host", "").lower(), request.headers
    if not any(fnmatchcase(host, allowed.strip()) for allowed in hosts):
        return f"Host {host!r}"
    for name in ("Origin", "Sec-WebSocket-Origin"):
        if name in headers and headers[name].lower().partition("://")[2] != host:
            return f"{name} {headers[name]!r}"
    # Browsers send no Origin with a plain GET, for example of a link or an image.
    site = headers.get("Sec-Fetch-Site", "none")
    is_link = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return "" if site in ("none", "same-origin") or (is_visit and is_link) else f"Sec-Fetch-Site {site!r}"


class OwnPagesOnly(OutputTransform):
    """Take Mage's permission for all pages out of each answer, and forbid others to frame, embed or name it."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Return the answer with changed headers."""
        for name in [name for name in headers if name.startswith("Access-Control-")]:
            del headers[name]
        headers["Content-Security-Policy"] = "frame-ancestors 'self'"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Referrer-Policy"] = "same-origin"
        return status_code, headers, chunk
