"""The months of a run: chosen, fetched, checked, and described in a table."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd
import psutil

from mlops import config
from mlops.config import Settings
from mlops.data import cache, raw_trips, retries, revisions, sources
from mlops.data import split as months_split
from mlops.data.sources import Source
from mlops.data.split import Split
from mlops.data.synthetic import columns, source

logger = logging.getLogger(__name__)

BYTES_PER_TRIP = (
    150  # memory for a trip's row of the matrix and for boosting; measured on 6 to 43 million trips
)


def warn_of_memory(rows: int) -> None:
    """Warn when training on this many trips may need more memory than is available."""
    needed, available = rows * BYTES_PER_TRIP, psutil.virtual_memory().available
    if needed > available:
        logger.warning(
            "training on %s trips needs about %.0f GB of memory, but only %.0f GB are free: set train_months to a "
            "smaller number", f"{rows:,}", needed / 1e9, available / 1e9,
        )  # fmt: skip


def open_source(settings: Settings) -> Source:
    """The source that the settings name."""
    if settings.source == "sample":
        return source.SampleSource()
    return retries.for_seconds(settings.source_patience)(sources.open_source, settings.source)


def load(settings: Settings) -> pd.DataFrame:
    """Months of a run whose test month is set (not `next`); columns as in `steps.load_trips`.

    Raises
    ------
    SourceError, TripSchemaError, EmptyTrainingSetError
        As `split.plan_split` and `cache.fetch`.
    """
    source = open_source(settings)
    return fetch_all(settings, source, plan_months(settings, source))


def selection(settings: Settings) -> dict[str, Any]:
    """The settings that choose a run's months; each row of the months table has them, for later steps."""
    return {
        "service": settings.service,
        "source": settings.describe()["source"],
        "train_months": settings.train_months,
        "test_month": settings.month,
    }


def plan_months(settings: Settings, source: Source) -> Split:
    """The months of a run, limited to those that the source has."""
    months = months_split.months_to_query(settings)
    retry = retries.for_seconds(settings.source_patience)
    available = retry(sources.months_available, source, settings.service, months)
    return months_split.plan_split(settings, available, source.url)


def fetch_all(settings: Settings, source: Source, split: Split) -> pd.DataFrame:
    """Table of a split's months, fetched and described, newest first; columns as in `steps.load_trips`."""
    retry = retries.for_seconds(settings.source_patience)
    rows, before = [], None
    for month in split.months:
        file = retry(cache.fetch, source, settings.service, month, config.state_dir() / "months")
        count = raw_trips.check_columns(file.path, settings.service, file.url)
        schema = raw_trips.read_schema(file.path)
        rows.append(
            {
                "month": str(month),
                "role": split.role(month),
                "rows": count,
                "megabytes": round(file.bytes / 1e6, 2),
                "sample": columns.is_sample(schema.metadata),
                "drift": "; ".join(revisions.schema_drift(before, schema)) if before is not None else "",
                "republished": _republished(file),
                "sha256": file.sha256,
                "url": file.url,
                "path": str(file.path),
                "prepared": str(config.state_dir() / "prepared" / source.key),
                **selection(settings),
            }
        )
        before = schema
    logger.info("%s: %d months from %s to %s", settings.service, len(rows), split.months[0], split.test)
    warn_of_memory(sum(row["rows"] for row in rows if row["role"] != "test"))
    return pd.DataFrame(rows[::-1])


def _republished(file: cache.MonthFile) -> str:
    """What changed when the month was republished, as text; empty when it was published once."""
    if not file.replaced:
        return ""
    return revisions.describe(file.replaced[-1], file.path, file.sha256, file.service)
