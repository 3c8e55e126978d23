"""supervisord: its configuration, start and shutdown, and the service states that it reports over its socket."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from stack.compose import ROOT, StackError
from stack.processes import FOLDER_VARIABLE, SUPERVISORD, end, is_alive
from stack.secret_values import write_private, write_variables

LONGEST_SOCKET = 99  # bytes; the kernel allows 107, and supervisord first adds its process id to the name
SECONDS_TO_RESPOND = 60
UMASK = 0o077  # for logs, and for all files that services create
UNREACHABLE = (OSError, http.client.HTTPException)
EVERY_PROGRAM = {
    "autostart": "false",  # `start` follows the compose file's order and health checks
    "startsecs": 5,  # a service that ends sooner counts as not started: supervisord waits before it tries again
    "startretries": 1000,  # in practice no limit: the pause grows by a second with each attempt
    "killasgroup": "true",
    "redirect_stderr": "true",
}


@dataclass(frozen=True)
class Supervisord:
    """The supervisord of a stack's folder, running or not.

    It is started in that folder, and all paths in its configuration are relative, because supervisord's
    configuration file does not allow every character that a folder name may have.

    Parameters
    ----------
    folder : Path
        The stack's folder.
    """

    folder: Path

    @property
    def run(self) -> Path:
        """Folder that exists only while supervisord runs: configuration, launch files, socket."""
        return self.folder / "run"

    @property
    def log(self) -> Path:
        """The log of supervisord itself: which services it started, which ended, which it stopped."""
        return self.folder / "logs" / "supervisord.log"

    @property
    def socket(self) -> Path:
        """Its socket: in the stack's folder, or in a private folder under /tmp if that path is too long."""
        near = self.run / "supervisord.sock"
        if len(os.fsencode(near)) <= LONGEST_SOCKET:
            return near
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(f"/tmp/stack-{os.getuid()}-{digest}") / near.name

    def start(self, programs: Mapping[str, Mapping[str, object]]) -> None:
        """Start supervisord in the background; it does not start its programs yet.

        Parameters
        ----------
        programs : mapping
            For each service name, its options in supervisord's configuration besides `EVERY_PROGRAM`.
            Paths are relative to the stack's folder.

        Raises
        ------
        StackError
            When it does not start; the message contains its output.
        """
        for folder in (self.run, self.log.parent):
            folder.mkdir(exist_ok=True)
        for log in self.log.parent.iterdir():  # earlier versions let everybody read them
            log.chmod(0o600)
        _make_private(self.socket.parent)
        file = self.run / "supervisord.conf"
        write_private(file, self._configuration(programs))
        # No other variable of this process: the services would inherit it.
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            FOLDER_VARIABLE: str(self.folder),
        }
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)],
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS_TO_RESPOND,
            umask=UMASK,  # for its own log, which it opens before it reads its configuration's umask
        )
        if done.returncode != 0:
            raise StackError(
                f"supervisord did not start in {self.folder}: {done.stdout}{done.stderr}".strip()
            )

    def describe_launch(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path
    ) -> None:
        """Write the files from which `stack.launch` reads what to run, at each start of the service."""
        self.run.mkdir(exist_ok=True)
        write_private(self.run / f"{name}.json", json.dumps({"command": command, "cwd": str(cwd)}))
        write_variables(self.run / name / ".env", environment)  # the one with secrets

    def states(self) -> dict[str, dict[str, Any]]:
        """Return supervisord's record of each service, by name; empty if supervisord does not answer."""
        try:
            return {record["name"]: record for record in self._ask("getAllProcessInfo")}
        except UNREACHABLE:
            return {}

    def start_program(self, name: str) -> None:
        """Start a program that does not run; the call does not wait for it.

        Raises
        ------
        StackError
            When supervisord cannot start it; the message contains supervisord's reason.
        """
        try:
            self._ask("startProcess", name, False)
        except Fault as fault:
            if fault.faultCode == Faults.BAD_NAME:
                raise StackError(
                    f"{name}: earlier code started this stack, and its supervisord does not know this service. "
                    "Run `make upgrade`, which starts all services again"
                ) from fault
            raise StackError(f"{name} did not start: {fault.faultString}. Read {self.log}") from fault

    def stop_program(self, name: str) -> None:
        """Stop a program, if it runs, and wait until it has ended.

        A supervisord that does not answer is killed: it would restart the services that are ended after this.
        """
        try:
            self._ask("stopProcess", name)
        except Fault as fault:
            # BAD_NAME: a supervisord that earlier code started does not know the services that came later.
            if fault.faultCode not in (Faults.NOT_RUNNING, Faults.BAD_NAME):
                raise
        except UNREACHABLE:
            end(self.folder, SUPERVISORD, "SIGKILL")

    def exits(self, name: str) -> list[str]:
        """List how a service ended by itself since supervisord's start, for example ``terminated by SIGKILL``.

        supervisord restarted it each time.
        """
        lines = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        since = lines.rpartition("supervisord started with pid")[2]
        return re.findall(rf" exited: {name} \(([^;)]*)", since)

    def shut_down(self) -> None:
        """End supervisord after its programs are stopped, and delete all its files except the log."""
        with contextlib.suppress(*UNREACHABLE, psutil.NoSuchProcess):
            process = psutil.Process(self._ask("getPID"))
            self._ask("shutdown")
            deadline = time.monotonic() + SECONDS_TO_RESPOND
            while is_alive(process) and time.monotonic() < deadline:
                time.sleep(0.02)
        end(self.folder, SUPERVISORD)
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _ask(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    def _configuration(self, programs: Mapping[str, Mapping[str, object]]) -> str:
        near = self.socket.is_relative_to(self.folder)
        sections: dict[str, Mapping[str, object]] = {
            "unix_http_server": {"file": self.socket.relative_to(self.folder) if near else self.socket},
            "supervisord": {
                **({"user": "root"} if os.geteuid() == 0 else {}),  # otherwise it warns that it runs as root
                "umask": f"{UMASK:03o}",
                "pidfile": "run/supervisord.pid",
                "logfile": "logs/supervisord.log",
                "logfile_maxbytes": "10MB",
                "logfile_backups": 1,
            },
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
            **{f"program:{name}": {**EVERY_PROGRAM, **options} for name, options in programs.items()},
        }
        return "\n".join(_section(title, options) for title, options in sections.items())


def _section(title: str, options: Mapping[str, object]) -> str:
    escaped = {name: str(value).replace("%", "%%") for name, value in options.items()}
    return "".join([f"[{title}]\n", *(f"{name} = {value}\n" for name, value in escaped.items())])


def _make_private(folder: Path) -> None:
    """Create a folder that only its owner may enter.

    Raises
    ------
    StackError
        When it belongs to somebody else.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise StackError(f"{folder}: expected a folder of this user; it belongs to another. Remove it.")
    folder.chmod(0o700)
