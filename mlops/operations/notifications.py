"""Messages about unattended runs: a month was judged, or an error prevents it.

Each is sent once. The same failure is sent again after a day, not at every
try. A month that is not published yet causes no message. So if no message
comes at all, the scheduler itself has a problem.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pandas as pd
from filelock import FileLock

from mlops import config
from mlops.config import Settings
from mlops.errors import ConfigError, MlopsError, one_line
from mlops.files import atomic_write
from mlops.mage import from_mage, is_scheduled, run_of
from mlops.month import Month
from mlops.pipeline import run_once, schedule
from mlops.pipeline.schedule import REPUBLISHED
from mlops.registry import client, run_lifecycle, runs, versions

AGAIN_HOURS = 20.0  # before the same failure is sent again: a daily check then sends it every day


@dataclass(frozen=True)
class Message:
    """A subject line, and the text."""

    title: str
    text: str


def of_result(table: pd.DataFrame, variables: Mapping[str, Any]) -> Message | None:
    """The message about a judged month, once; None for a table of another step.

    Parameters
    ----------
    table : DataFrame
        The output of a block.
    variables : mapping
        The variables that Mage gives to a block.
    """
    if "kind" not in table:
        return None
    _connect(from_mage(variables))
    first = table.iloc[0]
    version = versions.get(first["model"], first["number"])
    name, month = version.name, version.tags["test_month"]
    again = any(REPUBLISHED in other.tags for other in schedule.judged(name)[Month.parse(month)])
    if not _is_news(name, version.uri, for_ever=True):
        return None
    title = f"{name} {month}: version {version.number} is {version.tags[runs.OUTCOME]}"
    return Message(
        title + (", after the month was republished" if again else ""), f"{first['about']}{_where(variables)}"
    )


def of_failure(error: BaseException, variables: Mapping[str, Any]) -> Message | None:
    """The message about a failed run, or None if it was sent in the last hours; MLflow shows a scheduled one, too.

    Also None in Mage's editor, where a person reads the error below the block.

    Parameters
    ----------
    error : BaseException
        The error that the block raised.
    variables : mapping
        As `of_result`.
    """
    if not run_of(variables):
        return None
    settings = _settings(variables)
    name, run_id = versions.model_name(settings.service, sample=settings.source == "sample"), ""
    is_there = False
    with contextlib.suppress(MlopsError):  # send the message even if MLflow cannot be reached
        _connect(settings)
        name, is_there = schedule.guess_model_name(settings), True
    text = str(error) or type(error).__name__
    if not _is_news(name, text):
        return None
    if is_there and (is_scheduled(variables) or hasattr(error, "run_id")):
        with contextlib.suppress(MlopsError):
            run_id = run_lifecycle.log_failure(name, run_once.title(settings), error)
    shown = f"\nMLflow: run {run_id}" if run_id else ""
    return Message(f"{name}: a run failed", f"{text}{shown}{_where(variables)}")


def _settings(variables: Mapping[str, Any]) -> Settings:
    """The run's settings; if one is wrong, which may be the failure itself, only what the run is about."""
    try:
        return from_mage(variables)
    except ConfigError:
        right = {}
        for name in {"service", "month", "source"} & set(variables):
            with contextlib.suppress(ConfigError):
                right[name] = getattr(Settings.parse({name: variables[name]}), name)
        return Settings.parse(right)


def _connect(settings: Settings) -> None:
    client.connect(config.tracking_uri(), config.state_dir(), settings.connect_timeout)


def _where(variables: Mapping[str, Any]) -> str:
    """A line with the address of Mage's page about the run; empty if Mage gives no run id."""
    run, pipeline = variables.get("pipeline_run_id"), variables.get("pipeline_uuid")
    host = os.environ.get("MAGE_PUBLIC_HOST") or "http://localhost:6789"  # as in Mage's own messages
    return f"\nMage: {host}/pipelines/{pipeline}/runs/{run}" if run and pipeline else ""


def _is_news(name: str, about: str, *, for_ever: bool = False) -> bool:
    """Whether this message was not sent recently; records it as sent."""
    digest = hashlib.sha256(about.encode()).hexdigest()[:16]
    note, lock = config.state().sent / f"{name}-{digest}.json", config.state().locks / "messages.lock"
    now = datetime.now(timezone.utc)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, fallback_to_soft=False):  # Mage may run the callback twice at the same time
        if note.is_file():
            sent = datetime.fromisoformat(json.loads(note.read_text(encoding="utf-8"))["at"])
            if for_ever or now - sent < timedelta(hours=AGAIN_HOURS):
                return False
        with atomic_write(note) as passing:
            passing.write_text(
                json.dumps({"at": now.isoformat(), "about": one_line(about, 500)}), encoding="utf-8"
            )
    return True
