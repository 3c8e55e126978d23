"""The newest month of a source: what the setting ``month: next`` means for scoring.

Training waits for the month after the newest judged one. Scoring has no such order: it takes the newest month, and
skips it if the same version has scored it.
"""

from __future__ import annotations

from datetime import datetime, timezone

from mlops.config import FIRST_YEAR, Settings
from mlops.data import retries
from mlops.data.sources import Source, months_available
from mlops.errors import MonthNotPublishedError
from mlops.month import Month

FIRST = Month(FIRST_YEAR, 1)  # TLC publishes no month before it
YEAR = 12  # months that are asked for first: one of them is there, unless the source has old months only


def newest_month(settings: Settings, source: Source, now: datetime | None = None) -> Month:
    """The newest complete month that the source has.

    Parameters
    ----------
    settings : Settings
        Their service and ``source_patience``.
    now : datetime, optional
        By default the present.

    Raises
    ------
    MonthNotPublishedError
        When the source has no month.
    SourceError
        As `months_available`.
    """
    today = now or datetime.now(timezone.utc)
    this = Month(today.year, today.month)
    recent = this.before(YEAR)
    retry = retries.for_seconds(settings.source_patience)
    for months in (recent, Month.range(FIRST, recent[0] - 1)):
        if found := retry(months_available, source, settings.service, months):
            return max(found)
    raise MonthNotPublishedError(
        f"{settings.service}: {source.url} has no month from {FIRST} to {recent[-1]}. Check --service and "
        "--source, or name a month.",
        service=settings.service,
        month=settings.month,
    )
