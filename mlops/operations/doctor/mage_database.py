"""Mage's database: does it exist, has it its tables, is there a stuck run, and which triggers are on?

Read with SQLAlchemy, because `mlops` does not import Mage.
Source: mage_ai/orchestration/db/models/schedules.py and db/__init__.py, mage-ai 0.9.80.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
import yaml
from sqlalchemy import JSON, DateTime, Integer, String, cast, column, select, table

from mlops import config, masking
from mlops.errors import one_line
from mlops.operations.doctor.finding import Finding, Findings
from mlops.operations.doctor.stack import Mage

TABLES = ("pipeline_schedule", "pipeline_run", "block_run")
CONNECT_SECONDS = 5
STUCK_AFTER = timedelta(days=1)  # for a run whose trigger has no timeout
UTC_NAMES = ("utc", "etc/utc", "gmt", "etc/gmt", "uct", "universal", "zulu")
_ENVIRONMENTS = {"production": "prod", "development": "dev"}  # Mage's short names for values of ENV

_SCHEDULES = table(
    "pipeline_schedule",
    column("id", Integer),
    column("name", String),
    column("pipeline_uuid", String),
    column("status", String),
    column("settings", JSON),
    column("repo_path", String),
)
_RUNS = table(
    "pipeline_run",
    column("id", Integer),
    column("pipeline_schedule_id", Integer),
    column("pipeline_uuid", String),
    column("status", String),
    column("started_at", DateTime(timezone=True)),
    column("created_at", DateTime(timezone=True)),
)


@dataclass(frozen=True)
class Trigger:
    """A trigger from a file `triggers.yaml`."""

    pipeline: str
    name: str
    active: bool
    environments: tuple[str, ...]


def addresses(mage: Mage) -> list[str]:
    """URLs of the databases that this Mage may use: the one that its environment names, else SQLite files.

    Without ``MAGE_DATA_DIR`` it depends on whether make started Mage, so both files are looked at, if they exist.
    """
    named = mage.variables.get("MAGE_DATABASE_CONNECTION_URL")
    if named:
        return [named]
    folders = [data_folder(mage.variables)]
    if not mage.variables.get("MAGE_DATA_DIR"):
        folders.insert(0, config.state_dir() / "mage" / config.PROJECT.name)  # set in the Makefile
    files = [folder / "mage-ai.db" for folder in folders]
    return [f"sqlite:///{file}" for file in files if file.exists()] or [f"sqlite:///{files[0]}"]


def data_folder(variables: Mapping[str, str] = os.environ) -> Path:
    """Folder in which Mage keeps this project's outputs, logs and, by default, its database."""
    described = yaml.safe_load((config.PROJECT / "metadata.yaml").read_text(encoding="utf-8")) or {}
    folder = variables.get("MAGE_DATA_DIR") or described.get("variables_dir") or "~/.mage_data"
    base = Path(folder).expanduser()
    return base / config.PROJECT.name if base.is_absolute() else config.PROJECT / base


def look_over(mage: Mage, now: datetime | None = None) -> Findings:
    """Findings about Mage's database and about the scheduler's runs and triggers in it.

    Raises
    ------
    OSError, sqlalchemy.exc.SQLAlchemyError
        When reading the database fails after it answered once.
    """
    for url in addresses(mage):
        yield from _database(mage, url, now or datetime.now(timezone.utc))


def _database(mage: Mage, url: str, now: datetime) -> Findings:
    masking.remember(url)  # of the stack's Mage, so not of this process's environment
    shown = config.without_credentials(url)
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        yield Finding(f"Mage's database: {shown} does not exist yet; {mage.start} creates it")
        return
    try:
        engine = _engine(url)
        present = set(sqlalchemy.inspect(engine).get_table_names())
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        why = masking.mask(one_line(getattr(error, "orig", None) or error))[:200]
        by_stack = "with make stack, or with make stack-stop stack if it runs but hangs"
        act = by_stack if mage.is_stack else "again, or correct MAGE_DATABASE_CONNECTION_URL"
        yield Finding(f"Mage's database {shown}: no answer ({why}); start it {act}", is_open=True)
        return
    try:
        if not present and engine.dialect.name == "sqlite":
            yield Finding(f"Mage's database: {shown} has no tables yet; {mage.start} creates them")
        elif lacking := [name for name in TABLES if name not in present]:
            yield Finding(
                f"Mage's database {shown}: tables {', '.join(lacking)} are missing; start Mage once "
                f"({mage.start}) to create them",
                is_open=True,
            )
        else:
            yield Finding(f"Mage's database: {shown} has all its tables")
            with engine.connect() as connection:
                yield from _server_time_zone(connection)
                yield from _stuck_runs(connection, now)
                yield from _triggers(connection, mage)
    finally:
        engine.dispose()


def triggers(project: Path = config.PROJECT) -> list[Trigger]:
    """All triggers in the project's files."""
    found = []
    for path in sorted((project / "pipelines").glob("*/triggers.yaml")):
        for entry in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("triggers") or []:
            active = entry.get("status") == "active"
            found.append(Trigger(path.parent.name, entry["name"], active, tuple(entry.get("envs") or ())))
    return found


def runs_schedules(mage: Mage) -> bool:
    """Whether this Mage runs a trigger of the project's files while it is started."""
    return any(t.active and _is_for(t, _environment(mage)) for t in triggers(config.PROJECT))


def _is_for(trigger: Trigger, environment: str) -> bool:
    return not trigger.environments or environment in trigger.environments


def _engine(url: str) -> sqlalchemy.Engine:
    """An engine with a short timeout, read-only where the database supports that."""
    if url.startswith("sqlite:///"):
        return sqlalchemy.create_engine(
            f"sqlite:///file:{quote(url.removeprefix('sqlite:///'))}?mode=ro&uri=true",
            poolclass=sqlalchemy.NullPool,
        )
    arguments = {"connect_timeout": CONNECT_SECONDS} if url.startswith("postgresql") else {}
    return sqlalchemy.create_engine(url, connect_args=arguments, poolclass=sqlalchemy.NullPool)


def _server_time_zone(connection: sqlalchemy.Connection) -> Findings:
    if connection.dialect.name != "postgresql":
        return
    zone = str(connection.execute(sqlalchemy.text("SHOW timezone")).scalar())
    if zone.lower() not in UTC_NAMES:
        name = connection.engine.url.database
        yield Finding(
            f"Mage's database: its time zone is {zone}, but Mage compares schedules in UTC; "
            f"run ALTER DATABASE {name} SET timezone TO 'UTC'",
            is_open=True,
        )


def _stuck_runs(connection: sqlalchemy.Connection, now: datetime) -> Findings:
    began = sqlalchemy.func.coalesce(_RUNS.c.started_at, _RUNS.c.created_at, type_=DateTime(timezone=True))
    status = cast(_RUNS.c.status, String)  # in PostgreSQL it is an enum
    query = (
        select(_RUNS.c.id, _RUNS.c.pipeline_uuid, status.label("status"), began.label("began"))
        .add_columns(_SCHEDULES.c.settings)
        .select_from(_RUNS.outerjoin(_SCHEDULES, _RUNS.c.pipeline_schedule_id == _SCHEDULES.c.id))
        .where(status.in_(["INITIAL", "RUNNING"]))
    )
    going_on = connection.execute(query.order_by(_RUNS.c.id)).all()
    is_stuck = False
    for row in going_on:
        age, allowed = now - _aware(row.began), _patience(row.settings)
        if age > allowed:
            is_stuck = True
            yield Finding(
                f"Mage: run {row.id} of {row.pipeline_uuid} has status {row.status.lower()} for {_hours(age)}, "
                f"expected at most {_hours(allowed)}; cancel it on the pipeline's Runs page, or restart Mage",
                is_open=True,
            )
    if not is_stuck:
        yield Finding(f"Mage: no run is stuck; {len(going_on)} going on")


def _triggers(connection: sqlalchemy.Connection, mage: Mage) -> Findings:
    ours = _SCHEDULES.c.repo_path.is_(None) | (_SCHEDULES.c.repo_path == str(mage.project))
    query = select(
        _SCHEDULES.c.pipeline_uuid, _SCHEDULES.c.name, cast(_SCHEDULES.c.status, String).label("status")
    )
    known = {(row.pipeline_uuid, row.name): row.status for row in connection.execute(query.where(ours))}
    here = _environment(mage)
    for trigger in triggers(config.PROJECT):
        status = known.get((trigger.pipeline, trigger.name))
        about = f"Mage: trigger {trigger.name} of {trigger.pipeline}"
        if not trigger.active or status == "ACTIVE":
            yield Finding(f"{about} is {'active' if status == 'ACTIVE' else 'inactive, as set in its file'}")
        elif not _is_for(trigger, here):
            wanted = " or ".join(trigger.environments)
            yield Finding(f"{about} does not run here, because ENV is {here}; it runs with ENV={wanted}")
        elif status is None:
            act = "run make stack-update" if mage.is_stack else "start Mage's scheduler (mage start)"
            yield Finding(f"{about} is not in Mage's database; {act}", is_open=True)
        else:  # a person did that, and may mean it; see decision 35
            yield Finding(
                f"{about} is switched off in Mage, although its file has it active; it starts no run "
                "until somebody switches it on there, on the pipeline's Triggers page"
            )


def _environment(mage: Mage) -> str:
    named = mage.variables.get("ENV") or "dev"
    return _ENVIRONMENTS.get(named, named)


def _patience(settings: Mapping[str, Any] | None) -> timedelta:
    seconds = (settings or {}).get("timeout")
    return timedelta(seconds=float(seconds)) if seconds else STUCK_AFTER


def _aware(moment: datetime) -> datetime:
    return (
        moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    )  # SQLite stores UTC without a time zone


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:,.1f} h"
