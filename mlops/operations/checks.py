"""Checks for a new month: what each found is kept in the registry, and a heartbeat is sent.

A check that finds nothing to do sends no message. Without both of these, a scheduler that is dead would look the
same for months. Nothing here fails a run: what cannot be kept or sent is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

import pandas as pd

from mlops import config, masking
from mlops.config import Settings
from mlops.errors import MlopsError, one_line
from mlops.mage import is_scheduled, run_of
from mlops.operations import heartbeat, notifications
from mlops.pipeline import block_tables, leaderboard, months_table, schedule, steps
from mlops.pipeline.run_result import RunResult
from mlops.registry import client, last_check, versions
from mlops.registry.last_check import LastCheck, Outcome, Work
from mlops.registry.versions import Version

logger = logging.getLogger(__name__)

LAST_BLOCKS: Final = ("train_and_register", "react_and_report")  # with nothing to do, every block says so


def train(settings: Settings) -> RunResult:
    """As `steps.train`, for the command line; with month=next it is a check, as those of the schedule are.

    Raises
    ------
    MlopsError
        As `steps.train`.
    """
    if not settings.is_next or settings.end_month:
        return steps.train(settings)
    try:
        result = steps.train(settings)
    except Exception as error:
        _keep("training", settings, _failed(error))
        heartbeat.send(settings.service, "training", has_failed=True)
        raise
    version = result.version
    found = _judged(version) if version else _nothing(result.month, result.reason)
    _keep("training", settings, found, version.name if version else "")
    heartbeat.send(settings.service, "training", has_failed=False)
    return result


def after_block(table: pd.DataFrame, variables: Mapping[str, Any]) -> None:
    """What to do after a block of Mage has succeeded: nothing, unless it ended a check.

    Parameters
    ----------
    table : DataFrame
        The output of a block.
    variables : mapping
        The variables that Mage gives to a block.
    """
    _safely(lambda: _after_block(table, variables))


def after_failure(error: BaseException, variables: Mapping[str, Any]) -> None:
    """What to do after a block of Mage has failed, which ended its check; parameters as in `after_block`."""
    _safely(lambda: _end(variables, _failed(error), ""))


def _after_block(table: pd.DataFrame, variables: Mapping[str, Any]) -> None:
    if not run_of(variables):
        return
    full = block_tables.full_table(table)
    first: Mapping[Any, Any] = full.iloc[0].to_dict() if len(full) else {}
    if {"title", "text"} <= set(full):
        _end(variables, _check("judged", str(first["month"]), str(first["title"])), str(first["model"]))
    elif "kind" in full and first["kind"] != leaderboard.EXPERIMENT:
        notifications.connect(notifications.settings_of(variables))
        version = versions.get(first["model"], first["number"])
        _end(variables, _judged(version), version.name)
    elif months_table.is_nothing(full) and variables.get("parent_block_uuid") in LAST_BLOCKS:
        _end(variables, _nothing(str(first["month"]), str(first[months_table.NOTHING_TO_DO])), "")


def _end(variables: Mapping[str, Any], check: LastCheck, model: str) -> None:
    """Keep what a check of Mage found, if it was one, and send a heartbeat if its schedule started it."""
    settings = notifications.settings_of(variables)
    work: Work = "monitoring" if notifications.is_monitoring(variables) else "training"
    if run_of(variables) and settings.is_next and not settings.end_month:
        _keep(work, settings, check, model or str(variables.get("model") or ""))
    if is_scheduled(variables):
        heartbeat.send(settings.service, work, has_failed=check.outcome == "failed")


def _keep(work: Work, settings: Settings, check: LastCheck, model: str = "") -> None:
    """Keep what a check found in the registry; a registry that does not exist yet is not made."""

    def keep() -> None:
        file = config.sqlite_file(config.tracking_uri())
        if file is None or file.exists():
            notifications.connect(settings)
            last_check.record(model or schedule.guess_model_name(settings), check, work)

    _safely(keep)


def _safely(act: Callable[[], None]) -> None:
    try:
        with client.without_retry():
            act()
    except (MlopsError, OSError) as error:
        logger.warning("what this check found is not kept: %s", one_line(error, 500))
    except Exception:  # a mistake here must not fail the run either
        logger.exception("what this check found is not kept")


def _judged(version: Version) -> LastCheck:
    outcome, reason = (version.tags.get(name, "") for name in (versions.OUTCOME, "reason"))
    text = f"version {version.number} is {outcome}: {reason}"
    return _check("judged", version.tags.get("test_month", ""), text)


def _nothing(month: str, reason: str) -> LastCheck:
    return _check("not_published" if month else "nothing_to_do", month, reason)


def _failed(error: BaseException) -> LastCheck:
    return _check("failed", "", str(error) or type(error).__name__)


def _check(outcome: Outcome, month: str, text: str) -> LastCheck:
    return LastCheck(datetime.now(timezone.utc), month, outcome, masking.clean(text))
