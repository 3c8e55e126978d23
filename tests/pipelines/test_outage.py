"""A tracking server that goes away: what a run does without it, and that nothing is lost."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
from support.doors import PROJECT, SAMPLE_MODEL, Ended, Machine, Process, wait_until
from support.failures import closed_port

MLFLOW = PROJECT / ".venv-mlflow" / "bin" / "mlflow"
FEW = {"min_test_rows": 500}  # the months are small, but their verdicts must count
TRIALS = 40  # enough trials for the server to go away between two of them
URI = f"models:/{SAMPLE_MODEL}"


class Server:
    """MLflow's own server over a machine's store; it can be killed, stopped and restarted on the same port."""

    def __init__(self, machine: Machine) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = unused.getsockname()[1]
        self.machine, self.address = machine, f"http://127.0.0.1:{self.port}"
        # Without the job queue, whose eight processes import MLflow at each start.
        own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        machine.variables.update(own, MLFLOW_TRACKING_URI=self.address)
        self.running = contextlib.ExitStack()

    def start(self) -> None:
        command = [
            str(MLFLOW), "server", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.machine.state / 'mlflow.db'}",
            "--no-serve-artifacts", "--default-artifact-root", str(self.machine.state / "artifacts"),
        ]  # fmt: skip
        self.process = self.running.enter_context(self.machine.start(*command))
        wait_until(self.answers, 60, lambda: self.process.output)

    def answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.address}/health", timeout=5).status_code == 200
        return False

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.process.popen.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.running.close()


@pytest.fixture
def server(machine: Machine, migrated_store: Path) -> Iterator[Server]:
    if not MLFLOW.is_file():
        pytest.skip("needs MLflow's server: make .venv-mlflow/installed")
    machine.state.mkdir(parents=True)
    shutil.copy(migrated_store, machine.state / "mlflow.db")
    server = Server(machine)
    with server.running:
        server.start()
        yield server


def cut_off(server: Server, month: str) -> Ended:
    """A run whose server is killed during tuning and does not come back."""
    command = server.machine.train_command(month=month, max_trials=TRIALS, tracking_patience=2, **FEW)
    with server.machine.start(*command) as process:
        process.wait_for("trial 1 of")
        server.kill()
        return process.end()


def assert_kept(machine: Machine, ended: Ended) -> None:
    """The run finished without the server and logged where its result is."""
    assert ended.status == 1, ended.output
    assert "Traceback" not in ended.output
    assert ended.output.count("continuing without the tracking server; trials are logged at the end") == 1
    assert "final fit on" in ended.output
    (kept,) = machine.unfinished()
    reported = ended.stderr.splitlines()[-1]
    assert reported.startswith("error: ")
    assert f"Nothing is lost: the fitted model and everything to log are stored in {kept}. " in reported
    assert reported.endswith("python -m mlops doctor --resume")


def assert_whole(machine: Machine, months: list[str]) -> None:
    """One version per month in order, the newest is champion, every trial is logged once, nothing is pending."""
    assert [version.tags["test_month"] for version in machine.versions()] == months
    assert machine.alias("champion") == str(len(months))
    assert machine.statuses() == ["FINISHED"] * len(months)
    for run in machine.parents():
        names = [trial.info.run_name for trial in machine.trials(run)]
        assert sorted(names) == sorted(f"trial {n + 1}" for n in range(int(run.data.metrics["trials"])))
        assert {trial.info.status for trial in machine.trials(run)} == {"FINISHED"}
        assert all("validation_rmse" in trial.data.metrics for trial in machine.trials(run))
        assert "error" not in run.data.tags
    assert machine.unfinished() == []


@pytest.mark.long
def test_the_doctor_delivers_what_a_run_could_not(server: Server, machine: Machine) -> None:
    assert_kept(machine, cut_off(server, "2023-03"))
    server.start()
    waits = machine.mlops("doctor")
    assert waits.status == 1, waits.output
    assert (
        "OPEN\ttrip-duration-sample: the pending result of a model tested on 2023-03 is not delivered"
        in waits.stdout
    )
    machine.variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{machine.state / 'another.db'}"
    elsewhere = machine.mlops("doctor", "--resume")
    assert elsewhere.status == 1, elsewhere.output
    assert f"it belongs to the tracking store {server.address}, and this is sqlite:///" in elsewhere.stdout
    assert not (machine.state / "another.db").exists()

    del machine.variables["MLFLOW_TRACKING_URI"]  # the server's database, without the server
    delivered = machine.mlops("doctor", "--resume")
    assert delivered.status == 0, delivered.output
    assert f"{URI}/1 is champion: there was no champion before" in delivered.stdout
    assert_whole(machine, ["2023-03"])


@pytest.mark.long
def test_the_next_run_delivers_first_what_an_earlier_one_could_not(server: Server, machine: Machine) -> None:
    assert_kept(machine, cut_off(server, "2023-03"))
    server.start()
    with machine.start(*machine.train_command(month="2023-04", **FEW)) as process:
        ended = process.end(240)  # two runs
    assert ended.status == 0, ended.output
    assert "delivering the pending result of trip-duration-sample, tested on 2023-03" in ended.stderr
    assert f"{URI}/2" in ended.stdout
    assert_whole(machine, ["2023-03", "2023-04"])


@contextlib.contextmanager
def tuning(machine: Machine, patience: float) -> Iterator[Process]:
    """A run that has finished one trial."""
    command = machine.train_command(max_trials=TRIALS, tracking_patience=patience, **FEW)
    with machine.start(*command) as process:
        process.wait_for("trial 1 of")
        yield process


@pytest.mark.long
def test_a_run_waits_for_a_server_that_comes_back(server: Server, machine: Machine) -> None:
    with tuning(machine, patience=120) as process:
        server.kill()
        process.wait_for("trying again for 120 s")
        server.start()
        ended = process.end()
    assert ended.status == 0, ended.output
    assert "continuing without the tracking server" not in ended.output
    assert_whole(machine, ["2023-03"])


@pytest.mark.long
def test_a_server_that_hangs_and_answers_late(server: Server, machine: Machine) -> None:
    """The server later handles requests from while it hung, although they were sent again meanwhile."""
    machine.variables["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"
    with tuning(machine, patience=120) as process:
        server.send(signal.SIGSTOP)
        process.wait_for("trying again for 120 s")
        server.send(signal.SIGCONT)
        ended = process.end()
    assert ended.status == 0, ended.output
    assert_whole(machine, ["2023-03"])


def test_a_server_that_is_down_at_the_start_gets_no_patience(machine: Machine) -> None:
    with closed_port() as port:
        machine.variables["MLFLOW_TRACKING_URI"] = address = f"http://127.0.0.1:{port}"
        ended = machine.train(connect_timeout=1, tracking_patience=600)
    assert ended.status == 1, ended.output
    assert ended.stderr.splitlines()[-1].startswith(f"error: tracking server {address}: no answer within 1 s")
    assert "trying again for" not in ended.output
    assert not (machine.state / "work").exists()


class Refusing(BaseHTTPRequestHandler):
    """A server that refuses everything."""

    status = 401
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *arguments: object) -> None:
        return


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("status", "reported"),
    [
        (
            404,
            r"tracking server \S+: it answered a request for experiments with 404, nothing; expected 200 and",
        ),
        (
            401,
            r"tracking server \S+: the server requires a known user \(401\); got user 'me' of MLFLOW_TRACKING_URI",
        ),
    ],
    ids=["another server", "a wrong password"],
)
def test_a_refused_request_is_not_sent_again(status: int, reported: str, machine: Machine) -> None:
    handler = type("Handler", (Refusing,), {"status": status, "asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        machine.variables["MLFLOW_TRACKING_URI"] = f"http://me:secret@127.0.0.1:{other.server_port}"
        ended = machine.train(tracking_patience=600)
        other.shutdown()
    assert ended.status == 1, ended.output
    assert re.search(reported, ended.stderr.splitlines()[-1])
    assert "secret" not in ended.output
    assert "trying again" not in ended.output
    assert len(handler.asked) == 1
