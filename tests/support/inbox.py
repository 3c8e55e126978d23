"""A webhook for tests, which receives the messages that Mage sends."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Inbox:
    """Messages in the order of arrival: title and text."""

    url: str = ""
    messages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [title for title, _ in self.messages]


@contextlib.contextmanager
def receiving() -> Iterator[Inbox]:
    """A webhook like Slack's on a free port, while the block runs."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            texts = [block["text"]["text"] for block in posted["blocks"] if "text" in block]
            inbox.messages.append((texts[0], texts[1]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    inbox.url = f"http://127.0.0.1:{server.server_port}/services/hook"
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
