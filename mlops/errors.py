"""Every error that this package raises on purpose.

::

    MlopsError
    ├── ConfigError               a setting is unknown, malformed or contradictory
    ├── SourceError               a month could not be had
    │   ├── MonthNotPublishedError    the source does not have it (yet)
    │   └── DownloadError             the source has it, fetching it failed
    ├── TripSchemaError           a file is not a month of trips of this service
    ├── DataQualityError          a month is unlike its predecessors
    ├── EmptyTrainingSetError     no month, or no trip, is left to learn from
    ├── TuningError               no trial gave a usable model
    ├── TrackingError             the tracking server or the registry did not answer as expected
    │   └── TrackingDownError         it did not answer at all
    ├── PromotionError            a version may not, or cannot, become champion
    └── BusyError                 another run works on the same model

A message says what, where, expected, got, and the next act. What a program may
want to look at (months, counts, columns) is an attribute too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def one_line(said: object, most: int | None = None) -> str:
    r"""A text or an error on one line, cut to `most` characters: for a tag, a log line or a message.

    Examples
    --------
    >>> one_line(OSError("disk\n  gone"))
    'disk gone'
    >>> one_line("a very long reason", most=6)
    'a very'
    """
    return (" ".join(str(said).split()) or type(said).__name__)[:most]


class MlopsError(Exception):
    """Base of all errors meant for a person: the message is the whole story."""


class ConfigError(MlopsError):
    """A setting is unknown, malformed or contradictory."""


class SourceError(MlopsError):
    """A month could not be had from its source."""


class MonthNotPublishedError(SourceError):
    """The source does not hold this month.

    Attributes
    ----------
    service, month : str
        What was asked for.
    """

    def __init__(self, message: str, *, service: str = "", month: str = "") -> None:
        super().__init__(message)
        self.service = service
        self.month = month


class DownloadError(SourceError):
    """The source did not deliver a month, although it may hold it."""


class TripSchemaError(MlopsError):
    """A file is not a month of trips of the service it is named after.

    Attributes
    ----------
    columns : tuple of str
        The columns that are missing, if that is the trouble.
    """

    def __init__(self, message: str, *, columns: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class DataQualityError(MlopsError):
    """A month has far fewer or more rows, or more rejections, than its predecessors.

    Attributes
    ----------
    counts : dict of str to float
        The numbers that were compared.
    """

    def __init__(self, message: str, *, counts: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.counts = dict(counts or {})


class EmptyTrainingSetError(MlopsError):
    """There is no month, or no trip, to learn from."""


class TuningError(MlopsError):
    """No trial of the search gave a usable model."""


class TrackingError(MlopsError):
    """The tracking server or the model registry did not answer as expected."""


class TrackingDownError(TrackingError):
    """The tracking server or its database did not answer, so that trying again later may help."""


class PromotionError(MlopsError):
    """A version may not, or cannot, become champion."""


class BusyError(MlopsError):
    """Another run works on the same model."""
