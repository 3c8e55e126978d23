"""What an attempt leaves belongs to the tracking store that it logged to, whatever its address is now."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.tracked import KEY, NAME, runs_of

from mlops import config, locks
from mlops.config import Settings
from mlops.errors import TrackingError, TuningError, command
from mlops.operations.doctor import checkup
from mlops.pipeline import checkpoint, fit_stage, run_once
from mlops.pipeline.checkpoint import PENDING, STORE, Checkpoint
from mlops.registry import client, run_lifecycle, server_facts

SERVER = "http://127.0.0.1:5092"
NO_MONTHS = pd.DataFrame({"month": []})


@pytest.fixture
def other(migrated_store: Path, tmp_path: Path) -> str:
    """Address of a second store."""
    shutil.copy(migrated_store, tmp_path / "other.db")
    return f"sqlite:///{tmp_path / 'other.db'}"


def fails(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Make every run fail in the middle."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(run_once, "_train_and_judge", fail)


def connect(uri: str) -> None:
    client.connect(uri, config.state_dir(), 5.0)


def left(*, is_pending: bool = True, address: str = "") -> Checkpoint:
    """What an attempt leaves that logged to the connected store, which perhaps had another address then."""
    run_lifecycle.make_experiment(NAME)
    kept, noted = Checkpoint.of(NAME, KEY), server_facts.identity(NAME)
    kept.note("origin", {"attempt": "one", "forced": "false"})
    kept.note(STORE, {**noted, "address": address or noted["address"]})
    if is_pending:
        kept.write("months.csv", "month\n")
        kept.note(PENDING, {"name": NAME, "month": "2023-04", "settings": {"month": "2023-04"}})
    return kept


def open_ends(**how: bool) -> list[str]:
    """What the doctor finds open about what runs left."""
    return [found.text for found in checkup.check_up(resume=how.get("resume", False)) if found.is_open]


def test_a_run_notes_its_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_stage, "log_origin", stop)
    with pytest.raises(KeyboardInterrupt):
        run_once.train_once(NAME, KEY, Settings(), NO_MONTHS)

    (kept,) = checkpoint.unfinished(NAME)
    (run,) = runs_of()
    noted = kept.noted(STORE)
    assert noted is not None
    assert noted["address"] == f"sqlite:///{store / 'mlflow.db'}"
    assert noted["experiment"][0] == run.info.experiment_id


def test_a_pending_result_is_delivered_to_its_own_store_only(
    store: Path, other: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fails(monkeypatch, AssertionError("it must not be delivered here"))
    kept = left()
    connect(other)
    with locks.hold("held") as lock:
        assert run_once.deliver(NAME, lock) == []

    own = f"sqlite:///{store / 'mlflow.db'}"
    assert (
        f"{kept.folder} waits: it belongs to the tracking store {own}, and this is {other}; " in caplog.text
    )
    assert checkpoint.pending(NAME) == [kept]
    fails(monkeypatch, TrackingError("this one is asked"))
    connect(own)
    with locks.hold("held") as lock:
        assert [each.problem for each in run_once.deliver(NAME, lock)] == ["this one is asked."]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("is_pending", [False, True])
def test_the_same_run_in_another_store_leaves_the_attempt_alone(
    is_pending: bool, force: bool, store: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, TuningError("it must not be continued here"))
    kept = left(is_pending=is_pending)
    connect(other)
    with pytest.raises(TrackingError) as refused:
        run_once.train_once(NAME, KEY, Settings(force=force), NO_MONTHS)

    assert str(refused.value) == (
        f"{NAME}: an earlier attempt at this run is stored in {kept.folder}: it belongs to the tracking store "
        f"sqlite:///{store / 'mlflow.db'}, and this is {other}; let MLFLOW_TRACKING_URI name that store, then run "
        "it again; or delete the folder to train it here"
    )
    assert kept.noted("origin") == {"attempt": "one", "forced": "false"}


def test_the_doctor_says_where_a_pending_result_belongs(
    store: Path, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = config.state().stack
    stack.mkdir()
    (stack / ".env").write_text("")
    (stack / "environment").write_text(f"MLFLOW_TRACKING_URI={SERVER}\n")
    kept = left(address=SERVER)
    for file in ("other.db", "missing.db"):
        here = f"sqlite:///{tmp_path / file}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", here)
        monkeypatch.setattr(client._Connection, "uri", "")
        for resume in (False, True):
            assert open_ends(resume=resume) == [
                f"{NAME}: the pending result of a model tested on 2023-04 is not delivered; it belongs to the "
                f"tracking store {SERVER}, and this is {here}; start the stack (`make stack`) and let this shell "
                f"use it (`set -a; . {stack / 'environment'}; set +a`), then {command('doctor --resume')}; "
                f"or delete {kept.folder}"
            ]
    assert checkpoint.pending(NAME) == [kept]
    assert not (tmp_path / "missing.db").exists()


def test_the_doctor_says_where_an_interrupted_run_belongs(
    store: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(is_pending=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)

    (found,) = [found.text for found in checkup.check_up(resume=True) if "interrupted" in found.text]
    assert f"it belongs to the tracking store sqlite:///{store / 'mlflow.db'}, and this is {other}; " in found
    assert found.endswith(
        "name that store, then run it with the same settings to continue, or delete the folder to discard it"
    )


def test_one_store_with_several_addresses_is_one_store(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that moved to another port, and one over the SQLite file of a shell without it."""
    for address in ("", "http://127.0.0.1:5001", "postgresql://db/mlflow"):
        assert left(address=address).elsewhere() == ""
    monkeypatch.chdir(store)
    monkeypatch.setattr(client._Connection, "uri", "sqlite:///mlflow.db?timeout=30")
    assert left().elsewhere() == ""
    shutil.copy(store / "mlflow.db", tmp_path / "restored.db")
    connect(f"sqlite:///{tmp_path / 'restored.db'}")
    assert Checkpoint.of(NAME, KEY).elsewhere() == ""


def test_a_database_that_was_made_anew_at_its_place_is_the_same_store(
    store: Path, migrated_store: Path
) -> None:
    kept = left()
    shutil.copy(migrated_store, store / "mlflow.db")
    connect(f"sqlite:///{store / 'mlflow.db'}")

    assert kept.elsewhere() == ""


def test_another_server_at_the_same_address_is_another_store(store: Path) -> None:
    noted = {"address": SERVER, "experiment": ["1", 1795763463123]}

    assert not server_facts.is_same_store(noted, {"address": SERVER, "experiment": ["1", 1795763463124]})
    assert not server_facts.is_same_store(noted, {"address": SERVER, "experiment": None})
    assert server_facts.is_same_store({**noted, "experiment": None}, noted)


def test_an_attempt_of_an_earlier_release_goes_on_anywhere(store: Path, other: str) -> None:
    kept = left()
    (kept.folder / f"{STORE}.json").unlink()
    connect(other)

    assert kept.elsewhere() == ""
