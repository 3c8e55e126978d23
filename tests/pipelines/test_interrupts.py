"""A run that is stopped, politely or not, is closed as KILLED within seconds and registers nothing."""

from __future__ import annotations

import signal

import pytest
from doors import Machine, wait_until

MANY = 10_000  # trials: more than a test could wait for
SECONDS = 30


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
    # A process that a signal ended says -15; a shell would call that 143.
    assert (ended.status if ended.status >= 0 else 128 - ended.status) == status, ended.output
    wait_until(lambda: machine.statuses() == ["KILLED"], SECONDS, machine.statuses)
    wait_until(lambda: machine.processes() == [], SECONDS, machine.processes)
    assert {run.info.status for run in machine.runs()} <= {"FINISHED", "KILLED"}
    assert machine.parents()[0].data.tags["error"]
    assert machine.versions() == []
    assert machine.half_written() == []


@pytest.mark.timeout(120)
def test_ctrl_c_says_what_became_of_the_run(machine: Machine) -> None:
    with machine.start(*machine.train_command(max_trials=MANY)) as process:
        process.wait_for("trial 1 of")
        process.send(signal.SIGINT)
        ended = process.end(SECONDS)
    assert ended.stderr.splitlines()[-1] == "interrupted; the run is closed as KILLED, nothing was registered"
    assert "Traceback" not in ended.output
