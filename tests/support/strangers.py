"""What somebody without a key tries against a running Mage: another local user, and a page of another server."""

from __future__ import annotations

import contextlib
import datetime
import functools
import http.server
import json
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests
import zmq

PAGE = """<pre id="said"></pre><script>
const site = SITE, attempts = ATTEMPTS
const ways = {
  socket: (path, text) => new Promise(end => {
    const it = new WebSocket(site.replace("http", "ws") + path)
    it.onopen = () => { it.send(text); setTimeout(() => end("opened"), 2000) }
    it.onerror = () => end("refused")
  }),
  read: path => fetch(site + path, {credentials: "omit"}).then(() => "read", () => "refused"),
  post: (path, text) => fetch(site + path, {method: "POST", mode: "no-cors", credentials: "include", body: text})
    .then(() => "sent", () => "refused"),
  embed: path => new Promise(end => {
    const it = document.createElement("script")
    it.onload = () => end("loaded"); it.onerror = () => end("refused")
    it.src = site + path; document.head.append(it)
  }),
}
async function go() {
  for (const [way, path, text] of attempts)
    said.append(`${way} ${path}: ${await ways[way](path, text)}\\n`)
  said.append("the end")
}
go()
</script>"""
"""Tries what a page may send to another port; the browser adds that port's cookies, except when it reads."""


@contextlib.contextmanager
def foreign_page(folder: Path, site: str, attempts: list[tuple[str, ...]]) -> Iterator[str]:
    """Address of a page on another port of this machine that tries these: way, path and text to send."""
    page = PAGE.replace("SITE", json.dumps(site)).replace("ATTEMPTS", json.dumps(attempts))
    folder.mkdir()
    (folder / "index.html").write_text(page)
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index.html"
        finally:
            server.shutdown()


def knock(url: str, **headers: str) -> int:
    """HTTP status of a request for a websocket, over a plain TCP socket; 101 opens it."""
    site = urlsplit(url)
    said = {
        "Host": site.netloc, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers,
    }  # fmt: skip
    lines = [f"GET {site.path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
    with socket.create_connection((site.hostname, site.port), timeout=30) as stranger:
        stranger.sendall("\r\n".join(lines).encode())
        return int(stranger.recv(64).split()[1])


def status(method: str, url: str, **headers: str) -> int:
    """HTTP status of a request; redirects are not followed."""
    answer = requests.request(method, url, headers=headers, timeout=60, allow_redirects=False, stream=True)
    answer.close()
    return answer.status_code


def listening_ports(process: psutil.Process) -> list[int]:
    """TCP ports on which a process and those that it started listen."""
    family = [process, *process.children(recursive=True)]
    return sorted({
        each.laddr.port for one in family for each in one.connections("tcp") if each.status == psutil.CONN_LISTEN
    })  # fmt: skip


def order(port: int, code: str) -> None:
    """Send a Jupyter kernel an order without a signature, as any local user may, and wait for an answer."""
    now, session = datetime.datetime.now(datetime.timezone.utc).isoformat(), uuid.uuid4().hex
    header = {"msg_id": uuid.uuid4().hex, "session": session, "username": "stranger", "date": now}
    header |= {"msg_type": "execute_request", "version": "5.3"}
    content: dict[str, Any] = {"code": code, "silent": True, "store_history": False, "allow_stdin": False}
    content |= {"user_expressions": {}, "stop_on_error": True}
    parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
    with zmq.Context() as context, context.socket(zmq.DEALER) as channel:
        channel.linger = 0
        channel.connect(f"tcp://127.0.0.1:{port}")
        channel.send_multipart([b"<IDS|MSG>", b"", *parts])
        channel.poll(1000)
