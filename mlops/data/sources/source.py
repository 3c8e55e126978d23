"""What a source of months is, and the errors that all sources share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import BinaryIO, Protocol

from mlops.config import TLC_SITE
from mlops.errors import DownloadError, TripSchemaError
from mlops.month import Month

Progress = Callable[[int, int | None], None]
CHUNK_BYTES = 2**20
UNSURE = "bytes:"  # prefix of a version that is not enough to trust a cached copy
MAGIC = b"PAR1"  # a Parquet file starts and ends with it


def file_name(service: str, month: Month) -> str:
    """Name of a month's file, the same at every source.

    Examples
    --------
    >>> file_name("green", Month(2023, 10))
    'green_tripdata_2023-10.parquet'
    """
    return f"{service}_tripdata_{month}.parquet"


class Source(Protocol):
    """A place that has months under the names of `file_name`."""

    @property
    def url(self) -> str:
        """Address for log lines and messages, without credentials."""

    @property
    def key(self) -> str:
        """Folder name for this source's files: readable, and unique because of a short hash."""

    @property
    def control(self) -> str | None:
        """Name of a file that always exists, if known; a source that refuses this file refuses every file."""

    def version(self, name: str) -> str | None:
        """Fingerprint of the file's content; None when the source has nothing under this name.

        A fingerprint that starts with ``bytes:`` is only a hint: the file is fetched each time. One that starts
        with ``sha256:`` is the hash of all bytes.

        Raises
        ------
        DownloadError
            When the source does not answer; `RefusedError` when it does not say whether it has the file.
        TripSchemaError
            When something else has this name: a folder, a named pipe, a web page.
        """

    def size(self, name: str) -> int | None:
        """Bytes of the file at the source, for a cost estimate; None when unknown."""

    def download(self, name: str, target: BinaryIO, progress: Progress) -> None:
        """Write the file's bytes to `target` in order, calling ``progress(done, total)`` as they arrive.

        Raises
        ------
        DownloadError
            When the bytes do not arrive; `BrokenOffError` when only some do.
        """


class BrokenOffError(DownloadError):
    """Only a part of the file arrived; another attempt may succeed.

    Attributes
    ----------
    reason : str
        What happened, for the log.
    """

    def __init__(self, url: str, reason: str, difference: str) -> None:
        super().__init__(f"{url}: {reason}; {difference}. Try again later, or choose another --source.")
        self.reason = reason


class RefusedError(DownloadError):
    """The source does not say whether it has a file: HTTP 403.

    Attributes
    ----------
    reason : str
        The message without advice, for the log.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class RedirectError(DownloadError):
    """The source sends its reader to an address that is not its own, which is not asked."""


def publication(url: str) -> str:
    """When the source at this address publishes a month, as a sentence; empty if that is not known."""
    return "TLC publishes a month about seven weeks after its end. " if url == TLC_SITE else ""


def key_of(kind: str, url: str) -> str:
    """Folder name such as ``folder-trip-data-1a2b3c4d``."""
    last = re.sub(r"[^a-z0-9]+", "-", url.rstrip("/").rpartition("/")[2].lower()).strip("-")[:40]
    return "-".join(filter(None, (kind, last, hashlib.sha256(url.encode()).hexdigest()[:8])))


def not_parquet(url: str, head: bytes, about: str) -> TripSchemaError:
    """The error for a file that is not Parquet; it says what the file looks like and what to do.

    Parameters
    ----------
    head : bytes
        The file's first bytes, at least 30 if it has them.
    about : str
        What else is known of it, such as its size.
    """
    advice = next((advice for start, advice in _ADVICE.items() if head.startswith(start)), _OTHER_ADVICE)
    advice = advice if head else "The file is empty. Put the real file there."
    return TripSchemaError(
        f"{url}: not a Parquet file; expected {MAGIC!r} at its start, got {head!r} ({about}). {advice}"
    )


_OTHER_ADVICE = "Is it a web page or a text saved under this name? Put the real file there."
_ADVICE = {
    b"version https://git-lfs": "It is a pointer of Git LFS: run `git lfs pull` where the files come from.",
    b"/annex/objects/": "It is a pointer of git-annex: run `git annex get` where the files come from.",
    b"\x1f\x8b": "It is compressed with gzip: put the decompressed file there.",
    b"PK\x03\x04": "It is a zip archive: put the file that is inside there.",
    b"PARE": "It is an encrypted Parquet file: put a decrypted one there.",
}
"""What to do about files that start like this."""
