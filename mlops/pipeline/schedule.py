"""Which month comes next: what the registry has judged says so, not the date.

So a month that is published late, a week of downtime or a storm of catch-up
runs skips nothing and trains nothing twice.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from mlops.config import Settings
from mlops.data import retries, sources
from mlops.data import split as months_split
from mlops.data.ingest import fetch_all, open_source, plan_months
from mlops.data.sources import Source
from mlops.errors import ConfigError, EmptyTrainingSetError, MonthNotPublishedError
from mlops.month import Month
from mlops.pipeline import months_table
from mlops.pipeline.months_table import nothing_to_do
from mlops.registry import runs, versions
from mlops.registry.versions import Version

logger = logging.getLogger(__name__)

REPUBLISHED = "republished"  # tag of a version whose months have been published anew since, with what changed


def waiting_for(judged: Collection[Month], start: Month | None, end: Month | None) -> Month | None:
    """The month to judge next; None when all up to `end` are judged.

    Parameters
    ----------
    judged : collection of Month
        Test months of the versions there are.
    start, end : Month or None
        Without an end it is the month after the newest judged one, and `start` where none is. With one it is the
        first of this range that is not judged.

    Raises
    ------
    ConfigError
        When there is nothing to begin with.

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
    """Versions of a registered model by the month that they were judged on, oldest first."""
    found: dict[Month, list[Version]] = {}
    for version in versions.list_all(name):
        if version.is_complete and version.tags.get("test_month"):
            found.setdefault(Month.parse(version.tags["test_month"]), []).append(version)
    return found


def guess_model_name(settings: Settings) -> str:
    """The registered model that the settings' months train, as far as can be told before they are opened."""
    real, sample = (versions.model_name(settings.service, sample=kind) for kind in (False, True))
    if settings.source == "sample":
        return sample
    return sample if not versions.list_all(real) and versions.list_all(sample) else real


def is_current(judged: Collection[Version], files: Mapping[str, str]) -> bool:
    """Whether one of a month's versions was made from these bytes, as far as it used the same months.

    Parameters
    ----------
    files : mapping
        Month (YYYY-MM) to the sha256 of its file at the source now.
    """
    return any(not _changed(version, files) for version in judged)


def tag_republished(name: str, files: Mapping[str, str], differences: Mapping[str, str]) -> list[Version]:
    """Versions that used other bytes of a month than are published now, tagged with what changed.

    Parameters
    ----------
    differences : mapping
        Months that were published anew, and how, in words.
    """
    tagged = []
    for version in filter(lambda version: version.is_complete, versions.list_all(name)):
        told = "; ".join(
            f"{month}: {differences[month]}" for month in _changed(version, files) if month in differences
        )
        if told and version.tags.get(REPUBLISHED) != told:
            tagged.append(versions.tag(version, {REPUBLISHED: told}))
    return tagged


def _changed(version: Version, files: Mapping[str, str]) -> list[str]:
    """Months of which the version's run had other bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = runs.fetch_artefact(version.run_id, "months.csv", Path(folder))
        used = pd.read_csv(path, dtype=str).set_index("month")["sha256"]
    return [str(month) for month, sha256 in used.items() if files.get(str(month), sha256) != sha256]


POLL_SECONDS = 60.0  # between two questions whether a month is published


def registered_name(settings: Settings, months: pd.DataFrame) -> str:
    """Registered model that the months train."""
    return versions.model_name(settings.service, sample=bool(months["sample"].any()))


def load_next(settings: Settings) -> pd.DataFrame:
    """Months of a run about the month that is waited for, once it is published.

    Before that the newest judged month is looked at: if it, or one that it was learnt from, has been published
    anew, the run is about that month again.

    Returns
    -------
    DataFrame
        As `load`, or one row of `months_table.NOTHING_TO_DO`: why, and the ``month`` that is waited for.
    """
    source, deadline = open_source(settings), time.monotonic() + settings.publication_wait
    while True:
        name = guess_model_name(settings)
        months = _next(name, settings, source)
        trained = name if months_table.is_nothing(months) else registered_name(settings, months)
        if trained != name:  # the sample's months, in a folder or on a site
            months = _next(trained, settings, source)
        if not months_table.is_nothing(months):
            return months
        why, left = months[months_table.NOTHING_TO_DO].iloc[0], deadline - time.monotonic()
        if not months["month"].iloc[0] or left <= 0:
            logger.info("nothing to do: %s", why)
            return months
        logger.info("%s; asking again for %.0f s", why, left)
        time.sleep(min(POLL_SECONDS, left))


def _next(name: str, settings: Settings, source: Source) -> pd.DataFrame:
    """Months of the run that a registered model waits for, or why there is none."""
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
    """Months of the newest judged version, if the source has other bytes of them now than when it was made."""
    known = judged(name)
    if not known or settings.end_month is not None:
        return None
    newest = max(known)
    again = settings.for_month(newest)
    try:
        split = plan_months(again, source)
    except (MonthNotPublishedError, EmptyTrainingSetError):  # another source than the version was made from
        return None
    months = fetch_all(again, source, split)
    if registered_name(settings, months) != name:
        return months
    files = dict(zip(months["month"], months["sha256"], strict=True))
    if is_current(known[newest], files):
        return None
    logger.warning("%s %s is judged again: its months have been published anew", settings.service, newest)
    told = zip(months["month"], months["republished"], strict=True)
    differences = {str(month): str(text) or "other bytes" for month, text in told}
    for version in tag_republished(name, files, differences):
        logger.warning("%s was made from other bytes: %s", version.uri, version.tags[REPUBLISHED])
    return months


def _once_published(settings: Settings, source: Source) -> pd.DataFrame | None:
    """Months of a run, or None while its test month is still to come.

    Raises
    ------
    MonthNotPublishedError
        When a later month is there already.
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
            f"Put it in place, or train {month + 1} by its name to go on from there.",
            service=settings.service,
            month=str(month),
        )
    return None
