"""A running stack for tests, on free ports, and clients that know nothing else of this machine."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import requests
from support.warm import run_warm

from stack import cluster
from stack.compose import LOOPBACK, StackError
from stack.processes import FOLDER_VARIABLE, SUPERVISORD, family
from stack.secret_values import PORTS
from stack.stack import BINS, Stack, start

PROJECT = Path(__file__).resolve().parents[2]
SECONDS_TO_TRAIN = 200
MODEL = "trip-duration-sample"
REGISTRY_KEY = "registry.key"  # of the state folder
PREDICT = f"""
import json, mlflow, pandas
rides = pandas.DataFrame({{
    "pickup_at": pandas.to_datetime(["2023-04-03 08:30", "2023-04-09 23:10"]),
    "pickup_zone": [74, 75], "dropoff_zone": [75, 264], "distance_miles": [1.2, 9.0], "passenger_count": [1, None],
}})
model = mlflow.pyfunc.load_model("models:/{MODEL}@champion")
print(json.dumps(model.predict(rides)["duration_minutes"].tolist()))
"""


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that every user may enter, as PostgreSQL needs; pytest's folders are closed."""
    with tempfile.TemporaryDirectory(prefix="stack-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def postgres_programs() -> tuple[Path, dict[str, Any]]:
    """Folder of the programs, and subprocess arguments for a user who may run them, or skip the test."""
    try:
        return cluster.programs(), cluster.user()
    except StackError as error:
        pytest.skip(str(error))


def require_programs() -> None:
    """Skip the test where a server is missing."""
    postgres_programs()
    for name, folder in BINS.items():
        program = folder / {"serving": "uvicorn"}.get(name, name)
        if not program.exists():
            pytest.skip(f"{program} is not there: `make install` builds it")


def free_ports() -> dict[str, str]:
    """A free port for every service, by the variable that sets it."""
    names = list(PORTS)
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return {name: str(each.getsockname()[1]) for name, each in zip(names, sockets, strict=True)}


def bare_environment(home: Path) -> dict[str, str]:
    """An environment without secrets, settings, git and curl, as in a slim image."""
    if not home.exists():
        (home / "bin").mkdir(parents=True)
        for name in ("sh", "env", "uname"):
            found = shutil.which(name)
            assert found, name
            (home / "bin" / name).symlink_to(found)
    return {"PATH": str(home / "bin"), "HOME": str(home), "LANG": "C.UTF-8"}


@contextlib.contextmanager
def running_stack(folder: Path, **mage: str) -> Iterator[Stack]:
    """A stack with every service healthy while the block runs; no process of it is left afterwards.

    `mage` is environment of Mage in addition to that of docker-compose.yml.

    Mage's production triggers are off: they would train on TLC's real months.
    """
    said: list[str] = []
    how = {
        "inherited": bare_environment(folder.parent / "home"),
        "extra": {"mage": {"ENV": "staging", **mage}},
    }
    stack = start(folder, free_ports(), said.append, **how)
    try:
        yield stack
    finally:
        stack.stop()
        assert processes_of(folder) == []


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes of the stack's services, and of its supervisord."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            belongs = process.environ().get(FOLDER_VARIABLE) == str(folder)
            if belongs and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


def leader(stack: Stack, name: str) -> psutil.Process:
    """The process that supervisord started for a service."""
    return psutil.Process(stack.supervisord.states()[name]["pid"])


def members(stack: Stack, name: str) -> list[psutil.Process]:
    """All processes of a service."""
    first = leader(stack, name)
    return list({first, *first.children(recursive=True), *family(stack.folder, name)})


def kill(process: psutil.Process) -> None:
    """Send SIGKILL to this process only, as when memory runs out, and wait until it is gone."""
    process.kill()
    deadline = time.monotonic() + 10
    while left_of([process]):
        assert time.monotonic() < deadline, process
        time.sleep(0.01)


def kill_supervisord(stack: Stack) -> None:
    """Send SIGKILL to supervisord; the services keep running."""
    (supervisord,) = family(stack.folder, SUPERVISORD)
    kill(supervisord)


def back_after_kill(stack: Stack, name: str, seconds: float = 15.0) -> float:
    """Kill a service and return the seconds until it is healthy again without help.

    No process of the killed one may be left then. The limit is for a machine with free cores; if more processes
    want to run than there are cores, it grows by that ratio.
    """
    first, former, began = leader(stack, name), members(stack, name), time.monotonic()
    kill(first)
    while True:
        state = stack.supervisord.states()[name]
        if state["pid"] not in (0, first.pid) and not left_of(former) and stack.is_healthy(name):
            return time.monotonic() - began
        waited, busy = time.monotonic() - began, os.getloadavg()[0] / (os.cpu_count() or 1)
        assert waited < seconds * max(1.0, busy), (name, waited, busy, state, left_of(former))
        time.sleep(0.1)


def left_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The processes that still run, and not later ones with the same numbers."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def command_line(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m stack ...`, as make calls it, for a stack's folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_PORT")}
    return subprocess.run(
        [sys.executable, "-m", "stack", *arguments],
        env={**inherited, "MLOPS_STATE_DIR": str(folder.parent), **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=180,
    )


@dataclass(frozen=True)
class Client:
    """A machine that knows only the tracking server's address, one of its users, and the stack's registry key."""

    folder: Path
    stack: Stack
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this Python in an empty folder."""
        environment = bare_environment(self.folder)
        for place in (self.folder / "work", self.state):
            place.mkdir(exist_ok=True)
        if (self.stack.state / REGISTRY_KEY).exists():
            shutil.copy(self.stack.state / REGISTRY_KEY, self.state)
        names = [name for name in self.stack.client if name.startswith("MLFLOW_TRACKING_")]
        environment |= {name: self.stack.client[name] for name in names}
        environment |= {"MLOPS_STATE_DIR": str(self.state), "MLOPS_THREADS": "1"}
        return run_warm(
            [sys.executable, *arguments],
            env={**environment, "PYTHONPATH": str(PROJECT), **self.variables},
            cwd=self.folder / "work",
            timeout=SECONDS_TO_TRAIN,
            spares=3,
        )

    def python(self, *arguments: str) -> str:
        """Output of such a run."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def predict(self) -> list[float]:
        """The champion's predictions for two rides, in minutes."""
        minutes: list[float] = json.loads(self.python("-c", PREDICT).splitlines()[-1])
        return minutes


def ask_mlflow(stack: Stack, path: str, host: str = "", **query: str) -> requests.Response:
    """MLflow's answer to a request of its first user."""
    user = (stack.values["MLFLOW_TRACKING_USERNAME"], stack.values["MLFLOW_TRACKING_PASSWORD"])
    url = stack.compose.url("mlflow", f"/api/2.0/mlflow/{path}")
    return requests.get(url, params=query, auth=user, headers={"Host": host} if host else {}, timeout=30)


def version_of(stack: Stack, alias: str) -> dict[str, Any]:
    """The version that the alias points at."""
    answer = ask_mlflow(stack, "registered-models/alias", name=MODEL, alias=alias)
    assert answer.status_code == 200, answer.text
    version: dict[str, Any] = answer.json()["model_version"]
    return version


def run_of(stack: Stack, version: dict[str, Any]) -> dict[str, Any]:
    """The run that a version comes from."""
    run: dict[str, Any] = ask_mlflow(stack, "runs/get", run_id=version["run_id"]).json()["run"]
    return run


def connect(stack: Stack, role: str, database: str, password: str | None = None) -> Any:
    """A connection to PostgreSQL, by default with the role's password."""
    known = stack.values[f"{role.upper()}_DB_PASSWORD"]
    port = stack.compose.port("postgres")
    return psycopg2.connect(host=LOOPBACK, port=port, user=role, dbname=database, password=password or known)


def select(stack: Stack, role: str, statement: str) -> list[Any]:
    """First column of a statement's result in the role's own database; commits changes."""
    with contextlib.closing(connect(stack, role, role)) as database, database:
        cursor = database.cursor()
        cursor.execute(statement)
        return [value for value, *_ in cursor] if cursor.description else []


def log_in(stack: Stack, email: str, password: str) -> Any:
    """Mage's answer to a login as from its pages, with the key that they send."""
    key = select(stack, "mage", "SELECT client_id FROM oauth2_application")[0]
    body = {"session": {"email": email, "password": password}}
    url = stack.compose.url("mage", "/api/sessions")
    return requests.post(url, json=body, headers={"X-API-KEY": key}, timeout=30).json()


def copy_for_image(target: Path) -> Path:
    """A copy of what the image contains: the checkout without what .dockerignore excludes."""
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    def ignored(folder: str, names: list[str]) -> list[str]:
        here = [p.removeprefix("**/") for p in patterns if p.startswith("**/") or Path(folder) == PROJECT]
        return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in here)]

    return Path(shutil.copytree(PROJECT, target, ignore=ignored))


def secrets_of(stack: Stack) -> list[str]:
    """Every password and secret of a stack, except for a mail server and a database that it does not have."""
    named = {name: value for name, value in stack.values.items() if re.search("PASSWORD|SECRET", name)}
    return [value for value in named.values() if value not in ("", "None")]
