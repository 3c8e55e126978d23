"""What makes unit tests of whole processes quick."""

from __future__ import annotations

import pytest
from support.warm import WarmSubprocess

from mlops.registry import verification, version_files


@pytest.fixture(autouse=True)
def _warm_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes that verify and score a version. The long stories start them as the project does."""
    for module in (verification, version_files):
        monkeypatch.setattr(module, "subprocess", WarmSubprocess)
