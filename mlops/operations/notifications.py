"""What is said about a run that nobody watches: a judged month, or what keeps it from being judged.

One message each. The same failure is said again after a day, not at every try;
a month that is not published yet is no news. So silence means trouble.
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

from mlops import config
from mlops.config import Settings
from mlops.errors import ConfigError, MlopsError, one_line
from mlops.files import atomic_write
from mlops.mage import from_mage
from mlops.month import Month
from mlops.pipeline import schedule
from mlops.pipeline.schedule import REPUBLISHED
from mlops.registry import client, run_lifecycle, runs, versions

AGAIN_HOURS = 20.0  # before the same failure is said once more: a daily check says it daily


@dataclass(frozen=True)
class Message:
    """A subject, and what happened, in sentences."""

    title: str
    text: str


def of_result(table: pd.DataFrame, variables: Mapping[str, Any]) -> Message | None:
    """What to say about a step's table: something about a judged month, once; nothing about other tables.

    Parameters
    ----------
    table : DataFrame
        What a block returned.
    variables : mapping
        Those that Mage gives to a block.
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
    """What to say about a failed run, unless it was said in the last hours; MLflow then shows it too.

    Parameters
    ----------
    error : BaseException
        What the block raised.
    variables : mapping
        As `of_result`.
    """
    try:
        settings = from_mage(variables)
    except ConfigError:  # maybe the failure itself
        settings = Settings()
    name, run_id = versions.model_name(settings.service, sample=settings.source == "sample"), ""
    is_there = False
    with contextlib.suppress(MlopsError):  # what is said matters more than where it is shown
        _connect(settings)
        name, is_there = schedule.guess_model_name(settings), True
    told = str(error) or type(error).__name__
    if not _is_news(name, told):
        return None
    if is_there:
        with contextlib.suppress(MlopsError):
            run_id = run_lifecycle.log_failure(name, f"{settings.service} {settings.month}", error)
    shown = f"\nMLflow: run {run_id}" if run_id else ""
    return Message(f"{name}: a run failed", f"{told}{shown}{_where(variables)}")


def _connect(settings: Settings) -> None:
    client.connect(config.tracking_uri(), config.state_dir(), settings.connect_timeout)


def _where(variables: Mapping[str, Any]) -> str:
    """Where Mage shows the run, as far as it says so."""
    run, pipeline = variables.get("pipeline_run_id"), variables.get("pipeline_uuid")
    host = os.environ.get("MAGE_PUBLIC_HOST") or "http://localhost:6789"  # as in Mage's own messages
    return f"\nMage: {host}/pipelines/{pipeline}/runs/{run}" if run and pipeline else ""


def _is_news(name: str, about: str, *, for_ever: bool = False) -> bool:
    """Whether this was not said yet, or long ago; from now on it was."""
    digest = hashlib.sha256(about.encode()).hexdigest()[:16]
    note = config.state().sent / f"{name}-{digest}.json"
    now = datetime.now(timezone.utc)
    if note.is_file():
        said = datetime.fromisoformat(json.loads(note.read_text())["at"])
        if for_ever or now - said < timedelta(hours=AGAIN_HOURS):
            return False
    with atomic_write(note) as passing:
        passing.write_text(json.dumps({"at": now.isoformat(), "about": one_line(about, 500)}))
    return True
