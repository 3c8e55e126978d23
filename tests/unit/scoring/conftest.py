"""A small model that answers, and a registry in which it is champion; both are made once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.builders import make_requests
from support.tracked import KEY, NAME, fitted

from mlops.registry import alias_log, artifact, client, run_lifecycle, versions
from mlops.registry.loading import Loaded
from mlops.registry.versions import Version


@pytest.fixture(scope="session")
def loaded() -> Loaded:
    """A small model as a loaded version."""
    return Loaded(Version(NAME, "1", "", {"run_key": KEY}), fitted(seed=0), Path("nowhere"))


@pytest.fixture(scope="session")
def kept_registry(
    migrated_store: Path, loaded: Loaded, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """State folder with a registry in which the small model is version 1 and champion."""
    state = tmp_path_factory.mktemp("registry")
    shutil.copy(migrated_store, state / "mlflow.db")
    loaded.model.save(state / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(state))
        client.connect(f"sqlite:///{state / 'mlflow.db'}", state, 5.0)
        with run_lifecycle.start_run(NAME, "r", KEY) as run:
            logged = artifact.log_model(run.run_id, run.experiment_id, state / "model", make_requests(3))
        versions.register(NAME, logged, run.run_id, KEY, {})
        alias_log.move(NAME, alias_log.CHAMPION, "1", by="a test", verdict="promote", reason="the first")
    yield state


@pytest.fixture
def registry(kept_registry: Path, tmp_path: Path) -> Path:
    """This test's state folder, with a copy of that registry; its artefacts are shared."""
    state = tmp_path / "state"
    state.mkdir()
    for name in ("mlflow.db", "registry.key"):
        shutil.copy(kept_registry / name, state / name)
    return state
