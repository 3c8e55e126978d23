"""The months of a run: training window, validation month and test month."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from mlops.config import Settings
from mlops.data.sources import publication
from mlops.errors import EmptyTrainingSetError, MonthNotPublishedError
from mlops.month import Month

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The months of a run that is tested on `test`; each month has one role.

    Parameters
    ----------
    training : tuple of Month
        Oldest first.
    validation : Month
        Used by tuning and early stopping.
    test : Month
        Used only for the test and the verdict.
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


def months_needed(settings: Settings) -> tuple[Month, ...]:
    """Every month that a run may use, oldest first."""
    test = settings.test_month
    return (*(test - 1).before(settings.train_months), test - 1, test)


def months_to_query(settings: Settings) -> tuple[Month, ...]:
    """`months_needed` and the month before them, which shows whether a missing first month is a gap."""
    months = months_needed(settings)
    return (months[0] - 1, *months)


def plan_split(settings: Settings, available: Collection[Month], where: str) -> Split:
    """Split of the months that the source has.

    Parameters
    ----------
    settings : Settings
    available : collection of Month
        Those of `months_to_query` that the source has. Its first month shortens the training window.
    where : str
        The source, for messages.

    Raises
    ------
    MonthNotPublishedError
        When the test or validation month is missing, or a month between the first available month and these.
    EmptyTrainingSetError
        When there is no training month.
    """
    service, months = settings.service, months_needed(settings)
    test, validation = months[-1], months[-2]
    held = [month for month in months if month in available]
    for month, role in ((test, "test"), (validation, "validation")):
        if month not in available:
            raise MonthNotPublishedError(
                f"{service} {month}: the {role} month is not published at {where}. "
                f"{publication(where)}Choose an earlier month or another source.",
                service=service,
                month=str(month),
            )
    first = min(month for month in months_to_query(settings) if month in available)
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
