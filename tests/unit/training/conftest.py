"""Trials that take as long as a test says."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from support.searches import bowl

from mlops.training import search
from mlops.training.boosting import Fit
from mlops.training.search import Evaluate, Rung


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Evaluate]:
    """A bowl each trial of which takes so many seconds, on a clock that nothing else moves."""
    now = 1000.0

    def lasting(seconds: float) -> Evaluate:
        def evaluate(parameters: dict[str, Any], rung: Rung) -> Fit:
            nonlocal now
            now += seconds
            return bowl(parameters, rung)

        return evaluate

    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: now))
    return lasting
