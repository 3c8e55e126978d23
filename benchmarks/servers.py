"""A web server under measurement: started, asked until it is ready, and ended; its CPU time and memory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

HOST = "127.0.0.1"
START_SECONDS, END_SECONDS = 90.0, 20.0
SETTLED_SECONDS, SETTLED_SHARE = 0.5, 0.1
"""A server does nothing if its processes used less than this share of a core in so many seconds."""


@dataclass(frozen=True)
class Server:
    """A running server with all its processes.

    Parameters
    ----------
    process : subprocess.Popen
        The one that was started; its children belong to the server too.
    url : str
        Its address, without a path.
    """

    process: subprocess.Popen[bytes]
    url: str

    def cpu_seconds(self) -> float:
        """CPU seconds of its processes, and of those that they have waited for."""
        times = [process.cpu_times() for process in self._processes()]
        return float(sum(t.user + t.system + t.children_user + t.children_system for t in times))

    def peak_bytes(self) -> int:
        """Sum of its processes' peak memory."""
        return sum(_peak_bytes(process.pid) for process in self._processes())

    def settle(self) -> None:
        """Wait until it does nothing: its workers have started, and what nobody waits for any more is done."""
        deadline, busy = time.monotonic() + START_SECONDS, True
        while busy and time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(SETTLED_SECONDS)
            busy = self.cpu_seconds() - before > SETTLED_SHARE * SETTLED_SECONDS

    def _processes(self) -> list[psutil.Process]:
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[object], port: int, environment: Mapping[str, str], folder: Path, ready: str
) -> Iterator[Server]:
    """The server that a command starts, from when it is ready until the block ends.

    It is ready when it has answered a GET of `ready`, and all its workers have done what they do at their start.

    Parameters
    ----------
    folder : Path
        Its working folder; its output is in ``server.log`` there.
    ready : str
        Path that is answered with any status below 500 once the server works.

    Raises
    ------
    RuntimeError
        When it ends, or does not answer in time.
    """
    log_file = folder / "server.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, env={**os.environ, **environment},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    server = Server(process, f"http://{HOST}:{port}")
    try:
        _wait_for(server, ready, log_file)
        server.settle()
        yield server
    finally:
        _end(process)


def _wait_for(server: Server, ready: str, log_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(server.url + ready):
        status, late = server.process.poll(), time.monotonic() > deadline
        if status is not None or late:
            how = f"no answer after {START_SECONDS:.0f} s" if late else f"it ended with status {status}"
            log = " ".join(log_file.read_text(encoding="utf-8", errors="replace").split())
            raise RuntimeError(f"server: expected an answer to GET {ready}; {how}: {log[-100:]}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5.0):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and kill what is left of it; each server ends its own workers when asked."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _peak_bytes(number: int) -> int:
    """Peak memory of a process; 0 where the system does not say."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path(f"/proc/{number}/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    return 0
