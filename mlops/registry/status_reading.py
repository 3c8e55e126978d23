"""What an operator must know of each model, read from the registry with few questions; changes nothing."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mlops.errors import ConfigError, TrackingDownError, TrackingError, UntrustedError, one_line
from mlops.month import Month
from mlops.registry import (
    alias_log,
    approvals,
    journal_tags,
    last_check,
    monitoring_log,
    monitoring_record,
    monitoring_words,
    newest_runs,
    overrides,
    versions,
)
from mlops.registry.alias_log import CHAMPION, Entry
from mlops.registry.client import mlflow_client, with_retry
from mlops.registry.monitoring_record import moment
from mlops.registry.signed_version import PREFIX, Version, service_of, signed_files
from mlops.registry.status_records import (
    ApprovalStatus,
    ChampionStatus,
    CheckStatus,
    ModelStatus,
    MonitoringStatus,
    VerdictStatus,
    WaitedMonth,
)

# Days from the end of a month until TLC publishes it, as its files' dates of 2023 and 2024 say.
SOONEST_DAYS, USUAL_DAYS, OVERDUE_DAYS = 48, 79, 90
SYNTHETIC: Final = "sample"
UNFINISHED: Final = "unfinished"


@dataclass(frozen=True)
class _Model:
    """What was read of one model."""

    name: str
    tags: Mapping[str, str]
    aliases: Mapping[str, str]
    experiment_id: str | None
    is_monitored: bool


def read(now: datetime, most_months_behind: int) -> tuple[ModelStatus, ...]:
    """The models of all services, sorted by name; also those that no run has registered yet.

    Parameters
    ----------
    now : datetime
        UTC.
    most_months_behind : int
        The setting `max_champion_age_months`.

    Raises
    ------
    TrackingError
        When the registry does not answer. What else is wrong with a model is in `ModelStatus.problems`.
    """
    return tuple(_status(model, now, most_months_behind) for model in _models())


@with_retry("looking up registered models and experiments")
def _models() -> list[_Model]:
    client, query = mlflow_client(), f"name LIKE '{PREFIX}%'"
    models = {str(each.name): each for each in client.search_registered_models(query, max_results=1000)}
    experiments = {str(each.name): each for each in client.search_experiments(filter_string=query)}
    found = []
    for name in sorted({*models, *experiments}):
        if _is_of_a_service(name):
            model, experiment = models.get(name), experiments.get(name)
            tags, aliases = (dict(model.tags), dict(model.aliases)) if model else ({}, {})
            number = str(experiment.experiment_id) if experiment else None
            is_monitored = monitoring_log.experiment_of(name) in experiments
            named = {str(alias): str(version) for alias, version in aliases.items()}
            found.append(_Model(name, tags, named, number, is_monitored))
    return found


def _is_of_a_service(name: str) -> bool:
    with contextlib.suppress(ConfigError):
        service_of(name)
        return True
    return False


def _status(model: _Model, now: datetime, most_months_behind: int) -> ModelStatus:
    name, found = model.name, versions.list_all(model.name)
    entries = [
        entry for entry in journal_tags.entries(name, model.tags) if entry.proof != journal_tags.FORGED
    ]
    newest_month = max(filter(None, map(_judged_on, found)), default=None)
    failure, running = newest_runs.look_up(model.experiment_id, now) if model.experiment_id else (None, None)
    monitoring, problems = _monitoring(model)
    return ModelStatus(
        name=name,
        service=service_of(name),
        champion=_champion(model, found, entries, newest_month, most_months_behind),
        newest=_newest(found, entries),
        waits_for=_waits_for(service_of(name), newest_month, now),
        last_check=_check(model.tags),
        running=running,
        last_failure=failure,
        monitoring=monitoring,
        approval=_approval(found, entries, model.aliases.get(CHAMPION)),
        unsigned=tuple(each.number for each in found if each.is_ours and not is_signed(each)),
        problems=problems,
    )


def is_signed(version: Version) -> bool:
    """Whether a version has a signature of this machine's key."""
    try:
        signed_files(version)
    except UntrustedError:
        return False
    return True


def _champion(
    model: _Model, found: Sequence[Version], entries: Sequence[Entry], newest: Month | None, most: int
) -> ChampionStatus | None:
    number = model.aliases.get(CHAMPION)
    version = next((each for each in found if each.number == number), None)
    if version is None:
        return None
    last = alias_log.tenures(entries)[-1:]
    since = moment(last[0].since) if last and last[0].version == number else None
    tested = _test_month(version)
    behind = max(0, len(Month.range(tested, newest)) - 1) if newest and tested else None
    first, until = (version.tags.get(f"{which}_month_learnt", "") for which in ("first", "last"))
    return ChampionStatus(
        version=version.number,
        since=since,
        trained_on=f"{first} to {until}" if first and until else "",
        tested_on=str(tested or ""),
        test_rmse_minutes=_rmse(version),
        months_behind=behind,
        is_signed=not version.is_ours or is_signed(version),
        is_old=behind is not None and behind > most,
    )


def _newest(found: Sequence[Version], entries: Sequence[Entry]) -> VerdictStatus | None:
    if not found:
        return None
    version, known = found[-1], {each.number: each for each in found}
    override = overrides.by_version(entries, known).get(version.number)
    return VerdictStatus(
        version=version.number,
        tested_on=str(_test_month(version) or ""),
        test_rmse_minutes=_rmse(version),
        registered_at=version.registered_at,
        verdict=overrides.verdict_of(version) if version.is_complete else UNFINISHED,
        reason=_line(version.tags.get("reason", "")),
        override=_line(str(override)) if override else "",
    )


def _waits_for(service: str, newest: Month | None, now: datetime) -> WaitedMonth | None:
    """The month after the newest judged one, as the schedule takes it."""
    return waited(newest + 1, now, is_published=service != SYNTHETIC) if newest else None


def waited(month: Month, now: datetime, *, is_published: bool = True) -> WaitedMonth:
    """A month that is waited for, with the days on which TLC can publish it; no days if TLC publishes none.

    Examples
    --------
    >>> from datetime import timezone
    >>> found = waited(Month(2023, 7), datetime(2023, 10, 30, tzinfo=timezone.utc))
    >>> str(found.possible_from), str(found.expected_by), found.is_overdue
    ('2023-09-18', '2023-10-19', True)
    """
    if not is_published:
        return WaitedMonth(
            month=str(month), possible_from=None, expected_by=None, overdue_from=None, is_overdue=False
        )
    ended = month.end.date()
    possible, usual, overdue = (
        ended + timedelta(days=days) for days in (SOONEST_DAYS, USUAL_DAYS, OVERDUE_DAYS)
    )
    return WaitedMonth(
        month=str(month), possible_from=possible, expected_by=usual, overdue_from=overdue,
        is_overdue=now.date() >= overdue,
    )  # fmt: skip


def _check(tags: Mapping[str, str]) -> CheckStatus | None:
    found = last_check.of_tags(tags)
    if found is None:
        return None
    return CheckStatus(at=found.at, month=_line(found.month), outcome=found.outcome, text=found.text)


def _monitoring(model: _Model) -> tuple[MonitoringStatus | None, tuple[str, ...]]:
    """The newest compared month, and what could not be read."""
    if not model.is_monitored:
        return None, ()
    try:
        kept = monitoring_log.read(model.name)
    except TrackingDownError:
        raise
    except TrackingError as error:
        return None, (str(error),)
    records, unreadable = monitoring_record.parsed(kept.texts if kept else {})
    problems = tuple(monitoring_log.explain_unreadable(model.name, month) for month in unreadable)
    return (_compared(records[-1]) if records else None), problems


def _compared(record: monitoring_record.Record) -> MonitoringStatus:
    return MonitoringStatus(
        month=record.month,
        champion=record.champion,
        is_alarm=record.alarm,
        rmse_minutes=_finite(record.value("rmse")),
        promised_minutes=_finite(record.value("rmse_promised")),
        text=_line(monitoring_words.headline(record)),
        compared_at=record.compared_at,
    )


def _approval(
    found: Sequence[Version], entries: Sequence[Entry], champion: str | None
) -> ApprovalStatus | None:
    waits = approvals.waiting_among(found, entries, champion)
    if waits is None:
        return None
    return ApprovalStatus(version=waits.version.number, since=moment(waits.since), why=_line(waits.why))


def _judged_on(version: Version) -> Month | None:
    return _test_month(version) if version.is_complete else None


def _test_month(version: Version) -> Month | None:
    """None without the tag, or if somebody made it no month."""
    try:
        return Month.parse(version.tags.get("test_month", ""))
    except ConfigError:
        return None


def _rmse(version: Version) -> float | None:
    try:
        return _finite(float(version.tags.get("test_rmse", "nan")))
    except ValueError:  # changed by hand
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _line(text: str) -> str:
    return one_line(text) if text.strip() else ""
