"""Every error that this package raises on purpose, and how a message names a command.

::

    MlopsError
    ├── ConfigError               a setting is unknown, malformed or contradictory
    ├── SourceError               a month could not be fetched
    │   ├── MonthNotPublishedError    the source does not have the month (yet)
    │   └── DownloadError             the source has the month, but the download failed
    ├── TripSchemaError           a file is not a month of trips of this service
    │   └── TooLargeError             it is above a ceiling, so it is not read
    ├── DataQualityError          a month differs too much from the months before it
    ├── EmptyTrainingSetError     no month, or no trip, is left to train on
    ├── TuningError               no trial produced a usable model
    ├── TrackingError             the tracking server or the registry did not answer as expected
    │   └── TrackingDownError         the server did not answer at all
    ├── PromotionError            a version may not, or cannot, become champion
    ├── UntrustedError            a version is not signed with this machine's key, so its code is not run
    ├── ExportError               results could not be written to where they should go
    └── BusyError                 another run works on the same model

A message says what failed, where, what was expected, what was found, and what to
do next. Values that a program may need (months, counts, columns) are attributes.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ENTRY_POINT = "trip-duration"
"""Name of the program that installing this project makes; ``python -m mlops`` does the same."""


def program() -> str:
    """How this process calls the command line: `ENTRY_POINT` if it was called so, else ``python -m mlops``."""
    return ENTRY_POINT if Path(*sys.argv[:1]).name == ENTRY_POINT else "python -m mlops"


def command(words: str) -> str:
    """A command of this project as a person can type it here, with the Python that has its packages.

    Examples
    --------
    >>> command("registry").endswith("python -m mlops registry")
    True
    """
    checkout = Path(__file__).resolve().parents[1]
    own = checkout / ".venv"
    first, *others = program().split()
    if Path(sys.prefix) != own:
        return " ".join([first, *others, words])
    path = own / "bin" / first
    shown = path.relative_to(checkout) if Path.cwd() == checkout else path
    return " ".join([shlex.quote(str(shown)), *others, words])


def plain(text: str) -> str:
    r"""Text without characters that a terminal or a log would obey or hide; line ends and tabs stay.

    Texts of other programs, such as names of columns, may contain escape sequences, or characters that change the
    direction of the text. They are shown as Python writes them.

    Examples
    --------
    >>> print(plain("a\x1b[2J\u202eb"))
    a\x1b[2J\u202eb
    """
    if text.isprintable():
        return text
    shown = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)


def one_line(said: object, most: int | None = None) -> str:
    r"""Text of an object or error on one line, cut to `most` characters: for tags, log lines and messages.

    Examples
    --------
    >>> one_line(OSError("disk\n  gone"))
    'disk gone'
    >>> one_line("a very long reason", most=6)
    'a very'
    """
    return (plain(" ".join(str(said).split())) or type(said).__name__)[:most]


class MlopsError(Exception):
    """Base of all errors of this package; the message is written for the user."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows, in a notebook and in Mage's editor: the message, without traceback."""
        return [f"{type(self).__name__}: {plain(str(self))}"]


class ConfigError(MlopsError):
    """A setting is unknown, malformed or contradictory."""


class SourceError(MlopsError):
    """A month could not be fetched from its source."""


class MonthNotPublishedError(SourceError):
    """The source does not have this month.

    Attributes
    ----------
    service, month : str
        The month that was requested.
    """

    def __init__(self, message: str, *, service: str = "", month: str = "") -> None:
        super().__init__(message)
        self.service = service
        self.month = month


class DownloadError(SourceError):
    """The source did not deliver a month, although it may have it."""


class TripSchemaError(MlopsError):
    """A file is not a month of trips of the service in its name.

    Attributes
    ----------
    columns : tuple of str
        The columns that are missing or of a wrong type, if that is the problem.
    """

    def __init__(self, message: str, *, columns: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class TooLargeError(TripSchemaError):
    """A month's file, or a part of it, is above a ceiling, so it is not read."""


class DataQualityError(MlopsError):
    """A month has far fewer or more rows, or more rejections, than the months before it.

    Attributes
    ----------
    counts : dict of str to float
        The numbers that were compared.
    """

    def __init__(self, message: str, *, counts: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.counts = dict(counts or {})


class EmptyTrainingSetError(MlopsError):
    """There is no month, or no trip, to train on."""


class TuningError(MlopsError):
    """No trial of the search produced a usable model."""


class TrackingError(MlopsError):
    """The tracking server or the model registry did not answer as expected."""


class TrackingDownError(TrackingError):
    """The tracking server or its database did not answer, so that trying again later may help."""


class PromotionError(MlopsError):
    """A version may not, or cannot, become champion."""


class UntrustedError(MlopsError):
    """A version is not signed with this machine's key, so nothing of it is loaded."""


class ExportError(MlopsError):
    """Results could not be written to where they should go."""


class BusyError(MlopsError):
    """Another run works on the same model.

    Parameters
    ----------
    message : str
    holder : str
        Description of the process that holds the lock.
    """

    def __init__(self, message: str, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder
