"""What a dry run says of a source."""

from __future__ import annotations

import pytest
from support.month_site import Answer, Server, parquet

from mlops.config import Settings
from mlops.data import retries, run_plan

pytestmark = pytest.mark.usefixtures("_quick_and_local")


def plan(server: Server) -> list[str]:
    settings = {"source": server.url, "month": "2023-06", "train_months": 1, "source_patience": 60.0}
    return run_plan.as_text(run_plan.plan(Settings.parse(settings))).splitlines()


def test_a_size_that_the_source_does_not_say(server: Server) -> None:
    server.head = [Answer(parquet(), length=None)]
    assert plan(server)[1:] == [
        "  training    green_tripdata_2023-04.parquet  size unknown",
        "  validation  green_tripdata_2023-05.parquet  size unknown",
        "  test        green_tripdata_2023-06.parquet  size unknown",
        "3 files; at most 18 trials, and the best of them again on more trips: less than a minute on two cores",
    ]


def test_the_patience_covers_a_dry_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.05)
    server.head = [*[Answer(status=503)] * retries.ATTEMPTS, Answer(parquet())]
    assert plan(server)[0] == f"green from {server.url}, tested on 2023-06:"
