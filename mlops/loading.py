"""A run's months: which they are, fetched, known to be months of this service, and described in a table."""

from __future__ import annotations

import logging
import time
from typing import Any

import pandas as pd

from mlops import agenda, cache, checks, config, dataset, registry, republished, sample, tlc, trips
from mlops.config import Settings
from mlops.dataset import Split
from mlops.errors import EmptyTrainingSetError, MonthNotPublishedError
from mlops.tlc import Source

logger = logging.getLogger(__name__)

POLL_SECONDS = 60.0  # between two questions whether a month is published
CHOSEN_BY = ("service", "source", "train_months", "test_month")


def open_source(settings: Settings) -> Source:
    """Where the settings' months come from."""
    return sample.SampleSource() if settings.source == "sample" else tlc.open_source(settings.source)


def registered_name(settings: Settings, months: pd.DataFrame) -> str:
    """Registered model that the months train."""
    return registry.model_name(settings.service, sample=bool(months["sample"].any()))


def load(settings: Settings) -> pd.DataFrame:
    """Months of a run about a month that is called by its name; columns as `pipeline.load_trips` tells.

    Raises
    ------
    SourceError, TripSchemaError, EmptyTrainingSetError
        As `dataset.plan` and `cache.fetch`.
    """
    source = open_source(settings)
    return _fetch_all(settings, source, _plan(settings, source))


def load_next(settings: Settings) -> pd.DataFrame:
    """Months of a run about the month that is waited for, once it is published.

    Before that the newest judged month is looked at: if it, or one that it was learnt from, has been published
    anew, the run is about that month again.

    Returns
    -------
    DataFrame
        As `load`, or one row of `checks.NOTHING_TO_DO`: why, and the ``month`` that is waited for.
    """
    source, deadline = open_source(settings), time.monotonic() + settings.publication_wait
    while True:
        name = agenda.likely_model(settings)
        months = _next(name, settings, source)
        trained = name if checks.is_nothing(months) else registered_name(settings, months)
        if trained != name:  # the sample's months, in a folder or on a site
            months = _next(trained, settings, source)
        if not checks.is_nothing(months):
            return months
        why, left = months[checks.NOTHING_TO_DO].iloc[0], deadline - time.monotonic()
        if not months["month"].iloc[0] or left <= 0:
            logger.info("nothing to do: %s", why)
            return months
        logger.info("%s; asking again for %.0f s", why, left)
        time.sleep(min(POLL_SECONDS, left))


def nothing(reason: str, month: str = "") -> pd.DataFrame:
    """What a step hands on when there is nothing to do: why, and the month that is waited for."""
    return pd.DataFrame({checks.NOTHING_TO_DO: [reason], "month": [month]})


def choice(settings: Settings) -> dict[str, Any]:
    """The settings that choose a run's months, as each row of a table carries them (`CHOSEN_BY`)."""
    return {
        "service": settings.service,
        "source": settings.describe()["source"],
        "train_months": settings.train_months,
        "test_month": settings.month,
    }


def _next(name: str, settings: Settings, source: Source) -> pd.DataFrame:
    """Months of the run that a registered model waits for, or why there is none."""
    months = _corrected(name, settings, source)
    if months is not None:
        return months
    month = agenda.next_month(name, settings)
    if month is None:
        return nothing(f"{name}: every month from {settings.start_month} to {settings.end_month} is judged")
    months = _once_published(settings.about(month), source)
    if months is not None:
        return months
    return nothing(f"{settings.service} {month} is not published yet at {source.url}", str(month))


def _corrected(name: str, settings: Settings, source: Source) -> pd.DataFrame | None:
    """Months of the newest judged version, if the source has other bytes of them now than when it was made."""
    judged = agenda.judged(name)
    if not judged or settings.end_month is not None:
        return None
    newest = max(judged)
    again = settings.about(newest)
    try:
        split = _plan(again, source)
    except (MonthNotPublishedError, EmptyTrainingSetError):  # another source than the version was made from
        return None
    months = _fetch_all(again, source, split)
    if registered_name(settings, months) != name:
        return months
    files = dict(zip(months["month"], months["sha256"], strict=True))
    if agenda.is_current(judged[newest], files):
        return None
    logger.warning("%s %s is judged again: its months have been published anew", settings.service, newest)
    told = zip(months["month"], months["republished"], strict=True)
    differences = {str(month): str(text) or "other bytes" for month, text in told}
    for version in agenda.tag_republished(name, files, differences):
        logger.warning("%s was made from other bytes: %s", version.uri, version.tags[agenda.REPUBLISHED])
    return months


def _once_published(settings: Settings, source: Source) -> pd.DataFrame | None:
    """Months of a run, or None while its test month is still to come.

    Raises
    ------
    MonthNotPublishedError
        When a later month is there already.
    """
    month = settings.test_month
    asked = (*dataset.asked(settings), month + 1)
    available = tlc.patiently(settings.source_patience, tlc.months_available, source, settings.service, asked)
    if month in available:
        return _fetch_all(settings, source, dataset.plan(settings, available, source.url))
    if month + 1 in available:
        raise MonthNotPublishedError(
            f"{settings.service} {month}: missing at {source.url}, although {month + 1} is there. "
            f"Put it in place, or train {month + 1} by its name to go on from there.",
            service=settings.service,
            month=str(month),
        )
    return None


def _plan(settings: Settings, source: Source) -> Split:
    asked = dataset.asked(settings)
    available = tlc.patiently(settings.source_patience, tlc.months_available, source, settings.service, asked)
    return dataset.plan(settings, available, source.url)


def _fetch_all(settings: Settings, source: Source, split: Split) -> pd.DataFrame:
    rows, before = [], None
    for month in split.months:
        file = tlc.patiently(
            settings.source_patience,
            cache.fetch,
            source,
            settings.service,
            month,
            config.state_dir() / "months",
        )
        count = trips.check_columns(file.path, settings.service, file.url)
        schema = trips.read_schema(file.path)
        rows.append(
            {
                "month": str(month),
                "role": split.role(month),
                "rows": count,
                "megabytes": round(file.bytes / 1e6, 2),
                "sample": sample.is_sample(schema.metadata),
                "drift": "; ".join(trips.schema_drift(before, schema)) if before is not None else "",
                "republished": _republished(file),
                "sha256": file.sha256,
                "url": file.url,
                "path": str(file.path),
                "prepared": str(config.state_dir() / "prepared" / source.key),
                **choice(settings),
            }
        )
        before = schema
    logger.info("%s: %d months from %s to %s", settings.service, len(rows), split.months[0], split.test)
    dataset.warn_of_memory(sum(row["rows"] for row in rows if row["role"] != "test"))
    return pd.DataFrame(rows[::-1])


def _republished(file: cache.MonthFile) -> str:
    """What changed since the month was published before, in words; nothing where it was published once."""
    if not file.replaced:
        return ""
    return republished.describe(file.replaced[-1], file.path, file.sha256, file.service)
