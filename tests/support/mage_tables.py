"""Mage's tables, created by its own migrations, with a trigger and a run created through its own models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MAKE = """
from datetime import datetime, timezone
from mage_ai.orchestration.db.database_manager import database_manager
database_manager.run_migrations(log_level=30)
from mage_ai.orchestration.db import db_connection
db_connection.start_session()
from mage_ai.data_preparation.models.triggers import ScheduleStatus
from mage_ai.orchestration.db.models.schedules import PipelineRun, PipelineSchedule
trigger = PipelineSchedule.create(
    name="monthly", pipeline_uuid="training", status=ScheduleStatus.ACTIVE, settings={"timeout": 7200}
)
run = PipelineRun(
    pipeline_schedule_id=trigger.id, pipeline_uuid="training", status=PipelineRun.PipelineRunStatus.RUNNING,
    started_at=datetime(2026, 11, 1, 11, tzinfo=timezone.utc),
)
db_connection.session.add(run)
db_connection.session.commit()
"""


def make_tables(url: str, folder: Path) -> None:
    """Create a trigger `monthly` of `training` with a timeout of two hours, and a run RUNNING since 11:00."""
    own = {"MAGE_DATABASE_CONNECTION_URL": url, "MAGE_DATA_DIR": str(folder)}
    command = [sys.executable, "-W", "ignore", "-c", MAKE]
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, **own}, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
