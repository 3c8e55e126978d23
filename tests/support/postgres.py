"""A temporary PostgreSQL for tests, on a free port; it can be stopped and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.stack_process import postgres_programs

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Postgres:
    """A server in a folder; its only role is `postgres`, without a password."""

    programs: Path
    folder: Path
    port: int
    user: dict[str, Any]

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/postgres"

    def start(self) -> None:
        listen = f"-h {LOOPBACK} -p {self.port} -k {self.folder} -F"  # -F: no fsync
        self._run("pg_ctl", "start", "-w", "-l", f"{self.folder / 'log'}", "-o", listen)

    def stop(self) -> None:
        """Stop the server and all sessions at once, as when the machine is switched off."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.programs / program, "-D", self.folder / "cluster", *arguments],
            cwd=self.folder,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would stay open while the server runs
            stderr=subprocess.DEVNULL,
            timeout=60,
            **self.user,
        )
        log = self.folder / "log"
        assert done.returncode == 0, f"{program}: {log.read_text() if log.exists() else done.returncode}"


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server while the block runs; the test is skipped where none is installed."""
    programs, user = postgres_programs()
    # Not in pytest's folders: other users cannot enter them, and their paths are too long for a socket.
    with tempfile.TemporaryDirectory(prefix="postgres-") as place:
        if user:
            shutil.chown(place, user["user"])
        server = Postgres(programs, Path(place), _free_port(), user)
        server._run("initdb", "--username", "postgres", "--auth", "trust", "--no-sync")
        try:
            server.start()
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # a test may have stopped it
                server.stop()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])
