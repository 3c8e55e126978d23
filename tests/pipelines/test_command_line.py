"""`python -m mlops` in a real process: help, plans, successes and failures."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.doors import SAMPLE_MODEL, Ended, Machine
from support.failures import FAILURES, MORE_FAILURES, Failure, closed_port

from mlops.config import Settings


def words(text: str) -> str:
    """The text on one line: argparse wraps help to the width of the terminal."""
    return " ".join(text.split())


# --- help and plans ----------------------------------------------------------------------------


def test_help_names_the_commands_and_the_environment(machine: Machine) -> None:
    ended = machine.run(sys.executable, "-m", "mlops", "--help")
    assert ended.status == 0
    for name in ("train", "show", "MLOPS_STATE_DIR", "MLFLOW_TRACKING_URI", "MLOPS_THREADS"):
        assert name in ended.stdout


def test_help_of_train_lists_every_setting_and_its_default(machine: Machine) -> None:
    reported = words(machine.run(sys.executable, "-m", "mlops", "train", "--help").stdout)
    for name, field in Settings.model_fields.items():
        default = {True: "yes", False: "no", None: "none"}.get(field.default, field.default)
        if not isinstance(field.default, bool):
            default = "none" if field.default in (None, "") else field.default
        assert f"--{name.replace('_', '-')}" in reported
        assert f"{field.description} (default: {default})" in reported
    assert "--dry-run" in reported


@pytest.mark.parametrize("arguments", [[], ["tain"], ["train", "--max-trails", "3"], ["show"]])
def test_a_command_that_is_not_understood(arguments: list[str], machine: Machine) -> None:
    ended = machine.run(sys.executable, "-m", "mlops", *arguments)
    assert ended.status == 2
    assert "error: " in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.output


def test_a_dry_run_prints_the_plan_and_writes_nothing(machine: Machine) -> None:
    with closed_port() as port:  # a plan needs no tracking server
        machine.variables["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
        ended = machine.train("--dry-run", month="2023-04")
    assert ended.status == 0, ended.output
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert words(ended.stdout).startswith(f"green from {machine.source}, tested on 2023-04:")
    assert [(line[0], line[1]) for line in lines[1:-1]] == [
        ("training", "green_tripdata_2023-01.parquet"),
        ("training", "green_tripdata_2023-02.parquet"),
        ("validation", "green_tripdata_2023-03.parquet"),
        ("test", "green_tripdata_2023-04.parquet"),
    ]
    assert all(line[-1] == "MB" and float(line[-2]) > 0 for line in lines[1:-1])
    assert "4 files" in ended.stdout
    trials = "at most 2 trials, and the best of them again on more trips"
    assert f"{trials}: less than a minute on two cores" in ended.stdout
    assert not machine.state.exists()


def test_a_dry_run_of_an_unpublished_month(machine: Machine) -> None:
    ended = machine.train("--dry-run", month="2023-09")
    assert ended.status == 1
    assert ended.stderr.startswith("error: green 2023-09: the test month is not published")
    assert not machine.state.exists()


# --- success -----------------------------------------------------------------------------------


def test_a_run_prints_its_leaderboard(train_runs: tuple[Machine, list[Ended]]) -> None:
    first = train_runs[1][0]
    assert first.status == 0, first.output
    lines = first.stdout.splitlines()
    assert lines[0].split() == ["entry", "validation_rmse", "test_rmse", "test_mae", "test_p90", "about"]
    assert [line.split()[0] for line in lines[1:]] == [f"models:/{SAMPLE_MODEL}/1", "pair", "trial", "trial"]
    assert "trial 2 of 2: validation RMSE" in first.stderr


def test_the_same_run_once_more_is_the_same_version(train_runs: tuple[Machine, list[Ended]]) -> None:
    _, (first, again, *_) = train_runs
    assert again.status == 0, again.output
    assert "trial 1 of 2" not in again.stderr
    assert "is already registered with this run key: nothing to do; set force to train again" in again.stderr
    before, after = first.stdout.splitlines(), again.stdout.splitlines()
    assert after[1].split()[:5] == before[1].split()[:5]  # the line of the version, with its metrics
    assert " already registered as champion: there was no champion before" in after[1]
    assert after[2:] == before[2:]


def test_only_a_better_version_becomes_champion(train_runs: tuple[Machine, list[Ended]]) -> None:
    machine, (_, _, forced, later) = train_runs
    assert forced.status == later.status == 0, forced.output + later.output
    assert machine.numbers() == ["1", "2", "3"]
    assert [version.tags["verdict"] for version in machine.versions()] == ["promote", "keep", "promote"]
    assert [version.tags["outcome"] for version in machine.versions()] == [
        "champion", "challenger", "champion",
    ]  # fmt: skip
    assert "challenger (verdict: keep): RMSE 4" in forced.stdout
    kept = machine.versions()[1].tags["reason"]
    assert "of the champion (version 1), but must be at least 1.00% below" in kept
    assert "but must be above zero" in kept
    assert (machine.alias("champion"), machine.alias("challenger")) == ("3", "3")
    met = machine.parents()[2].data.metrics
    assert met["test_rmse"] < 0.99 * met["test_rmse_champion"]
    assert met["verdict_gain_low"] > 0
    assert machine.statuses() == ["FINISHED"] * 3
    assert machine.half_written() == machine.unfinished() == []


def test_a_forced_run_is_the_same_run_with_the_same_model(train_runs: tuple[Machine, list[Ended]]) -> None:
    first, forced, later = (version.tags for version in train_runs[0].versions())
    assert ("forced" in first, forced["forced"]) == (False, "true")
    assert first["run_key"] == forced["run_key"] != later["run_key"]
    assert first["artefact_sha256"] == forced["artefact_sha256"] != later["artefact_sha256"]
    assert [tags["proof"] for tags in (first, forced, later)] == ["passed"] * 3


def test_sample_months_in_an_ordinary_folder_are_recognised(
    train_runs: tuple[Machine, list[Ended]],
) -> None:
    machine, _ = train_runs
    assert {version.name for version in machine.versions()} == {SAMPLE_MODEL}
    run = machine.parents()[0].data
    assert run.params["service"] == "green"
    # The source does not change the result: the same files from another source are the same run.
    assert (run.tags["setting.source"], run.tags["threads"]) == (str(machine.source), "1")
    assert not {"source", "threads"} & run.params.keys()


def test_show_prints_the_champion(train_runs: tuple[Machine, list[Ended]]) -> None:
    machine, _ = train_runs
    shown = machine.run(sys.executable, "-m", "mlops", "show", SAMPLE_MODEL)
    assert shown.status == 0, shown.output
    assert f"champion is models:/{SAMPLE_MODEL}/3" in shown.stdout
    assert "trained on 2023-01 to 2023-03, tested on" in shown.stdout
    assert f'mlflow.pyfunc.load_model("models:/{SAMPLE_MODEL}@champion")' in shown.stdout
    rmse = next(line.split() for line in shown.stdout.splitlines() if line.split()[:1] == ["rmse"])
    metrics = machine.parents()[2].data.metrics
    logged = [metrics[name] for name in ("validation_rmse", "test_rmse", "test_rmse_pair_median")]
    assert [float(number) for number in rmse[1:]] == pytest.approx(logged, abs=5e-5)


def test_show_of_an_unknown_model_names_those_that_there_are(
    train_runs: tuple[Machine, list[Ended]],
) -> None:
    machine, _ = train_runs
    shown = machine.run(sys.executable, "-m", "mlops", "show", "trip-duration-green")
    assert shown.status == 2
    assert shown.stderr.splitlines()[-1] == (
        "error: model: expected the name of a registered model; got 'trip-duration-green'. "
        f"Registered models: {SAMPLE_MODEL}"
    )
    assert "Traceback" not in shown.output


# --- failure -----------------------------------------------------------------------------------


def assert_failed(machine: Machine, ended: Ended, reported: str, status: int) -> None:
    """The command printed one line for a person, and left nothing behind."""
    assert ended.status == status, ended.output
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert reported in last
    assert ended.output.count("error: ") == 1
    assert "Traceback" not in ended.output
    assert ended.stdout == ""
    assert machine.versions() == []
    assert "RUNNING" not in machine.statuses()
    assert machine.half_written() == machine.unfinished() == []
    assert machine.processes() == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "failure", [*FAILURES.values(), *MORE_FAILURES.values()], ids=[*FAILURES, *MORE_FAILURES]
)
def test_a_failure(failure: Failure, ready: Machine, months: Path, tmp_path: Path) -> None:
    source = failure.source(months, tmp_path / "source")
    ended = ready.train(**{"source": str(source), **failure.settings})
    assert_failed(ready, ended, failure.reported, failure.status)


@pytest.mark.timeout(60)
def test_a_tracking_server_that_does_not_answer(machine: Machine) -> None:
    with closed_port() as port:
        address = f"http://127.0.0.1:{port}"
        ended = replace(machine, variables={"MLFLOW_TRACKING_URI": address}).train()
    assert_failed(machine, ended, f"tracking server {address}: no answer within 5 s", status=1)


@pytest.mark.timeout(120)
def test_a_run_after_a_failed_one_succeeds(ready: Machine, months: Path, tmp_path: Path) -> None:
    source = FAILURES["truncated parquet"].source(months, tmp_path / "source")
    assert ready.train(source=str(source)).status == 1
    spoilt = source / "green_tripdata_2023-03.parquet"
    spoilt.unlink()
    spoilt.symlink_to(months / spoilt.name)
    repaired = ready.train(source=str(source))
    assert repaired.status == 0, repaired.output
    assert ready.numbers() == ["1"]
