"""Quality check of a month: its rows and rejections compared with those of the months before it."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence

from mlops.config import Settings
from mlops.data.split import Split
from mlops.data.trips import Quality
from mlops.errors import DataQualityError
from mlops.month import Month

logger = logging.getLogger(__name__)

PREDECESSORS = (
    3  # a month is compared with so many earlier months; few, so that a lasting change becomes the usual
)
MIN_REJECTED_SHARE = 0.02  # below this share the ratio of rejections means nothing


def check_months(quality: Mapping[Month, Quality], split: Split, settings: Settings) -> dict[Month, str]:
    """What is unusual about each month, as text; for training months, which were checked when new, only a note.

    Raises
    ------
    DataQualityError
        When the test or validation month has far fewer or more rows, or far more rejections, than the months
        before it, unless `allow_unusual_months`; also when cleaning leaves no trip of some month.
    """
    notes = {}
    for position, month in enumerate(split.months):
        if not quality[month].kept:
            raise DataQualityError(_nothing_left(settings.service, month, quality[month]))
        before = [quality[earlier] for earlier in split.months[max(0, position - PREDECESSORS) : position]]
        found = _unusual(month, quality[month], before, settings)
        if not found:
            continue
        message, counts = found
        message = f"{settings.service} {message}"
        if split.role(month) != "training" and not settings.allow_unusual_months:
            raise DataQualityError(
                f"{message}. Look at the file; if its data are correct, set allow_unusual_months to true.",
                counts=counts,
            )
        logger.warning("%s", message)
        notes[month] = message
    return notes


def _unusual(
    month: Month, quality: Quality, before: Sequence[Quality], settings: Settings
) -> tuple[str, dict[str, float]] | None:
    if not before:
        return None
    usual_rows = statistics.median(earlier.rows for earlier in before)
    usual_share = statistics.median(earlier.rejected_share for earlier in before)
    counts = {
        "rows": quality.rows,
        "usual_rows": usual_rows,
        "rejected_share": quality.rejected_share,
        "usual_rejected_share": usual_share,
    }
    ratio = quality.rows / usual_rows
    if not settings.min_rows_ratio <= ratio <= settings.max_rows_ratio:
        direction = "fewer" if ratio < 1 else "more"
        return (
            f"{month}: {quality.rows:,} rows, far {direction} than the {usual_rows:,.0f} usual in the months "
            f"before ({ratio:.2f} times; allowed {settings.min_rows_ratio:g} to {settings.max_rows_ratio:g})"
        ), counts
    limit = max(settings.max_rejections_ratio * usual_share, MIN_REJECTED_SHARE)
    if quality.rejected_share > limit:
        return (
            f"{month}: {quality.rejected_share:.1%} of {quality.rows:,} rows rejected, far more than the "
            f"{usual_share:.1%} usual in the months before (allowed {limit:.1%}): {_in_words(quality)}"
        ), counts
    return None


def _nothing_left(service: str, month: Month, quality: Quality) -> str:
    return (
        f"{service} {month}: none of its {quality.rows:,} trips is left after cleaning ({_in_words(quality)}). "
        f"Is this really the file of {month}?"
    )


def _in_words(quality: Quality) -> str:
    """Rejections by rule, as text."""
    return ", ".join(f"{name} {count:,}" for name, count in quality.rejected.items() if count)
