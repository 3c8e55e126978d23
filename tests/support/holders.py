"""Holders of a lock, for tests of both kinds of lock: a process that can be killed, and competing threads."""

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
    """A process that holds the lock; killed at the end if it still runs."""
    command = [sys.executable, "-c", HOLDS, name]
    with subprocess.Popen(command, cwd=config.PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def most_at_once() -> int:
    """Largest number of threads that held the lock at once, of two that take it five times each."""
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
