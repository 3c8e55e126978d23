"""A run stopped by any signal is closed as KILLED within seconds, without a version; its trials are kept."""

from __future__ import annotations

import signal
import sys

import pytest
from support.doors import Machine, wait_until

from mlops.pipeline.checkpoint import Checkpoint

MANY = 10_000  # trials: more than a test can wait for
SECONDS = 30
CLOSED = "interrupted; the run was closed"

# Ctrl-C while MLflow writes: a signal from outside would hit this moment only sometimes.
AMID_MLFLOW = """
import os, signal, sys
from mlops.registry.client import mlflow
from mlops.__main__ import main
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
whole = SqlAlchemyStore.create_run
def create_run(*arguments, **named):
    if whole.calls:
        os.kill(os.getpid(), signal.SIGINT)
    run = whole(*arguments, **named)
    whole.calls += 1
    print("MLflow was not cut off", flush=True)
    return run
whole.calls = 0
SqlAlchemyStore.create_run = create_run
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("door", ["train", "mage run"])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, 137)]
)
def test_a_run_that_is_stopped(door: str, number: signal.Signals, status: int, machine: Machine) -> None:
    command = machine.train_command if door == "train" else machine.mage_command
    with machine.start(*command(max_trials=MANY)) as process:
        process.wait_for("trial 2 of")
        process.send(number)
        ended = process.end(SECONDS)
    # The status of a process ended by SIGTERM is -15; a shell reports 143.
    assert (ended.status if ended.status >= 0 else 128 - ended.status) == status, ended.output
    assert "Traceback" not in ended.output
    assert (CLOSED in ended.stderr.splitlines()) == (door == "train" and number == signal.SIGINT)
    wait_until(lambda: machine.statuses() == ["KILLED"], SECONDS, machine.statuses)
    wait_until(lambda: machine.processes() == [], SECONDS, machine.processes)
    assert {run.info.status for run in machine.runs()} <= {"FINISHED", "KILLED"}
    assert machine.parents()[0].data.tags["error"]
    assert machine.versions() == []
    assert machine.half_written() == []
    # The next attempt continues with every logged trial, and at most a few others.
    (folder,) = machine.unfinished()
    assert folder.name == machine.parents()[0].data.tags["run_key"]
    kept = {f"trial {trial['number']}" for trial in Checkpoint(folder).entries("trials")}
    logged = {trial.info.run_name for trial in machine.trials(machine.parents()[0])}
    assert "trial 1" in logged <= kept
    assert len(kept - logged) <= 1


@pytest.mark.long
@pytest.mark.timeout(120)
def test_ctrl_c_waits_until_mlflow_has_written(machine: Machine) -> None:
    """If a query is interrupted, MLflow leaves SQLite locked, and the run cannot be closed."""
    arguments = machine.train_command()[3:]
    ended = machine.run(sys.executable, "-c", AMID_MLFLOW, *arguments)
    assert ended.status == 130, ended.output
    assert ended.stderr.splitlines()[-1] == CLOSED
    assert ended.stdout.count("MLflow was not cut off") == 2  # the run and its first trial
    assert machine.statuses() == ["KILLED"]
    assert machine.versions() == []
