"""A run killed at any moment is completed by one rerun; several runs at once give the result of one.

`make test` kills a run at each stage over SQLite and over an MLflow server on PostgreSQL, at 5 random moments over
SQLite and at one over the server, and moves aliases 8 times at once; `make chaos` has more of all, on both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.chaos import MORE_STAGES, STAGES, Workers, command, mlflow_server, stage
from support.doors import SAMPLE_MODEL, Ended, Machine, wait_until, with_store, write_months

from mlops.registry.journal_tags import PREFIX

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

THOROUGH = "CHAOS_MOMENTS" in os.environ
STARTS, MOVES = 8, 20 if THOROUGH else 8
MOMENTS = int(os.environ.get("CHAOS_MOMENTS", "5"))
SECONDS = 60  # for guards, which import mlflow before they act
SECONDS_QUEUED = 600  # for commands that wait for one another
BACKENDS = ("sqlite", "server")
NO_STORE = "making the store"  # the one case that starts without a tracking store
# Fractions of a run's duration: one random moment in each part of it, the last a little after its end.
SHARES = [f"random {1.05 * (n + random.Random(n).random()) / MOMENTS:.3f}" for n in range(MOMENTS)]
SQLITE_SHARES = [("sqlite", share) for share in SHARES]
DISASTERS = [
    (backend, disaster)
    for backend in BACKENDS
    for disaster in (*STAGES, *MORE_STAGES, *SHARES)
    if THOROUGH or disaster in STAGES or (backend, disaster) in [("server", SHARES[0]), *SQLITE_SHARES]
    if (backend, disaster) != ("server", NO_STORE)
]


@dataclass(frozen=True)
class Undisturbed:
    """Result of a run that is not killed."""

    seconds: float
    facts: dict[str, Any]


class Place:
    """A tracking store: shared by runs one after another, or one for each run, a copy of `empty_store`."""

    def __init__(self, workers: Workers, folder: Path, months: Path, empty_store: Path) -> None:
        self.workers, self.folder, self.months, self.empty_store = workers, folder, months, empty_store
        self.undisturbed: Future[Undisturbed] = workers.submit(self.run_undisturbed)

    @contextlib.contextmanager
    def machine(self, name: str) -> Iterator[Machine]:
        """An empty machine; what it left on a server is removed afterwards."""
        machine = Machine(self.folder / name.replace(" ", "-"), self.months, self.workers.variables)
        if not machine.variables and name != NO_STORE:
            with_store(machine, self.empty_store)
        try:
            yield machine
            wait_until(lambda: machine.processes() == [], SECONDS, machine.processes)
        finally:
            if machine.variables:
                empty(machine.client)

    def run_undisturbed(self) -> Undisturbed:
        with self.machine("undisturbed") as machine:
            run(machine, [sys.executable, "-c", ""])  # what forks the processes has started, and is not timed
            began = time.monotonic()
            ended = train(dataclasses.replace(machine, spares=0))  # as those that are killed
            seconds = time.monotonic() - began
            assert ended.status == 0, ended.output
            return Undisturbed(seconds, facts(machine))

    def run_killed(self, backend: str, disaster: str) -> None:
        """Kill a run, run it again, and check the result."""
        undisturbed = self.undisturbed.result()
        with self.machine(disaster) as machine:
            ordinary = machine.train_command(min_test_rows=500)
            at_random = disaster in SHARES
            # No spares: whoever is left of a killed run must show the run's own environment.
            with dataclasses.replace(machine, spares=0).start(
                *(ordinary if at_random else command(stage(disaster, backend), ordinary[3:]))
            ) as process:
                if at_random:
                    time.sleep(float(disaster.removeprefix("random ")) * undisturbed.seconds)
                    with contextlib.suppress(ProcessLookupError):  # it has ended already
                        process.send(signal.SIGKILL)
                ended = process.end(SECONDS_QUEUED)
                assert at_random or ended.status == -signal.SIGKILL, f"{disaster} never came: {ended.output}"
                again = train(machine)  # while children of the killed process may still run
            assert again.status == 0, again.output
            check(machine, undisturbed)
            if disaster.startswith("champion"):
                doctor = machine.mlops("doctor")
                assert doctor.status == 0, doctor.output


def empty(client: Any) -> None:
    """Remove the model and its runs from a server's store."""
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    experiment = client.get_experiment_by_name(SAMPLE_MODEL)
    if experiment:
        name = f"{SAMPLE_MODEL} {experiment.experiment_id}"  # a deleted experiment would keep its name
        client.rename_experiment(experiment.experiment_id, name)
        client.delete_experiment(experiment.experiment_id)


def train(machine: Machine, **changed: Any) -> Ended:
    return run(machine, machine.train_command(min_test_rows=500, **changed))


def run(machine: Machine, command: list[str]) -> Ended:
    """Result of a command, which may have to wait for others."""
    with machine.start(*command) as process:
        return process.end(SECONDS_QUEUED)


def facts(machine: Machine) -> dict[str, Any]:
    """What the same run must log again: everything except times."""
    (parent,) = machine.parents()
    trials = [
        (trial.info.run_name, trial.info.status, trial.data.params, untimed(trial.data.metrics))
        for trial in machine.trials(parent)
    ]
    return {
        "metrics": parent.data.metrics,
        "parameters": parent.data.params,
        "trials": sorted(trials, key=str),
        "tags": {name: parent.data.tags[name] for name in ("run_key", "tuning_hit_ceiling", "warm_start")},
    }


def untimed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "seconds" not in name}


def check(machine: Machine, undisturbed: Undisturbed) -> None:
    """One version, one champion, nothing RUNNING or half done, and the numbers of a run that was not killed."""
    wait_until(lambda: "RUNNING" not in machine.statuses(), SECONDS, machine.statuses)
    assert machine.statuses() == ["FINISHED"]
    assert facts(machine) == undisturbed.facts
    (version,) = machine.versions()
    assert version.tags["run_key"] == undisturbed.facts["tags"]["run_key"]
    assert version.tags["outcome"] == "champion"
    assert version.tags["proof"] == "passed"
    assert version.run_id == machine.parents()[0].info.run_id
    assert replay(machine) == aliases(machine) == {"champion": "1", "challenger": "1"}
    wait_until(lambda: machine.processes() == [], SECONDS, machine.processes)
    assert machine.unfinished() == machine.half_written() == []


def aliases(machine: Machine) -> dict[str, str]:
    model = machine.client.get_registered_model(SAMPLE_MODEL)
    return {str(alias): str(version) for alias, version in model.aliases.items()}


def replay(machine: Machine) -> dict[str, str]:
    """Positions of the aliases by the journal alone; every move starts where the last one ended, and is done."""
    tags = machine.client.get_registered_model(SAMPLE_MODEL).tags
    place: dict[str, str] = {}
    for name in sorted(name for name in tags if name.startswith(PREFIX)):
        move = json.loads(tags[name])
        assert (move["state"], move["from"]) == ("done", place.get(move["alias"])), (name, move)
        place[move["alias"]] = move["to"]
    return place


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_months(tmp_path_factory.mktemp("months"))


@pytest.fixture(scope="module")
def places(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    months: Path,
    migrated_store: Path,
) -> Iterator[dict[str, Place]]:
    """Stores of the selected backends."""
    found: dict[str, Place] = {}
    try:
        for backend in {params["backend"] for params in asked(request)}:
            folder = tmp_path_factory.mktemp(backend)
            # With SQLite each run has its own store; on the server runs come one after another.
            at_once, store = (
                (1, mlflow_server(folder))
                if backend == "server"
                else (max(2, os.cpu_count() or 1), contextlib.nullcontext({}))
            )
            found[backend] = Place(Workers(at_once, store), folder, months, migrated_store)
        yield found
    finally:
        for place in found.values():
            place.workers.close()


@pytest.fixture(scope="module")
def reruns(request: pytest.FixtureRequest, places: dict[str, Place]) -> dict[tuple[str, str], Future[None]]:
    """Every selected case, started: several run at once."""
    return {
        (each["backend"], each["disaster"]): places[each["backend"]].workers.submit(
            places[each["backend"]].run_killed, each["backend"], each["disaster"]
        )
        for each in asked(request)
        if "disaster" in each
    }


def asked(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Parameters of the tests of this module that will run."""
    here = [item for item in request.session.items if item.path == request.path]
    return [item.callspec.params for item in here if hasattr(item, "callspec")]


@pytest.mark.parametrize(("backend", "disaster"), DISASTERS)
def test_one_rerun_completes_a_killed_run(
    backend: str, disaster: str, reruns: dict[tuple[str, str], Future[None]]
) -> None:
    reruns[backend, disaster].result()


def test_a_verification_ends_when_its_parent_process_is_gone(tmp_path: Path) -> None:
    """Otherwise it would write into the folder in which the next attempt works."""
    expected = {"sample": str(tmp_path / "sample.parquet")}
    asked = {"folder": str(tmp_path), "expected": expected, "asker": 0}
    ended = subprocess.run(
        [sys.executable, "-m", "mlops.registry.verification_process"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (1, "")


@pytest.mark.parametrize("backend", BACKENDS if THOROUGH else ["sqlite"])
def test_the_same_run_started_at_once_is_one_version(backend: str, places: dict[str, Place]) -> None:
    place = places[backend]

    def start_all() -> None:
        undisturbed = place.undisturbed.result()
        with place.machine("at once") as machine:
            for ended in at_once(machine, [machine.train_command(min_test_rows=500)] * STARTS):
                assert ended.status == 0, ended.output
            check(machine, undisturbed)

    place.workers.submit(start_all).result()


@pytest.mark.parametrize("backend", BACKENDS if THOROUGH else ["sqlite"])
def test_promotions_and_rollbacks_at_once_leave_one_champion(backend: str, places: dict[str, Place]) -> None:
    place = places[backend]

    def move_all() -> None:
        with place.machine("moves") as machine:
            for month in ("2023-03", "2023-04"):
                ended = train(machine, month=month)
                assert ended.status == 0, ended.output
            asked = (["promote", "1"], ["promote", "2"], ["rollback"], ["rollback", "--to", "1"])
            mlops = [sys.executable, "-m", "mlops"]
            commands = [[*mlops, *asked[number % 4], f"--reason=number {number}"] for number in range(MOVES)]
            before = replay(machine)
            ended_all = at_once(machine, commands)
            moved = [ended for ended in ended_all if ended.status == 0]
            for ended in ended_all:
                assert ended.status == 0 or refused(ended), ended.output
            assert moved
            assert replay(machine) == aliases(machine)
            assert set(aliases(machine)) == {"champion", "challenger"}
            assert aliases(machine)["challenger"] == before["challenger"]
            tags = machine.client.get_registered_model(SAMPLE_MODEL).tags
            by_hand = [name for name in tags if name.startswith(PREFIX) and "number " in tags[name]]
            assert len(by_hand) == len(moved)

    place.workers.submit(move_all).result()


def refused(ended: Ended) -> bool:
    """Whether the output reports that there was nothing to do."""
    last = ended.stderr.strip().splitlines()[-1]
    reported = ("is already champion", "there is no earlier champion", "was never champion")
    return ended.status == 1 and last.startswith("error: ") and any(text in last for text in reported)


def at_once(machine: Machine, commands: list[list[str]]) -> list[Ended]:
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda each: run(machine, each), commands))
