"""Who holds a lock, in the tests of both kinds: a process that can be killed, and threads that want it at once."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from mlops import config
from mlops.locks import hold

NAME = "trip-duration-green.work"
HERE = socket.gethostname()[:30]
HOLDS = """
import logging, sys, time
from mlops.locks import hold
logging.basicConfig(level="INFO", format="%(message)s")
with hold(sys.argv[1], about="green 2023-06"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def another_process(name: str = NAME) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock; killed at the end, if it still is there."""
    command = [sys.executable, "-c", HOLDS, name]
    with subprocess.Popen(command, cwd=config.PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def most_at_once() -> int:
    """How many of two threads, which want the lock five times each, had it at once."""
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with hold(NAME):
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most
