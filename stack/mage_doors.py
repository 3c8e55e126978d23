"""What Mage's guard asks for: `EditorDoor` for the token of this start, `LoginDoor` for a user who is logged in.

A door decides by the handler that Mage chose for a request, so it needs no list of Mage's routes. What it does not
know is closed.
"""

from __future__ import annotations

import contextlib
import hmac
import html
import json
import re
import secrets
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlencode

import jwt
from mage_ai.api.middleware import OAuthMiddleware
from mage_ai.api.utils import authenticate_client_and_token, has_at_least_editor_role
from mage_ai.authentication.oauth2 import decode_token
from mage_ai.data_preparation.repo_manager import get_project_uuid
from mage_ai.orchestration.constants import Entity
from mage_ai.orchestration.db import safe_db_query
from mage_ai.orchestration.db.models.oauth import Oauth2Application, User
from mage_ai.orchestration.db.models.schedules import PipelineSchedule
from mage_ai.server import server
from mage_ai.server.api.constants import COOKIE_OAUTH_TOKEN, HEADER_OAUTH_TOKEN
from mage_ai.settings import DISABLE_TERMINAL, OAUTH2_APPLICATION_CLIENT_ID
from mage_ai.shared.requests import get_bearer_auth_token_from_headers
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import PeriodicCallback
from tornado.iostream import BaseIOStream
from tornado.web import RequestHandler, StaticFileHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from stack.mage_terminal import WAY_ON

Target = tuple[type[RequestHandler], dict[str, Any]]
PAGES = (server.MainPageHandler, server.PipelineRunsPageHandler, server.ManagePageHandler)
WITHOUT_LOGIN = {
    ("GET", server.ApiListHandler, "statuses"),
    ("POST", server.ApiResourceListHandler, "sessions"),
    ("GET", server.ApiResourceListHandler, "oauths"),
    ("GET", server.ApiResourceDetailHandler, "oauths"),
}
"""What Mage's API answers without a login: whether its scheduler runs, and what the sign-in page needs."""
SECONDS_TO_CLOSE = 5
NO_TOKEN = (
    "This editor opens by its link only. The terminal in which make editor runs shows the link, which ends with "
    "?token=... (each start has a new one)."
)
NO_LOGIN = "Log in first: Mage answers here only to its users."
NO_EDITOR = "Your user may look, but not do this: it needs the role of an editor."
NO_TERMINAL = "The terminal is off. To use it, stop the editor and start it with: make editor TERMINAL=1\r\n"


class Door(Protocol):
    """Decides who gets to Mage."""

    def instead(self, request: HTTPServerRequest, route: Any) -> Target | None:
        """Return what answers instead of Mage's handler, if the request may not have it."""

    def say(self, address: str, port: int) -> None:
        """Tell the user how to get in; the server listens now."""


@stream_request_body
class Refusal(RequestHandler):
    """Answers with one sentence, before it reads the body of the request."""

    def initialize(self, status: int, text: str) -> None:
        """Keep the answer."""
        self.status, self.text = status, text

    def prepare(self) -> None:
        """Answer a browser that opens the address with a page, and others as Mage answers."""
        self.set_status(self.status)
        if "text/html" in self.request.headers.get("Accept", ""):
            sentence = html.escape(self.text)
            self.finish(
                f"<!doctype html><meta charset=utf-8><title>Mage</title><p style='margin:3em'>{sentence}"
            )
        else:
            self.finish({"error": {"code": self.status, "message": self.text}})

    def data_received(self, chunk: bytes) -> None:
        """Drop what still arrives."""


class EditorDoor:
    """Lets in who has the token of this start, by a link, and then by a cookie that the link leaves."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)

    def instead(self, request: HTTPServerRequest, route: Any) -> Target | None:
        """Return what answers instead of Mage's handler: the link's own answer, or a refusal."""
        # The port is in the name, because a host's cookies are the same on all its ports.
        cookie = f"mage_editor_{request.host.rpartition(':')[2]}"
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        token = query.pop("token", "")
        if is_page(route) and _is_same(token, self.token):
            return Entrance, {"cookie": cookie, "token": token, "rest": urlencode(query)}
        if cookie in request.cookies and _is_same(request.cookies[cookie].value, self.token):
            return _without_terminal(route)
        return Refusal, {"status": 401, "text": NO_TOKEN}

    def say(self, address: str, port: int) -> None:
        """Print the link, and what to do there."""
        page = f"http://{address}:{port}/pipelines/trip_duration_training/edit"
        print(f"\nopen {page}?token={self.token}\n\n{WAY_ON}\n", flush=True)  # noqa: T201


class Entrance(RequestHandler):
    """Leaves the token as a cookie, and goes on to the same page without it."""

    def initialize(self, cookie: str, token: str, rest: str) -> None:
        """Keep the cookie and the rest of the query."""
        self.cookie, self.token, self.rest = cookie, token, rest

    def get(self, *_: str, **__: str) -> None:
        """Answer the link."""
        self.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
        self.redirect(f"{self.request.path}?{self.rest}" if self.rest else self.request.path)


class LoginDoor:
    """Lets in the users of Mage, with the login that Mage itself gives and takes."""

    def __init__(self) -> None:
        self.lasting: dict[BaseIOStream, HTTPServerRequest] = {}

    def instead(self, request: HTTPServerRequest, route: Any) -> Target | None:
        """Return a refusal, unless the route is open, or the request is one of a user who may do this."""
        handler = route.handler_class
        if is_page(route) or issubclass(handler, StaticFileHandler) or _is_open(request, route):
            return None
        if handler is server.ApiTriggerPipelineHandler and _has_key_of_trigger(request, route):
            return None
        user = user_of(request)
        if user is None:
            return Refusal, {"status": 401, "text": NO_LOGIN}
        is_editor = has_at_least_editor_role(user, Entity.PROJECT, get_project_uuid())
        if not is_editor and (_needs_editor(request, handler) or _names_a_file_elsewhere(route)):
            return Refusal, {"status": 403, "text": NO_EDITOR}
        if issubclass(handler, (WebSocketHandler, server.EventStreamHandler)):
            self.lasting[request.connection.stream] = request  # type: ignore[union-attr]
        return _without_terminal(route)

    def say(self, address: str, port: int) -> None:
        """Say nothing: Mage asks for the login. From now on, close what a login has opened when it ends."""
        PeriodicCallback(self.close_ended, SECONDS_TO_CLOSE * 1000).start()

    def close_ended(self) -> None:
        """Close the websockets of users whose login has ended."""
        self.lasting = {stream: request for stream, request in self.lasting.items() if not stream.closed()}
        for stream, request in self.lasting.items():
            if user_of(request) is None:
                stream.close()


@safe_db_query  # type: ignore[untyped-decorator]
def user_of(request: HTTPServerRequest) -> User | None:
    """Return the user whose login the request shows as Mage's own checks read it: in a header or in its cookie."""
    token = request.headers.get(HEADER_OAUTH_TOKEN) or get_bearer_auth_token_from_headers(request.headers)
    if not token and COOKIE_OAUTH_TOKEN in request.cookies:
        with contextlib.suppress(jwt.PyJWTError, KeyError):
            token = decode_token(request.cookies[COOKIE_OAUTH_TOKEN].value)["token"]
    client = Oauth2Application.query_client(OAUTH2_APPLICATION_CLIENT_ID) if token else None
    if client is None:
        return None
    login, is_valid = authenticate_client_and_token(client.id, token)
    return login.user if is_valid else None


def is_page(route: Any) -> bool:
    """Return whether a route is one of Mage's pages, which hold no data."""
    return route.handler_class in PAGES


def _is_open(request: HTTPServerRequest, route: Any) -> bool:
    resource = {**route.handler_kwargs, **route.path_kwargs}.get("resource", "")
    name = resource.decode() if isinstance(resource, bytes) else resource
    return (request.method, route.handler_class, name) in WITHOUT_LOGIN


@safe_db_query  # type: ignore[untyped-decorator]
def _has_key_of_trigger(request: HTTPServerRequest, route: Any) -> bool:
    """Return whether the request shows the token of the API trigger that it starts, which a user has made."""
    number = route.path_kwargs["pipeline_schedule_id"].decode()
    trigger = PipelineSchedule.query.get(int(number)) if re.fullmatch("[0-9]{1,9}", number) else None
    in_path = route.path_kwargs.get("token", b"").decode()
    token = in_path or get_bearer_auth_token_from_headers(request.headers)
    return bool(trigger and trigger.token and token and _is_same(token, trigger.token))


def _needs_editor(request: HTTPServerRequest, handler: type[RequestHandler]) -> bool:
    """Return whether only editors may do this: the terminal, and changes where Mage asks for no user itself."""
    changes = request.method not in ("GET", "HEAD") and not issubclass(handler, OAuthMiddleware)
    return changes or handler is server.TerminalWebsocketServer


def _names_a_file_elsewhere(route: Any) -> bool:
    """Return whether a part of the path, which Mage decodes once more, leads out of a folder of the project.

    Mage takes it for the name of a form, and returns the file (mage_ai.api.resources.InteractionResource, 0.9.80).
    """
    named = (
        unquote(part.decode() if isinstance(part, bytes) else part)
        for part in route.path_kwargs.values()
        if part
    )
    return any(name.startswith("/") or ".." in re.split(r"[/\\\\]", name) for name in named)


def _without_terminal(route: Any) -> Target | None:
    is_off = DISABLE_TERMINAL and route.handler_class is server.TerminalWebsocketServer
    return (NoTerminal, {}) if is_off else None


class NoTerminal(WebSocketHandler):
    """Tells who opens the terminal's page that it is off; no shell is started."""

    def open(self, *_: str, **__: str) -> None:
        """Write the sentence into the page, as Mage's terminal would."""
        self.write_message(json.dumps(["stdout", NO_TERMINAL]))

    def on_message(self, message: str | bytes) -> None:
        """Do nothing with what somebody types."""


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
