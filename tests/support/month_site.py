"""A web server that plays scripts about one month, and folders that hold its file."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import socket
import ssl
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops.data import cache, sources
from mlops.month import Month

OCTOBER = Month(2023, 10)


NAME = "green_tripdata_2023-10.parquet"
ZEROS = bytes(2**20)


def parquet(rows: int = 10) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"trip": list(range(rows))}), buffer)
    return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server says.

    Parameters
    ----------
    sent : int or None
        Bytes of the body after which something happens; see the next two. Otherwise the connection ends there.
    hold : Event or None
        The rest is sent once this is set.
    reset : bool
        The connection is reset there, not closed.
    slow_seconds : float
        Seconds before the answer.
    length : str or None
        The header Content-Length, if it is not the body's length; None for no such header.
    more_bytes : int
        Zeros that follow the body as long as the client reads; `Server.sent_bytes` counts them.
    """

    body: bytes = b""
    etag: str | None = '"one"'
    status: int = 200
    sent: int | None = None
    hold: threading.Event | None = None
    reset: bool = False
    slow_seconds: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    length: str | None = "right"
    more_bytes: int = 0


class Server:
    """A loopback web server that plays its scripts; the last answer of a script repeats.

    Parameters
    ----------
    certificate : Path, optional
        A certificate with its key, for https.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.head: list[Answer] = []
        self.get: list[Answer] = []
        self.requests: list[tuple[str, str]] = []
        self.authorizations: set[str | None] = set()
        self.sent_bytes = 0
        self.reasons: dict[int, str] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._http.server_port}/trip-data"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def holds(self, body: bytes, etag: str | None = '"one"', **more: Any) -> None:
        self.head = [Answer(body, etag)]
        self.get = [Answer(body, etag, **more)]

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.requests)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._play(server.head, with_body=False)

            def do_GET(self) -> None:
                self._play(server.get, with_body=True)

            def _play(self, script: list[Answer], with_body: bool) -> None:
                server.requests.append((self.command, self.path))
                server.authorizations.add(self.headers.get("Authorization"))
                answer = script.pop(0) if len(script) > 1 else script[0]
                time.sleep(answer.slow_seconds)
                self.send_response(answer.status, server.reasons.get(answer.status))
                if answer.length is not None:
                    right = answer.length == "right"
                    self.send_header("Content-Length", str(len(answer.body)) if right else answer.length)
                if answer.etag:
                    self.send_header("ETag", answer.etag)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(answer.body[: answer.sent])
                    if answer.hold and answer.hold.wait(20):
                        self.wfile.write(answer.body[answer.sent :])
                    with contextlib.suppress(ConnectionError):  # the client has read enough
                        for _ in range(answer.more_bytes // len(ZEROS)):
                            server.sent_bytes += self.wfile.write(ZEROS)
                    if answer.reset:
                        self.connection.setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                        os.close(self.connection.detach())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def fetch(source: str, folder: Path, month: Month = OCTOBER) -> cache.MonthFile:
    return cache.fetch(sources.open_source(source), "green", month, folder)


def folder_with(path: Path, body: bytes) -> str:
    path.mkdir(parents=True, exist_ok=True)
    (path / NAME).write_bytes(body)
    return str(path)


def kept(cache: Path) -> set[str]:
    """Names of all files in the cache, but for locks."""
    return {path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}
