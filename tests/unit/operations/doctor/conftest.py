"""Mage's tables, made once for all tests of the doctor."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.mage_tables import make_tables


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which a trigger is active, and its run runs since 2026-11-01 11:00."""
    path = tmp_path_factory.mktemp("made") / "mage-ai.db"
    make_tables(f"sqlite:///{path}", path.parent)
    return path
