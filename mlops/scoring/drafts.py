"""The files of one result while they are written, and the summary that a finished result carries.

A result is a Parquet file of answered rows, and a second one of rejected rows if there are any. They are drafts
under hidden names first, and are delivered when they are complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops import config
from mlops.files import only_one_process

SUMMARY = "mlops.scoring"  # key of the summary in a Parquet file's metadata
INPUT_SHA256 = "input_sha256"  # the summary's key for the sha256 of the input
RUN_KEY = "run_key"  # the same for the key of the run that made the version


@dataclass(frozen=True)
class Drafts:
    """Paths of one result's files while they are written.

    Parameters
    ----------
    name : str
        Name of the result without suffix, as ``green_tripdata_2023-10.trip-duration-green-v3``.
    output, rejected : Path
        Where to write answered rows, and rejected rows if there are any.
    """

    name: str
    output: Path
    rejected: Path

    def remove(self) -> None:
        """Delete both files, if they exist."""
        self.output.unlink(missing_ok=True)
        self.rejected.unlink(missing_ok=True)


@contextlib.contextmanager
def drafts_in(folder: Path, name: str) -> Iterator[Drafts]:
    """Drafts in this folder; what is left of them is deleted at the end, as is the rest of a killed process.

    Processes that write a result of the same name into the same folder wait for each other. Those with another
    state folder do not, so they have other drafts.
    """
    locks = config.state().locks
    for each in (locks, folder):
        each.mkdir(parents=True, exist_ok=True)
    place, writer = folder.resolve(), f"{platform.node()} {config.state_dir().resolve()}"
    waiting = f"{name}: another process is writing it; waiting for its end"
    with only_one_process(locks / f"{place.name}-{name}.lock", waiting):
        hidden = f".{name}.{hashlib.sha256(writer.encode()).hexdigest()[:8]}"
        drafts = Drafts(name, folder / f"{hidden}.parquet.tmp", folder / f"{hidden}.rejected.parquet.tmp")
        drafts.remove()
        try:
            yield drafts
        finally:
            drafts.remove()


def as_metadata(summary: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of the Parquet file of answered rows: give it to ``ParquetWriter.add_key_value_metadata``.

    Parameters
    ----------
    summary : mapping
        Values that JSON knows. ``input_sha256`` and ``rejected`` (number of rows) must be among them.
    """
    return {SUMMARY: json.dumps(summary, sort_keys=True)}


def read_summary(output: Any) -> dict[str, Any] | None:
    """Summary of a finished result; None where the file is not one, or is damaged.

    Parameters
    ----------
    output : path or binary file
    """
    try:
        metadata = pq.read_metadata(output).metadata or {}
        summary = json.loads(metadata[SUMMARY.encode()])
    except (FileNotFoundError, pa.ArrowInvalid, KeyError, ValueError):
        return None
    return summary if isinstance(summary, dict) else None


def complete(
    summary: dict[str, Any] | None, input_sha256: str, has_rejected: Callable[[], bool]
) -> dict[str, Any] | None:
    """The summary, if its result was made from an input with this sha256 and no file of it is missing."""
    if summary is None or summary.get(INPUT_SHA256) != input_sha256:
        return None
    return summary if not summary.get("rejected") or has_rejected() else None
