"""How far a long step is: who does it reports, and who shows it listens. Without a listener nothing happens.

The library knows nothing of terminals: the command line listens, and shows bars.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

BYTES: Final = "bytes"
ROWS: Final = "rows"
TRIALS: Final = "trials"


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
