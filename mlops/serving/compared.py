"""``/monitoring``: the compared months of the models, as the registry had them when it was asked last."""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from mlops.errors import TrackingError
from mlops.registry import monitoring_page
from mlops.registry.monitoring_record import History, Record
from mlops.registry.signed_version import service_of

logger = logging.getLogger(__name__)

PAUSES: Final = 10  # questions which version is champion, for each look at the compared months
_DIGEST: Final = base64.b64encode(hashlib.sha256(monitoring_page.STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""The page's ``Content-Security-Policy``: its own style and its empty icon, and nothing else."""


@dataclass(frozen=True)
class _Known:
    """What the registry had, and when."""

    histories: tuple[History, ...] = ()
    read_at: datetime | None = None


class Compared:
    """The compared months of the models; one thread looks at them, and any thread may read what is known.

    Parameters
    ----------
    pause : float
        Seconds between two looks.
    """

    def __init__(self, pause: float) -> None:
        self._pause, self._next, self._names = pause, 0.0, frozenset[str]()
        self._known = _Known()

    def look(self, registry: Any, names: Sequence[str]) -> None:
        """Read the compared months of these models, if it is time to.

        Raises
        ------
        TrackingError
            When the registry does not answer; what was known stays.
        """
        if time.monotonic() < self._next and self._names == {*names}:
            return
        try:
            self._known = _Known(registry.histories(names), datetime.now(timezone.utc))
        except TrackingError:
            raise
        except Exception:  # the models answer all the same
            logger.exception("the compared months cannot be read")
        self._next, self._names = time.monotonic() + self._pause, frozenset(names)

    def newest(self) -> Iterator[tuple[str, Record]]:
        """Each service with the record of its newest compared month; none for services without one."""
        for history in self._known.histories:
            if history.newest:
                yield service_of(history.name), history.newest

    def page(self, problem: str) -> str:
        """The page; `problem` says why the registry cannot be asked now, and is empty if it can."""
        known = self._known
        notes = []
        if known.read_at is None:
            notes.append(f"The compared months are not known yet{f': {problem}' if problem else '.'}")
        elif problem:
            at = known.read_at.strftime("%Y-%m-%d %H:%M")
            notes.append(f"This is what the registry had on {at} UTC. Now {problem}")
        return monitoring_page.page(known.histories, notes)
