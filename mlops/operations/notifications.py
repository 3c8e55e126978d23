"""Messages about unattended runs: a month was judged, or compared, or an error prevents it.

Each channel gets each message once. The same failure is sent again after a
day, not at every try. What a channel did not take is sent to it again at the
next try. A month that is not published yet causes no message; `checks` keeps
that it was looked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from mlops import config, masking
from mlops.config import Settings
from mlops.errors import ConfigError, MlopsError, one_line
from mlops.files import atomic_write
from mlops.mage import from_mage, is_scheduled, run_of
from mlops.month import Month
from mlops.operations import channels
from mlops.operations.channels import Message as Message
from mlops.pipeline import block_tables, experiment, leaderboard, run_once, schedule
from mlops.pipeline.schedule import REPUBLISHED
from mlops.registry import approvals, client, run_lifecycle, runs, versions

AGAIN_HOURS = 20.0  # before the same failure is sent again: a daily check then sends it every day
CHANNELS = "channels"  # of a note: who took the message
MONITORING = "trip_duration_monitoring"  # the pipeline whose failures are no failed runs of training


def of_result(table: pd.DataFrame, variables: Mapping[str, Any]) -> Message | None:
    """The message about a judged or a compared month; None for a table of another step, or of an experiment.

    Parameters
    ----------
    table : DataFrame
        The output of a block.
    variables : mapping
        The variables that Mage gives to a block.
    """
    full = block_tables.full_table(table)
    if {"title", "text"} <= set(full):
        return _of_compared(full.iloc[0], variables)
    if "kind" not in full or full["kind"].iloc[0] == leaderboard.EXPERIMENT:  # it judges no month
        return None
    connect(from_mage(variables))
    first = full.iloc[0]
    version = versions.get(first["model"], first["number"])
    name, month = version.name, version.tags["test_month"]
    again = any(REPUBLISHED in other.tags for other in schedule.judged(name)[Month.parse(month)])
    outcome = version.tags[runs.OUTCOME]
    title = f"{name} {month}: version {version.number} is {outcome}"
    how = f"\n{approvals.how_to_approve(version)}" if outcome == approvals.WAITING else ""
    return Message(
        title + (", after the month was republished" if again else ""),
        f"{first['about']}{how}",
        _page(variables),
        _key(name, version.uri),
    )


def _of_compared(month: pd.Series[Any], variables: Mapping[str, Any]) -> Message:
    """The message about a month that monitoring compared; repeating the comparison sends it once."""
    title = str(month["title"])
    return Message(title, str(month["text"]), _page(variables), _key(str(month["model"]), title))


def of_failure(error: BaseException, variables: Mapping[str, Any]) -> Message | None:
    """The message about a failed run; MLflow shows a scheduled one, too, once in `AGAIN_HOURS`.

    None in Mage's editor, where a person reads the error below the block.

    Parameters
    ----------
    error : BaseException
        The error that the block raised.
    variables : mapping
        As `of_result`.
    """
    if not run_of(variables):
        return None
    settings = settings_of(variables)
    name = versions.model_name(settings.service, sample=settings.source == "sample")
    is_there = False
    with contextlib.suppress(MlopsError):  # send the message even if MLflow cannot be reached
        connect(settings)
        name, is_there = schedule.guess_model_name(settings), True
    text, of_monitoring = masking.clean(str(error) or type(error).__name__), is_monitoring(variables)
    key = _key(name, text)
    with _notes():
        note = _noted(key, again=True)
        if note is None:
            note = _new_note(text)
            is_run = is_scheduled(variables) and not of_monitoring
            if is_there and (is_run or hasattr(error, "run_id")):
                place = experiment.place_of(name, settings) if settings.experiment else name
                with contextlib.suppress(MlopsError):
                    note["run"] = run_lifecycle.log_failure(place, run_once.title(settings), error)
            _write(key, note)
    shown = f"\nMLflow: run {note['run']}" if note.get("run") else ""
    what = "monitoring" if of_monitoring else "a run"
    return Message(f"{name}: {what} failed", f"{text}{shown}", _page(variables), key, again=True)


def deliver(message: Message, channels_of_mage: Any) -> None:
    """Send the message to each channel that does not have it yet, and note those that took it.

    Parameters
    ----------
    message : Message
        Of `of_result` or `of_failure`.
    channels_of_mage : NotificationConfig
        Mage's, from the project's metadata.yaml.
    """
    with _notes():  # Mage may run the callback twice at the same time
        note = _noted(message.key, again=message.again) or _new_note(message.text)
        if CHANNELS not in note:  # of an earlier version, which did not note which ones
            return
        took = channels.send(message, channels_of_mage, note[CHANNELS])
        if took:
            _write(message.key, {**note, CHANNELS: [*note[CHANNELS], *took]})


def is_monitoring(variables: Mapping[str, Any]) -> bool:
    """Whether a block belongs to the pipeline that monitors."""
    return bool(variables.get("pipeline_uuid") == MONITORING)


def settings_of(variables: Mapping[str, Any]) -> Settings:
    """The run's settings; if one is wrong, which may be the failure itself, only what the run is about."""
    try:
        return from_mage(variables)
    except ConfigError:
        right = {}
        for name in {"service", "month", "source"} & set(variables):
            with contextlib.suppress(ConfigError):
                right[name] = getattr(Settings.parse({name: variables[name]}), name)
        return Settings.parse(right)


def connect(settings: Settings) -> None:
    """Connect this process to the tracking server of this machine.

    Raises
    ------
    TrackingError
        When it does not answer.
    """
    client.connect(config.tracking_uri(), config.state_dir(), settings.connect_timeout)


def _page(variables: Mapping[str, Any]) -> str:
    """Address of Mage's page about the run; empty if Mage gives no run id."""
    run, pipeline = variables.get("pipeline_run_id"), variables.get("pipeline_uuid")
    host = os.environ.get("MAGE_PUBLIC_HOST") or "http://localhost:6789"  # as in Mage's own messages
    return f"{host}/pipelines/{pipeline}/runs/{run}" if run and pipeline else ""


def _key(name: str, about: str) -> str:
    """Name of the note about a message: the same model and event have the same note."""
    return f"{name}-{hashlib.sha256(about.encode(errors='replace')).hexdigest()[:16]}"


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Inside the block, no other process reads or writes the notes about messages."""
    lock = config.state().locks / "messages.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, fallback_to_soft=False):
        yield


def _noted(key: str, *, again: bool) -> dict[str, Any] | None:
    """The note about a message; None if there is none, or if it may be sent again by now."""
    path = _path(key)
    if not path.is_file():
        return None
    note = dict(json.loads(path.read_text(encoding="utf-8")))
    age = datetime.now(timezone.utc) - datetime.fromisoformat(note["at"])
    return None if again and age >= timedelta(hours=AGAIN_HOURS) else note


def _new_note(text: str) -> dict[str, Any]:
    return {"at": datetime.now(timezone.utc).isoformat(), "about": one_line(text, 500), CHANNELS: []}


def _write(key: str, note: Mapping[str, Any]) -> None:
    with atomic_write(_path(key)) as passing:
        passing.write_text(json.dumps(note), encoding="utf-8")


def _path(key: str) -> Path:
    return config.state().sent / f"{key}.json"
