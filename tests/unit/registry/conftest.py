"""Scripted servers, how long to wait for them, and a small model's artefact."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.scripted_mlflow import Serve, Server
from support.tracked import save_artefact

from mlops.registry import client
from mlops.registry.client import mlflow


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as servers:
        yield lambda *how, **at: servers.enter_context(contextlib.closing(Server(*how, **at)))


@pytest.fixture
def patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, float], None]]:
    """Ask a server from now on, for so many seconds, with short pauses; afterwards as before."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.02)

    def be(uri: str, seconds: float) -> None:
        mlflow.set_tracking_uri(uri)
        monkeypatch.setattr(client._Patience, "seconds", seconds)

    yield be
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's folder."""
    return save_artefact(tmp_path_factory.mktemp("artefact"))
