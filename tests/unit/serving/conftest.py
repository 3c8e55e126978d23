"""Files of a small version, made once for all tests; no network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.champions import ABOUT, make_version
from support.failures import closed_port
from support.service_process import Service, running_service
from support.tracked import NAME

from mlops import config
from mlops.registry.local_copy import place_of
from mlops.registry.signature import TAG, files_in
from mlops.registry.signed_version import Version, signature_of
from mlops.serving import memory, places


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
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(folder))
        tags = {**ABOUT, TAG: signature_of(NAME, "", files_in(files))}
        version = Version(NAME, "7", "", tags, datetime(2026, 11, 27, 20, 4, tzinfo=timezone.utc))
        shutil.copytree(files, place_of(version, config.state().versions))
        memory.remember(version)
    return folder


@pytest.fixture(scope="session")
def service(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as a process of its own, without a registry; for tests that leave it as it is."""
    with closed_port() as port:
        settings = {"SERVE_MOST_REQUESTS": "50", "SERVE_MOST_BYTES": "20000", "SERVE_REFRESH_SECONDS": "3600"}
        where = {"MLOPS_STATE_DIR": str(state), "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        with running_service(tmp_path_factory.mktemp("service"), **settings, **where) as running:
            yield running
