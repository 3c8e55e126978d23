"""What an operator must know of each model, as a real registry has it; reading it changes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.champions import GREEN, crown
from support.monitored import alarm, record
from support.tracked import AWAY, NAME, bare_version, fails_at, mlflow_client

from mlops.errors import DownloadError, TrackingDownError
from mlops.month import Month
from mlops.registry import (
    alias_log,
    approvals,
    last_check,
    monitoring_log,
    run_lifecycle,
    status_reading,
    versions,
)
from mlops.registry.alias_log import CHAMPION
from mlops.registry.last_check import LastCheck
from mlops.registry.monitoring_record import to_json
from mlops.registry.status_records import ModelStatus

MOST = 3  # months behind
NOW = datetime.now(timezone.utc)
OURS = {"outcome": "champion", "verdict": "promote", "reason": "it is better", "test_rmse": "4.04"}


def offer(folder: Path, month: str, name: str = GREEN, **tags: str) -> str:
    """A version that a run of this project has judged; its number."""
    learnt = {"first_month_learnt": "2022-07", "last_month_learnt": "2023-05"}
    return bare_version(folder, name, run_key=month, test_month=month, **{**OURS, **learnt, **tags})


def move(to: str, verdict: str = "promote") -> None:
    alias_log.move(GREEN, CHAMPION, to, by="run 1 by me@here", verdict=verdict, reason="because")


def read(now: datetime | None = None) -> ModelStatus:
    """The only model's status."""
    (found,) = status_reading.read(now or datetime.now(timezone.utc), MOST)
    return found


def test_an_empty_registry_has_no_models(store: Path) -> None:
    assert status_reading.read(NOW, MOST) == ()


def test_models_of_other_programs_are_left_out(store: Path) -> None:
    mlflow_client().create_registered_model("trip-duration-by-somebody")
    mlflow_client().create_experiment("trip-duration-green-monitoring")
    mlflow_client().create_experiment("trip-duration")
    assert status_reading.read(NOW, MOST) == ()


def test_champion_verdict_and_the_month_that_comes_next(store: Path) -> None:
    offer(store, "2023-06")
    move("1")
    offer(store, "2023-07", verdict="keep", reason="it is\nworse", test_rmse="4.11")
    found = read(datetime(2023, 9, 1, tzinfo=timezone.utc))
    assert (found.name, found.service, found.unsigned, found.problems) == (GREEN, "green", (), ())
    assert found.champion and found.newest and found.waits_for
    assert found.champion.model_dump(exclude={"since"}) == {
        "version": "1", "trained_on": "2022-07 to 2023-05", "tested_on": "2023-06", "test_rmse_minutes": 4.04,
        "months_behind": 1, "is_signed": True, "is_old": False,
    }  # fmt: skip
    assert found.champion.since and abs(datetime.now(timezone.utc) - found.champion.since) < timedelta(
        minutes=5
    )
    assert found.newest.model_dump(exclude={"registered_at"}) == {
        "version": "2", "tested_on": "2023-07", "test_rmse_minutes": 4.11, "verdict": "keep",
        "reason": "it is worse", "override": "",
    }  # fmt: skip
    assert found.waits_for.model_dump(mode="json") == {
        "month": "2023-08", "possible_from": "2023-10-19", "expected_by": "2023-11-19",
        "overdue_from": "2023-11-30", "is_overdue": False,
    }  # fmt: skip


def test_the_synthetic_city_waits_for_nobody(store: Path) -> None:
    offer(store, "2023-06", NAME)
    waits = read().waits_for
    assert waits and (waits.month, waits.possible_from, waits.is_overdue) == ("2023-07", None, False)


@pytest.mark.parametrize(("newest", "is_old"), [("2023-09", False), ("2023-10", True)])
def test_a_champion_that_is_too_far_behind(store: Path, newest: str, is_old: bool) -> None:
    offer(store, "2023-06")
    move("1")
    offer(store, newest)
    found = read().champion
    assert found and (found.is_old, found.months_behind) == (is_old, int(newest[-2:]) - 6)


def test_a_champion_that_somebody_moved_by_hand_has_no_time(store: Path) -> None:
    offer(store, "2023-06")
    offer(store, "2023-07")
    move("1")
    crown("2", GREEN)
    found = read().champion
    assert found and (found.version, found.since) == ("2", None)
    assert [entry.after for entry in alias_log.read(GREEN)] == ["1"]  # reading writes nothing


def test_what_people_changed_is_unknown_and_fails_nothing(store: Path) -> None:
    offer(store, "June", verdict="yes", test_rmse="good", first_month_learnt="")
    crown("1", GREEN)
    found = read()
    assert found.champion and found.newest
    assert (found.champion.tested_on, found.champion.test_rmse_minutes, found.champion.trained_on) == (
        "",
        None,
        "",
    )
    assert (found.champion.months_behind, found.champion.is_old, found.waits_for) == (None, False, None)
    assert found.newest.verdict == "unreadable"


def test_a_version_whose_run_did_not_end_is_no_judged_month(store: Path) -> None:
    offer(store, "2023-06")
    bare_version(store, GREEN, run_key="k", test_month="2023-07")
    found = read()
    assert found.newest and (found.newest.version, found.newest.verdict) == ("2", "unfinished")
    assert found.waits_for and found.waits_for.month == "2023-07"


def test_an_override_is_named(store: Path) -> None:
    offer(store, "2023-06", verdict="keep")
    move("1", alias_log.BY_OPERATOR)
    found = read().newest
    assert found and found.override.startswith("made champion overriding keep, by run 1 by me@here on 20")


def test_versions_without_a_signature_of_this_machine(store: Path) -> None:
    offer(store, "2023-06")
    offer(store, "2023-07", signature="")
    bare_version(store, GREEN, signature="")  # another program's: nothing of it is ours to sign
    crown("2", GREEN)
    found = read()
    assert found.champion and (found.unsigned, found.champion.is_signed) == (("2",), False)


def test_what_waits_for_approval(store: Path) -> None:
    offer(store, "2023-06")
    move("1")
    offer(store, "2023-07")
    waits = versions.get(GREEN, "2")
    versions.tag(waits, approvals.tag_of(waits, "every promotion needs an approval"))
    found = read().approval
    assert found and (found.version, found.why) == ("2", "every promotion needs an approval")
    assert found.since and abs(datetime.now(timezone.utc) - found.since) < timedelta(minutes=5)
    move("2")
    assert read().approval is None


def test_the_last_check(store: Path) -> None:
    offer(store, "2023-06")
    last_check.record(GREEN, LastCheck(NOW, "2023-07", "not_published", "green 2023-07 is not there"))
    found = read().last_check
    assert found and found.at == NOW.replace(microsecond=0)
    assert (found.month, found.outcome, found.text) == (
        "2023-07",
        "not_published",
        "green 2023-07 is not there",
    )


def keep(kept: Any) -> None:
    monitoring_log.write(GREEN, kept.month, to_json(kept), {"rmse": 4.2})


def test_the_newest_compared_month(store: Path) -> None:
    offer(store, "2023-06")
    keep(alarm("2023-10", champion="1"))
    keep(record("2023-09", champion="1"))
    found = read().monitoring
    assert found and (found.month, found.champion, found.is_alarm) == ("2023-10", "1", True)
    assert found.text.startswith("Alarm for 2023-10: RMSE is 5.31 minutes")


def test_compared_months_that_cannot_be_read(store: Path) -> None:
    offer(store, "2023-06")
    monitoring_log.write(GREEN, "2023-09", "no record", {})
    found = read()
    assert found.monitoring is None
    assert len(found.problems) == 1 and "the record of 2023-09 cannot be read" in found.problems[0]


def test_a_model_whose_only_run_failed(store: Path) -> None:
    run_lifecycle.log_failure(GREEN, "green 2023-06", DownloadError("no answer"))
    found = read()
    assert (found.name, found.champion, found.newest, found.waits_for) == (GREEN, None, None, None)
    assert found.last_failure and found.last_failure.error == "DownloadError: no answer"


def test_models_come_in_the_order_of_their_names(store: Path) -> None:
    offer(store, "2023-06", NAME)
    offer(store, "2023-06")
    assert [model.name for model in status_reading.read(NOW, MOST)] == [GREEN, NAME]


@pytest.mark.parametrize("method", ["search_registered_models", "search_model_versions"])
def test_a_registry_that_goes_away_is_an_error(store: Path, method: str) -> None:
    offer(store, "2023-06")
    with fails_at(method, AWAY), pytest.raises(TrackingDownError, match="the database is away"):
        read()


def test_reading_asks_few_questions(store: Path) -> None:
    """Each question takes a while where the registry is far away."""
    for name in (GREEN, NAME):
        offer(store, "2023-06", name)
        run_lifecycle.log_failure(name, "green 2023-06", DownloadError("no answer"))
    asked: list[str] = []
    client = type(mlflow_client())
    with pytest.MonkeyPatch.context() as patch:
        for method in [name for name in vars(client) if name.startswith(("search_", "get_"))]:
            patch.setattr(client, method, counted(asked, method, getattr(client, method)))
        status_reading.read(NOW, MOST)
    assert len(asked) == 2 + 2 * 3, asked


def counted(asked: list[str], method: str, original: Any) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        asked.append(method)
        return original(*arguments, **named)

    return call


@pytest.mark.parametrize(("day", "is_overdue"), [(29, False), (30, True)])
def test_when_a_month_is_overdue(day: int, is_overdue: bool) -> None:
    now = datetime(2023, 11, day, 23, 59, tzinfo=timezone.utc)
    assert status_reading.waited(Month(2023, 8), now).is_overdue is is_overdue
