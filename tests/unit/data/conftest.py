"""A web server of months, and short waits between attempts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.month_site import Server

from mlops.data import retries


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short name that every user can reach; `tmp_path` is for its owner only."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name).resolve()


@pytest.fixture
def _quick_and_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BACKOFF_SECONDS", 0.01)
    for proxy in ("NO_PROXY", "no_proxy"):  # a developer's proxy does not reach this loopback
        monkeypatch.setenv(proxy, "127.0.0.1")
