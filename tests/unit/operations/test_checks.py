"""What each check found is kept with the model, and a heartbeat is sent for those of the schedule."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from support.beats import SECRET, Beats, watching
from support.tracked import AWAY, NAME, bare_version, fails_at

from mlops import config
from mlops.config import Settings
from mlops.errors import ConfigError, DownloadError, TripSchemaError
from mlops.operations import checks, heartbeat
from mlops.pipeline import block_tables, leaderboard, months_table, steps
from mlops.pipeline.run_result import RunResult
from mlops.registry import last_check, versions


def started(interval: str, backfill_id: int | None = None) -> SimpleNamespace:
    """What the functions read of Mage's run."""
    trigger = SimpleNamespace(schedule_type="time", schedule_interval=interval)
    return SimpleNamespace(pipeline_schedule=trigger, backfill_id=backfill_id)


TRAINING = {
    "service": "green", "source": "sample", "month": "next", "pipeline_uuid": "trip_duration_training",
    "pipeline_run_id": 7, "pipeline_run": started("@daily"), "parent_block_uuid": "train_and_register",
}  # fmt: skip
MONITORING = TRAINING | {
    "pipeline_uuid": "trip_duration_monitoring", "parent_block_uuid": "react_and_report", "model": "",
    "rollback": True,
}  # fmt: skip
WAITS = months_table.nothing_to_do("green 2023-06 is not published yet at sample", "2023-06")
BROKEN = TripSchemaError("green_tripdata_2023-05.parquet: a truncated\nParquet file")


@pytest.fixture(autouse=True)
def beats(monkeypatch: pytest.MonkeyPatch, store: Path) -> Iterator[Beats]:
    """A store with a model that has a version, and the heartbeat's address."""
    bare_version(store, test_month="2023-05", outcome="champion", verdict="promote", reason="it is better")
    with watching() as beats:
        monkeypatch.setenv(heartbeat.VARIABLE, f"{beats.url}/{{check}}")
        yield beats


def kept(work: last_check.Work = "training") -> tuple[str, str, str] | None:
    """Outcome, month and text of the last check, which ended just now."""
    found = last_check.read(NAME, work)
    if found is None:
        return None
    assert timedelta(seconds=-1) <= datetime.now(timezone.utc) - found.at < timedelta(minutes=1)
    return found.outcome, found.month, found.text


def board(number: str = "1", kind: str = leaderboard.VERSION) -> pd.DataFrame:
    row = {"entry": "x", "about": "champion: it is better", "kind": kind, "model": NAME, "number": number}
    return pd.DataFrame([row])


# --- Runs of Mage -------------------------------------------------------------------------------------------


def test_a_check_with_nothing_to_do_is_kept_once_at_its_last_block(beats: Beats) -> None:
    for block in ("load_trips", "clean_trips", "build_features"):
        checks.after_block(WAITS, TRAINING | {"parent_block_uuid": block})
        assert (kept(), beats.asked) == (None, [])
    checks.after_block(WAITS, TRAINING)
    assert kept() == ("not_published", "2023-06", "green 2023-06 is not published yet at sample")
    assert beats.asked == ["GET /green-training"]


def test_all_months_judged_is_nothing_to_do(beats: Beats) -> None:
    checks.after_block(months_table.nothing_to_do(f"{NAME}: every month is judged"), TRAINING)
    assert kept() == ("nothing_to_do", "", f"{NAME}: every month is judged")
    assert beats.asked == ["GET /green-training"]


def test_a_judged_month_is_kept_with_its_version(beats: Beats) -> None:
    checks.after_block(board(), TRAINING)
    assert kept() == ("judged", "2023-05", "version 1 is champion: it is better")
    assert beats.asked == ["GET /green-training"]


def test_a_failure_is_kept_and_asks_for_the_other_address(beats: Beats) -> None:
    checks.after_failure(BROKEN, TRAINING | {"parent_block_uuid": "load_trips"})
    assert kept() == ("failed", "", "green_tripdata_2023-05.parquet: a truncated Parquet file")
    assert beats.asked == ["GET /green-training/fail"]
    checks.after_failure(ConfigError("unknown setting 'max_trails'"), TRAINING | {"max_trails": 3})
    assert kept() == ("failed", "", "unknown setting 'max_trails'")


def test_monitoring_has_a_check_of_its_own(beats: Beats) -> None:
    row = {
        "model": [NAME],
        "month": ["2023-06"],
        "title": [f"{NAME} 2023-06: no alarm"],
        "text": ["RMSE 4.02"],
    }
    shown = block_tables.of_columns(pd.DataFrame(row), {"month": "month"})
    checks.after_block(shown, MONITORING)
    assert kept("monitoring") == ("judged", "2023-06", f"{NAME} 2023-06: no alarm")
    checks.after_block(WAITS, MONITORING | {"parent_block_uuid": "load_month"})
    checks.after_block(WAITS, MONITORING)
    assert kept("monitoring") == ("not_published", "2023-06", "green 2023-06 is not published yet at sample")
    checks.after_failure(BROKEN, MONITORING)
    assert (kept("monitoring") or ("",))[0] == "failed"
    assert kept() is None
    assert beats.asked == ["GET /green-monitoring"] * 2 + ["GET /green-monitoring/fail"]


@pytest.mark.parametrize(
    ("others", "is_kept"),
    [
        ({"pipeline_run": started("@once")}, True),
        ({"pipeline_run": started("@daily", 3), "start_month": "2023-04", "end_month": "2023-10"}, False),
        ({"pipeline_run": None, "pipeline_run_id": None}, False),
    ],
    ids=["started by hand", "a backfill", "the editor"],
)  # fmt: skip
def test_only_the_schedule_sends_a_heartbeat(others: dict[str, Any], is_kept: bool, beats: Beats) -> None:
    for act in (
        lambda: checks.after_block(WAITS, TRAINING | others),
        lambda: checks.after_block(board(), TRAINING | others),
        lambda: checks.after_failure(BROKEN, TRAINING | others),
    ):
        act()
        assert (kept() is not None) == is_kept
    assert beats.asked == []


def test_a_schedule_of_a_named_month_is_no_check_for_the_next_but_has_a_heartbeat(beats: Beats) -> None:
    checks.after_block(board(), TRAINING | {"month": "2023-05"})
    assert (kept(), beats.asked) == (None, ["GET /green-training"])


@pytest.mark.parametrize(
    "table", [pd.DataFrame({"month": ["2023-05"]}), pd.DataFrame(), board(kind=leaderboard.EXPERIMENT)]
)
def test_a_block_that_ends_no_check_is_none(table: pd.DataFrame, beats: Beats) -> None:
    checks.after_block(table, TRAINING)
    assert (kept(), beats.asked) == (None, [])


def test_a_registry_that_is_away_fails_nothing_and_the_heartbeat_is_sent(
    beats: Beats, capsys: pytest.CaptureFixture[str]
) -> None:
    with fails_at("set_registered_model_tag", AWAY):
        checks.after_block(WAITS, TRAINING)
        checks.after_failure(BROKEN, TRAINING)
    assert beats.asked == ["GET /green-training", "GET /green-training/fail"]
    logged = capsys.readouterr().out  # of Mage's block
    assert logged.count(f"what this check found is not kept: {NAME}: writing what the last check found") == 2


def test_a_mistake_of_ours_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(last_check, "record", lambda *_: 1 / 0)
    checks.after_block(WAITS, TRAINING)
    logged = capsys.readouterr().out
    assert "what this check found is not kept\n" in logged
    assert "ZeroDivisionError" in logged


def test_secrets_are_in_no_text_that_is_kept(beats: Beats) -> None:
    checks.after_failure(DownloadError(f"cannot ask {beats.url}/green-training"), TRAINING)
    assert (kept() or ("", "", SECRET))[2] == "cannot ask http://127.0.0.1:" + (
        beats.url.partition("127.0.0.1:")[2].partition("/")[0] + "/ping/****/green-training"
    )


# --- Runs by command ----------------------------------------------------------------------------------------


def trained(monkeypatch: pytest.MonkeyPatch, outcome: Any, **settings: Any) -> None:
    """A run of `train` with this result or error."""

    def train(_: Settings) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(steps, "train", train)
    given = Settings.parse({"month": "next", "start_month": "2023-04", **settings})
    if isinstance(outcome, Exception):
        with pytest.raises(type(outcome)) as error:
            checks.train(given)
        assert error.value is outcome
    else:
        assert checks.train(given) is outcome


def test_a_command_with_month_next_is_a_check(monkeypatch: pytest.MonkeyPatch, beats: Beats) -> None:
    trained(monkeypatch, RunResult.of_nothing(WAITS))
    assert kept() == ("not_published", "2023-06", "green 2023-06 is not published yet at sample")
    trained(monkeypatch, RunResult.of_version(versions.get(NAME, "1"), board(), "it is better"))
    assert kept() == ("judged", "2023-05", "version 1 is champion: it is better")
    trained(monkeypatch, BROKEN)
    assert kept() == ("failed", "", "green_tripdata_2023-05.parquet: a truncated Parquet file")
    assert beats.asked == ["GET /green-training"] * 2 + ["GET /green-training/fail"]


@pytest.mark.parametrize("settings", [{"month": "2023-05"}, {"end_month": "2023-07"}])
def test_a_command_about_named_months_is_no_check(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, beats: Beats
) -> None:
    trained(monkeypatch, RunResult.of_nothing(WAITS), **settings)
    trained(monkeypatch, BROKEN, **settings)
    assert (kept(), beats.asked) == (None, [])


def test_a_check_that_fails_before_there_is_a_registry_makes_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, beats: Beats
) -> None:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "empty"))
    trained(monkeypatch, BROKEN)
    assert not config.state().tracking_store.exists()
    assert beats.asked == ["GET /green-training/fail"]


def test_a_wrong_address_of_the_registry_does_not_hide_the_error_of_the_run(
    monkeypatch: pytest.MonkeyPatch, beats: Beats
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://")
    trained(monkeypatch, BROKEN)
    assert beats.asked == ["GET /green-training/fail"]
