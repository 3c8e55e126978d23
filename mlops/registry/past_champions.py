"""Which version was champion on a day or at a time, and from which files it was made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING

from mlops.errors import ConfigError, PromotionError, TrackingDownError, TrackingError
from mlops.registry import alias_log, listed_parts, listings, overrides, run_history, versions
from mlops.registry.listed_parts import finite, time_of
from mlops.registry.records import ChampionsOfDay, Tenure, UsedFile
from mlops.registry.versions import Version

if TYPE_CHECKING:
    import pandas as pd


def champions_of(name: str, when: str) -> ChampionsOfDay:
    """Versions that were champion on a day (YYYY-MM-DD) or at a time (ISO 8601), UTC, with their files.

    Raises
    ------
    ConfigError
        When `when` is not a date, or lies in the future.
    TrackingDownError
        When the tracking server does not answer.
    """
    start, end = _span(when)
    if start > datetime.now(timezone.utc):
        raise ConfigError(f"as-of: expected a day or a time in the past, UTC; got {when}")
    listings.notice_moves(name)
    reigns = alias_log.tenures(alias_log.read(name))
    on_duty = [
        reign
        for reign in reigns
        if time_of(reign.since) < end and (not reign.until or time_of(reign.until) > start)
    ]
    has_champion = any(reign.version for reign in on_duty)
    return ChampionsOfDay(
        model=name,
        as_of=when,
        start=start,
        champions=tuple(_tenure(name, reign) for reign in on_duty) if has_champion else (),
        first_champion_since=time_of(reigns[0].since) if reigns else None,
    )


def _tenure(name: str, reign: alias_log.Tenure) -> Tenure:
    found = _version(name, reign.version) if reign.version else None
    known = {found.number: found} if found else {}
    override = overrides.override_of(reign.entry, known)
    files, unknown = _files(found) if found else ((), None)
    return Tenure(
        number=reign.version,
        since=time_of(reign.since),
        until=time_of(reign.until) if reign.until else None,
        is_noticed=reign.entry.verdict == alias_log.BY_HAND,
        move=reign.entry.verdict,
        override=listed_parts.overridden(override) if override else None,
        version=listed_parts.version(found, alias_log.aliases(name), override) if found else None,
        files=files,
        files_unknown=unknown,
    )


def _version(name: str, number: str) -> Version | None:
    try:
        return versions.get(name, number)
    except PromotionError:
        return None  # deleted since


def _files(version: Version) -> tuple[tuple[UsedFile, ...], str | None]:
    """Files of a version by month, and why they are unknown if they are."""
    try:
        months = run_history.months_of(version)
    except TrackingDownError:
        raise
    except TrackingError as error:  # the version itself is known, and that is the question
        return (), str(error)
    rows = _texts(months.sort_values("month"))
    return tuple(map(_file, rows)), None


def _texts(months: pd.DataFrame) -> list[dict[str, str | None]]:
    """Rows of the table of months; None for an empty cell."""
    return [
        {str(name): cell if isinstance(cell, str) else None for name, cell in row.items()}
        for row in months.to_dict("records")
    ]


def _file(row: Mapping[str, str | None]) -> UsedFile:
    rows = finite(row.get("rows"))
    return UsedFile(
        month=row["month"] or "",
        role=row.get("role"),
        rows=None if rows is None else int(rows),
        sha256=row.get("sha256"),
        url=row.get("url"),
    )


def _span(when: str) -> tuple[datetime, datetime]:
    """Start and end of a day, or of a moment, UTC."""
    try:
        if len(when) == len("2026-10-03"):
            start = datetime.combine(date.fromisoformat(when), time(), timezone.utc)
            return start, start + timedelta(days=1)
        moment = time_of(when)
        return moment, moment + timedelta(microseconds=1)
    except ValueError as error:
        raise ConfigError(
            f"as-of: expected a date such as 2026-10-03, or a time such as 2026-10-03T08:30; got {when!r}"
        ) from error
