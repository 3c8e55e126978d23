"""A bad champion is forced in: the next month rolls it back by itself, also if it is killed at any stage."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.chaos import MOVE_ALIAS, Moment, command
from support.corrupted_months import corrupted, with_durations
from support.doors import SAMPLE_MODEL, Ended, Machine, kept_state, wait_until, with_store

from mlops.data.synthetic.source import write_month
from mlops.month import Month
from mlops.registry.journal_tags import PREFIX

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

FIRST, LAST = Month(2023, 1), Month(2023, 6)
ROWS = 4000
WHY = ("--reason", "the new model looks good")
BY = "monitoring of 2023-05"
SECONDS = 60
STAGES = {
    "fetching the month": Moment("after", "mlops.data.cache:fetch"),
    "after the champion's answers": Moment("after", "mlops.monitoring.answers:answer"),
    "after the predecessor's answers": Moment("after", "mlops.monitoring.answers:answer", count=2),
    "compared, nothing done": Moment("after", "mlops.monitoring.comparing:compare"),
    "in the verification": Moment("amid", "mlops.registry.verification:_ask"),
    "before the intent": Moment("before", "mlops.registry.alias_log:move"),
    "intent, no alias": Moment("before", MOVE_ALIAS),
    "alias, not done": Moment("after", MOVE_ALIAS),
    "moved, nothing recorded": Moment("after", "mlops.registry.operator:rollback_for"),
    "before the record": Moment("before", "mlops.registry.monitoring_log:write"),
    "after the record": Moment("after", "mlops.registry.monitoring_log:write"),
}
Disaster = tuple[Machine, Callable[[], Machine]]


@pytest.fixture(scope="module")
def disaster(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[Disaster]:
    """Version 1 was promoted for 2023-03; version 2, trained on corrupted months, was forced in for 2023-04."""
    folder = tmp_path_factory.mktemp("disaster")
    right, wrong = folder / "months", folder / "corrupted"
    wrong.mkdir()
    for month in Month.range(FIRST, LAST):
        name = f"green_tripdata_{month}.parquet"
        write_month(right / name, "green", month, rows=ROWS)
        if month < Month(2023, 4):
            with_durations(right / name, wrong / name, corrupted)
        else:
            (wrong / name).symlink_to(right / name)
    machine = with_store(Machine(folder / "machine", right), migrated_store)
    said(machine.train())
    said(machine.train(month="2023-04", source=str(wrong)))
    assert "has the verdict" in said(machine.mlops("promote", "2", "--yes", *WHY))  # it was overridden
    with kept_state(machine) as restore:
        yield machine, restore


@pytest.fixture
def machine(disaster: Disaster) -> Machine:
    """The machine on which version 2 reigns."""
    _, restore = disaster
    return restore()


def said(ended: Ended) -> str:
    """Output of a command that succeeded."""
    assert ended.status == 0, ended.output
    return ended.stdout


def monitor_command(machine: Machine, month: str = "2023-05") -> list[str]:
    return ["monitor", f"--month={month}", f"--source={machine.source}", "--json"]


def monitored(machine: Machine, month: str = "2023-05") -> dict[str, Any]:
    """What the command prints of a month, without the time."""
    found = dict(json.loads(said(machine.mlops(*monitor_command(machine, month)))))
    assert found.pop("at")
    return found


def journal(machine: Machine) -> list[tuple[Any, ...]]:
    """Moves of `champion`: from, to, by, verdict, state."""
    tags = machine.client.get_registered_model(SAMPLE_MODEL).tags
    entries = [json.loads(tags[key]) for key in sorted(tags) if key.startswith(PREFIX)]
    return [
        tuple(e[name] for name in ("from", "to", "by", "verdict", "state"))
        for e in entries
        if e["alias"] == "champion"
    ]


def facts(machine: Machine) -> dict[str, Any]:
    """What a killed monitoring must leave as an undisturbed one does: everything except times and ids."""
    experiment = machine.client.get_experiment_by_name(f"{SAMPLE_MODEL}-monitoring")
    (run,) = machine.client.search_runs([experiment.experiment_id])
    records = {
        key: {name: value for name, value in json.loads(text).items() if name not in ("at", "run_id")}
        for key, text in run.data.tags.items()
        if key.startswith("month.")
    }
    history = {
        name: [(each.step, each.value) for each in machine.client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    files = [file.path for file in machine.client.list_artifacts(run.info.run_id, "2023-05")]
    return {
        "status": run.info.status,
        "records": records,
        "history": history,
        "files": sorted(files),
        "journal": journal(machine),
        "champion": machine.alias("champion"),
        "versions": machine.numbers(),
    }


@pytest.fixture(scope="module")
def undisturbed(disaster: Disaster) -> dict[str, Any]:
    _, restore = disaster
    machine = restore()
    monitored(machine)
    return facts(machine)


def test_the_next_month_rolls_a_bad_champion_back_and_the_month_after_promotes_as_usual(
    machine: Machine,
) -> None:
    found = monitored(machine)
    assert (found["month"], found["champion_version"], found["alarm"]) == ("2023-05", "2", True)
    assert found["action"] == "rollback"
    assert "worse_than_predecessor" in found["causes"]
    assert machine.alias("champion") == "1"
    assert journal(machine)[-1] == ("2", "1", BY, "rollback", "done")
    listed = said(machine.mlops("registry"))
    assert re.search(
        rf"champion 2 -> 1  rollback \({BY}\):\s+RMSE [\d.]+ of version 2 is [\d.]+% above", listed
    )

    text = said(machine.mlops(*monitor_command(machine)[:-1]))
    assert re.search(
        r"(?i)version 1 is champion again instead of version 2: RMSE [\d.]+ of version 2 is", text
    )
    assert monitored(machine) == found
    assert len(journal(machine)) == 3

    said(machine.train(month="2023-05"))
    reason = machine.versions()[2].tags["reason"]
    assert "of the champion (version 1)" in reason
    assert machine.alias("champion") == "3", reason
    later = monitored(machine, "next")
    assert (later["month"], later["champion_version"], later["action"]) == ("2023-06", "3", "none")
    assert monitored(machine) == found
    assert machine.alias("champion") == "3"


@pytest.fixture
def slow(disaster: Disaster, tmp_path: Path) -> Path:
    """The same months, but in 2023-05 every ride takes 12 % longer."""
    for path in (disaster[0].source).iterdir():
        (tmp_path / path.name).symlink_to(path)
    changed = tmp_path / "green_tripdata_2023-05.parquet"
    whole = changed.resolve()
    changed.unlink()
    with_durations(whole, changed, lambda durations: (durations * 1.12).astype(durations.dtype))
    return tmp_path


def test_if_the_error_grew_the_month_is_trained_on_and_a_killed_training_goes_on(
    machine: Machine, slow: Path
) -> None:
    said(machine.mlops("rollback", *WHY))
    at_slow = replace(machine, source=slow, spares=0)
    words = [*monitor_command(at_slow), "--retrain", "--max-error-growth=0.04"]
    ended = at_slow.run(*command(Moment("after", "mlops.pipeline.checkpoint:Checkpoint.append"), words))
    assert ended.status == -signal.SIGKILL, ended.output
    found, again = (json.loads(said(machine.mlops(*words))) for _ in range(2))

    assert (found["champion_version"], found["alarm"], found["action"]) == ("1", True, "retrain")
    assert machine.numbers() == ["1", "2", "3"]
    third = machine.versions()[2]
    assert (third.tags["test_month"], third.tags["last_month_learnt"]) == ("2023-05", "2023-04")
    assert machine.client.get_run(third.run_id).data.params["max_trials"] == "2"  # as the champion's
    assert found["done"] == f"version 3 was trained and tested on 2023-05: {third.tags['outcome']}"
    assert {**again, "at": ""} == {**found, "at": ""}
    assert machine.unfinished() == []


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_one_rerun_ends_the_same(
    stage: str, machine: Machine, undisturbed: dict[str, Any]
) -> None:
    cold = replace(machine, spares=0)  # the verification takes as long as it does for users
    ended = cold.run(*command(STAGES[stage], monitor_command(machine)))
    assert ended.status == -signal.SIGKILL, f"{stage} never came: {ended.output}"
    again = monitored(machine)  # while children of the killed process may still run

    assert again["action"] == "rollback"
    assert facts(machine) == undisturbed
    wait_until(lambda: machine.processes() == [], SECONDS, machine.processes)
    assert machine.half_written() == []
