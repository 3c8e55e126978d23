"""A running `make prefect` for tests: its server, the process of the flows, and the API as its pages use it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from requests.adapters import HTTPAdapter
from support.doors import PROJECT, Machine, end_group, heed_ctrl_c, wait_until
from urllib3.util import Retry

from mlops.errors import plain
from stack.compose import LOOPBACK, read_env
from stack.prefect_settings import LOGIN

PYTHON = PROJECT / ".venv-prefect" / "bin" / "python"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def require_prefect() -> None:
    """Skip the test where Prefect's environment is missing."""
    if not (PROJECT / ".venv-prefect" / "installed").exists():
        pytest.skip("needs .venv-prefect, which `make .venv-prefect/installed` builds")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class PrefectSite:
    """The server and its API.

    Parameters
    ----------
    machine : Machine
        Whose state the runs use.
    port : int
    popen : Popen
        The process of `stack.prefect_server`.
    """

    machine: Machine
    port: int
    popen: subprocess.Popen[bytes]
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self) -> str:
        """Address of the pages."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def home(self) -> Path:
        return self.machine.state / "prefect"

    @property
    def login(self) -> str:
        """What the pages ask for: user and password."""
        return read_env(self.home / ".env")[LOGIN]

    @property
    def printed(self) -> str:
        return (self.machine.folder / "prefect.out").read_text()

    def call(self, path: str, **body: Any) -> Any:
        """The answer to a POST, or to a GET if there is no body."""
        user, _, password = self.login.partition(":")
        busy = Retry(
            total=6, status_forcelist=[503], allowed_methods=None, backoff_factor=0.2
        )  # locked SQLite
        self.session.mount("http://", HTTPAdapter(max_retries=busy))
        method = "POST" if body else "GET"
        answer = self.session.request(
            method, f"{self.url}/api/{path}", json=body or None, auth=(user, password), timeout=60
        )
        assert answer.ok, f"{answer.status_code} {path}: {answer.text}"
        return answer.json()

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a flow run as the page does; its id."""
        found = self.call(f"deployments/name/{deployment}")
        return str(self.call(f"deployments/{found['id']}/create_flow_run", parameters=parameters)["id"])

    def train(self, **changed: Any) -> str:
        """Start a run with the settings of the smallest run; its id."""
        return self.start("train/by-hand", settings=self.machine.settings(**changed))

    def run(self, number: str) -> dict[str, Any]:
        """A flow run."""
        found: dict[str, Any] = self.call(f"flow_runs/{number}")
        return found

    def wait(self, number: str, *states: str, seconds: float = 120) -> dict[str, Any]:
        """The flow run, once its state is one of these, by default a final one."""

        def reached() -> bool:
            return self.run(number)["state_type"] in (states or ENDED)

        wait_until(reached, seconds, lambda: (self.run(number)["state"], self.log(number)))
        return self.run(number)

    def set_state(self, number: str, kind: str, name: str) -> None:
        """Ask for a state, as the buttons of the flow run's page do."""
        answer = self.call(f"flow_runs/{number}/set_state", state={"type": kind, "name": name})
        assert answer["status"] == "ACCEPT", answer

    def log(self, number: str) -> list[str]:
        """Log lines of a flow run and its tasks, oldest first."""
        wanted = {"flow_run_id": {"any_": [number]}}
        return [
            plain(line["message"]) for line in self.call("logs/filter", logs=wanted, sort="TIMESTAMP_ASC")
        ]

    def wait_for_line(self, number: str, text: str, seconds: float = 120) -> None:
        """Return once the flow run's log has this text."""
        wait_until(lambda: any(text in line for line in self.log(number)), seconds, lambda: self.log(number))

    def tasks(self, number: str) -> dict[str, dict[str, Any]]:
        """Task runs of a flow run by name."""
        wanted = {"flow_run_id": {"any_": [number]}}
        return {run["name"]: run for run in self.call("task_runs/filter", task_runs=wanted)}

    def artifacts(self, number: str) -> dict[str, dict[str, Any]]:
        """Artefacts of a flow run by key."""
        wanted = {"flow_run_id": {"any_": [number]}}
        return {each["key"]: each for each in self.call("artifacts/filter", artifacts=wanted)}

    def children(self, number: str) -> list[dict[str, Any]]:
        """Subflows of a flow run, in the order of their start."""
        wanted = {"parent_flow_run_id": {"any_": [number]}}
        found: list[dict[str, Any]] = self.call("flow_runs/filter", flow_runs=wanted, sort="START_TIME_ASC")
        return found

    def worker(self, number: str) -> psutil.Process:
        """The process of a flow run."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                variables = process.environ()
                is_engine = (
                    "prefect.flow_engine" in process.cmdline() or "prefect.engine" in process.cmdline()
                )
                if is_engine and variables.get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == number.replace(
                    "-", ""
                ):
                    return process
        raise AssertionError(f"no process of flow run {number}: {self.machine.processes()}")

    def kill(self) -> None:
        """Kill all its processes at once, as a power cut does, but for the library's guard."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_own = process.environ().get("MLOPS_STATE_DIR") == str(self.machine.state)
                if is_own and "-c" not in process.cmdline():
                    process.kill()
        self.popen.wait(20)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it as Ctrl-C does; its exit status."""
        os.kill(self.popen.pid, number)
        return self.popen.wait(90)


@contextlib.contextmanager
def running_prefect(machine: Machine, port: int, **variables: str) -> Iterator[PrefectSite]:
    """`make prefect` on this machine, until the end of the block."""
    (machine.folder / "home").mkdir(parents=True, exist_ok=True)
    out = machine.folder / "prefect.out"
    with out.open("wb") as output:
        popen = subprocess.Popen(
            [PYTHON, "-m", "stack.prefect_server", str(port)],
            cwd=PROJECT, env={**machine.environment, **variables}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True, preexec_fn=heed_ctrl_c,
        )  # fmt: skip
    site = PrefectSite(machine, port, popen)
    try:
        wait_until(lambda: "open http" in site.printed or popen.poll() is not None, 180, lambda: site.printed)
        assert popen.poll() is None, site.printed
        deployments = "train/daily", "train/by-hand", "backfill/by-hand"
        wait_until(lambda: {f"{each}" for each in deployments} <= site_deployments(site), 60)
        yield site
    finally:
        end_group(popen, 60)


def site_deployments(site: PrefectSite) -> set[str]:
    """Names of the deployments that are served."""
    flows = {flow["id"]: flow["name"] for flow in site.call("flows/filter", limit=50)}
    return {f"{flows[each['flow_id']]}/{each['name']}" for each in site.call("deployments/filter", limit=50)}
