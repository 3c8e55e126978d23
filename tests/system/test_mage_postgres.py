"""Mage's database in PostgreSQL, which has its own types for states, and a time zone."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import psycopg2
import pytest
from support.mage_tables import make_tables
from support.postgres import running_postgres

from mlops import config
from mlops.operations.doctor import mage_database
from mlops.operations.doctor.stack import Mage

STARTED = datetime(2026, 11, 1, 11, tzinfo=timezone.utc)


def test_the_doctor_finds_what_is_wrong_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = tmp_path / "pipelines" / "training"
    pipeline.mkdir(parents=True)
    (pipeline / "triggers.yaml").write_text("triggers: [{name: monthly, status: active}]")
    monkeypatch.setattr(config, "PROJECT", tmp_path)
    with running_postgres() as postgres:
        mage = Mage({"MAGE_DATABASE_CONNECTION_URL": postgres.url}, tmp_path)

        def opened(now: datetime = STARTED) -> list[str]:
            return [finding.text for finding in mage_database.look_over(mage, now) if finding.is_open]

        (reported,) = opened()
        assert "tables pipeline_schedule, pipeline_run, block_run are missing" in reported

        make_tables(postgres.url, tmp_path)
        set_time_zone(postgres.url, "UTC")
        assert opened() == []

        (stuck,) = opened(STARTED.replace(hour=14))
        assert stuck.startswith(
            "Mage: run 1 of training has status running for 3.0 h, expected at most 2.0 h"
        )

        set_time_zone(postgres.url, "America/New_York")
        (zone,) = opened()
        assert (
            "its time zone is America/New_York, but Mage compares schedules in UTC; run ALTER DATABASE "
            in zone
        )


def set_time_zone(url: str, zone: str) -> None:
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            (name,) = cursor.fetchone() or ("",)
            cursor.execute(f"ALTER DATABASE {name} SET timezone TO '{zone}'")
    finally:
        connection.close()
