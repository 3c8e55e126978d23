"""Names of zones for the services: kept on this machine, and fetched from TLC in a thread of their own.

The service answers requests with ids without them. On a computer that cannot ask TLC, put a copy of the table into
the state folder: ``serving/taxi_zone_lookup.csv``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from mlops import config
from mlops.config import SERVICES
from mlops.data import zone_shapes, zones
from mlops.data.zone_map import ZoneMap
from mlops.data.zones import ZoneNames
from mlops.errors import one_line

logger = logging.getLogger(__name__)

SOURCE = "tlc"
FRESH_SECONDS = 30 * 86_400.0  # TLC changes the table every few years
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 21_600.0  # seconds between two tries to fetch it


class Places:
    """Names of zones for each service.

    One thread may call `keep`; any thread may call `names`.
    """

    def __init__(self) -> None:
        self._tlc = ZoneNames({}, f"{zones.FILE} is not read yet")
        self._map_of_tlc = ZoneMap(problem="they are not read yet")
        self._map_of_city = self._map_of_tlc
        self._thread: threading.Thread | None = None
        self._pause, self._again_at = FIRST_PAUSE, 0.0

    def names(self, service: str) -> ZoneNames:
        """Names of the zones of a service."""
        return self._tlc if service in SERVICES else zones.of_city()

    def map(self, service: str) -> ZoneMap:
        """Shapes of the zones of a service."""
        return self._map_of_tlc if service in SERVICES else self._map_of_city

    def keep(self, services: Iterable[str]) -> None:
        """Read the names that these services need; without a fresh copy of TLC's, begin to fetch them."""
        needed = set(services)
        if needed - set(SERVICES):
            zones.of_city()  # here, so that no request waits for it
            self._map_of_city = zone_shapes.of_city()
        if not needed & set(SERVICES):
            return
        if not self._tlc.ids:
            self._read()
        if self._may_fetch() and not (self._tlc.ids and _is_fresh(_path())):
            self._thread = threading.Thread(target=self._fetch, name="zones", daemon=True)
            self._thread.start()

    def _may_fetch(self) -> bool:
        return time.monotonic() >= self._again_at and not (self._thread and self._thread.is_alive())

    def _read(self) -> None:
        try:
            self._tlc = zones.read(_path())
        except FileNotFoundError:
            pass
        except Exception as error:  # whatever is in the file; it is fetched again
            self._report(error)

    def _fetch(self) -> None:
        from mlops.data.sources import open_source  # here: it imports what asks other computers

        try:
            self._tlc = zones.fetch(open_source(SOURCE), _path())
            self._pause = FIRST_PAUSE
        except Exception as error:  # the service answers without names
            self._report(error)
            self._again_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _report(self, error: Exception) -> None:
        """Keep why names are not known, and log it; names that are known stay."""
        logger.warning("names of zones: %s", one_line(error, 500))
        if not self._tlc.ids:
            self._tlc = ZoneNames({}, one_line(error, 300))


def _path() -> Path:
    return config.state().serving / zones.FILE


def _is_fresh(path: Path) -> bool:
    try:
        return path.stat().st_mtime > time.time() - FRESH_SECONDS
    except OSError:
        return False
