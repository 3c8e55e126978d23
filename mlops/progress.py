"""What a process says while it works: how far a long step is, and log lines with date and time in UTC.

Who does a step reports how far it is, and who shows it listens. Without a listener nothing happens. The library
knows nothing of terminals: the command line listens, and shows bars.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

BYTES: Final = "bytes"
ROWS: Final = "rows"
TRIALS: Final = "trials"
CLOCK: Final = "%Y-%m-%d %H:%M:%S"  # of log lines


@dataclass(frozen=True)
class Report:
    """How far one step is.

    Parameters
    ----------
    what : str
        Name of the step, such as that of a file.
    done : int
        Units that are done.
    total : int or None
        Units in all; None while nobody knows.
    unit : str
        `BYTES`, `ROWS` or `TRIALS`.
    is_over : bool
        Whether the step has ended, finished or not. Nothing is reported of it after that.
    """

    what: str
    done: int
    total: int | None
    unit: str
    is_over: bool = False


Listener = Callable[[Report], None]
_LISTENERS: list[Listener] = []


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Inside the block, every report of this process is passed to `listener`, in the thread that reports."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def is_shown() -> bool:
    """Whether somebody listens, so that log lines about progress are not needed."""
    return bool(_LISTENERS)


@contextlib.contextmanager
def step(what: str, total: int | None, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """A step of which the block reports: call what it yields with the units that are done, and those in all.

    Examples
    --------
    >>> found = []
    >>> with listening(found.append), step("tuning", 20, TRIALS) as report:
    ...     report(5, 20)
    >>> [(each.done, each.is_over) for each in found]
    [(0, False), (5, False), (5, True)]
    """
    last = Report(what, 0, total, unit)

    def report(done: int, total: int | None, is_over: bool = False) -> None:
        nonlocal last
        last = Report(what, done, total, unit, is_over)
        for listener in [*_LISTENERS]:
            listener(last)

    report(0, total)
    try:
        yield report
    finally:
        report(last.done, last.total, is_over=True)


class LogLines(logging.Formatter):
    """Formats a record as ``2026-11-26 08:30:05 UTC message``.

    Parameters
    ----------
    rest : str
        What follows the time, in the style of `logging`.

    Examples
    --------
    >>> record = logging.makeLogRecord({"msg": "tuning", "created": 0.0})
    >>> LogLines().format(record)
    '1970-01-01 00:00:00 UTC tuning'
    """

    converter = staticmethod(time.gmtime)

    def __init__(self, rest: str = "%(message)s") -> None:
        super().__init__(f"%(asctime)s UTC {rest}", CLOCK)


def to_stderr(rest: str = "%(message)s") -> logging.Handler:
    """A handler that writes such lines to the standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogLines(rest))
    return handler
