"""What makes unit tests of whole processes quick."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from support.warm import PYTHON, run_warm, warm_python

from mlops.registry import verification, versions


@pytest.fixture(autouse=True)
def _warm_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes that verify and score a version. The long stories start them as the project does."""
    for module in (verification, versions):
        monkeypatch.setattr(module, "subprocess", _Subprocess)


class _Subprocess:
    """What these modules use of `subprocess`."""

    TimeoutExpired = subprocess.TimeoutExpired

    @staticmethod
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0] != PYTHON:  # a test's own program
            return subprocess.run(command, **options)
        if "input" in options:  # whoever forks the process is its parent, whose end it watches for
            asked = {**json.loads(options.pop("input")), "asker": warm_python().pid}
            return run_warm(command, given=json.dumps(asked), **options)
        return run_warm(command, **options)
