"""`python -m mlops monitor` and the pipeline `trip_duration_monitoring`, as people and Mage start them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.doors import BIN, MONITORING, PROJECT, SAMPLE_MODEL, Ended, Machine

EXPERIMENT = f"{SAMPLE_MODEL}-monitoring"


@pytest.fixture(scope="module")
def machine(train_runs: tuple[Machine, list[Ended]], tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with the registry of one on which two months were trained; its artefacts stay where they are."""
    trained, ended = train_runs
    assert [each.status for each in ended] == [0] * 4, ended
    copy = Machine(tmp_path_factory.mktemp("monitoring"), trained.source)
    copy.state.mkdir(mode=0o700)
    for name in ("mlflow.db", "registry.key"):
        shutil.copy(trained.state / name, copy.state / name)
    return copy


def monitor(machine: Machine, *options: str) -> Ended:
    return machine.mlops("monitor", "--source", str(machine.source), *options)


def compared(machine: Machine) -> dict[str, Any]:
    """Tags and metrics of the one run that has the compared months."""
    experiment = machine.client.get_experiment_by_name(EXPERIMENT)
    (run,) = machine.client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    return {"tags": run.data.tags, "metrics": run.data.metrics, "id": run.info.run_id}


@pytest.mark.timeout(200)
def test_a_month_is_compared_and_printed_for_programs(machine: Machine) -> None:
    ended = monitor(machine, "--month", "2023-04", "--json")
    assert ended.status == 0, ended.output
    found = json.loads(ended.stdout)
    assert (found["month"], found["model"]) == ("2023-04", SAMPLE_MODEL)
    assert found["champion_version"] in machine.numbers()
    assert found["action"] in ("none", "alert")
    assert found["alarm"] is (found["action"] == "alert")
    measured = found["measured"]
    assert found["rmse"] == measured["rmse"] > 0
    assert measured["change_mix"] + measured["change_within"] == pytest.approx(measured["change"], abs=1e-9)
    assert compared(machine)["metrics"]["rmse"] == found["rmse"]
    assert "month.2023-04" in compared(machine)["tags"]


@pytest.mark.timeout(200)
def test_a_range_is_a_list_and_what_follows_a_missing_month_is_an_error(machine: Machine) -> None:
    ended = monitor(machine, "--from", "2023-04", "--to", "2023-05", "--json")
    assert [each["month"] for each in json.loads(ended.stdout)] == ["2023-04"]
    assert ended.status == 1
    assert "error: green 2023-05: not published" in ended.stderr


@pytest.mark.timeout(200)
def test_mage_compares_the_month_too(machine: Machine) -> None:
    variables = json.dumps({"source": str(machine.source), "month": "2023-04"})
    ended = machine.run(
        str(BIN / "mage"), "run", str(PROJECT), MONITORING, "--runtime-vars", variables, "--test"
    )
    assert ended.status == 0, ended.output
    assert ended.stdout.count("1/1 tests passed.") == 3
    assert machine.half_written() == []


@pytest.mark.timeout(100)
def test_the_history_page_is_written_without_comparing(machine: Machine, tmp_path: Path) -> None:
    before = compared(machine)
    ended = machine.mlops("monitor", "--report", str(tmp_path / "history.html"))
    assert (ended.status, ended.stdout) == (0, ""), ended.output
    page = (tmp_path / "history.html").read_text()
    assert SAMPLE_MODEL in page
    assert "2023-04" in page
    assert compared(machine) == before


@pytest.mark.timeout(100)
def test_before_durations_are_known_the_request_log_is_needed(machine: Machine) -> None:
    ended = monitor(machine, "--month", "2023-05", "--before-labels")
    assert (ended.status, ended.stdout) == (1, "")
    assert "expected at least 500 requests of 2023-05" in ended.stderr


@pytest.mark.timeout(100)
def test_a_month_that_every_champion_knows_is_refused(machine: Machine) -> None:
    ended = monitor(machine, "--month", "2023-03")
    assert (ended.status, ended.stdout) == (2, "")
    assert "expected a month after 2023-03, on which the first champion" in ended.stderr
