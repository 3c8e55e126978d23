"""Which month comes next. This follows from the months that the registry has judged, not from the date.

So no month is skipped or trained twice, even if a month is published late, the
scheduler was down for a week, or many runs start at once.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Collection, Mapping

import pandas as pd

from mlops.config import Settings
from mlops.data import retries, sources
from mlops.data import split as months_split
from mlops.data.ingest import fetch_all, open_source, plan_months
from mlops.data.sources import Source
from mlops.errors import (
    ConfigError,
    EmptyTrainingSetError,
    MonthNotPublishedError,
    TrackingDownError,
    TrackingError,
)
from mlops.month import Month
from mlops.pipeline import months_table
from mlops.pipeline.months_table import nothing_to_do
from mlops.registry import run_history, run_lifecycle, versions
from mlops.registry.versions import Version

logger = logging.getLogger(__name__)

REPUBLISHED = "republished"  # tag of a version whose months were republished later: what changed


def waiting_for(judged: Collection[Month], start: Month | None, end: Month | None) -> Month | None:
    """The month to judge next, or None if all months up to `end` are judged.

    Without `end` it is the month after the newest judged one, or `start` if none is judged. With `start` and `end`
    it is the first month of this range that is not judged.

    Parameters
    ----------
    judged : collection of Month
        Test months of the existing versions.
    start, end : Month or None
        The first month of an empty registry, and the last month of a range.

    Raises
    ------
    ConfigError
        When no month is judged and `start` is missing.

    Examples
    --------
    >>> waiting_for({Month(2023, 4), Month(2023, 6)}, Month(2023, 4), None)
    Month('2023-07')
    >>> waiting_for({Month(2023, 4), Month(2023, 6)}, Month(2023, 4), Month(2023, 7))
    Month('2023-05')
    """
    if start and end:
        return next((month for month in Month.range(start, end) if month not in judged), None)
    if judged:
        return max(judged) + 1
    if start is None:
        raise ConfigError(
            "start_month: no month is judged yet; expected the first test month, YYYY-MM, beside month=next; "
            "got nothing"
        )
    return start


def next_month(name: str, settings: Settings) -> Month | None:
    """The month that a registered model waits for under these settings.

    Raises
    ------
    ConfigError
        As `waiting_for`.
    """
    start, end = (month and Month.parse(month) for month in (settings.start_month, settings.end_month))
    return waiting_for(judged(name), start or None, end or None)


def judged(name: str) -> dict[Month, list[Version]]:
    """Versions of a registered model by their test month, oldest first."""
    found: dict[Month, list[Version]] = {}
    for version in versions.list_all(name):
        month = test_month(version)
        if month is not None:
            found.setdefault(month, []).append(version)
    return found


def test_month(version: Version) -> Month | None:
    """Month that a version was judged on; None if it was not, or if its tag is no month: people can change it."""
    try:
        return Month.parse(version.tags.get("test_month", "")) if version.is_complete else None
    except ConfigError:
        return None


def guess_model_name(settings: Settings) -> str:
    """The registered model that the settings' months probably train; their files, opened later, decide."""
    real, sample = (versions.model_name(settings.service, sample=kind) for kind in (False, True))
    if settings.source == "sample":
        return sample
    return sample if not versions.list_all(real) and versions.list_all(sample) else real


def is_current(judged: Collection[Version], files: Mapping[str, str]) -> bool:
    """Whether at least one of a month's versions was trained on the files that the source has now.

    Also if the files of all these versions are unknown, because their runs were deleted: a guess would train the
    month again at each check.

    Parameters
    ----------
    files : mapping
        Month (YYYY-MM) to the sha256 of its file at the source now. Other months are not compared.
    """
    known = [used for version in judged if (used := _files_of(version)) is not None]
    return not known or any(not _changed(used, files) for used in known)


def tag_republished(name: str, files: Mapping[str, str], differences: Mapping[str, str]) -> list[Version]:
    """Tag the versions that used another file of a republished month with what changed, and return them.

    Parameters
    ----------
    differences : mapping
        Republished months, and what changed in each, for people.
    """
    tagged = []
    for version in filter(lambda version: version.is_complete, versions.list_all(name)):
        changed = _changed(_files_of(version) or {}, files)
        changes = "; ".join(f"{month}: {differences[month]}" for month in changed if month in differences)
        if changes and version.tags.get(REPUBLISHED) != changes:
            tagged.append(versions.tag(version, {REPUBLISHED: changes}))
    return tagged


def _files_of(version: Version) -> dict[str, str] | None:
    """Month to the sha256 of the file that the version's run used; None if the run or its months.csv is gone."""
    try:
        months = run_history.months_of(version)
    except TrackingDownError:
        raise
    except TrackingError as error:
        _warn_once(f"{error}. Whether its months were republished is unknown, so they count as unchanged")
        return None
    return dict(zip(months["month"], months["sha256"], strict=True))


@functools.cache
def _warn_once(text: str) -> None:
    """Log a warning once in a check, which may ask many times whether the month is published."""
    logger.warning(text)


def _changed(used: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    """Months whose file, as a run used it, differs from `files`."""
    return [month for month, sha256 in used.items() if files.get(month, sha256) != sha256]


POLL_SECONDS = 60.0  # between two checks whether a month is published


def registered_name(settings: Settings, months: pd.DataFrame) -> str:
    """Registered model that the months train."""
    return versions.model_name(settings.service, sample=bool(months["sample"].any()))


def load_next(settings: Settings) -> pd.DataFrame:
    """Months of the run for the next month, once it is published.

    First the newest judged month is checked. If it, or a month that its version was trained on, was republished,
    the run judges that month again.

    Returns
    -------
    DataFrame
        As `steps.load_trips` returns it. If there is nothing to do, one row as in `months_table.NOTHING`.

    Raises
    ------
    TrackingError
        When the model's experiment was deleted; nothing is fetched then.
    """
    _warn_once.cache_clear()
    source, deadline = open_source(settings), time.monotonic() + settings.publication_wait
    while True:
        name = guess_model_name(settings)
        months = _next(name, settings, source)
        trained = name if months_table.is_nothing(months) else registered_name(settings, months)
        if trained != name:  # a folder or a site holds months of the sample
            months = _next(trained, settings, source)
        if not months_table.is_nothing(months):
            return months
        why, left = months[months_table.NOTHING_TO_DO].iloc[0], deadline - time.monotonic()
        if not months["month"].iloc[0] or left <= 0:
            logger.info("nothing to do: %s", why)
            return months
        logger.info("%s; waiting up to %.0f s for it", why, left)
        time.sleep(min(POLL_SECONDS, left))


def _next(name: str, settings: Settings, source: Source) -> pd.DataFrame:
    """Months of a registered model's next run, or the reason why there is nothing to do."""
    run_lifecycle.require_experiment(name)
    months = _corrected(name, settings, source)
    if months is not None:
        return months
    month = next_month(name, settings)
    if month is None:
        return nothing_to_do(
            f"{name}: every month from {settings.start_month} to {settings.end_month} is judged"
        )
    months = _once_published(settings.for_month(month), source)
    if months is not None:
        return months
    return nothing_to_do(f"{settings.service} {month} is not published yet at {source.url}", str(month))


def _corrected(name: str, settings: Settings, source: Source) -> pd.DataFrame | None:
    """Months of the newest judged version, if the source has replaced one of their files since; otherwise None."""
    known = judged(name)
    if not known or settings.end_month is not None:
        return None
    newest = max(known)
    again = settings.for_month(newest)
    try:
        split = plan_months(again, source)
    except (MonthNotPublishedError, EmptyTrainingSetError):  # this is not the source of the version's months
        return None
    months = fetch_all(again, source, split)
    if registered_name(settings, months) != name:
        return months
    files = dict(zip(months["month"], months["sha256"], strict=True))
    if is_current(known[newest], files):
        return None
    logger.warning("%s %s is judged again: its months were republished", settings.service, newest)
    changes = zip(months["month"], months["republished"], strict=True)
    differences = {str(month): str(text) or "the file has changed" for month, text in changes}
    for version in tag_republished(name, files, differences):
        logger.warning("%s was trained on republished months: %s", version.uri, version.tags[REPUBLISHED])
    return months


def _once_published(settings: Settings, source: Source) -> pd.DataFrame | None:
    """Months of a run, or None if its test month is not published yet.

    Raises
    ------
    MonthNotPublishedError
        When the month after it is already published.
    """
    month = settings.test_month
    asked = (*months_split.months_to_query(settings), month + 1)
    retry = retries.for_seconds(settings.source_patience)
    available = retry(sources.months_available, source, settings.service, asked)
    if month in available:
        return fetch_all(settings, source, months_split.plan_split(settings, available, source.url))
    if month + 1 in available:
        raise MonthNotPublishedError(
            f"{settings.service} {month}: missing at {source.url}, although {month + 1} is there. "
            f"Add the missing file, or run with month={month + 1} to continue from there.",
            service=settings.service,
            month=str(month),
        )
    return None
