"""A webhook for tests, which receives the messages that Mage sends."""

from __future__ import annotations

import contextlib
import html
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "T0Hook/B0Hook/Xx9qQ2wWw3eEe4rR"  # what is secret in the webhook's URL


@dataclass
class Inbox:
    """Messages in the order of arrival: title and text of those that Slack would show."""

    url: str = ""
    status: int = 200  # of its answers; it keeps no message of another status than 200
    posted: list[Any] = field(default_factory=list)
    authorization: str | None = None  # header of the last one

    @property
    def messages(self) -> list[tuple[str, str]]:
        found = [
            [_shown(block["text"]) for block in each["blocks"] if "text" in block] for each in self.posted
        ]
        return [(title, "\n".join(texts)) for title, *texts in found]

    @property
    def titles(self) -> list[str]:
        return [title for title, _ in self.messages]


def _shown(text: dict[str, Any]) -> str:
    """A text as Slack shows it: a link in ``<>`` where there is markup, and entities everywhere."""
    links = str.maketrans("", "", "<>") if text["type"] == "mrkdwn" else {}
    return html.unescape(text["text"].translate(links))


@contextlib.contextmanager
def receiving() -> Iterator[Inbox]:
    """A webhook like Slack's on a free port, while the block runs."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            inbox.authorization = self.headers["Authorization"]
            if inbox.status == 200:
                inbox.posted.append(posted)
            self.send_response(inbox.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    inbox.url = f"http://127.0.0.1:{server.server_port}/services/{TOKEN}"
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
