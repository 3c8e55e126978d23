"""What people delete in MLflow's pages, and `mlflow gc` after that, stops neither the schedule nor a question."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.doors import PROJECT, SAMPLE_MODEL, Ended, Machine, kept_state, with_store

GC = PROJECT / ".venv-mlflow" / "bin" / "mlflow"
URI = f"models:/{SAMPLE_MODEL}"
NEXT = {"month": "next", "start_month": "2023-04"}
Past = tuple[Machine, Callable[[], Machine]]  # a machine, and what restores its state
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the first test waits for two runs


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, months: Path, migrated_store: Path) -> Iterator[Past]:
    """A machine with version 1 of March, and champion 2 of April; and a copy of its state."""
    folder = tmp_path_factory.mktemp("history")
    machine = with_store(Machine(folder / "machine", months), migrated_store)
    for month in ("2023-03", "2023-04"):
        ended = machine.train(month=month, max_trials=1)
        assert ended.status == 0, ended.output
    with kept_state(machine) as restore:
        yield machine, restore


@pytest.fixture
def machine(past: Past) -> Machine:
    """That machine, restored to its first state."""
    _, restore = past
    return restore()


def ended_well(ended: Ended) -> str:
    assert ended.status == 0, ended.output
    assert "Traceback" not in ended.output
    return ended.stdout


def refused(ended: Ended) -> str:
    """The single error line of a command that failed."""
    assert ended.status == 1, ended.output
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()[-1]


def open_lines(machine: Machine, *options: str) -> list[str]:
    ended = machine.mlops("doctor", *options)
    assert "Traceback" not in ended.output
    return [line.partition("\t")[2] for line in ended.stdout.splitlines() if line.startswith("OPEN")]


def test_the_runs_of_all_versions_are_deleted_and_collected(machine: Machine) -> None:
    if not GC.exists():
        pytest.skip(f"{GC} is not there: `make install` builds it")
    ids = [version.run_id for version in machine.versions()]
    for run_id in ids:
        machine.client.delete_run(run_id)
    ended = machine.run(str(GC), "gc", "--backend-store-uri", f"sqlite:///{machine.state / 'mlflow.db'}",
                        "--tracking-uri", f"sqlite:///{machine.state / 'mlflow.db'}")  # fmt: skip
    assert ended.output.count("has been permanently deleted") >= 2, ended.output

    checked = machine.train(**NEXT)
    assert ended_well(checked) == f"nothing to do: green 2023-05 is not published yet at {machine.source}\n"
    assert checked.stderr.count("Whether its months were republished is unknown") == 1
    again = machine.train(month="2023-04", max_trials=1)
    assert "already registered as" in ended_well(again)
    gone = [f"its run {run_id} no longer exists in MLflow" for run_id in ids]
    lines = open_lines(machine)
    assert [line.partition(";")[0] for line in lines] == [
        f"{URI}/1: {gone[0]}", f"{URI}/2: {gone[1]}",
    ]  # fmt: skip
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    assert f"{SAMPLE_MODEL}: version 1 (since " in ended_well(machine.mlops("registry", f"--as-of={today}"))
    assert gone[1] in ended_well(machine.mlops("show", SAMPLE_MODEL))
    assert re.search(r"^ +2 +challenger, champion ", ended_well(machine.mlops("registry")), re.M)
    for command in (("promote", "1", "--reason=x"), ("rollback", "--reason=x"), ("reproduce", "1")):
        assert gone[0] in refused(machine.mlops(*command))
    ended_well(machine.mlops("tidy", "--dry-run"))


def test_the_experiment_is_deleted_and_restored(machine: Machine) -> None:
    experiment = machine.client.get_experiment_by_name(SAMPLE_MODEL)
    machine.client.delete_experiment(experiment.experiment_id)
    fetched = len([*machine.state.glob("months/**/*.parquet")])
    act = f".venv/bin/mlflow experiments restore -x {experiment.experiment_id}`"

    for settings in (NEXT, {"month": "2023-04", "seed": 7}):
        line = refused(machine.train(**settings))
        assert line.startswith(f"error: experiment {SAMPLE_MODEL} was deleted in MLflow, with all its runs; ")
        assert line.endswith(act)
    assert len([*machine.state.glob("months/**/*.parquet")]) == fetched
    (line,) = open_lines(machine)
    assert line.endswith(act)
    ended_well(machine.mlops("registry"))
    ended_well(machine.mlops("show", SAMPLE_MODEL))

    command = re.findall(r"`MLFLOW_TRACKING_URI=(\S+) .venv/bin/(mlflow .+)`", line)[0]
    assert command[0] == f"sqlite:///{machine.state / 'mlflow.db'}"
    machine.client.restore_experiment(command[1].split()[-1])
    assert ended_well(machine.train(**NEXT)).startswith("nothing to do: green 2023-05 is not published yet")
    assert open_lines(machine) == []


def test_a_champion_without_files_gives_way_to_a_challenger_and_the_verdict_says_why(
    machine: Machine,
) -> None:
    (_, booster) = sorted(machine.state.rglob("booster.ubj"), key=lambda path: path.stat().st_mtime)
    shutil.rmtree(booster.parents[2])
    for line, alias in zip(open_lines(machine), ("challenger", "champion"), strict=True):
        assert line.startswith(f"{SAMPLE_MODEL}: {alias} is version 2, but its files are gone or changed")

    ended = machine.train(month="2023-04", max_trials=1, seed=7)
    assert f"{URI}/3" in ended_well(ended)
    assert machine.alias("champion") == "3"
    assert "the champion (version 2) could not be scored: " in machine.versions()[2].tags["reason"]


def test_a_champion_that_was_made_by_hand_is_not_replaced_without_a_person(machine: Machine) -> None:
    made = machine.client.create_model_version(SAMPLE_MODEL, "odd://somewhere/model")
    machine.client.set_registered_model_alias(SAMPLE_MODEL, "champion", made.version)
    assert len(open_lines(machine)) == 2

    ended = machine.train(month="2023-04", max_trials=1, seed=7)
    assert f"{URI}/4" in ended_well(ended)
    assert machine.alias("champion") == "3"
    assert "make a version of this project champion first" in machine.versions()[3].tags["reason"]
    assert f"{URI}/2 is now champion; previous champion: version 3" in ended_well(
        machine.mlops("promote", "2", "--reason=it is ours")
    )
    machine.client.delete_model_version(SAMPLE_MODEL, "3")
    assert open_lines(machine) == []
