"""The processes of a stack, found by the environment that supervisord gives them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from stack.compose import LOOPBACK, StackError

FOLDER_VARIABLE = "STACK_FOLDER"  # set for supervisord, inherited by all processes that it starts
NAME_VARIABLE = "SUPERVISOR_PROCESS_NAME"  # set by supervisord for each service
SUPERVISORD = ""  # the name for supervisord itself, which does not have NAME_VARIABLE
SECONDS_TO_END = 5.0


def family(folder: Path, name: str) -> list[psutil.Process]:
    """Find all running processes of one service, even if its main process is gone.

    Parameters
    ----------
    folder : Path
        The stack's folder.
    name : str
        Name of a service, or `SUPERVISORD`.

    Notes
    -----
    The child processes of PostgreSQL's server are not found, because they overwrite their environment with
    their titles. They end with the server.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            variables = process.environ()
            belongs = variables.get(FOLDER_VARIABLE) == str(folder)
            if belongs and variables.get(NAME_VARIABLE, SUPERVISORD) == name and process.pid != os.getpid():
                found.append(process)
    return [process for process in found if is_alive(process)]


def end(folder: Path, name: str, stop_signal: str = "SIGTERM", seconds: float = SECONDS_TO_END) -> None:
    """End all processes of a service: first a signal, then SIGKILL for those that still run after `seconds`."""
    _send(family(folder, name), signal.Signals[stop_signal])
    deadline = time.monotonic() + seconds
    while (left := family(folder, name)) and time.monotonic() < deadline:
        time.sleep(0.05)
    while left:
        _send(left, signal.SIGKILL)
        time.sleep(0.05)
        left = family(folder, name)


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie, which has ended but was not reaped yet, does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def on_path(program: str, environment: Mapping[str, str]) -> str:
    """Return the path of the program on the environment's PATH.

    Raises
    ------
    StackError
        When the program is not there.
    """
    found = shutil.which(program, path=environment["PATH"])
    if found is None:
        raise StackError(
            f"{program}: this program is not on the PATH {environment['PATH']}. "
            "Run `make install`, which builds the environments."
        )
    return found


def is_free(port: int) -> bool:
    """Return whether a process can listen on this port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Return whether a process listens on this port of 127.0.0.1."""
    with socket.socket() as caller:
        return caller.connect_ex((LOOPBACK, port)) == 0


def _send(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
