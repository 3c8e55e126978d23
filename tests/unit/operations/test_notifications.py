"""One message for a judged month, one for a failure, and no repetition."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from support.tracked import NAME, bare_version, mlflow_client, runs_of, state_of

from mlops.errors import ConfigError, DownloadError, TripSchemaError
from mlops.operations import notifications
from mlops.operations.notifications import Message
from mlops.pipeline import months_table
from mlops.registry.run_lifecycle import start_run


def run_of(schedule_type: str, interval: str | None, backfill_id: int | None = None) -> SimpleNamespace:
    """What the functions read of Mage's run."""
    trigger = SimpleNamespace(schedule_type=schedule_type, schedule_interval=interval)
    return SimpleNamespace(pipeline_schedule=trigger, backfill_id=backfill_id)


VARIABLES = {
    "service": "green", "source": "sample", "month": "next", "pipeline_uuid": "p", "pipeline_run_id": 7,
    "pipeline_run": run_of("time", "@daily"), "env": "prod",
}  # fmt: skip
BY_HAND = {
    "a call of Mage's API": run_of("api", None),
    "Run@once": run_of("time", "@once"),
    "a backfill": run_of("time", "@monthly", backfill_id=3),
}
BROKEN = TripSchemaError(
    "green_tripdata_2023-05.parquet: a truncated Parquet file. Put a complete copy there."
)


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGE_PUBLIC_HOST", "http://mage:6789")


def board(number: str, about: str = "champion: it is better") -> pd.DataFrame:
    kinds = {"kind": ["version", "baseline"], "model": [NAME, ""], "number": [number, ""]}
    return pd.DataFrame({"entry": ["the new one", "pair median"], "about": [about, "baseline"], **kinds})


def judged(store: Path, **tags: str) -> str:
    return bare_version(store, test_month="2023-05", outcome="champion", **tags)


def test_a_judged_month_is_reported_once(store: Path) -> None:
    number = judged(store)
    assert notifications.of_result(board(number), VARIABLES) == Message(
        f"{NAME} 2023-05: version 1 is champion",
        "champion: it is better\nMage: http://mage:6789/pipelines/p/runs/7",
    )
    told_again = board(number, "already registered as champion: it is better")
    assert notifications.of_result(told_again, VARIABLES) is None
    assert notifications.of_result(board(judged(store)), VARIABLES) is not None


def test_a_month_judged_again_on_other_bytes_says_so(store: Path) -> None:
    judged(store, republished="2023-05: 3 rows added")
    message = notifications.of_result(board(judged(store)), VARIABLES)
    assert message
    assert message.title == f"{NAME} 2023-05: version 2 is champion, after the month was republished"


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({months_table.NOTHING_TO_DO: ["not published"], "month": ["2023-05"]}),
        pd.DataFrame({"month": ["a"]}),
    ],
)
def test_a_result_without_news_is_not_reported(table: pd.DataFrame, store: Path) -> None:
    assert notifications.of_result(table, VARIABLES) is None


def test_a_failure_is_reported_and_shown_in_mlflow_with_the_same_words(store: Path) -> None:
    message = notifications.of_failure(BROKEN, VARIABLES)
    (run,) = runs_of()
    assert message == Message(
        f"{NAME}: a run failed",
        f"{BROKEN}\nMLflow: run {run.info.run_id}\nMage: http://mage:6789/pipelines/p/runs/7",
    )
    assert run.info.run_name == "green next month, failed before training"
    assert state_of(run.info.run_id) == ("FAILED", f"TripSchemaError: {BROKEN}")


def test_the_same_failure_is_reported_again_after_a_day_another_at_once(store: Path) -> None:
    assert notifications.of_failure(BROKEN, VARIABLES)
    assert notifications.of_failure(BROKEN, VARIABLES) is None
    assert len(runs_of()) == 1
    assert notifications.of_failure(DownloadError("no answer"), VARIABLES)
    for note in (store / "told").glob("*.json"):
        said = json.loads(note.read_text())
        old = datetime.now(timezone.utc) - timedelta(hours=notifications.AGAIN_HOURS, seconds=1)
        note.write_text(json.dumps({**said, "at": old.isoformat()}))
    assert notifications.of_failure(BROKEN, VARIABLES)


def test_a_failure_during_a_run_is_shown_by_that_run(store: Path) -> None:
    with pytest.raises(TripSchemaError) as caught, start_run(NAME, "green 2023-05", "key") as run:
        raise BROKEN
    message = notifications.of_failure(caught.value, VARIABLES)
    assert message
    assert f"MLflow: run {run.run_id}\n" in message.text
    assert len(runs_of()) == 1


def test_a_failure_is_reported_if_mlflow_is_away_or_settings_are_wrong(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    wrong = {**VARIABLES, "service": "yellow", "source": "tlc", "start_month": 3, "max_trails": 3}
    message = notifications.of_failure(ConfigError("unknown setting 'max_trails'"), wrong)
    assert message
    assert message.title == "trip-duration-yellow: a run failed"
    assert message.text.startswith("unknown setting 'max_trails'\nMLflow: run")
    (run,) = runs_of("trip-duration-yellow")
    assert run.info.run_name == "yellow next month, failed before training"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    away = notifications.of_failure(DownloadError("no answer"), VARIABLES)
    assert away == Message(f"{NAME}: a run failed", "no answer\nMage: http://mage:6789/pipelines/p/runs/7")
    assert mlflow_client() is not None


@pytest.mark.parametrize("run", BY_HAND.values(), ids=BY_HAND)
def test_a_run_started_by_hand_leaves_a_message_but_no_failed_run(run: SimpleNamespace, store: Path) -> None:
    wrong = {**VARIABLES, "max_trials": 0, "pipeline_run": run}
    message = notifications.of_failure(ConfigError("max_trials: got 0"), wrong)
    assert message
    assert message.text == "max_trials: got 0\nMage: http://mage:6789/pipelines/p/runs/7"
    assert runs_of() == []


def test_the_editor_leaves_neither(store: Path) -> None:
    in_editor = {name: value for name, value in VARIABLES.items() if not name.startswith("pipeline_run")}
    assert notifications.of_failure(BROKEN, in_editor) is None
    assert runs_of() == []


def test_a_message_is_sent_once_though_the_callback_runs_twice_at_the_same_time(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both callbacks look whether it was sent before one of them has written that it was."""
    number, written = judged(store), notifications.atomic_write

    def slowly(target: Path) -> Any:
        time.sleep(0.3)
        return written(target)

    monkeypatch.setattr(notifications, "atomic_write", slowly)
    with ThreadPoolExecutor() as pool:
        sent = [pool.submit(notifications.of_result, board(number), VARIABLES) for _ in range(2)]
        failures = [pool.submit(notifications.of_failure, BROKEN, VARIABLES) for _ in range(2)]
        for messages in (sent, failures):
            assert sorted(message.result() is None for message in messages) == [False, True]
