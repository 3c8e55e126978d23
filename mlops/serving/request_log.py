"""A sample of what was asked and answered, in Parquet files of bounded size, for monitoring.

Each row of a request is taken with the same probability, so a list of 1,000 weighs as much as 1,000 requests.
There is nothing personal in a row: no address, no key, no id that a client sent.

A thread writes the rows of the last minute into the newest file, which is replaced by a longer one each time, so
every file is complete at any moment. A process that is killed loses the rows that were not written yet. When all
files together are above their limit, the oldest are deleted. Nothing here can fail a request: what cannot be
written is logged and dropped.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.data.request_log_files import ANSWER as ANSWER
from mlops.data.request_log_files import FOLDER as FOLDER
from mlops.data.request_log_files import REQUEST as REQUEST
from mlops.data.request_log_files import read as read
from mlops.data.request_log_files import schema as schema
from mlops.errors import one_line

if TYPE_CHECKING:  # late at run time, so that the service starts quickly
    import pyarrow as pa

logger = logging.getLogger(__name__)

FILE_ROWS = 20_000  # then a new file is begun: about 0.7 MB
BUFFER_ROWS = 2_000  # are written at once; four times as many wait at most, while the disk does not answer
FLUSH_SECONDS = 60.0
SMALLEST_BYTES = 4096  # that a file takes on the disk
DISTANCE = ("missing", "given")
WRITTEN, LOST = "written", "lost"  # outcomes of a row that was taken


class RequestLog:
    """Writes the sample; one object per process.

    Parameters
    ----------
    folder : Path
        Made when the first row is written.
    share : float
        Probability of a row, 0 to 1; 0 logs nothing.
    most_megabytes : float
        Of all files together, also those of other processes.
    count : callable, optional
        Called with ``written`` or ``lost`` and a number of rows.
    seed : int, optional
        For tests.
    """

    def __init__(
        self,
        folder: Path,
        share: float,
        most_megabytes: float = 100.0,
        count: Callable[[str, int], None] = lambda outcome, rows: None,
        seed: int | None = None,
    ) -> None:
        self._folder, self._share, self._most_bytes = folder, share, int(most_megabytes * 1e6)
        self._count = count
        self._random = random.Random(seed)
        self._skip = self._gap()  # rows until the next one that is taken
        self._rows: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()
        self._wake, self._is_closed = threading.Event(), False
        self._file: _File | None = None
        self._thread = threading.Thread(target=self._write_now_and_then, name="request log", daemon=True)

    def start(self) -> None:
        """Start the thread that writes; without it, nothing is written before `close`."""
        if self._share:
            self._thread.start()

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._is_closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)
        self._write()

    def add(
        self,
        service: str,
        version: str,
        requests: Mapping[str, Sequence[Any]],
        answers: Mapping[str, Sequence[float | bool | None]],
    ) -> None:
        """Take a sample of these rows.

        Parameters
        ----------
        service, version : str
        requests : mapping
            A value for each request, as the model got it, of each of `REQUEST`; None or NaN for null.
        answers : mapping
            The same of each of `ANSWER`; ``out_of_range`` may be None.
        """
        count = len(requests["pickup_at"])
        with self._lock:
            if self._skip >= count:  # the usual case: less than a microsecond
                self._skip -= count
                return
            taken = list(self._take(count))
            now = time.time()
            about = (now, service, version, self._share)
            self._rows += [(*about, *_row(requests, answers, at)) for at in taken]
            if len(self._rows) > 4 * BUFFER_ROWS:
                self._drop(len(self._rows) - 4 * BUFFER_ROWS)
        if len(self._rows) >= BUFFER_ROWS:
            self._wake.set()

    def _take(self, count: int) -> Iterator[int]:
        """Positions of the rows that are taken out of so many."""
        while self._skip < count:
            yield int(self._skip)
            self._skip += 1 + self._gap()
        self._skip -= count

    def _gap(self) -> float:
        """How many rows are left out before the next one, so that each is taken with the probability `share`."""
        if self._share >= 1:
            return 0
        if self._share <= 0:
            return math.inf
        return math.floor(math.log(1.0 - self._random.random()) / math.log1p(-self._share))

    def _drop(self, count: int) -> None:
        del self._rows[:count]
        self._count(LOST, count)

    def _write_now_and_then(self) -> None:
        while not self._is_closed:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self._write()

    def _write(self) -> None:
        """Write the waiting rows; a failure drops them and is logged."""
        with self._lock:
            rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._file is None or self._file.rows >= FILE_ROWS:
                self._file = _File(self._folder)
            self._file.append(rows)
            self._count(WRITTEN, len(rows))
            _delete_oldest(self._folder, self._most_bytes, self._file.path)
        except Exception as error:  # the thread must not end, whatever a disk or a library does
            self._count(LOST, len(rows))
            self._file = None
            logger.warning(
                "%s: %d rows of the request log are lost: %s", self._folder, len(rows), one_line(error, 300)
            )


class _File:
    """The newest file of this process; its rows stay in memory until it is full."""

    def __init__(self, folder: Path) -> None:
        began = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%S")
        self.path = folder / f"{began}-{secrets.token_hex(4)}.parquet"  # names sort by time
        self.rows = 0
        self._tables: list[pa.Table] = []

    def append(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Replace the file by one that has these rows, too."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._tables.append(_table(rows))
        self.rows += len(rows)
        passing = self.path.with_name(f".{self.path.name}.tmp")
        try:
            with os.fdopen(
                os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb"
            ) as file:
                pq.write_table(pa.concat_tables(self._tables).unify_dictionaries(), file, compression="zstd")
            passing.replace(self.path)
        finally:
            passing.unlink(missing_ok=True)


def _row(
    requests: Mapping[str, Sequence[Any]], answers: Mapping[str, Sequence[float | bool | None]], at: int
) -> tuple[Any, ...]:
    distance = requests["distance_miles"][at]
    is_given = distance is not None and distance == distance  # not NaN
    asked, answered = (requests[name][at] for name in REQUEST), (answers[name][at] for name in ANSWER)
    return (*asked, *answered, DISTANCE[is_given])


def _table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    import pyarrow as pa

    columns = schema()
    arrays = []
    for field, values in zip(columns, zip(*rows, strict=True), strict=True):
        if field.name == "at":
            values = tuple(round(seconds * 1000) for seconds in values)
        arrays.append(pa.array(values, field.type, from_pandas=True))  # NaN is null
    return pa.Table.from_arrays(arrays, schema=columns)


def _delete_oldest(folder: Path, most_bytes: int, newest: Path) -> None:
    """Delete the oldest files until the rest is below the limit; the one that is being written stays."""
    sizes = {}
    for path in folder.glob("*.parquet"):
        with contextlib.suppress(FileNotFoundError):  # another process was first
            sizes[path] = max(path.stat().st_size, SMALLEST_BYTES)
    total = sum(sizes.values())
    for path in sorted(sizes):
        if total <= most_bytes:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= sizes[path]
