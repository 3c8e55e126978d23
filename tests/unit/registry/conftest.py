"""Scripted servers, how long to wait for them, and a small model that is logged once for all tests."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.builders import make_requests
from support.failures import closed_port
from support.scripted_mlflow import Serve, Server
from support.tracked import NAME, fitted, save_artefact
from support.verified import JUNE

from mlops.data import schemas, trips
from mlops.data.synthetic import source
from mlops.registry import artifact, client, run_lifecycle, versions
from mlops.registry.verification import Expected, write_sample


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as servers:
        yield lambda *how, **at: servers.enter_context(contextlib.closing(Server(*how, **at)))


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], None]:
    """Ask a server from now on, for so many seconds, with short pauses; afterwards as before."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.02)

    def be(uri: str, seconds: float) -> None:
        monkeypatch.setattr(client._Connection, "uri", uri)
        monkeypatch.setattr(client._Patience, "seconds", seconds)

    return be


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's folder."""
    return save_artefact(tmp_path_factory.mktemp("artefact"))


@pytest.fixture
def patient(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is away is waited for."""
    monkeypatch.setattr("mlops.registry.client._Patience.seconds", 5.0)
    monkeypatch.setattr("mlops.registry.client.FIRST_PAUSE", 0.01)


@pytest.fixture(scope="session")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """What version 1 answered when it was tested, on a raw month."""
    folder = tmp_path_factory.mktemp("tested")
    model = fitted(seed=0)
    raw = source.write_month(folder / "green_tripdata_2023-06.parquet", "green", JUNE, rows=1500)
    trips.clean_file(raw, "green", JUNE, folder / "clean.parquet")
    requests = schemas.read_requests(folder / "clean.parquet")
    predictions = model.predict(requests)
    np.save(folder / "predictions.npy", predictions["duration_minutes"].to_numpy(np.float32))
    model.save(folder / "model")
    return Expected(
        write_sample(folder / "sample.parquet", requests, predictions),
        folder / "predictions.npy",
        raw,
        "green",
        "2023-06",
    )


@pytest.fixture(scope="session")
def registered(
    migrated_store: Path, tested: Expected, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A tracking store with version 1, and the folder that the store keeps the version in.

    Its state folder has the key that signed it.
    """
    state = tmp_path_factory.mktemp("state")
    shutil.copy(migrated_store, state / "mlflow.db")
    uri = f"sqlite:///{state / 'mlflow.db'}"
    client.connect(uri, state, 5.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(state))
        with run_lifecycle.start_run(NAME, "r", "key") as run:
            logged = artifact.log_model(
                run.run_id, run.experiment_id, tested.sample.parent / "model", make_requests(3)
            )
        versions.register(NAME, logged, run.run_id, "key", {})
    (kept,) = (state / "artifacts").rglob("MLmodel")
    return uri, kept.parent


@pytest.fixture
def version(registered: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the store keeps version 1 in, for a test to damage; connected to."""
    uri, kept = registered
    monkeypatch.setenv("MLOPS_STATE_DIR", str(Path(uri.removeprefix("sqlite:///")).parent))
    client.connect(uri, tmp_path, 5.0)
    shutil.copytree(kept, tmp_path / "whole")
    signed = versions.get(NAME, "1")
    yield kept
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(tmp_path / "whole", kept)
    client.connect(uri, tmp_path, 5.0)
    versions.tag(signed, signed.tags)


@pytest.fixture
def sample_only(tested: Expected) -> Expected:
    """What is known of an old version whose raw month is gone."""
    return Expected(tested.sample)


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of this machine at which nobody listens, and nobody else can start to."""
    with closed_port() as port:
        yield port
