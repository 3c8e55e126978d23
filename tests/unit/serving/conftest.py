"""Files of a small version, made once for all tests; no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.champions import make_version
from support.failures import closed_port

from mlops.serving import places


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version's files, which no test may change."""
    return make_version(tmp_path_factory.mktemp("version") / "files")


@pytest.fixture(autouse=True)
def _no_tlc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test ask TLC for the names of zones: it gets them from an empty folder."""
    (tmp_path / "trip-data").mkdir()
    monkeypatch.setattr(places, "SOURCE", str(tmp_path / "trip-data"))


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of this machine at which nobody listens, and nobody else can start to."""
    with closed_port() as port:
        yield port
