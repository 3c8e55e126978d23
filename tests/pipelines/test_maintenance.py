"""The maintenance pipeline long after the last run: the champion is unchanged, the rest is deleted."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from support.doors import BIN, MAINTENANCE, PIPELINE, PROJECT, SAMPLE_MODEL, Ended, Machine

OLD_DAYS = 200
ASK = f"""
import mlflow, pandas
mlflow.set_tracking_uri("sqlite:///state/mlflow.db")
model = mlflow.pyfunc.load_model("models:/{SAMPLE_MODEL}@champion")
ride = {{"pickup_at": pandas.Timestamp("2023-07-03 08:30"), "pickup_zone": 74, "dropoff_zone": 42}}
print(model.predict(pandas.DataFrame([{{**ride, "distance_miles": 2.1, "passenger_count": 1}}])).to_json())
"""


def maintain(machine: Machine, **variables: Any) -> Ended:
    command = [str(BIN / "mage"), "run", str(PROJECT), MAINTENANCE, "--test"]
    ended = machine.run(*command, "--runtime-vars", json.dumps(variables))
    assert ended.status == 0, ended.output
    return ended


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def make_old(machine: Machine) -> None:
    """Make everything `OLD_DAYS` old."""
    then = time.time() - OLD_DAYS * 86_400
    for path in machine.state.rglob("*"):
        os.utime(path, (then, then))
    connection = sqlite3.connect(machine.state / "mlflow.db")
    with connection:
        milliseconds = int(then * 1000)
        connection.execute("UPDATE runs SET start_time = ?, end_time = ?", (milliseconds, milliseconds))
    connection.close()


def scheduled(machine: Machine, partition: str) -> list[Path]:
    """Write what a scheduled run leaves in Mage's data folder."""
    pipeline = machine.folder / "mage" / PROJECT.name / "pipelines" / PIPELINE
    left = [pipeline / kind / "7" / partition / "load_trips" / "kept" for kind in (".variables", ".logs")]
    for path in left:
        path.parent.mkdir(parents=True)
        path.write_text("x" * 100)
    return left


def answer(machine: Machine) -> str:
    ended = machine.run(str(BIN / "python"), "-c", ASK)
    assert ended.status == 0, ended.output
    return ended.stdout


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_champion_survives_the_cleanup(machine: Machine) -> None:
    assert machine.train().status == 0
    make_old(machine)
    before, answered = files(machine.state), answer(machine)
    old = scheduled(machine, "20250101T000000")
    young = scheduled(machine, f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}")

    maintain(machine, dry_run=True)
    assert (
        machine.mlops("tidy", "--dry-run").stdout.count("cached month") == 4
    )  # one per month, and their sum
    assert before - files(machine.state) == set()
    assert all(path.exists() for path in (*old, *young))

    ended = maintain(machine)
    assert re.search(r"cached month: 3 of 3 deleted", ended.stdout)
    gone = before - files(machine.state)
    assert {path.split("/")[0] for path in gone} <= {"months", "prepared", "locks"}
    assert not list(machine.state.glob("months/*/*.parquet"))
    assert not list(machine.state.glob("prepared/**/*.parquet"))
    assert [path.exists() for path in (*old, *young)] == [False, False, True, True]

    (run,) = machine.parents()
    assert len(machine.trials(run)) == 2
    assert {"verdict.json", "months.csv", "model_card.md"} <= {
        entry.path for entry in machine.client.list_artifacts(run.info.run_id)
    }
    assert answer(machine) == answered
    again = machine.mlops("reproduce", "1")
    assert again.status == 0, again.output
    assert "the predictions for all" in again.stdout
    doctor = machine.mlops("doctor")
    assert doctor.status == 0, doctor.output
    assert machine.mlops("tidy").output == "nothing is older than 90 days\n"


def test_unknown_settings_are_refused(machine: Machine) -> None:
    command = [str(BIN / "mage"), "run", str(PROJECT), MAINTENANCE, "--runtime-vars", '{"keep_day": 9}']
    ended = machine.run(*command)
    assert ended.status == 1
    assert "keep_day" in ended.message
    assert "Known settings: keep_days, dry_run" in ended.message
