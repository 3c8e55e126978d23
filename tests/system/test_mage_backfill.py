"""Mage's own backfill: all its runs start at once, and the months are judged one by one, in order.

With REAL_BACKFILL=1 it trains seven real months instead, and compares the time with the command line.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.doors import PIPELINE, SAMPLE_MODEL, wait_until, write_months
from support.mage_api import MageApi
from support.stack_process import Client, Stack, place, require_programs, running_stack

from mlops.registry.client import mlflow

SMALL = {"max_trials": 2, "min_test_rows": 500}
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    require_programs()
    quick = {} if os.environ.get("REAL_BACKFILL") else {"SCHEDULER_TRIGGER_INTERVAL": "1"}
    with place() as home, running_stack(home / "state" / "stack", **quick) as running:
        yield running


@pytest.fixture
def client(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in stack.client.items():
        if name.startswith("MLFLOW_"):
            monkeypatch.setenv(name, value)
    return mlflow.MlflowClient(stack.client["MLFLOW_TRACKING_URI"])


def judged(client: Any, name: str) -> list[str]:
    """Test months of a model's versions, in the order in which they were registered."""
    versions = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda v: int(v.version))
    return [version.tags["test_month"] for version in versions if "outcome" in version.tags]


def run_backfill(stack: Stack, first: str, last: str, seconds: float, **variables: Any) -> Counter[str]:
    """Final statuses of a backfill's runs; at most one of them ran at any time."""
    api, most = MageApi.of(stack), 0
    number = api.backfill(
        PIPELINE, first, last, {"month": "next", "start_month": first, "end_month": last} | variables
    )

    def ended() -> bool:
        nonlocal most
        statuses = api.backfilled(number)
        most = max(most, statuses.count("running"))
        return bool(statuses) and all(s in ("completed", "failed", "cancelled") for s in statuses)

    wait_until(ended, seconds, lambda: api.backfilled(number))
    assert most == 1
    return Counter(api.backfilled(number))


def forget(client: Any, name: str) -> None:
    """Delete the registered model, so that the same trainings are compared with the same champions again."""
    client.rename_experiment(client.get_experiment_by_name(name).experiment_id, f"{name} through Mage")
    client.delete_registered_model(name)


def test_months_are_judged_in_order_and_none_twice(stack: Stack, client: Any, tmp_path: Path) -> None:
    source = str(write_months(tmp_path / "months"))
    made = run_backfill(stack, "2023-03", "2023-04", 400, source=source, **SMALL)
    assert made == {"completed": 2}
    assert judged(client, SAMPLE_MODEL) == ["2023-03", "2023-04"]
    again = run_backfill(stack, "2023-03", "2023-04", 300, source=source, **SMALL)
    assert again == {"completed": 2}
    assert judged(client, SAMPLE_MODEL) == ["2023-03", "2023-04"]


@pytest.mark.skipif(not os.environ.get("REAL_BACKFILL"), reason="takes half an hour; set REAL_BACKFILL=1")
def test_seven_real_months(
    stack: Stack, client: Any, tlc_months: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = "2023-04", "2023-10"
    began = time.monotonic()
    made = run_backfill(stack, first, last, 3000, service="green", source=str(tlc_months))
    through_mage = time.monotonic() - began
    assert made == {"completed": 7}
    months = judged(client, "trip-duration-green")
    assert months == [f"2023-{month:02d}" for month in range(4, 11)]

    forget(client, "trip-duration-green")
    direct = Client(tmp_path / "direct", stack, {"MLOPS_THREADS": ""})
    began = time.monotonic()
    for month in months:
        settings = ("--service=green", f"--month={month}", f"--source={tlc_months}")
        direct.python("-m", "mlops", "train", *settings)
    called = time.monotonic() - began
    assert judged(client, "trip-duration-green") == months
    ratio = through_mage / called
    report = f"through Mage {through_mage:.0f} s, called directly {called:.0f} s: {ratio:.2f} times"
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert through_mage <= 1.25 * called + 30, report
