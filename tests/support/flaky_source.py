"""A source of months over loopback that fails before it answers, for tools that try again."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class FlakySource:
    """A web server of a folder of months; its first answers are errors.

    Parameters
    ----------
    url : str
    failures : int
        How many requests it still refuses.
    asked : list of str
        Paths that were asked for, refused or not.
    """

    url: str = ""
    failures: int = 0
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def flaky_source(folder: Path, failures: int) -> Iterator[FlakySource]:
    """Serve the folder; the first `failures` requests get status 503."""
    source = FlakySource(failures=failures)

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self):  # of HEAD and GET
            source.asked.append(self.path)
            if source.failures > 0:
                source.failures -= 1
                return self.send_error(503, "try again")
            return super().send_head()

        def log_message(self, *said: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    source.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield source
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
