"""What the first check of a tracking server or store says when it refuses one."""

from __future__ import annotations

import time

import pytest

from mlops.errors import TrackingError
from mlops.registry.client import probe


def refusal(uri: str, timeout: float = 1.0, kind: type[TrackingError] = TrackingError) -> str:
    """Message after the address; neither a password nor a token is in it."""
    started = time.monotonic()
    with pytest.raises(TrackingError) as refused:
        probe(uri, timeout)
    assert time.monotonic() - started < timeout + 120  # MLflow's own client waits for longer
    assert type(refused.value) is kind
    assert "secret" not in str(refused.value)
    return str(refused.value).removeprefix("tracking server ").partition(": ")[2]
