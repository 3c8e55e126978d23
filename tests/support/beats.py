"""A dead man's switch for tests: an address that remembers which paths were asked for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "5f1c0a9be2d34c17Xx9q"  # the part of the address that is secret


@dataclass
class Beats:
    """Requests in the order of arrival: method and path below the secret part."""

    url: str = ""
    status: int = 200  # of its answers
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def watching() -> Iterator[Beats]:
    """Such an address on a free port, while the block runs."""
    beats = Beats()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            beats.asked.append(f"{self.command} {self.path.removeprefix(f'/ping/{SECRET}')}")
            self.send_response(beats.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"OK")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    beats.url = f"http://127.0.0.1:{server.server_port}/ping/{SECRET}"
    try:
        yield beats
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
