"""Files of a small version, made once for all tests; no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.champions import make_version, remembered
from support.failures import closed_port
from support.service_process import Service, running_service

from mlops.serving import places


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version's files, which no test may change."""
    return make_version(tmp_path_factory.mktemp("version") / "files")


@pytest.fixture(scope="session")
def empty_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A source without any file."""
    return str(tmp_path_factory.mktemp("trip-data"))


@pytest.fixture(autouse=True)
def _no_tlc(empty_source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test ask TLC for the names of zones."""
    monkeypatch.setattr(places, "SOURCE", empty_source)


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of this machine at which nobody listens, and nobody else can start to."""
    with closed_port() as port:
        yield port


@pytest.fixture(scope="session")
def state(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that remembers a version, so that a service needs no registry to answer."""
    return remembered(files, tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def service(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as a process of its own, without a registry; for tests that leave it as it is."""
    with closed_port() as port:
        settings = {"SERVE_MOST_REQUESTS": "50", "SERVE_MOST_BYTES": "20000", "SERVE_REFRESH_SECONDS": "3600"}
        where = {"MLOPS_STATE_DIR": str(state), "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        with running_service(tmp_path_factory.mktemp("service"), **settings, **where) as running:
            yield running
