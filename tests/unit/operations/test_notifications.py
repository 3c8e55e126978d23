"""One message for a judged month, one for a failure, and no repetition."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from support.inbox import Inbox, receiving
from support.tracked import NAME, bare_version, mlflow_client, runs_of, state_of

from mlops.errors import ConfigError, DownloadError, TripSchemaError
from mlops.operations import notifications
from mlops.operations.notifications import Message
from mlops.pipeline import block_tables, months_table
from mlops.registry.run_lifecycle import start_run


def run_of(schedule_type: str, interval: str | None, backfill_id: int | None = None) -> SimpleNamespace:
    """What the functions read of Mage's run."""
    trigger = SimpleNamespace(schedule_type=schedule_type, schedule_interval=interval)
    return SimpleNamespace(pipeline_schedule=trigger, backfill_id=backfill_id)


PAGE = "http://mage:6789/pipelines/p/runs/7"
VARIABLES = {
    "service": "green", "source": "sample", "month": "next", "pipeline_uuid": "p", "pipeline_run_id": 7,
    "pipeline_run": run_of("time", "@daily"), "env": "prod",
}  # fmt: skip
MONITORING = VARIABLES | {
    "pipeline_uuid": "trip_duration_monitoring", "model": "", "rollback": True, "max_error_growth": 0.08,
}  # fmt: skip
PAGE_OF_MONITORING = "http://mage:6789/pipelines/trip_duration_monitoring/runs/7"
BY_HAND = {
    "a call of Mage's API": run_of("api", None),
    "Run@once": run_of("time", "@once"),
    "a backfill": run_of("time", "@monthly", backfill_id=3),
}
BROKEN = TripSchemaError(
    "green_tripdata_2023-05.parquet: a truncated Parquet file. Put a complete copy there."
)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiving() as inbox:
        yield inbox


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGE_PUBLIC_HOST", "http://mage:6789")


def board(number: str, about: str = "champion: it is better") -> pd.DataFrame:
    kinds = {"kind": ["version", "baseline"], "model": [NAME, ""], "number": [number, ""]}
    return pd.DataFrame({"entry": ["the new one", "pair median"], "about": [about, "baseline"], **kinds})


def judged(store: Path, **tags: str) -> str:
    return bare_version(store, test_month="2023-05", outcome="champion", **tags)


def send(message: Message | None, *inboxes: Inbox) -> None:
    """Deliver a message to Slack, and to Teams if there is a second inbox, as the callback does."""
    assert message
    hooks = [SimpleNamespace(webhook_url=inbox.url, is_valid=True) for inbox in inboxes]
    slack, teams = [*hooks, None, None][:2]
    config = SimpleNamespace(slack_config=slack, teams_config=teams, email_config=None, opsgenie_config=None)
    notifications.deliver(message, config)


def test_a_judged_month_is_reported_once(store: Path, inbox: Inbox) -> None:
    number = judged(store)
    message = notifications.of_result(board(number), VARIABLES)
    assert message
    assert (message.title, message.text, message.page) == (
        f"{NAME} 2023-05: version 1 is champion", "champion: it is better", PAGE
    )  # fmt: skip
    send(message, inbox)
    send(
        notifications.of_result(board(number, "already registered as champion: it is better"), VARIABLES),
        inbox,
    )
    assert inbox.messages == [(message.title, f"champion: it is better\nMage: {PAGE}")]
    send(notifications.of_result(board(judged(store)), VARIABLES), inbox)
    assert inbox.titles == [message.title, f"{NAME} 2023-05: version 2 is champion"]


def test_a_version_that_waits_is_reported_with_what_a_person_can_do(store: Path) -> None:
    number = bare_version(store, test_month="2023-05", outcome="waiting for approval")
    message = notifications.of_result(board(number, "waiting for approval (why): it is better"), VARIABLES)
    assert message
    assert message.title == f"{NAME} 2023-05: version 1 is waiting for approval"
    first, second = message.text.splitlines()
    assert first == "waiting for approval (why): it is better"
    assert second.startswith("To make it champion: ")
    assert second.endswith(
        f"python -m mlops approve 1 --model {NAME} --reason ...; or give it the alias champion in MLflow's page"
    )


def test_a_compared_month_is_reported_once(inbox: Inbox, store: Path) -> None:
    row = {
        "model": [NAME],
        "month": ["2023-06"],
        "title": [f"{NAME} 2023-06: no alarm"],
        "text": ["RMSE 4.02"],
    }
    for table in (pd.DataFrame(row), block_tables.of_columns(pd.DataFrame(row), {"month": "month"})):
        send(notifications.of_result(table, MONITORING), inbox)
    assert inbox.messages == [(f"{NAME} 2023-06: no alarm", f"RMSE 4.02\nMage: {PAGE_OF_MONITORING}")]
    row["title"] = [f"{NAME} 2023-06: ALARM"]
    send(notifications.of_result(pd.DataFrame(row), MONITORING), inbox)
    assert inbox.titles[1:] == [f"{NAME} 2023-06: ALARM"]


def test_a_failure_of_monitoring_is_no_failed_run_of_training(inbox: Inbox, store: Path) -> None:
    send(notifications.of_failure(BROKEN, MONITORING), inbox)
    assert inbox.messages == [(f"{NAME}: monitoring failed", f"{BROKEN}\nMage: {PAGE_OF_MONITORING}")]
    assert runs_of() == []


@pytest.mark.parametrize("status", [301, 404, 500])
def test_a_message_that_was_not_taken_is_sent_at_the_next_try(status: int, store: Path, inbox: Inbox) -> None:
    inbox.status = status
    number = judged(store)
    for message in (
        notifications.of_result(board(number), VARIABLES),
        notifications.of_failure(BROKEN, VARIABLES),
    ):
        inbox.status, inbox.posted = status, []
        send(message, inbox)
        assert inbox.titles == []
        inbox.status = 200
        send(message, inbox)
        send(message, inbox)
        assert inbox.titles == [message and message.title]
    assert len(runs_of()) == 1


def test_what_one_channel_refuses_is_not_sent_twice_to_the_other(store: Path, inbox: Inbox) -> None:
    message = notifications.of_failure(BROKEN, VARIABLES)
    with receiving() as teams:
        teams.status = 400
        send(message, inbox, teams)
        teams.status = 200
        send(message, inbox, teams)
        assert (len(inbox.posted), len(teams.posted)) == (1, 1)


def test_a_note_of_an_earlier_version_means_that_all_channels_have_it(store: Path, inbox: Inbox) -> None:
    message = notifications.of_failure(BROKEN, VARIABLES)
    (note,) = (store / "told").glob("*.json")
    kept = {name: value for name, value in json.loads(note.read_text()).items() if name in ("at", "about")}
    note.write_text(json.dumps(kept))
    send(notifications.of_failure(BROKEN, VARIABLES), inbox)
    assert inbox.posted == []
    assert message


def test_400_long_names_do_not_keep_a_message_from_being_sent(store: Path, inbox: Inbox) -> None:
    names = [f"{n} <!channel> <https://evil.example|log in here>" * 4 for n in range(400)]
    error = TripSchemaError(f"green 2023-05: column 'PULocationID' is missing; got {names}")
    send(notifications.of_failure(error, VARIABLES), inbox)
    ((_, text),) = inbox.messages
    assert text.startswith("green 2023-05: column 'PULocationID' is missing; got ['0 <!channel>")
    assert "the whole text" in text
    sent = json.dumps(inbox.posted)
    assert "<!" not in sent
    assert "<http" not in sent.replace(f"<{PAGE}>", "")


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
    assert message
    assert (message.title, message.text) == (
        f"{NAME}: a run failed",
        f"{BROKEN}\nMLflow: run {run.info.run_id}",
    )
    assert message.page == PAGE
    assert run.info.run_name == "green next month, failed before training"
    assert state_of(run.info.run_id) == ("FAILED", f"TripSchemaError: {BROKEN}")


def test_the_same_failure_is_reported_again_after_a_day_another_at_once(store: Path, inbox: Inbox) -> None:
    for _ in range(2):
        send(notifications.of_failure(BROKEN, VARIABLES), inbox)
    assert len(inbox.titles) == 1
    assert len(runs_of()) == 1
    send(notifications.of_failure(DownloadError("no answer"), VARIABLES), inbox)
    assert len(inbox.titles) == 2
    for note in (store / "told").glob("*.json"):
        said = json.loads(note.read_text())
        old = datetime.now(timezone.utc) - timedelta(hours=notifications.AGAIN_HOURS, seconds=1)
        note.write_text(json.dumps({**said, "at": old.isoformat()}))
    send(notifications.of_failure(BROKEN, VARIABLES), inbox)
    assert len(inbox.titles) == 3


def test_a_failure_during_a_run_is_shown_by_that_run(store: Path) -> None:
    with pytest.raises(TripSchemaError) as caught, start_run(NAME, "green 2023-05", "key") as run:
        raise BROKEN
    message = notifications.of_failure(caught.value, VARIABLES)
    assert message
    assert message.text.endswith(f"\nMLflow: run {run.run_id}")
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
    assert away
    assert (away.title, away.text, away.page) == (f"{NAME}: a run failed", "no answer", PAGE)
    assert mlflow_client() is not None


@pytest.mark.parametrize("run", BY_HAND.values(), ids=BY_HAND)
def test_a_run_started_by_hand_leaves_a_message_but_no_failed_run(run: SimpleNamespace, store: Path) -> None:
    wrong = {**VARIABLES, "max_trials": 0, "pipeline_run": run}
    message = notifications.of_failure(ConfigError("max_trials: got 0"), wrong)
    assert message
    assert (message.text, message.page) == ("max_trials: got 0", PAGE)
    assert runs_of() == []


def test_the_editor_leaves_neither(store: Path) -> None:
    in_editor = {name: value for name, value in VARIABLES.items() if not name.startswith("pipeline_run")}
    assert notifications.of_failure(BROKEN, in_editor) is None
    assert runs_of() == []


def test_a_message_is_sent_once_though_the_callback_runs_twice_at_the_same_time(
    store: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both callbacks look whether it was sent before one of them has written that it was."""
    number, written = judged(store), notifications.atomic_write

    def slowly(target: Path) -> Any:
        time.sleep(0.3)
        return written(target)

    monkeypatch.setattr(notifications, "atomic_write", slowly)
    for made in (
        lambda: notifications.of_result(board(number), VARIABLES),
        lambda: notifications.of_failure(BROKEN, VARIABLES),
    ):
        with ThreadPoolExecutor() as pool:
            sent = [pool.submit(lambda made=made: send(made(), inbox)) for _ in range(2)]
            assert [message.result() for message in sent] == [None, None]
    assert sorted(inbox.titles) == [f"{NAME} 2023-05: version 1 is champion", f"{NAME}: a run failed"]
