"""Prefect's server with its pages, and the process that runs our flows, until Ctrl-C: `make prefect`.

The pages ask for a password, as MLflow's do: otherwise any user of this machine could start runs, or change what a
run starts. This runs in Prefect's environment, so it imports only what that has too.
"""

# ruff: noqa: T201 - a command of make

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import requests
from filelock import FileLock, Timeout

from mlops import config, files
from mlops.errors import ConfigError
from stack import prefect_settings
from stack.compose import LOOPBACK, ROOT, StackError
from stack.processes import is_free

SERVER, FLOWS, RUN = PROGRAMS = (
    "prefect",
    "flows.with_prefect",
    "prefect.engine",
)  # modules that Python runs
SECONDS_TO_START = 180.0
SECONDS_TO_END = 45.0  # a run that gets SIGTERM closes its run in MLflow first
Variables = Mapping[str, str]


def main(port: int) -> int:
    """Exit status: 0 after a signal, which ends server and flows; 1 if one of them ended by itself."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    os.umask(0o077)
    try:
        with _only_one():
            variables, where = _prepare(port)
            return _run(variables, port, where)
    except (ConfigError, StackError, OSError) as error:
        print(f"prefect: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock of Prefect's folder; end what an earlier `make prefect` left that was killed itself."""
    files.close_state()
    home = _home()
    home.mkdir(mode=0o700, exist_ok=True)
    try:
        with FileLock(home / "lock", timeout=0):
            _end(_left(home))
            yield
    except Timeout as error:
        raise StackError(f"{home}: another `make prefect` uses this folder; end it first") from error


def _home() -> Path:
    return config.state_dir() / "prefect"


def _left(home: Path, *programs: str) -> list[psutil.Process]:
    """Processes of server, flows and runs of this folder; of these programs, if some are named.

    The library's guard is not among them: it closes a run in MLflow after the run's process is gone, then ends.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PREFECT_HOME") == str(home) and process.pid != os.getpid():
                words = process.cmdline()
                found += [process] if {*words} & {*(programs or PROGRAMS)} else []
    return found


def _prepare(port: int) -> tuple[dict[str, str], str]:
    """Environment of both processes, and where the database is, for people."""
    if not is_free(port):
        raise StackError(f"port {port} is taken; choose another: make prefect PREFECT_PORT={port + 1}")
    home = _home()
    shared = prefect_settings.on_stack(home, config.state().stack)
    variables = prefect_settings.environment(home, port, {**shared, **os.environ})
    return variables, "the stack's PostgreSQL" if shared else str(home / "prefect.db")


def _run(variables: Variables, port: int, where: str) -> int:
    """Start the server, then the flows; wait until one of them ends."""
    log = Path(variables["PREFECT_HOME"]) / "server.log"
    print(f"starting Prefect's server (its log: {log}): about 20 seconds", flush=True)
    server = ["-m", SERVER, "server", "start", "--host", LOOPBACK, "--port", str(port)]
    with _process(server, variables, log) as serving:
        _wait_until_healthy(serving, port, log)
        _report_dead_runs(variables)
        with _process(["-m", FLOWS], variables, log.with_name("flows.log")) as flows:
            secret = f"password: {prefect_settings.LOGIN} in {log.with_name('.env')}"
            print(f"open http://{LOOPBACK}:{port} ({secret})", flush=True)
            print(f"database: {where}. Ctrl-C ends the server and the runs", flush=True)
            while serving.poll() is None and flows.poll() is None:
                time.sleep(0.5)
    name = "the server" if flows.poll() is None else "the process of the flows"
    print(f"prefect: {name} ended; see {log.parent}", file=sys.stderr)
    return 1


@contextlib.contextmanager
def _process(arguments: list[str], variables: Variables, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this Python; it and the runs that it has started are ended with the block.

    It has a session of its own, so that a Ctrl-C reaches it in our order: runs first, the server last.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env={**variables, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(_left(Path(variables["PREFECT_HOME"]), RUN, arguments[1]))
        process.wait()


def _end(processes: list[psutil.Process]) -> None:
    """End these processes: SIGTERM first, with which a run closes its run in MLflow; then SIGKILL."""
    for number, seconds in ((signal.SIGTERM, SECONDS_TO_END), (signal.SIGKILL, 5.0)):
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(number)
        _, processes = psutil.wait_procs(processes, seconds)


def _report_dead_runs(variables: Variables) -> None:
    """Let Prefect show Crashed, which has a Retry, for the runs that it believes to run: none has a process."""
    user, _, password = variables[prefect_settings.LOGIN].partition(":")
    runs = f"{variables['PREFECT_API_URL']}/flow_runs"
    post = functools.partial(requests.post, auth=(user, password), timeout=60)
    open_runs = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}}
    state = {
        "type": "CRASHED",
        "message": "Its process had ended when `make prefect` started. Retry continues it.",
    }
    for run in post(f"{runs}/filter", json=open_runs).json():
        post(f"{runs}/{run['id']}/set_state", json={"state": state, "force": True}).raise_for_status()


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while server.poll() is None and time.monotonic() < deadline:
        with (
            contextlib.suppress(URLError, OSError),
            urlopen(f"http://{LOOPBACK}:{port}/api/health", timeout=5),
        ):
            return
        time.sleep(0.5)
    raise StackError(f"the server did not start; the end of {log}:\n{_last_lines(log)}")


def _last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
