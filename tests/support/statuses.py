"""Statuses of models and servers as values, in which all is well unless a test says otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from mlops.month import Month
from mlops.registry import status_reading
from mlops.registry.status_records import (
    Answering,
    ApprovalStatus,
    ChampionStatus,
    CheckStatus,
    DiskStatus,
    FailureStatus,
    ModelStatus,
    MonitoringStatus,
    ServerStatus,
    VerdictStatus,
)

NOW = datetime(2023, 10, 20, 8, 30, tzinfo=timezone.utc)
MODEL = "trip-duration-green"
WEEK = timedelta(days=7)


def champion(**changes: Any) -> ChampionStatus:
    return ChampionStatus(
        **{
            "version": "12", "since": NOW - WEEK, "trained_on": "2022-07 to 2023-05", "tested_on": "2023-07",
            "test_rmse_minutes": 4.04, "months_behind": 0, "is_signed": True, "is_old": False, **changes,
        }
    )  # fmt: skip


def newest(**changes: Any) -> VerdictStatus:
    return VerdictStatus(
        **{
            "version": "12", "tested_on": "2023-07", "test_rmse_minutes": 4.04, "registered_at": NOW - WEEK,
            "verdict": "promote", "reason": "it is better", "override": "", **changes,
        }
    )  # fmt: skip


def check(
    hours_ago: float = 8, outcome: str = "not_published", text: str = "green 2023-08 is not published yet"
) -> CheckStatus:
    at = NOW - timedelta(hours=hours_ago)
    return CheckStatus(at=at, month="2023-08", outcome=outcome, text=text)


def failure(**changes: Any) -> FailureStatus:
    return FailureStatus(
        **{
            "run_id": "1" * 32, "about": "green 2023-08", "at": NOW - WEEK, "how": "failed",
            "error": "DownloadError: no answer", "is_over": False, **changes,
        }
    )  # fmt: skip


def monitoring(**changes: Any) -> MonitoringStatus:
    return MonitoringStatus(
        **{
            "month": "2023-07", "champion": "12", "is_alarm": False, "rmse_minutes": 4.2, "promised_minutes": 4.04,
            "text": "No alarm for 2023-07.", "compared_at": NOW - WEEK, **changes,
        }
    )  # fmt: skip


def approval() -> ApprovalStatus:
    return ApprovalStatus(version="13", since=NOW - WEEK, why="every promotion needs an approval")


def model(**changes: Any) -> ModelStatus:
    return ModelStatus(
        **{
            "name": MODEL, "service": "green", "champion": champion(), "newest": newest(),
            "waits_for": status_reading.waited(Month(2023, 8), NOW), "last_check": check(), "running": None,
            "last_failure": None, "monitoring": monitoring(), "approval": None, "unsigned": (), "problems": (),
            **changes,
        }
    )  # fmt: skip


def store(state: str = "up", **changes: Any) -> ServerStatus:
    return ServerStatus(
        **{
            "name": "tracking store", "address": "http://127.0.0.1:5000", "state": state, "text": "it answers",
            "act": "doctor", **changes,
        }
    )  # fmt: skip


def service(version: str | None = "12", state: str = "up", problem: str = "") -> ServerStatus:
    answers = Answering(model=MODEL, version=version, problem=problem)
    return ServerStatus(
        name="online service", address="http://127.0.0.1:8000", state=state, text="no answer", act="make stack",
        answering=(answers,),
    )  # fmt: skip


def disk(free_bytes: int = 120_000_000_000) -> DiskStatus:
    return DiskStatus(
        folder="/srv/.state", free_bytes=free_bytes, needed_bytes=2_000_000_000, used_bytes=1_200_000_000
    )
