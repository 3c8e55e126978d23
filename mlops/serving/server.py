"""Run the service: take the port, then serve with uvicorn, in one process or several."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import socket
import threading
from typing import Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from mlops import config, masking, progress
from mlops.errors import ConfigError, MlopsError
from mlops.serving import keys, metrics
from mlops.serving.app import create_app
from mlops.serving.asgi import App
from mlops.serving.models import Models
from mlops.serving.settings import ServeSettings

WORKERS: Final = (
    "workers"  # folder below `config.state().serving` in which several workers add up their numbers
)
LOG_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"  # after the time
WAITING: Final = 2_048  # connections that wait to be taken
KEEP_SECONDS: Final = 65  # that an idle connection stays open: longer than balancers of load keep theirs
LAST_SECONDS: Final = 10  # for requests that are under way when the service is stopped
START_SECONDS: Final = 60  # for a worker process to import what it needs, on a busy machine

logger = logging.getLogger(__name__)


def serve(settings: ServeSettings) -> int:
    """Serve until a signal ends it; the exit status.

    Raises
    ------
    ConfigError
        When others could ask without a key, or the file of keys cannot be used.
    MlopsError
        When the address cannot be listened on.
    """
    _log()
    keys.require_keys_or_loopback(settings.host, settings.keys_file, without_keys=settings.without_keys)
    if settings.keys_file:
        keys.read(settings.keys_file)
    listening = listen(settings.host, settings.port)
    os.environ.update(settings.as_variables())  # for `worker`
    configured = uvicorn.Config(
        f"{__name__}:{worker.__name__}", factory=True, workers=settings.workers, log_config=None, access_log=False,
        lifespan="on", ws="none", proxy_headers=False, server_header=False, timeout_keep_alive=KEEP_SECONDS,
        timeout_graceful_shutdown=LAST_SECONDS, timeout_worker_healthcheck=START_SECONDS,
    )  # fmt: skip
    logger.info("answering at %s: POST /predict; its description is at /docs", address(listening))
    if settings.workers > 1:
        metrics.share_between_workers(config.state().serving / WORKERS)
        Multiprocess(configured, [listening]).run()
        return 0
    server = uvicorn.Server(configured)
    server.run([listening])
    return 0 if server.started else 1


def worker() -> App:
    """The service in a process of its own, with the settings of its environment."""
    masking.mask_logs()
    _log()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    settings = ServeSettings.from_environment()
    return create_app(Models(settings.services, settings.refresh_seconds), settings)


def _end_with_parent() -> None:
    """End one of several workers when the process that started it was killed: else it would keep the port."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _log() -> None:
    """Log to the standard error; a second call changes nothing."""
    logging.basicConfig(level=logging.INFO, handlers=[progress.to_stderr(LOG_FORMAT)])
    # It warns at each try while the registry is away; `following` says so once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; requests wait in it until the service takes them.

    Raises
    ------
    ConfigError
        When there is no such address here.
    MlopsError
        When the port is taken, or may not be used.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(
            f"host: expected an address of this machine; got {host!r} ({error.strerror})"
        ) from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(WAITING)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise MlopsError(
                f"port {port} is taken; choose another: make serve SERVE_PORT={port + 1}, or --port {port + 1}"
            ) from error
        raise MlopsError(f"{host}, port {port}: cannot listen there ({error.strerror})") from error
    listening.set_inheritable(True)
    return listening


def address(listening: socket.socket) -> str:
    """Where a socket listens, as a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
