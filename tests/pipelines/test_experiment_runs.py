"""An experiment is tested and compared like any run, and leaves the registry as it was."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.doors import SAMPLE_MODEL, Ended, Machine, wait_until
from support.registry_rows import registry_rows

PLACE = f"{SAMPLE_MODEL}.experiment."
SILLY = """
import sys
from mlops.__main__ import main
from mlops.data import trips
from mlops.pipeline import steps
own = trips.Rule("over_10_minutes", lambda trips, month: trips["duration_minutes"] > 10)
whole = steps.clean_trips
steps.clean_trips = lambda months, settings: whole(months, settings, trips.with_own((own,)))
steps._find_result = lambda months, settings: None  # it assumes the usual rules
sys.exit(main(sys.argv[1:]))
"""
Runs = tuple[Machine, list[Ended]]


def tried(machine: Machine, *options: str) -> list[dict[str, Any]]:
    """What `experiments --json` prints."""
    ended = machine.mlops("experiments", "--json", *options)
    assert ended.status == 0, ended.output
    return list(json.loads(ended.stdout))


def artefacts(machine: Machine, run_id: str) -> set[str]:
    return {str(file.path) for file in machine.client.list_artifacts(run_id)}


def text_of(machine: Machine, run_id: str, name: str) -> str:
    return Path(machine.client.download_artifacts(run_id, name)).read_text(encoding="utf-8")


def test_a_good_and_a_silly_idea_leave_the_registry_as_it_was(train_runs: Runs) -> None:
    machine, _ = train_runs
    before = registry_rows(machine.state)
    given = ("--experiment", "one trial", "--experiment-note", "Is one enough?")
    good, again = (machine.train(*given, month="2023-04", max_trials=1) for _ in range(2))
    assert good.status == again.status == 0, good.output + again.output
    arguments = machine.train_command("--experiment", "short trips", month="2023-04")[3:]
    silly = machine.run(sys.executable, "-c", SILLY, *arguments)
    assert silly.status == 0, silly.output

    assert registry_rows(machine.state) == before
    assert "already run as experiment 'one trial': " in again.stdout
    assert "trial 1 of 1" not in again.stderr
    reason = silly.stdout.splitlines()[-1]
    assert reason.startswith("experiment 'short trips': refuse: ")
    assert reason.endswith("; nothing was registered")
    second, first = tried(machine)
    assert (first["name"], first["note"], first["test_month"]) == ("one trial", "Is one enough?", "2023-04")
    assert first["differs"] == "max_trials 1 (champion 2)"
    assert (second["name"], second["verdict"]) == ("short trips", "refuse")
    assert second["differs"] == "rule over_10_minutes (training only)"
    assert second["rmse_minutes"] > 1.5 * second["champion_rmse_minutes"]
    assert second["champion_rmse_minutes"] == first["champion_rmse_minutes"]  # on the same trips

    assert artefacts(machine, second["run_id"]) >= {
        "difference.md", "leaderboard.csv", "model_card.html", "months.csv", "plots", "rules.json", "slices.csv",
        "verdict.json",
    }  # fmt: skip
    reported = text_of(machine, second["run_id"], "difference.md")
    assert "- cleaning rule added: over_10_minutes (training only)\n" in reported
    card = text_of(machine, second["run_id"], "model_card.md")
    assert ", experiment short trips, tested on" in card.splitlines()[0]
    assert "cleaning rule added: over_10_minutes (training only)" in card


def test_without_a_champion_the_baseline_is_the_only_comparison(ready: Machine) -> None:
    assert ready.mlops("experiments").stdout.startswith("there is no experiment yet; make one: ")
    ended = ready.train("--experiment", "first", max_trials=1)
    assert ended.status == 0, ended.output
    assert ready.versions() == []
    assert "there is no champion: the only comparison is with the baseline, the pair median" in ended.stderr
    assert "To make it real, run it again with the same settings and code" in ended.stderr
    (only,) = tried(ready)
    assert (only["champion"], only["champion_rmse_minutes"]) == (None, None)
    # The first version is no repeat of it, and starts from nothing that it found.
    real = ready.train(max_trials=1)
    assert real.status == 0, real.output
    assert ready.alias("champion") == "1"
    assert "warm start" not in real.stderr
    # Now there is a champion to compare with, so the experiment is run again.
    assert ready.train("--experiment", "first", max_trials=1).status == 0
    assert [one["champion"] for one in tried(ready)] == ["1", None]


@pytest.mark.long
@pytest.mark.timeout(120)
def test_an_experiment_that_is_killed_is_closed_and_goes_on(ready: Machine) -> None:
    command = ready.train_command("--experiment", "cut off", max_trials=10_000)
    with ready.start(*command) as process:
        process.wait_for("trial 2 of")
        process.send(signal.SIGKILL)
        process.end(30)
    wait_until(lambda: ready.statuses() == ["KILLED"], 30, ready.statuses)
    wait_until(lambda: ready.processes() == [], 30, ready.processes)
    assert [one["status"] for one in tried(ready)] == ["KILLED"]
    (folder,) = ready.unfinished()
    assert folder.parent.name == f"{PLACE}cut off"
    found = ready.mlops("doctor")
    assert f"{PLACE}cut off: a run was interrupted after " in found.stdout

    with ready.start(*command) as process:
        process.wait_for("trial 4 of")
        assert "trial 1 of" not in process.output  # it goes on where it was
        process.send(signal.SIGTERM)
        process.end(30)
    wait_until(lambda: ready.statuses() == ["KILLED"], 30, ready.statuses)
    assert len(ready.parents()) == 1
