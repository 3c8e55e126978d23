"""A web server that publishes a folder as TLC's site does: 403 for a missing file, an ETag for others."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Publisher:
    """The server, and the attributes with which a test controls it.

    Attributes
    ----------
    folder : Path
        The published folder.
    refuses : int
        Number of next requests to refuse, for any file; -1 for all.
    asked : list of (str, str)
        Method and file name of each request; a path if it is not a month.
    """

    folder: Path
    url: str = ""
    refuses: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    def body(self, name: str) -> bytes | None:
        """Body of the answer to a request for the file; None is a refusal."""
        if self.refuses:
            self.refuses -= 1
            return None
        with contextlib.suppress(OSError):
            return (self.folder / name).read_bytes()
        return None


@contextlib.contextmanager
def publishing(folder: Path) -> Iterator[Publisher]:
    """A server on a free port of this machine, while the block runs."""
    publisher = Publisher(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            publisher.asked.append((self.command, self.path.removeprefix("/trip-data/")))
            body = publisher.body(self.path.rpartition("/")[2])
            self.send_response(403 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            if body is not None:
                self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()[:16]}"')
            self.end_headers()
            if with_body and body:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    publisher.url = f"http://127.0.0.1:{server.server_port}/trip-data"
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
