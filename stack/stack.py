"""A stack: prepare, start, check and stop the services of docker-compose.yml as processes on this machine.

Everything is in one folder: `.env` (secrets and ports), `environment` (for a client in a shell: it reads
`client/.env`), `postgres/`, `mlflow/` (artefacts), `mage/` (output of blocks), `serving/` (empty),
`trip_duration/` (Mage's copy of the project), `logs/`, and, while it runs, `run/` (supervisord's files).
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from stack import cluster, mage_project, schema
from stack.compose import FILE, LOOPBACK, PROJECT_IN_IMAGE, ROOT, Compose, StackError
from stack.processes import end, family, is_free, listens, on_path
from stack.secret_values import fill_in, for_start, give_to_shells, keep
from stack.supervision import Supervisord

BINS = {"mage": Path(sys.executable).parent}
BINS |= {name: ROOT / f".venv-{name}" / "bin" for name in ("mlflow", "serving")}
NOT_INHERITED = ("MLFLOW_", "MAGE_", "MAKE", "MFLAGS", "PG", "PYTHON", "SERVE_", "VIRTUAL_ENV")
NOT_FOR_SHELLS = (
    "DEFAULT_OWNER_", "HEARTBEAT_", "JWT_SECRET", "MAGE_ALLOWED_HOSTS", "MAGE_REPO_PATH",
    "REQUIRE_USER_AUTHENTICATION", "SCHEDULER_", "SCORES_", "SLACK_", "SMTP_", "TEAMS_", "TZ",
)  # fmt: skip
"""How variables of Mage's server begin that no command in a shell needs."""

PAUSE_SECONDS, CHECK_SECONDS, SECONDS_TO_WAIT = 0.2, 30, 300
LINES_OF_LOG = 15
UPDATE = "`make stack-update` starts Mage with them"
Say = Callable[[str], None]


def surroundings() -> dict[str, str]:
    """Return the part of this process's environment that the services get, without settings for other servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}


@dataclass(frozen=True)
class Stack:
    """A folder, and the services whose data is in it.

    Parameters
    ----------
    folder : Path
    values : mapping
        Values of the compose file's variables.
    project : Path, optional
        Mage project to serve directly, instead of a copy.
    checkout : Path
        The project that Mage gets a copy of.
    extra : mapping
        Additional environment variables by service.
    inherited : mapping
        Variables that services inherit from this machine's environment.
    file : Path
        The compose file.
    """

    folder: Path
    values: Mapping[str, str]
    project: Path | None = None
    checkout: Path = ROOT
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    inherited: Mapping[str, str] = field(default_factory=surroundings)
    file: Path = FILE

    @property
    def state(self) -> Path:
        """The state folder, in which all runs write, Mage's and those of the command line."""
        return self.folder.parent

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.folder / "postgres" / "data"

    @property
    def served(self) -> Path:
        """The Mage project that is served."""
        return self.project or self.folder / Path(PROJECT_IN_IMAGE).name

    @functools.cached_property
    def compose(self) -> Compose:
        """The compose file with the values and folders of this stack."""
        places = {"/var/lib/mlops": self.state, PROJECT_IN_IMAGE: self.served}
        return Compose.read(self.values, self.folder, places, self.file)

    @property
    def client(self) -> dict[str, str]:
        """Environment of a client on this machine: what the compose file gives Mage, with the same values."""
        named, mage = self.compose.services["mage"]["environment"], self.environment("mage")
        return {name: mage[name] for name in named if not name.startswith(NOT_FOR_SHELLS)}

    @property
    def supervisord(self) -> Supervisord:
        """The supervisord that runs the services."""
        return Supervisord(self.folder)

    def log(self, name: str) -> Path:
        """Return the log file of a service."""
        return self.folder / "logs" / f"{name}.log"

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service's health check; all but PostgreSQL themselves get it too."""
        if name == "postgres":
            port, password = self.compose.port(name), self.values["POSTGRES_PASSWORD"]
            return cluster.environment(self.data, port, password)
        path = f"{BINS[name]}:{self.inherited.get('PATH', os.defpath)}"
        # The library comes from this checkout, wherever Mage's copy of the project lies.
        own = {"PATH": path} if name == "mlflow" else {"PATH": path, "PYTHONPATH": str(ROOT)}
        return {**self.inherited, **own, **self.compose.environment(name), **self.extra.get(name, {})}

    def is_healthy(self, name: str) -> bool:
        """Return whether the service passes the health check of the compose file."""
        return self.check(name).returncode == 0

    def check(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the service's health check once, if something listens on its port."""
        port = self.compose.port(name)
        if not listens(port):  # while a service starts, it is asked again and again: without a process
            return subprocess.CompletedProcess([], 1, "", f"nothing listens on port {port}")
        environment = self.environment(name)
        program, *arguments = self.compose.healthcheck(name)
        command = [on_path(program, environment), *arguments]
        try:
            return subprocess.run(
                command, env=environment, cwd=self.folder, timeout=CHECK_SECONDS, capture_output=True,
                encoding="utf-8", errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"no answer in {CHECK_SECONDS} s")

    def running(self) -> list[str]:
        """List the services that supervisord has started and that have not ended."""
        states = self.supervisord.states()
        return [name for name in self.compose.in_order() if name in states and _is_alive(states[name])]

    def start_service(self, name: str, say: Say = lambda line: None, replace: bool = False) -> None:
        """Start a service and wait until it is healthy; the services that it depends on run already.

        Parameters
        ----------
        name : str
        say : callable
            Called with each line about what Mage's copy of the project gets from the checkout.
        replace : bool
            Whether that replaces what was changed in Mage, too.

        Raises
        ------
        StackError
            When its port is taken, when its tables do not fit its program, when it ends, or when it does not
            become healthy; it is stopped then.
        """
        self.stop_service(name)  # also ends old processes of it that supervisord does not know
        self.require_free_port(name)
        if "postgres" in self.compose.services:
            schema.require_fitting_tables(name, self.environment("postgres"), self.values)
        self._prepare(name, say, replace)
        if not self.supervisord.states():
            self.supervisord.start({each: self.program(each) for each in self.compose.in_order()})
        try:
            self.supervisord.start_program(name)
            self.wait_until_healthy(name)
        except BaseException:
            self.stop_service(name)
            raise

    def wait_until_healthy(self, name: str) -> None:
        """Wait until a started service is healthy and ready for the services that depend on it.

        Raises
        ------
        StackError
            When it ends, or does not become healthy within the time in the compose file.
        """
        seconds = self.compose.seconds_to_start(name)
        deadline, first = time.monotonic() + seconds, self._state(name)
        while True:
            check, state = self.check(name), self._state(name)
            ended = not _is_alive(state) or state["pid"] != first["pid"]
            if not ended and check.returncode == 0:
                break
            if ended:
                raise self._not_started(name, f"ended ({self._last_exit(name)})", check.stderr)
            if time.monotonic() > deadline:
                raise self._not_started(name, f"was not healthy after {seconds:.0f} s", check.stderr)
            time.sleep(PAUSE_SECONDS)
        if name == "postgres":
            cluster.make_databases(self.environment(name), self.values, self.folder)

    def pending(self) -> list[str]:
        """List the files of the checkout that the running Mage does not serve yet."""
        return [] if self.project else mage_project.pending(self.served, self.checkout)

    def stop_service(self, name: str) -> None:
        """End all processes of a service; supervisord does not start it again."""
        self.supervisord.stop_program(name)
        end(self.folder, name, self.compose.stop_signal(name), self.compose.seconds_to_stop(name))

    def stop(self) -> list[str]:
        """End all services in reverse order, then supervisord.

        Returns
        -------
        list of str
            Names of the services that were running.
        """
        order = self.compose.in_order()[::-1]
        running = self.running()
        ran = [name for name in order if name in running or family(self.folder, name)]
        for name in order:
            self.stop_service(name)
        self.supervisord.shut_down()
        return ran

    def require_free_port(self, name: str) -> None:
        """Raise unless the service's port is free.

        Raises
        ------
        StackError
            When another process listens on it.
        """
        port = self.compose.port(name)
        if not is_free(port):
            raise StackError(
                f"port {port}, which {name} needs, is used by another process; "
                f"choose another port: make stack {name.upper()}_PORT={port + 1}"
            )

    def program(self, name: str) -> dict[str, object]:
        """Return the service's options for supervisord's configuration, from the compose file.

        supervisord starts PostgreSQL directly, because PostgreSQL's user may not be able to read this checkout.
        PostgreSQL's server ends its own child processes.
        """
        if name == "postgres":
            command = cluster.command(self.data, self.folder, self.compose.port(name))
            own = {"stopasgroup": "false", **({"user": user} if (user := cluster.user().get("user")) else {})}
        else:
            # By its name on supervisord's PATH: its configuration takes " #" and " ;" in a path for a comment.
            python = Path(sys.executable).name
            command, own = [python, "-m", "stack.launch", f"run/{name}.json"], {"stopasgroup": "true"}
        log_size, log_files = self.compose.log_limits(name)
        return {
            "command": shlex.join(command),
            "autorestart": str(self.compose.restarts(name)).lower(),
            "stopsignal": self.compose.stop_signal(name).removeprefix("SIG"),
            "stopwaitsecs": round(self.compose.seconds_to_stop(name)),
            "stdout_logfile": self.log(name).relative_to(self.folder),
            "stdout_logfile_maxbytes": f"{log_size.upper()}B",
            "stdout_logfile_backups": log_files - 1,
            **own,
        }

    def _prepare(self, name: str, say: Say, replace: bool) -> None:
        """Create the service's folders, and write its command for `stack.launch`."""
        environment = self.environment(name)
        if name == "postgres":
            cluster.close_folders(self.folder)
            return cluster.make(self.data, environment)
        home = self.folder / name
        home.mkdir(exist_ok=True)
        if name == "mage" and self.project is None:
            database = environment["MAGE_DATABASE_CONNECTION_URL"]
            for line in mage_project.refresh(self.served, database, replace, self.checkout):
                say(line)
        program, *arguments = self.compose.command(name)
        command = [on_path(program, environment), *arguments]
        cwd = self.served if name == "mage" else home
        return self.supervisord.describe_launch(name, command, environment, cwd)

    def _state(self, name: str) -> Mapping[str, Any]:
        """Return supervisord's record of a service, or raise StackError where there is none."""
        states = self.supervisord.states()
        if name not in states:
            raise StackError(
                f"supervisord does not answer; read {self.supervisord.log}. Start it: make stack"
            )
        return states[name]

    def _not_started(self, name: str, how: str, check_said: str) -> StackError:
        log = self.log(name)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        end_of_log = "\n".join(f"    {line}" for line in lines[-LINES_OF_LOG:])
        answer = check_said.strip().rpartition("\n")[2] or "no answer"
        return StackError(
            f"{name} {how} while starting (answer of its health check: {answer}). "
            f"The last lines of {log}:\n{end_of_log}"
        )

    def _last_exit(self, name: str) -> str:
        return next(reversed(self.supervisord.exits(name)), "stopped by another command")


def start(
    folder: Path,
    ports: Mapping[str, str] | None = None,
    say: Say = print,
    replace: bool = False,
    **how: Any,
) -> Stack:
    """Start the services of a folder's stack that do not run; return the stack when all are healthy.

    Parameters
    ----------
    folder : Path
        Created, with its secrets, at the first start.
    ports : mapping, optional
        ``MAGE_PORT`` and so on, to change the ports of the last start.
    say : callable
        Called with a line of text for each healthy service, and for what Mage gets from the checkout.
    replace : bool
        Whether Mage starts again, and gets from the checkout also what was changed on both sides.
    **how
        `project`, `checkout`, `extra`, `inherited` and `file` of `Stack`.

    Raises
    ------
    StackError
        When a service does not start; everything that this call started is stopped.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder):
        known = open_stack(folder, **how)
        values = _values(folder, ports or {}, known if known and known.running() else None)
        if known and replace:
            known.stop_service("mage")
        running = known.running() if known else []
        if known and not running:
            known.stop()  # there may be a supervisord without services, or services without supervisord
        stack = Stack(folder, values, **how)
        for name in () if running else stack.compose.in_order():
            stack.require_free_port(name)  # check all ports before the first service starts
        keep(folder / ".env", stack.values)
        _start_all(stack, running, say, replace)
        give_to_shells(folder, stack.client)
    return stack


def open_stack(folder: Path, **how: Any) -> Stack | None:
    """Return the stack of a folder, running or not; None if the folder has no stack."""
    secrets = folder.absolute() / ".env"
    return Stack(folder.absolute(), fill_in(secrets, {}), **how) if secrets.exists() else None


def only_one(folder: Path) -> FileLock:
    """Return the lock that a command holds while it starts or stops the stack of a folder."""
    folder = folder.absolute()
    return FileLock(folder.with_name(f"{folder.name}.lock"), timeout=SECONDS_TO_WAIT)


def _values(folder: Path, ports: Mapping[str, str], running: Stack | None) -> dict[str, str]:
    for name, port in ports.items() if running else ():
        if running and running.values[name] != port:
            raise StackError(
                f"{name}: expected {running.values[name]}, the port of the running stack in {folder}; got {port}. "
                "To change it, stop the stack first: make stack-stop"
            )
    return for_start(folder / ".env", ports)


def _start_all(stack: Stack, running: list[str], say: Say, replace: bool) -> None:
    begun: list[str] = []
    try:
        for name in stack.compose.in_order():
            where = f"{name:8} on {LOOPBACK}:{stack.compose.port(name)}"
            if name in running:
                stack.wait_until_healthy(name)  # an earlier start may have been interrupted
                say(f"{where} is already running")
                if name == "mage" and (waiting := stack.pending()):
                    say(f"Mage does not use these files of the checkout yet: {', '.join(waiting)}. {UPDATE}")
                continue
            began = time.monotonic()
            begun.append(name)
            stack.start_service(name, say, replace)
            say(f"{where} is healthy after {time.monotonic() - began:.1f} s")
    except BaseException:
        if not running:
            stack.stop()
        for name in reversed(begun):
            stack.stop_service(name)
        raise


def _is_alive(state: Mapping[str, Any]) -> bool:
    return state["statename"] in ("STARTING", "RUNNING")
