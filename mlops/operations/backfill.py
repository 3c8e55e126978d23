"""Train a range of months, one after the other; judged months are skipped."""

from __future__ import annotations

from collections.abc import Iterator

from mlops.config import NEXT, Settings
from mlops.errors import MonthNotPublishedError
from mlops.month import Month
from mlops.pipeline import steps
from mlops.pipeline.run_result import RunResult


def backfill(settings: Settings, first: Month, last: Month) -> Iterator[RunResult]:
    """Train the months from `first` to `last` in order and yield each result; judged months are skipped.

    Raises
    ------
    MonthNotPublishedError
        When a month is not published; the months before it are done.
    MlopsError
        As `steps.train`; the same call again continues from there.
    """
    chosen = {"month": NEXT, "start_month": str(first), "end_month": str(last)}
    settings = Settings.parse(settings.model_dump() | chosen)
    while not (result := steps.train(settings)).is_nothing:
        yield result
    if result.month:  # the month that is not published yet
        raise MonthNotPublishedError(f"{result.reason}.", service=settings.service, month=result.month)
