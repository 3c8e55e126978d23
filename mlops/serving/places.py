"""Names and shapes of zones for the services: kept on this machine, and fetched from TLC in threads of their own.

The service answers requests with ids without them. On a computer that cannot ask TLC, put copies of its files into
the state folder: ``serving/taxi_zone_lookup.csv`` and ``serving/taxi_zones.zip``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from mlops import config
from mlops.config import SERVICES
from mlops.data import zone_shapes, zones
from mlops.data.zone_map import ZoneMap
from mlops.data.zones import ZoneNames
from mlops.errors import one_line

if TYPE_CHECKING:
    from mlops.data.sources import Source  # late at run time: it imports what asks other computers

logger = logging.getLogger(__name__)

SOURCE = "tlc"
FRESH_SECONDS = 30 * 86_400.0  # TLC changes the files every few years
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 21_600.0  # seconds between two tries to fetch one
SOON_SECONDS = 0.3  # for a thread that only reads what is here, so that a new service has it at once

Kept = TypeVar("Kept", ZoneNames, ZoneMap)


class Places:
    """Names and shapes of zones for each service.

    One thread may call `keep`; any thread may call `names` and `map`.
    """

    def __init__(self) -> None:
        self._names = _File(zones.FILE, "names", _no_names, zones.read, zones.fetch)
        self._map = _File(zone_shapes.FILE, "shapes", _no_map, _read_map, _fetch_map)
        self._map_of_city = _no_map("the map is not made yet")

    def names(self, service: str) -> ZoneNames:
        """Names of the zones of a service."""
        return self._names.found if service in SERVICES else zones.of_city()

    def map(self, service: str) -> ZoneMap:
        """Shapes of the zones of a service."""
        return self._map.found if service in SERVICES else self._map_of_city

    def keep(self, services: Iterable[str]) -> None:
        """Read what these services need; without a fresh copy of TLC's files, begin to fetch them."""
        needed = set(services)
        if needed - set(SERVICES):
            zones.of_city()  # here, so that no request waits for it
            self._map_of_city = zone_shapes.of_city()
        if needed & set(SERVICES):
            self._names.keep()
            self._map.keep()


class _File(Generic[Kept]):
    """What one of TLC's files says, from the copy on this machine, or from TLC.

    Parameters
    ----------
    name : str
        Of the file in the folder of the service.
    what : str
        What it has, for the log.
    nothing : callable
        The value that has only a problem.
    read, fetch : callable
        The value from the copy, and from a source that leaves a copy.
    """

    def __init__(
        self,
        name: str,
        what: str,
        nothing: Callable[[str], Kept],
        read: Callable[[Path], Kept],
        fetch: Callable[[Source, Path], Kept],
    ) -> None:
        self._name, self._what = name, what
        self._nothing: Callable[[str], Kept] = nothing
        self._read: Callable[[Path], Kept] = read
        self._fetch: Callable[[Source, Path], Kept] = fetch
        self.found: Kept = nothing(f"{name} is not read yet")
        self.thread: threading.Thread | None = None
        self._seen: tuple[int, int] | None = None
        self._pause, self._again_at = FIRST_PAUSE, 0.0

    def keep(self) -> None:
        """Read the copy if it is new, and fetch the file if that is due, in a thread."""
        if self.thread and self.thread.is_alive():
            return
        path = config.state().serving / self._name
        if self._is_new(path) or self._is_due(path):
            self.thread = threading.Thread(target=self._work, args=(path,), name=self._what, daemon=True)
            self.thread.start()
            self.thread.join(SOON_SECONDS)

    def _is_new(self, path: Path) -> bool:
        return _mark(path) not in (None, self._seen)

    def _is_due(self, path: Path) -> bool:
        is_known = not self.found.problem
        return time.monotonic() >= self._again_at and not (is_known and _is_fresh(path))

    def _work(self, path: Path) -> None:
        try:
            if self._is_new(path):
                self._read_copy(path)
            if self._is_due(path):
                self._fetch_copy(path)
        finally:
            self._seen = _mark(path)

    def _read_copy(self, path: Path) -> None:
        try:
            self.found = self._read(path)
        except Exception as error:  # whatever is in the file; it is fetched again
            self._report(error)

    def _fetch_copy(self, path: Path) -> None:
        from mlops.data.sources import open_source  # here: it imports what asks other computers

        try:
            self.found = self._fetch(open_source(SOURCE), path)
            self._pause = FIRST_PAUSE
        except Exception as error:  # the service answers without it
            self._report(error)
            self._again_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _report(self, error: Exception) -> None:
        """Keep why nothing is known, and log it; what is known stays."""
        logger.warning("%s of zones: %s", self._what, one_line(error, 500))
        if self.found.problem:
            self.found = self._nothing(one_line(error, 300))


def _no_names(problem: str) -> ZoneNames:
    return ZoneNames({}, problem)


def _no_map(problem: str) -> ZoneMap:
    return ZoneMap(problem=problem)


def _read_map(path: Path) -> ZoneMap:
    return zone_shapes.read(path, path.with_name(zone_shapes.KEPT))


def _fetch_map(source: Source, path: Path) -> ZoneMap:
    return zone_shapes.fetch(source, path, path.with_name(zone_shapes.KEPT))


def _mark(path: Path) -> tuple[int, int] | None:
    """What changes when a file changes; None where there is no file."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def _is_fresh(path: Path) -> bool:
    try:
        return path.stat().st_mtime > time.time() - FRESH_SECONDS
    except OSError:
        return False
