"""A loopback server that answers what a test says, as MLflow's server would."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FINE, BROKEN_OFF = (200, {"registered_model": {"name": "m"}}), (0, {})


REFUSED = (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "no such name"})


AWAY = (503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "the database is away"})


class Server:
    """A loopback server: its answer to the first check, and those to other requests, the last one ever after.

    The status 0 breaks the connection off.
    """

    def __init__(self, first: int = 200, *answers: tuple[int, dict[str, Any]], port: int = 0) -> None:
        left, self.asked = [*answers], 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                if "/experiments/search" in handler.path or not left:
                    status, content = first, {}
                else:
                    self.asked += 1
                    status, content = left.pop(0) if len(left) > 1 else left[0]
                if not status:
                    handler.close_connection = True
                    return
                body = json.dumps(content).encode()
                handler.send_response(status)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._http.server_port
        self.uri = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


Serve = Callable[..., Server]
