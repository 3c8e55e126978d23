"""The services of docker-compose.yml as plain processes of this machine, out of that very file.

Everything lies in one folder: `.env` (secrets and ports), `environment` (what a client in a shell needs),
`postgres/`, `mlflow/` (artefacts), `mage/` (what blocks hand on), `trip_duration/` (Mage's copy of the
project), `logs/`, `run/`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cluster
from compose import LOOPBACK, PROJECT_IN_IMAGE, ROOT, Compose, StackError
from filelock import FileLock
from secret_values import fill_in, write_for_shells
from service import Service, is_free, on_path

BINS = {"mage": Path(sys.executable).parent, "mlflow": ROOT / ".venv-mlflow" / "bin"}
OF_MAGE = (
    "metadata.yaml", "io_config.yaml", "pipelines", "data_loaders", "transformers", "data_exporters",
    "sensors", "callbacks", "conditionals", "custom", "charts", "interactions", "utils",
)  # fmt: skip
NOT_INHERITED = ("MLFLOW_", "MAGE_", "MAKE", "MFLAGS", "PG", "PYTHON", "VIRTUAL_ENV")
PAUSE_SECONDS, CHECK_SECONDS, SECONDS_TO_WAIT = 0.2, 30, 300
Say = Callable[[str], None]


def surroundings() -> dict[str, str]:
    """What the services inherit of this process: all but what others have set for other servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}


@dataclass(frozen=True)
class Stack:
    """A folder, and the services whose data lie in it.

    Parameters
    ----------
    folder : Path
    values : mapping
        Of the variables of the compose file.
    project : Path, optional
        Mage project to serve as it is, instead of a copy of this one.
    extra : mapping
        Environment by service, beside that of the compose file.
    inherited : mapping
        What services get of this machine's environment.
    """

    folder: Path
    values: Mapping[str, str]
    project: Path | None = None
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    inherited: Mapping[str, str] = field(default_factory=surroundings)

    @property
    def state(self) -> Path:
        """Folder of what runs write, Mage's and those of the command line."""
        return self.folder.parent

    @property
    def data(self) -> Path:
        """PostgreSQL's."""
        return self.folder / "postgres" / "data"

    @property
    def served(self) -> Path:
        """The Mage project that is served."""
        return self.project or self.folder / Path(PROJECT_IN_IMAGE).name

    @property
    def compose(self) -> Compose:
        """The compose file, as it is for this folder."""
        places = {"/var/lib/mlops": self.state, PROJECT_IN_IMAGE: self.served}
        return Compose.read(self.values, self.folder, places)

    @property
    def client(self) -> dict[str, str]:
        """Environment of a client on this machine."""
        mage = self.compose.environment("mage")
        names = [name for name in mage if name.startswith("MLFLOW_TRACKING_")]
        return {name: mage[name] for name in [*names, "LOCK_URL", "MLOPS_STATE_DIR"]}

    def services(self) -> list[Service]:
        """In the order in which they start."""
        return [Service(name, self.folder) for name in self.compose.in_order()]

    def service(self, name: str) -> Service:
        """One of them."""
        return next(service for service in self.services() if service.name == name)

    def environment(self, name: str) -> dict[str, str]:
        """Of the service's process and of its health check."""
        if name == "postgres":
            port, password = self.compose.port(name), self.values["POSTGRES_PASSWORD"]
            return cluster.environment(self.data, port, password)
        path = f"{BINS[name]}:{self.inherited.get('PATH', os.defpath)}"
        # The library comes from this checkout, wherever Mage's copy of the project lies.
        own = {"PATH": path, "PYTHONPATH": str(ROOT)} if name == "mage" else {"PATH": path}
        return {**self.inherited, **own, **self.compose.environment(name), **self.extra.get(name, {})}

    def is_healthy(self, name: str) -> bool:
        """Whether the compose file's health check of the service passes."""
        return self.check(name).returncode == 0

    def check(self, name: str) -> subprocess.CompletedProcess[str]:
        """One run of the service's health check."""
        environment = self.environment(name)
        program, *arguments = self.compose.healthcheck(name)
        command = [on_path(program, environment), *arguments]
        try:
            return subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=CHECK_SECONDS,
                cwd=self.folder,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"no answer in {CHECK_SECONDS} s")

    def begin(self, name: str) -> None:
        """Start one service and wait until it is well; what it needs runs.

        Raises
        ------
        StackError
            When it dies or never gets well; it is stopped then.
        """
        service = self.service(name)
        process = service.start(*self._prepare(name))
        try:
            self.get_well(name, process)
        except BaseException:
            service.stop()
            raise

    def get_well(self, name: str, process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until a service that was started, perhaps as `process`, is ready for those that need it.

        Raises
        ------
        StackError
            When it dies or never gets well.
        """
        service, seconds = self.service(name), self.compose.seconds_to_start(name)
        deadline = time.monotonic() + seconds
        while (check := self.check(name)).returncode != 0:
            alive = service.leader()
            if not alive or time.monotonic() > deadline:
                ended = f"ended with {process.poll()}" if process else "ended"
                said = check.stderr.strip().rpartition("\n")[2] or "no answer"
                raise StackError(
                    f"{name} {f'is not well after {seconds:.0f} s' if alive else ended} while starting "
                    f"(its health check: {said}). Its last words, of {service.log}:\n{service.last_words()}"
                )
            time.sleep(PAUSE_SECONDS)
        if name == "postgres":
            cluster.make_databases(self.environment(name), self.values, self.folder)

    def restart(self, name: str) -> None:
        """Stop one service and start it again."""
        self.service(name).stop()
        self.begin(name)

    def stop(self) -> list[str]:
        """End every service, the last one first; names of those that ran."""
        ran = [service for service in reversed(self.services()) if service.family()]
        for service in ran:
            service.stop()
        return [service.name for service in ran]

    def _prepare(self, name: str) -> tuple[list[str], dict[str, str], Path, dict[str, Any]]:
        """Command, environment, folder and user of a service whose places are made."""
        environment = self.environment(name)
        if name == "postgres":
            cluster.make(self.data, environment)
            command = cluster.command(self.data, self.compose.port(name))
            return command, environment, self.data.parent, cluster.user()
        home = self.folder / name
        home.mkdir(exist_ok=True)
        if name == "mage" and self.project is None:
            copy_project(self.served)
        return self.compose.command(name), environment, self.served if name == "mage" else home, {}


def copy_project(target: Path) -> None:
    """Mage's parts of the project, anew: a live Mage rewrites pipelines and triggers, which git must not see."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for source in (ROOT / name for name in OF_MAGE):
        if source.is_dir():
            shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, target)


def start(folder: Path, ports: Mapping[str, str] | None = None, say: Say = print, **how: Any) -> Stack:
    """The stack of a folder, with every service running and well; what runs already is left alone.

    Parameters
    ----------
    folder : Path
        Made, with its secrets, at the first start.
    ports : mapping, optional
        ``MAGE_PORT``, ``MLFLOW_PORT``, ``POSTGRES_PORT``, where others than the last ones are wanted.
    say : callable
        Told how it goes, line by line.
    **how
        `project`, `extra` and `inherited` of `Stack`.

    Raises
    ------
    StackError
        With nothing left of what this call started.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder):
        known = open_stack(folder, **how)
        running = [service.name for service in known.services() if service.leader()] if known else []
        stack = Stack(folder, _values(folder, ports or {}, known if running else None), **how)
        for name in set(stack.compose.in_order()) - set(running):
            stack.service(name).stop()  # what a dead one left, which holds its port
            require_free_port(stack, name)
        _begin_all(stack, running, say)
        write_for_shells(folder / "environment", stack.client)
    return stack


def open_stack(folder: Path, **how: Any) -> Stack | None:
    """The stack of a folder, started or not; nothing where none was ever made."""
    secrets = folder.absolute() / ".env"
    return Stack(folder.absolute(), fill_in(secrets, {}), **how) if secrets.exists() else None


def only_one(folder: Path) -> FileLock:
    """Held by whoever starts or stops the stack of a folder."""
    folder = folder.absolute()
    return FileLock(folder.with_name(f"{folder.name}.lock"), timeout=SECONDS_TO_WAIT)


def _values(folder: Path, ports: Mapping[str, str], running: Stack | None) -> dict[str, str]:
    for name, port in ports.items() if running else ():
        if running and running.values[name] != port:
            raise StackError(
                f"{name}: the stack in {folder} runs with {running.values[name]}; got {port}. "
                "Stop it first: make stack-stop"
            )
    return fill_in(folder / ".env", ports)


def require_free_port(stack: Stack, name: str) -> None:
    """Nothing, if the service can listen where it should.

    Raises
    ------
    StackError
        When somebody else does.
    """
    port = stack.compose.port(name)
    if not is_free(port):
        raise StackError(
            f"port {port}, where {name} should listen, is taken; "
            f"choose another: make stack {name.upper()}_PORT={port + 1}"
        )


def _begin_all(stack: Stack, running: list[str], say: Say) -> None:
    begun: list[str] = []
    try:
        for name in stack.compose.in_order():
            where = f"{name:8} on {LOOPBACK}:{stack.compose.port(name)}"
            if name in running:
                stack.get_well(name)  # an earlier start may have been cut off
                say(f"{where} runs already")
                continue
            began = time.monotonic()
            begun.append(name)
            stack.begin(name)
            say(f"{where} is well after {time.monotonic() - began:.1f} s")
    except BaseException:
        for name in reversed(begun):
            stack.service(name).stop()
        raise
