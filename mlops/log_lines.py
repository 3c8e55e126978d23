"""How a log line begins in every process: date and time in UTC, so that lines of two machines can be compared."""

from __future__ import annotations

import logging
import time
from typing import Final

CLOCK: Final = "%Y-%m-%d %H:%M:%S"


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
