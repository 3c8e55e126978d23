"""What makes unit tests of whole processes quick."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.sound_versions import MONTHS, crown, register_sound
from support.tracked import save_artefact
from support.warm import WarmSubprocess

from mlops.registry import client, verification, version_files


@pytest.fixture(autouse=True)
def _warm_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes that verify and score a version. The long stories start them as the project does."""
    for module in (verification, version_files):
        monkeypatch.setattr(module, "subprocess", WarmSubprocess)


@pytest.fixture(scope="session")
def sound_store(migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State folder of a store with three sound versions; each became champion after the one before."""
    state = tmp_path_factory.mktemp("sound")
    shutil.copy(migrated_store, state / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(state))
        client.connect(f"sqlite:///{state / 'mlflow.db'}", state, 5.0)
        artefact = save_artefact(state)
        for number in MONTHS:
            register_sound(artefact, number, state)
            crown(number)
    return state


@pytest.fixture
def sound(sound_store: Path, tmp_path: Path) -> Path:
    """State folder of this test with a copy of that store; the files of its versions are shared."""
    state = tmp_path / "state"
    state.mkdir()
    for name in ("mlflow.db", "registry.key"):
        shutil.copy(sound_store / name, state / name)
    client.connect(f"sqlite:///{state / 'mlflow.db'}", state, 5.0)
    return state
