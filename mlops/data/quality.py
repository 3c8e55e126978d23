"""Quality check of a month: its days are complete, its rows and rejections like those of the months before it."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator, Mapping, Sequence

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
# A day with a smaller share of the mean day's trips counts as missing. Christmas, the quietest day of TLC's months
# of 2018, 2019 and 2023, has 0.41.
MIN_DAY_SHARE = 0.01
MIN_MISSING_TRIPS = 50  # fewer may be missing by chance, in a month of few trips


def check_months(quality: Mapping[Month, Quality], split: Split, settings: Settings) -> dict[Month, str]:
    """What is unusual about each month, as text; for training months, which were checked when new, only a note.

    Raises
    ------
    DataQualityError
        When the test or validation month has days without trips, far fewer or more rows than the months before it,
        or far more rejections, unless `allow_unusual_months`; also when cleaning leaves no trip of some month.
    """
    notes = {}
    for position, month in enumerate(split.months):
        if not quality[month].kept:
            raise DataQualityError(_nothing_left(settings.service, month, quality[month]))
        before = [quality[earlier] for earlier in split.months[max(0, position - PREDECESSORS) : position]]
        found = list(_unusual(month, quality[month], before, settings))
        if not found:
            continue
        message = f"{settings.service} {month}: {'; '.join(problem for problem, _ in found)}"
        if split.role(month) != "training" and not settings.allow_unusual_months:
            raise DataQualityError(
                f"{message}. Look at the file; if its data are correct, set allow_unusual_months to true.",
                counts={name: count for _, counts in found for name, count in counts.items()},
            )
        logger.warning("%s", message)
        notes[month] = message
    return notes


Finding = tuple[str, dict[str, float]]  # a problem as text, and the numbers that were compared


def _unusual(
    month: Month, quality: Quality, before: Sequence[Quality], settings: Settings
) -> Iterator[Finding]:
    yield from _days_without_trips(month, quality)
    if not before:
        return
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
        problem = (
            f"{quality.rows:,} rows, far {direction} than the {usual_rows:,.0f} usual in the months "
            f"before ({ratio:.2f} times; allowed {settings.min_rows_ratio:g} to {settings.max_rows_ratio:g})"
        )
        yield problem, counts
    limit = max(settings.max_rejections_ratio * usual_share, MIN_REJECTED_SHARE)
    if quality.rejected_share > limit:
        problem = (
            f"{quality.rejected_share:.1%} of {quality.rows:,} rows rejected, far more than the "
            f"{usual_share:.1%} usual in the months before (allowed {limit:.1%}): {_in_words(quality)}"
        )
        yield problem, counts


def _days_without_trips(month: Month, quality: Quality) -> Iterator[Finding]:
    """Days on which trips are missing: a gap, or the days after a sudden end or before a late start."""
    if not quality.by_day:
        return
    usual = statistics.mean(quality.by_day)
    missing = [day for day, trips in enumerate(quality.by_day, 1) if trips < MIN_DAY_SHARE * usual]
    if len(missing) * usual < MIN_MISSING_TRIPS:
        return
    days = len(quality.by_day)
    others = sum(quality.by_day) / (days - len(missing))
    problem = (
        f"no trips, or hardly any, on {len(missing)} of {days} days ({_ranges(month, missing)}); "
        f"the other days have {others:,.0f} on average"
    )
    yield problem, {"days_without_trips": len(missing), "usual_trips_per_day": others}


def _ranges(month: Month, days: Sequence[int]) -> str:
    """Days of a month as dates.

    Examples
    --------
    >>> _ranges(Month(2023, 6), [3, 18, 19, 20])
    '2023-06-03, 2023-06-18 to 2023-06-20'
    """
    firsts = [day for day in days if day - 1 not in days]
    lasts = [day for day in days if day + 1 not in days]
    return ", ".join(
        f"{month}-{first:02d}" + (f" to {month}-{last:02d}" if last > first else "")
        for first, last in zip(firsts, lasts, strict=True)
    )


def _nothing_left(service: str, month: Month, quality: Quality) -> str:
    return (
        f"{service} {month}: none of its {quality.rows:,} trips is left after cleaning ({_in_words(quality)}). "
        f"Is this really the file of {month}?"
    )


def _in_words(quality: Quality) -> str:
    """Rejections by rule, as text."""
    return ", ".join(f"{name} {count:,}" for name, count in quality.rejected.items() if count)
