"""Registries and state folders that the flat layout wrote, read by today's code (tests/fixtures/README.md)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support import listed
from support.doors import Machine
from support.tracked import NAME, mlflow_client
from support.warm import WarmSubprocess

from mlops import files
from mlops.data import schemas, trips
from mlops.data.synthetic.source import write_month
from mlops.errors import PromotionError, UntrustedError
from mlops.model import version_code
from mlops.month import Month
from mlops.registry import (
    alias_log,
    client,
    operator,
    trust,
    verification,
    version_files,
    versions,
)
from mlops.training import feature_files

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
BEFORE, WORK = FIXTURES / "version_before_rooms", FIXTURES / "work_before_rooms"
REGISTRY = json.loads((FIXTURES / "registry_before_rooms.json").read_text())
URI = f"models:/{NAME}"


@pytest.fixture(autouse=True)
def _warm_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (verification, version_files):
        monkeypatch.setattr(module, "subprocess", WarmSubprocess)


def recorded() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Requests, and the predictions of the old code."""
    kept = json.loads((FIXTURES / "answers_before_rooms.json").read_text())
    requests = pd.DataFrame(kept["requests"])
    return requests.assign(pickup_at=pd.to_datetime(requests["pickup_at"])), pd.DataFrame(kept["answers"])


def register(state: Path, name: str = "version") -> Path:
    """Register the version in the store of a state folder as the flat layout did; return its folder."""
    own, reported = mlflow_client(), REGISTRY["version_tags"]
    folder = Path(shutil.copytree(BEFORE, state / "artifacts" / name))
    found = own.get_experiment_by_name(NAME)
    experiment = found.experiment_id if found else own.create_experiment(NAME, (state / "artifacts").as_uri())
    run = own.create_run(experiment, run_name="green 2023-03").info.run_id
    (trial,) = map(json.loads, (WORK / "trials.jsonl").read_text().splitlines())
    for key, value in {"service": "green", "month": "2023-03", **trial["parameters"]}.items():
        own.log_param(run, key, value)
    sample = verification.write_sample(state / "sample.parquet", *recorded())
    own.log_artifact(run, str(sample), "proof")
    own.set_terminated(run)
    if not found:
        own.create_registered_model(NAME)
        for key, entry in REGISTRY["journal"].items():
            own.set_registered_model_tag(NAME, key, json.dumps(entry))
    number = own.create_model_version(NAME, folder.as_uri(), run_id=run, tags=reported).version
    if not found:
        for alias in (alias_log.CHAMPION, alias_log.CHALLENGER):
            own.set_registered_model_alias(NAME, alias, number)
    return folder


# --- Versions -----------------------------------------------------------------------------------------------


def test_a_version_from_before_is_scored_as_recorded(store: Path, tmp_path: Path) -> None:
    register(store)
    requests, expected = recorded()
    with pytest.raises(UntrustedError, match=f"^{URI}/1: it is not signed: an older release registered it"):
        versions.predict(versions.get(NAME, "1"), requests, tmp_path / "not trusted")
    trust.sign(NAME, "1", print)
    answered = versions.predict(versions.get(NAME, "1"), requests, tmp_path / "scored")

    pd.testing.assert_frame_equal(answered, expected, check_exact=True)


def test_versions_from_before_are_promoted_and_rolled_back(store: Path) -> None:
    register(store)
    register(store, "again")
    with pytest.raises(UntrustedError, match=f"python -m mlops trust 2 --model {NAME}"):
        operator.promote(NAME, "2", "why")
    trust.sign(NAME, "all", print)

    moved, back = str(operator.promote(NAME, "2", "why")), str(operator.rollback(NAME, "why not"))
    assert moved.startswith(f"{URI}/2 is now champion; previous champion: version 1\n")
    assert back.startswith(f"{URI}/1 is now champion; previous champion: version 2\n")
    assert [versions.get(NAME, number).tags["proof"] for number in ("1", "2")] == ["passed", "passed"]
    moves = [(entry.alias, entry.before, entry.after, entry.verdict) for entry in alias_log.read(NAME)]
    assert moves == [
        ("challenger", None, "1", "promote"),
        ("champion", None, "1", "promote"),
        ("champion", "1", "2", "by operator"),
        ("champion", "2", "1", "rollback"),
    ]
    proofs = [entry.proof for entry in alias_log.read(NAME)]
    assert proofs == [alias_log.BEFORE, alias_log.BEFORE, alias_log.SIGNED, alias_log.SIGNED]
    shown = listed.listing(NAME)
    assert "NOTE: the 2 oldest of these moves are not signed: a release before 2026-12 wrote them" in shown
    first, *_ = alias_log.tenures(alias_log.read(NAME))
    assert (first.version, first.since) == ("1", REGISTRY["journal"]["journal.000002"]["at"])


def test_a_version_from_before_whose_code_was_changed_is_refused(store: Path) -> None:
    register(store)
    code = register(store, "changed") / "code" / "mlops" / "features.py"
    text = code.read_text()
    code.write_text(text.replace("minute_of_day.astype(np.int16)", "(minute_of_day // 2).astype(np.int16)"))
    assert code.read_text() != text
    trust.sign(NAME, "2", print)

    with pytest.raises(PromotionError, match="predictions differ from the test"):
        operator.promote(NAME, "2", "why")
    assert alias_log.current(NAME, alias_log.CHAMPION) == "1"


@pytest.mark.long
def test_a_champion_from_before_is_met_by_a_run_of_today(
    machine: Machine, migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.state.mkdir(parents=True)
    shutil.copy(migrated_store, machine.state / "mlflow.db")
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    client.connect(f"sqlite:///{machine.state / 'mlflow.db'}", machine.state, 5.0)
    register(machine.state)
    refused = machine.train(month="2023-04")
    assert refused.status == 1
    assert refused.output.count(f"error: {URI}/1: it is not signed: an older release registered it") == 1
    assert "trial 1 of" not in refused.output
    assert machine.numbers() == ["1"]
    trusted = machine.mlops("trust", "all", "--yes")
    assert trusted.stdout == f"{URI}/1 is signed; its code can run on this machine now\n", trusted.output
    ended = machine.train(month="2023-04")

    assert ended.status == 0, ended.output
    assert "cannot be scored" not in ended.output
    assert machine.numbers() == ["1", "2"]
    assert machine.alias("challenger") == "2"
    assert machine.versions()[1].tags["proof"] == "passed"
    assert "of the gain" in machine.versions()[1].tags["reason"]
    run = machine.client.get_run(machine.versions()[1].run_id)
    assert run.data.metrics["test_rmse_champion"] == pytest.approx(
        rmse_of_before(machine, tmp_path), abs=1e-6
    )


def rmse_of_before(machine: Machine, folder: Path) -> float:
    """Test RMSE of the old version, computed in this process."""
    april = Month(2023, 4)
    clean = folder / "clean.parquet"
    trips.clean_file(machine.source / f"green_tripdata_{april}.parquet", "green", april, clean)
    model = version_code.load_model(BEFORE / "data" / "model")
    gaps = model.predict(schemas.read_requests(clean))["duration_minutes"] - schemas.read_minutes(clean)
    return float(np.sqrt(np.mean(gaps**2)))


# --- State folders ------------------------------------------------------------------------------------------


def leave_pending(state: Path, months: Path) -> Path:
    """Write the pending result of a run of the flat layout; return its folder."""
    pending = json.loads((WORK / "untold.json").read_text())
    key = json.loads((WORK / "origin.json").read_text())["run_key"]
    folder = state / "work" / pending["name"] / key
    folder.mkdir(parents=True)
    for path in WORK.iterdir():
        text = path.read_text().replace("{state}", str(state)).replace("{months}", str(months))
        (folder / path.name).write_text(text)
    shutil.copytree(BEFORE / "data" / "model", folder / "model")
    table = pd.read_csv(folder / "months.csv", keep_default_na=False)
    made = pd.DataFrame([make_files(row) for row in table.to_dict("records")])
    assert (table["sha256"].str.len() == 64).all()
    # Hashes of the files made here: another version of pyarrow writes the same trips as other bytes.
    table.assign(**made.to_dict("list")).to_csv(folder / "months.csv", index=False)
    return folder


def make_files(row: dict[str, Any]) -> dict[str, str]:
    """Make the Parquet files that a row of months.csv names and the fixture does not have; return their hashes."""
    raw, clean, features = (Path(row[name]) for name in ("raw", "path", "features"))
    for path in (raw, clean, features):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_month(raw, "green", Month.parse(row["month"]), rows=900)
    trips.clean_file(raw, "green", Month.parse(row["month"]), clean)
    feature_files.write_features(clean, features)
    return {
        "sha256": files.sha256_of(raw),
        "clean_sha256": files.sha256_of(clean),
        "features_sha256": files.sha256_of(features),
    }


@pytest.mark.long
def test_the_doctor_delivers_a_result_from_before(machine: Machine, migrated_store: Path) -> None:
    machine.state.mkdir(parents=True)
    shutil.copy(migrated_store, machine.state / "mlflow.db")
    kept = leave_pending(machine.state, machine.source)
    waits = machine.mlops("doctor")
    assert (
        f"OPEN\t{NAME}: the pending result of a model tested on 2023-03 is not delivered" in waits.stdout
    ), waits.output

    delivered = machine.mlops("doctor", "--resume")
    assert delivered.status == 0, delivered.output
    assert f"{URI}/1 is champion: there was no champion before" in delivered.stdout
    assert machine.unfinished() == []
    assert not kept.exists()
    (run,) = machine.parents()
    origin = json.loads((WORK / "origin.json").read_text())
    assert {name: run.data.tags[name] for name in origin} == origin
    assert run.info.status == "FINISHED"
    assert [trial.info.run_name for trial in machine.trials(run)] == ["trial 1"]
    (version,) = machine.versions()
    assert {name: version.tags[name] for name in ("run_key", "attempt", "proof", "outcome")} == {
        "run_key": origin["run_key"], "attempt": origin["attempt"], "proof": "passed", "outcome": "champion",
    }  # fmt: skip
    assert version.tags["artefact_sha256"] == REGISTRY["version_tags"]["artefact_sha256"]
    client.connect(f"sqlite:///{machine.state / 'mlflow.db'}", machine.state, 5.0)
    fetched = client.download(f"{URI}/1", machine.state / "fetched")
    requests, expected = recorded()
    answered = version_code.load_model(fetched / "data" / "model").predict(requests)
    pd.testing.assert_frame_equal(answered, expected, check_exact=True)
