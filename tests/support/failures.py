"""Failures that must end a run within seconds with one readable error, in every way to start it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SPOILT = "green_tripdata_2023-03.parquet"


@dataclass(frozen=True)
class Failure:
    """A wrong setting or file, and the expected message.

    Parameters
    ----------
    reported : str
        Part of the message.
    settings : mapping
        What the run changes.
    spoil : callable
        From the path of the valid test month to the bytes that replace it.
    status : int
        Exit status of the command line; Mage's is always 1.
    """

    reported: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    spoil: Callable[[Path], bytes] = Path.read_bytes
    status: int = 1

    def source(self, sound: Path, folder: Path) -> Path:
        """A folder with links to the valid months and the spoilt month."""
        folder.mkdir()
        for path in sound.iterdir():
            (folder / path.name).symlink_to(path)
        (folder / SPOILT).unlink()
        (folder / SPOILT).write_bytes(self.spoil(sound / SPOILT))
        return folder


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _half(path: Path) -> bytes:
    return path.read_bytes()[: path.stat().st_size // 2]


def _damaged(path: Path) -> bytes:
    whole = path.read_bytes()
    return whole[:100] + bytes(len(whole) // 2) + whole[100 + len(whole) // 2 :]


FAILURES = {
    "month not published": Failure("green 2023-07: the test month is not published at", {"month": "2023-07"}),
    "text named parquet": Failure(f"{SPOILT}: not a Parquet file", spoil=lambda _: b"<html>Sign in</html>"),
    "truncated parquet": Failure(f"{SPOILT}: a truncated Parquet file", spoil=_half),
    "column missing": Failure(
        f"{SPOILT}: column 'PULocationID' missing",
        spoil=lambda path: _parquet(pq.read_table(path).drop_columns(["PULocationID"])),
    ),
    "empty month": Failure(
        "expected a month of green trips; got an empty file (0 rows)",
        spoil=lambda path: _parquet(pq.read_table(path).slice(0, 0)),
    ),
    "unknown service": Failure(
        "service: expected one of green, yellow, fhvhv; got 'blue'", {"service": "blue"}, status=2
    ),
    "no such month": Failure("month: there is no month 2023-13; write", {"month": "2023-13"}, status=2),
}

MORE_FAILURES = {
    "no month left to learn from": Failure("so no month is left to train on", {"month": "2023-02"}),
    "damaged pages": Failure("expected pages that can be read; got damaged pages", spoil=_damaged),
    "month far too short": Failure(
        "far fewer than the", spoil=lambda path: _parquet(pq.read_table(path).slice(0, 100))
    ),
    "service without distance": Failure("fhv trips have no distance", {"service": "fhv"}, status=2),
    "no such folder": Failure("there is no folder /nowhere", {"source": "/nowhere"}, status=2),
}
"""Failures for which one way to start a run is enough."""


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and which no other process can take meanwhile."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]
