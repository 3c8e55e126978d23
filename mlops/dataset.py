"""Which months teach, tune and test, whether they can be trusted, and their trips as arrays."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops.config import Settings
from mlops.errors import DataQualityError, EmptyTrainingSetError, MonthNotPublishedError
from mlops.features import BATCH_ROWS, Batch
from mlops.month import Month
from mlops.trips import Quality

Array = npt.NDArray[Any]
logger = logging.getLogger(__name__)

PREDECESSORS = 3  # months that a month is compared with: few enough to follow a lasting change
BYTES_PER_TRIP = 150  # of a matrix and of boosting on it, measured on 6 to 43 million trips
LEAST_REJECTED_SHARE = 0.02  # below this a ratio of rejections says nothing


@dataclass(frozen=True)
class Split:
    """The months of a run about `test`; no two roles share one.

    Parameters
    ----------
    training : tuple of Month
        Oldest first.
    validation : Month
        Tuning and early stopping look at it.
    test : Month
        Nothing looks at it before the verdict.
    """

    training: tuple[Month, ...]
    validation: Month
    test: Month

    @property
    def months(self) -> tuple[Month, ...]:
        """All months, oldest first."""
        return (*self.training, self.validation, self.test)

    def role(self, month: Month) -> str:
        """``training``, ``validation`` or ``test``."""
        return {self.test: "test", self.validation: "validation"}.get(month, "training")


def wanted(settings: Settings) -> tuple[Month, ...]:
    """Every month that a run may use, oldest first."""
    test = settings.test_month
    return (*(test - 1).before(settings.train_months), test - 1, test)


def asked(settings: Settings) -> tuple[Month, ...]:
    """Every month to ask the source for: those of `wanted`, and one before, which tells a gap from a beginning."""
    months = wanted(settings)
    return (months[0] - 1, *months)


def plan(settings: Settings, available: Collection[Month], where: str) -> Split:
    """Split of the months that the source holds.

    Parameters
    ----------
    settings : Settings
    available : collection of Month
        Those of `asked` that the source holds. Its first month shortens the training window.
    where : str
        The source, for messages.

    Raises
    ------
    MonthNotPublishedError
        When the test or validation month is missing, or one between the first month held and these.
    EmptyTrainingSetError
        When no training month is left.
    """
    service, months = settings.service, wanted(settings)
    test, validation = months[-1], months[-2]
    held = [month for month in months if month in available]
    for month, role in ((test, "test"), (validation, "validation")):
        if month not in available:
            raise MonthNotPublishedError(
                f"{service} {month}: the {role} month is not published at {where}. TLC publishes a month some "
                "seven weeks after its end; choose an earlier month or another source.",
                service=service,
                month=str(month),
            )
    first = min(month for month in asked(settings) if month in available)
    gaps = [month for month in Month.range(first, test) if month not in available]
    if gaps:
        left = len(Month.range(gaps[-1] + 1, validation - 1))
        or_else = f", or set train_months to {left} to start after it" if left else ""
        raise MonthNotPublishedError(
            f"{service} {gaps[0]}: missing at {where}, although {first} and {test} are there. "
            f"Put it in place{or_else}.",
            service=service,
            month=str(gaps[0]),
        )
    training = tuple(held[:-2])
    if not training:
        raise EmptyTrainingSetError(
            f"{service} {test}: {where} starts with {held[0]}, so no month is left to train on before the "
            f"validation month {validation}. Choose {held[0] + 2} or a later month."
        )
    if len(training) < settings.train_months:
        logger.warning(
            "%s: %d training months instead of %d, since %s starts with %s",
            service, len(training), settings.train_months, where, training[0],
        )  # fmt: skip
    return Split(training, validation, test)


def check_months(quality: Mapping[Month, Quality], split: Split, settings: Settings) -> dict[Month, str]:
    """What is unusual about each month, in words; only noted for training months, which were new once.

    Raises
    ------
    DataQualityError
        When the test or validation month has far fewer or more rows, or far more rejections, than the months
        before it, unless `allow_unusual_months`; and when nothing is left of any month.
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
                f"{message}. Look at the file; if the month is really so, set allow_unusual_months to true.",
                counts=counts,
            )
        logger.warning("%s", message)
        notes[month] = message
    return notes


def warn_of_memory(rows: int) -> None:
    """Warn when learning from so many trips may need more memory than there is."""
    needed, there = rows * BYTES_PER_TRIP, psutil.virtual_memory().available
    if needed > there:
        logger.warning(
            "learning from %s trips needs about %.0f GB of memory, and %.0f GB are free: a smaller train_months "
            "may be needed", f"{rows:,}", needed / 1e9, there / 1e9,
        )  # fmt: skip


@dataclass(frozen=True)
class FeatureFiles:
    """Trips of several months, batch by batch, as often as asked; memory does not grow with the months.

    Parameters
    ----------
    paths : tuple of Path
        Feature files, oldest first.
    for_training : bool
        Leave out the trips that a training rule rejects; a validation or test month never does.
    share : float
        Of the trips, drawn at random; a smaller share is part of a larger one.
    seed : int
        Of that draw.
    half_life_months : float, optional
        A month so much older than the newest weighs half.
    """

    paths: tuple[Path, ...]
    for_training: bool
    share: float = 1.0
    seed: int = 0
    half_life_months: float | None = None

    def __iter__(self) -> Iterator[Batch]:
        number = 0
        for age, path in zip(reversed(range(len(self.paths))), self.paths, strict=True):
            with pq.ParquetFile(path) as file:
                for table in file.iter_batches(BATCH_ROWS):
                    number += 1
                    batch = self._batch(table, number, age)
                    if len(batch.minutes):
                        yield batch

    def _batch(self, table: pa.RecordBatch, number: int, age: int) -> Batch:
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.schema.names}
        learnable, minutes = columns.pop("for_training"), columns.pop("duration_minutes")
        chosen = learnable if self.for_training else np.ones(len(minutes), bool)
        if self.share < 1:
            chosen = chosen & (np.random.default_rng((self.seed, number)).random(len(minutes)) < self.share)
        weight = None
        if self.half_life_months is not None:
            weight = np.full(int(chosen.sum()), 0.5 ** (age / self.half_life_months), np.float32)
        return Batch({name: values[chosen] for name, values in columns.items()}, minutes[chosen], weight)


def count_rows(paths: Sequence[Path], *, for_training: bool) -> int:
    """How many trips `FeatureFiles` would give."""
    if not for_training:
        return sum(int(pq.read_metadata(path).num_rows) for path in paths)
    marks = (pq.read_table(path, columns=["for_training"])["for_training"] for path in paths)
    return sum(int(pc.sum(mark).as_py() or 0) for mark in marks)


def pairs_and_minutes(paths: Sequence[Path], *, for_training: bool) -> tuple[dict[str, Array], Array]:
    """Zones of the months' trips, n each, and their minutes, float64 of shape (n,): what a baseline needs."""
    names = ["pickup_zone", "dropoff_zone", "duration_minutes", "for_training"]
    table = pa.concat_tables([pq.read_table(path, columns=names) for path in paths])
    if for_training:
        table = table.filter(table["for_training"])
    zones = {name: table[name].to_numpy() for name in names[:2]}
    return zones, np.asarray(table["duration_minutes"].to_numpy(), np.float64)


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
        extent = "fewer" if ratio < 1 else "more"
        return (
            f"{month}: {quality.rows:,} rows, far {extent} than the {usual_rows:,.0f} usual in the months "
            f"before ({ratio:.2f} times; allowed {settings.min_rows_ratio:g} to {settings.max_rows_ratio:g})"
        ), counts
    limit = max(settings.max_rejections_ratio * usual_share, LEAST_REJECTED_SHARE)
    if quality.rejected_share > limit:
        return (
            f"{month}: {quality.rejected_share:.1%} of {quality.rows:,} rows rejected, far more than the "
            f"{usual_share:.1%} usual in the months before (allowed {limit:.1%}): {_told(quality)}"
        ), counts
    return None


def _nothing_left(service: str, month: Month, quality: Quality) -> str:
    return (
        f"{service} {month}: none of its {quality.rows:,} trips is left after cleaning ({_told(quality)}). "
        f"Is this really the file of {month}?"
    )


def _told(quality: Quality) -> str:
    """Rejections in words."""
    return ", ".join(f"{name} {count:,}" for name, count in quality.rejected.items() if count)
