"""A range of months, trained one after the other; what is judged is skipped."""

from __future__ import annotations

from collections.abc import Iterator

from mlops.config import NEXT, Settings
from mlops.errors import MonthNotPublishedError
from mlops.month import Month
from mlops.pipeline import steps
from mlops.pipeline.run_result import RunResult


def backfill(settings: Settings, first: Month, last: Month) -> Iterator[RunResult]:
    """Results of the months from first to last, trained in their order; what is judged is skipped.

    Raises
    ------
    MonthNotPublishedError
        When one of them is not there, after those before it are done.
    MlopsError
        As `steps.train`; the same again continues from there.
    """
    chosen = {"month": NEXT, "start_month": str(first), "end_month": str(last)}
    settings = Settings.parse(settings.model_dump() | chosen)
    while not (result := steps.train(settings)).is_nothing:
        yield result
    if result.month:  # it is waited for
        raise MonthNotPublishedError(f"{result.reason}.", service=settings.service, month=result.month)
