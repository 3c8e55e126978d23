"""A warning for more trips than fit into memory."""

from __future__ import annotations

import pytest

from mlops.data.ingest import warn_of_memory


@pytest.mark.parametrize(("rows", "warned"), [(1_000, False), (10**12, True)])
def test_more_trips_than_memory_holds_are_warned_of(
    rows: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_memory(rows)
    assert ("GB of memory" in caplog.text) == warned
