"""The pipeline as an MLflow Project: `make mlflow-run`, and `mlflow run` in a shell that has what it needs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.doors import PROJECT, SAMPLE_MODEL, Ended, Machine, wait_until, with_store, write_months
from support.publisher import publishing

from mlops.config import Settings
from mlops.registry import project_runs

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
SHELL = ".venv/bin/python -m flows.with_mlflow shell"
NOTE = "mlflow.note.content"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Machine:
    """A machine whose processes start as people start them."""
    folder = tmp_path_factory.mktemp("mlproject")
    months = write_months(tmp_path_factory.mktemp("months"))
    return with_store(Machine(folder / "machine", months, cold=True), migrated_store)


def words(given: Mapping[str, Any]) -> list[str]:
    """Settings as `mlflow run` takes them."""
    return [word for name, value in given.items() for word in ("-P", f"{name}={value}")]


def launch(machine: Machine, entry: str, **changed: Any) -> list[str]:
    """The command of `make mlflow-run`, for the smallest run."""
    given = machine.settings(**changed)
    if entry == "backfill":
        del given["month"]
    return [sys.executable, "-m", "flows.with_mlflow", "run", entry, *words(given)]


def outer(machine: Machine) -> list[Any]:
    """The runs that `mlflow run` opened, oldest first."""
    place = machine.client.get_experiment_by_name(project_runs.EXPERIMENT).experiment_id
    return list(machine.client.search_runs([place], order_by=["attributes.start_time ASC"]))


def ours(machine: Machine) -> list[Any]:
    """Our own runs, oldest first."""
    theirs = {run.info.run_id for run in outer(machine)}
    return [run for run in machine.parents() if run.info.run_id not in theirs]


def files_here() -> set[Path]:
    """Files in the checkout that git neither has nor ignores."""
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return {Path(line[3:]) for line in listed.splitlines() if line.startswith("??")}


@pytest.fixture(scope="module")
def trained(machine: Machine) -> tuple[Ended, set[Path]]:
    """The first run, and the files that appeared in the checkout meanwhile."""
    before = files_here()
    ended = machine.run(*launch(machine, "train"), cwd=PROJECT)
    return ended, files_here() - before


@pytest.fixture(scope="module")
def refused(machine: Machine, trained: Any) -> Ended:
    """A wrong setting, in a shell as the page says."""
    typed = f'eval "$({SHELL})"\nmlflow run . -e train --env-manager local -P month=2023-99'
    return machine.run("bash", "-ec", typed, cwd=PROJECT)


def test_the_run_trains_and_links_its_version(machine: Machine, trained: tuple[Ended, set[Path]]) -> None:
    ended, _ = trained
    assert ended.status == 0, ended.output
    assert "Traceback" not in ended.output
    (run,) = outer(machine)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "train green 2023-03: champion"
    assert run.data.tags["version"] == f"models:/{SAMPLE_MODEL}/1"
    assert run.data.tags["outcome"] == "champion"
    link = f"[{SAMPLE_MODEL} version 1](#/models/{SAMPLE_MODEL}/versions/1?workflowType=machine_learning)"
    assert run.data.tags[NOTE].startswith(f"{link}: 2023-03 champion: there was no champion before")
    assert run.data.params.items() >= {"month": "2023-03", "service": "green", "max_trials": "2"}.items()


def test_our_own_run_is_not_nested_in_it(machine: Machine, trained: Any) -> None:
    (run,) = ours(machine)
    (theirs,) = outer(machine)
    assert machine.versions()[0].run_id == run.info.run_id
    assert run.info.run_name.startswith("2023-03 promoted: green v1")
    assert run.info.experiment_id != theirs.info.experiment_id
    assert theirs.info.run_id not in run.data.tags.values()
    assert not any(name.startswith("mlflow.project") for name in run.data.tags)


def test_nothing_is_left_in_the_checkout(trained: tuple[Ended, set[Path]]) -> None:
    assert trained[1] == set()
    assert not (PROJECT / "mlflow.db").exists()
    assert not (PROJECT / "mlruns").exists()


def test_the_command_line_finds_its_version(machine: Machine, trained: Any) -> None:
    ended = machine.train()
    assert ended.status == 0, ended.output
    assert f"models:/{SAMPLE_MODEL}/1 is already registered with this run key" in ended.stderr
    assert machine.numbers() == ["1"]


def test_a_wrong_setting_fails_with_our_sentence(machine: Machine, refused: Ended) -> None:
    sentence = "month: there is no month 2023-99; write YYYY-MM with MM from 01 to 12"
    assert refused.status == 1
    assert f"error: {sentence}" in refused.stderr
    assert "Traceback" not in refused.output
    run = outer(machine)[1]
    assert (run.info.status, run.info.run_name) == ("FAILED", "train green 2023-99: failed")
    assert run.data.tags["error"].startswith(sentence)
    assert run.data.tags[NOTE].startswith(f"ConfigError: {sentence}")
    assert len(ours(machine)) == 1


def test_a_source_that_fails_twice_is_asked_again(machine: Machine, trained: Any) -> None:
    with publishing(machine.source) as site:
        site.refuses = 2
        ended = machine.run(*launch(machine, "train", source=site.url, source_patience=60), cwd=PROJECT)
        assert ended.status == 0, ended.output
        assert site.refuses == 0
    newest = outer(machine)[-1]
    assert newest.info.status == "FINISHED"
    assert newest.data.tags[NOTE].startswith(f"[{SAMPLE_MODEL} version 1]")
    assert "2023-03 champion, registered earlier: " in newest.data.tags[NOTE]


def test_killed_in_training_and_started_again(machine: Machine, refused: Ended) -> None:
    """`mlflow run` cannot close its own run then; the next one does."""
    command = launch(machine, "backfill", **{"from": "2023-04", "to": "2023-04"}, max_trials=6)
    with machine.start(*command, cwd=PROJECT) as process:
        process.wait_for("trial 2 of", 120)
        os.killpg(process.popen.pid, signal.SIGKILL)
    wait_until(lambda: [run.info.status for run in ours(machine)][1:] == ["KILLED"], 60)
    assert outer(machine)[-1].info.status == "RUNNING"
    again = machine.run(*command, cwd=PROJECT)
    assert again.status == 0, again.output
    assert f"continuing run {ours(machine)[1].info.run_id}" in again.output
    killed, newest = outer(machine)[-2:]
    assert (killed.info.status, killed.data.tags["error"]) == (
        "KILLED",
        "its process ended without closing it",
    )
    assert (newest.info.status, newest.data.tags["version"]) == ("FINISHED", f"models:/{SAMPLE_MODEL}/2")
    assert machine.numbers() == ["1", "2"]
    assert {run.info.status for run in machine.runs()} == {"FINISHED", "FAILED", "KILLED"}
    assert machine.processes() == []


@pytest.mark.parametrize("entry", ["train", "backfill"])
def test_its_parameters_are_settings_with_their_defaults(entry: str) -> None:
    described = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"][entry]
    range_of_months = {"from", "to"} if entry == "backfill" else set()
    usual = Settings().model_dump()
    for name, parameter in described["parameters"].items():
        assert parameter["type"] in ("string", "float")
        if name not in range_of_months:
            assert parameter["default"] == usual[name]
    assert set(re.findall(r"{(\w+)}", described["command"])) == set(described["parameters"])
