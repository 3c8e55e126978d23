"""`mage run` in a real process: what a success registers, and how each failure ends."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.doors import BIN, PIPELINE, PROJECT, SAMPLE_MODEL, Ended, Machine
from support.failures import FAILURES, Failure, closed_port

# --- success -----------------------------------------------------------------------------------


def test_a_run_registers_a_champion(mage_runs: tuple[Machine, list[Ended]]) -> None:
    machine, (first, _) = mage_runs
    assert first.status == 0, first.output
    assert "Pipeline run completed." in first.stdout
    assert f"models:/{SAMPLE_MODEL}/1" in first.stdout
    version = machine.versions()[0]
    assert (version.name, machine.numbers()[0]) == (SAMPLE_MODEL, "1")
    assert version.run_id == machine.parents()[0].info.run_id
    assert version.tags["verdict"] == "promote"


def test_a_run_shows_the_progress_of_its_trials(mage_runs: tuple[Machine, list[Ended]]) -> None:
    first, again = mage_runs[1]
    for line in (
        r"trial 1 of 2: validation RMSE \d",
        r"trial 2 of 2: validation RMSE \d",
        "final fit on",
    ):
        assert len(re.findall(line, first.output)) == 1
        assert not re.search(line, again.output)


def test_a_run_logs_its_metrics_and_a_nested_run_for_each_trial(
    mage_runs: tuple[Machine, list[Ended]],
) -> None:
    machine, _ = mage_runs
    run = machine.parents()[0]
    names = [
        f"{part}_{name}" for part in ("validation", "test") for name in ("rmse", "mae", "p90", "r2", "bias")
    ]
    assert {*names, "test_rmse_pair_median", "test_rows"} <= set(run.data.metrics)
    assert all(math.isfinite(value) for value in run.data.metrics.values())
    assert next(iter(run.data.metrics)) == "test/rmse"  # MLflow's page shows this first
    assert run.data.metrics["test/rmse"] == run.data.metrics["test_rmse"]
    assert run.data.metrics["test_rmse"] < run.data.metrics["test_rmse_pair_median"]
    assert run.data.params["month"] == "2023-03"
    trials = machine.trials(run)
    assert [trial.info.run_name for trial in trials] == ["trial 1", "trial 2"]
    assert all("learning_rate" in trial.data.params for trial in trials)
    best = min(trial.data.metrics["validation_rmse"] for trial in trials)
    assert run.data.metrics["validation_rmse"] == pytest.approx(best, rel=1e-4)


def test_no_run_is_left_open_and_no_file_half_written(mage_runs: tuple[Machine, list[Ended]]) -> None:
    machine, _ = mage_runs
    assert {run.info.status for run in machine.runs()} == {"FINISHED"}
    assert machine.half_written() == machine.unfinished() == []
    assert machine.processes() == []


def test_blocks_tests_run_with_the_option_test(mage_runs: tuple[Machine, list[Ended]]) -> None:
    plain, tested = mage_runs[1]
    assert tested.status == 0, tested.output
    assert tested.stdout.count("1/1 tests passed.") == 4
    assert "tests passed" not in plain.stdout


def test_the_same_run_once_more_is_the_same_version(mage_runs: tuple[Machine, list[Ended]]) -> None:
    machine, (_, again) = mage_runs
    reported = f"models:/{SAMPLE_MODEL}/1 is already registered with this run key: nothing to do"
    assert again.output.count(reported) == 1
    assert machine.numbers() == ["1"]
    assert machine.statuses() == ["FINISHED"]
    assert (machine.alias("champion"), machine.alias("challenger")) == ("1", "1")


def test_a_run_leaves_the_project_as_it_was(mage_runs: tuple[Machine, list[Ended]]) -> None:
    machine, _ = mage_runs
    for path in (PROJECT / "pipelines").rglob("*.yaml"):
        assert str(machine.folder) not in path.read_text()
    for path in (PROJECT / "pipelines").rglob("metadata.yaml"):
        assert "status:" not in path.read_text()


# --- failure -----------------------------------------------------------------------------------


def assert_failed(machine: Machine, ended: Ended, reported: str, tracebacks: int = 0) -> None:
    """The run ended with one readable error, without a traceback, and left nothing behind."""
    assert ended.status == 1, ended.output
    assert reported in ended.message, ended.output
    assert "\n" not in ended.message
    assert ended.output.count("Traceback") == tracebacks
    assert "Pipeline run completed." not in ended.output
    assert machine.versions() == machine.runs() == []
    assert machine.half_written() == machine.unfinished() == []
    assert machine.processes() == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure(failure: Failure, ready: Machine, months: Path, tmp_path: Path) -> None:
    source = failure.source(months, tmp_path / "source")
    ended = ready.mage_run(**{"source": str(source), **failure.settings})
    assert_failed(ready, ended, failure.reported)


@pytest.mark.timeout(60)
def test_a_misspelt_variable_names_the_nearest(machine: Machine) -> None:
    ended = machine.mage_run(max_trails=3)
    assert_failed(machine, ended, "unknown setting 'max_trails'; did you mean 'max_trials'?")


@pytest.mark.timeout(60)
def test_variables_that_mage_would_ignore(machine: Machine) -> None:
    variables = "{'month': '2023-03'}"
    ended = machine.run(str(BIN / "mage"), "run", str(PROJECT), PIPELINE, "--runtime-vars", variables)
    assert_failed(
        machine, ended, "--runtime-vars is not valid JSON", tracebacks=1
    )  # Mage's, before its own start
    assert variables in ended.message
    assert not machine.state.exists()


@pytest.mark.timeout(60)
def test_a_tracking_server_that_does_not_answer(machine: Machine) -> None:
    with closed_port() as port:
        address = f"http://127.0.0.1:{port}"
        ended = replace(machine, variables={"MLFLOW_TRACKING_URI": address}).mage_run()
    assert_failed(machine, ended, f"tracking server {address}: no answer within 5 s")
    assert not (machine.state / "months").exists()  # the server is checked before anything is fetched
