"""The runs that `mlflow run` opens around ours."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from support.tracked import mlflow_client, state_of

from mlops.errors import ConfigError, MlopsError
from mlops.operations.doctor import checkup
from mlops.registry import project_runs, run_lifecycle
from mlops.registry.versions import Version

pytestmark = pytest.mark.usefixtures("store")
DAY_MS = 86_400_000
OPENED = {"mlflow.project.entryPoint": "train", "mlflow.source.type": "PROJECT"}
CLOSED = ("KILLED", "its process ended without closing it")


def opened(experiment: str = project_runs.EXPERIMENT, age_ms: int = 0, **tags: str) -> str:
    """A run as `mlflow run` opens it."""
    place, started = run_lifecycle.make_experiment(experiment), int(time.time() * 1000) - age_ms
    return str(mlflow_client().create_run(place, started, {**OPENED, **tags}).info.run_id)


def of_process(host: str, process: psutil.Process, *, later: float = 0.0) -> dict[str, str]:
    return {project_runs.PROCESS: f"{host} {process.pid}:{process.create_time() + later:.2f}"}


@pytest.fixture
def sleeping() -> Iterator[psutil.Process]:
    """Another process of this host."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


def test_a_run_gets_its_name_and_says_which_process_works_for_it() -> None:
    run_id = opened()
    project_runs.begin(run_id, "train green 2023-03")
    run = mlflow_client().get_run(run_id)
    assert run.info.run_name == "train green 2023-03"
    assert run.data.tags[project_runs.PROCESS].startswith(f"{socket.gethostname()} {os.getpid()}:")
    assert project_runs.close_dead() == 0
    project_runs.end(run_id, "FINISHED")
    assert state_of(run_id) == ("FINISHED", None)


def test_it_shows_each_month_with_a_link_newest_first() -> None:
    run_id, version = opened(), Version("trip-duration-sample", "7", "", {})
    lines = [("2023-03 champion: *none* before", version), ("ConfigError: no month", None)]
    project_runs.show(run_id, "backfill green", lines, {"outcome": "champion"})
    run = mlflow_client().get_run(run_id)
    assert run.info.run_name == "backfill green"
    assert run.data.tags["outcome"] == "champion"
    assert run.data.tags["mlflow.note.content"] == (
        "ConfigError: no month\n\n[trip-duration-sample version 7](#/models/trip-duration-sample/versions/7?"
        r"workflowType=machine_learning): 2023-03 champion: \*none\* before"
    )


def test_a_long_backfill_shows_its_newest_months() -> None:
    lines = [(f"{number} {'x' * 500}", None) for number in range(50)]
    shown = project_runs.described(lines)
    assert shown.startswith("49 ")
    assert len(shown) < 5000
    assert [line.split()[0] for line in shown.split("\n\n")] == [str(n) for n in range(49, 40, -1)]


def test_the_next_one_closes_those_whose_process_is_gone(sleeping: psutil.Process) -> None:
    here = socket.gethostname()
    alive = opened(**of_process(here, sleeping))
    elsewhere = opened(**of_process("another-host", sleeping, later=5))
    young, of_others = opened(), opened(age_ms=DAY_MS, **{"mlflow.project.entryPoint": "main"})
    number_used_again = opened(**of_process(here, sleeping, later=5))
    broken = opened(**{project_runs.PROCESS: f"{here} unknown"})
    died_at_once = opened(age_ms=DAY_MS)
    by_name = opened(experiment="Mine", **of_process(here, sleeping, later=5))
    begun = opened()
    project_runs.begin(begun, "train green 2023-03")
    for run_id in (number_used_again, broken, died_at_once, by_name):
        assert state_of(run_id) == CLOSED
    for run_id in (alive, elsewhere, young, of_others, begun):
        assert state_of(run_id) == ("RUNNING", None)
    sleeping.kill()
    sleeping.wait()
    assert project_runs.close_dead() == 1
    assert state_of(alive) == CLOSED


def test_no_run_that_is_ours_is_closed(sleeping: psutil.Process) -> None:
    place = run_lifecycle.make_experiment("trip-duration-sample")
    ours = str(mlflow_client().create_run(place, 1).info.run_id)
    assert project_runs.close_dead() == 0
    assert state_of(ours) == ("RUNNING", None)


@pytest.mark.parametrize("place", ["trip-duration-green", "trip-duration-green.experiment.short"])
def test_the_experiment_of_a_model_is_refused(place: str) -> None:
    run_id = opened(place)
    with pytest.raises(ConfigError, match=f"experiment: {place} holds a model's own runs, .* 'mlflow run'"):
        project_runs.begin(run_id, "train green 2023-03")
    assert project_runs.PROCESS not in mlflow_client().get_run(run_id).data.tags


def test_a_run_of_another_store_is_named() -> None:
    with pytest.raises(MlopsError, match=f"run {'a' * 32}: it is not in the tracking store of this process"):
        project_runs.begin("a" * 32, "train")


def test_the_doctor_closes_them_and_says_so() -> None:
    assert list(checkup._project_runs()) == []
    dead = opened(**{project_runs.PROCESS: f"{socket.gethostname()} unknown"})
    assert [finding.text for finding in checkup._project_runs()] == [
        "runs of `mlflow run` whose process is gone: 1, now closed as KILLED"
    ]
    assert state_of(dead) == CLOSED
