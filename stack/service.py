"""A service's process and all that it started: begun, looked at, ended."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from compose import LOOPBACK, StackError

MARK = "STACK_SERVICE"  # environment variable by which a service's orphans are known
SECONDS_TO_STOP = 15.0
POLITE = {"postgres": signal.SIGINT}  # on SIGTERM it waits for its clients to leave
PATIENCE = {"postgres": 120.0}  # it writes out its memory; killed, it must replay its journal
LINES_OF_LOG = 15
_started: list[subprocess.Popen[bytes]] = []  # kept, so that this process reaps them


@dataclass(frozen=True)
class Service:
    """One of the stack's services, whether it runs or not.

    Parameters
    ----------
    name : str
    folder : Path
        The stack's.
    """

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        """What the process says, since its last start."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def mark(self) -> str:
        """Value of the variable that every process of the service inherits."""
        return f"{self.name} in {self.folder}"

    @property
    def pid_file(self) -> Path:
        """Where the process's number is kept, and when it began."""
        return self.folder / "run" / f"{self.name}.json"

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, user: Mapping[str, Any]
    ) -> subprocess.Popen[bytes]:
        """The process, in a session of its own, that outlives this one."""
        for folder in (self.log.parent, self.pid_file.parent):
            folder.mkdir(exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        marked = {**environment, MARK: self.mark}
        with self.log.open("wb") as output:
            process = subprocess.Popen(
                [on_path(command[0], environment), *command[1:]],
                env=marked,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **user,
            )
        _started.append(process)
        self.pid_file.write_text(json.dumps({"pid": process.pid, "began": _began(process.pid)}))
        return process

    def leader(self) -> psutil.Process | None:
        """The process that was started, if it lives: not another one that has its number by now."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            kept = json.loads(self.pid_file.read_text())
            process = psutil.Process(kept["pid"])
            if _began(process.pid) == kept["began"] and _alive(process):
                return process
        return None

    def family(self) -> list[psutil.Process]:
        """Every living process of the service, also where the one that was started is gone.

        PostgreSQL's write their titles over their environment, but end with the first one.
        """
        found: set[psutil.Process] = set()
        if leader := self.leader():
            found.add(leader)
            with contextlib.suppress(psutil.NoSuchProcess):
                found.update(leader.children(recursive=True))
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark:
                    found.add(process)
        return [process for process in found if _alive(process)]

    def stop(self) -> None:
        """End all of the family, politely at first; nothing of it outlives this call."""
        polite = POLITE.get(self.name, signal.SIGTERM)
        leader = self.leader()
        asked = [leader] if leader and self.name in POLITE else self.family()
        for process in asked:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(polite)
        deadline = time.monotonic() + PATIENCE.get(self.name, SECONDS_TO_STOP)
        while (family := self.family()) and time.monotonic() < deadline:
            time.sleep(0.05)
        while family:
            _kill(family)
            family = self.family()
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL to the process that was started, and to it alone, as if memory had run out."""
        if leader := self.leader():
            leader.kill()
            while _alive(leader):
                time.sleep(0.01)

    def last_words(self) -> str:
        """The end of the log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-LINES_OF_LOG:])


def on_path(program: str, environment: Mapping[str, str]) -> str:
    """The program's file, on the environment's PATH."""
    found = shutil.which(program, path=environment["PATH"])
    if found is None:
        raise StackError(
            f"{program}: this program is not on {environment['PATH']}. `make install` builds both environments."
        )
    return found


def is_free(port: int) -> bool:
    """Whether a process may listen there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    time.sleep(0.05)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _began(pid: int) -> str:
    """When a process began: two of the same number never tell the same.

    In the kernel's own ticks where there are some, since they do not change when the clock is set.
    """
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return str(psutil.Process(pid).create_time())
