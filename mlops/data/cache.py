"""Local copies of months: each is fetched once, and is complete or absent.

Each file, such as ``green_tripdata_2023-10.parquet``, has a manifest,
``green_tripdata_2023-10.parquet.json``, with its sha256 and its version at the
source. A cached file is used again when both still match. Modification times are
ignored, because mirrors show different times for equal bytes. When a month is
republished with other bytes, the old file is kept in ``replaced/`` under its hash.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops import progress
from mlops.data import ceilings, retries
from mlops.data.parquet_footer import has_encrypted_footer
from mlops.data.raw_trips import encrypted
from mlops.data.sources import (
    MAGIC,
    UNSURE,
    BrokenOffError,
    Progress,
    Source,
    file_name,
    not_parquet,
    publication,
)
from mlops.errors import DownloadError, MonthNotPublishedError, TripSchemaError
from mlops.files import only_one_process, sha256_of
from mlops.month import Month

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0  # between two progress lines of one download
MIN_BYTES_PER_SECOND = 1000  # on average over `RATE_SECONDS`; at this rate a green month takes 20 minutes
RATE_SECONDS = 30.0  # as long as a web site may send nothing at all


@dataclass(frozen=True)
class MonthFile:
    """A month's file in the local cache.

    Attributes
    ----------
    path, bytes, sha256 : Path, int, str
        The cached file, its size and its hash in 64 hexadecimal digits.
    url, version : str
        Address of the file, without credentials, and its `Source.version`.
    replaced : tuple of Path
        Earlier files of this month from the same source, oldest first.
    """

    service: str
    month: Month
    path: Path
    url: str
    bytes: int
    sha256: str
    version: str
    replaced: tuple[Path, ...] = ()


def fetch(source: Source, service: str, month: Month, cache: Path) -> MonthFile:
    """Local file of a month, fetched unless the cached copy still matches the source.

    An interrupted download never leaves a partial file under the final name.
    Processes that need the same file wait for each other.

    Parameters
    ----------
    source : Source
        From `ingest.open_source`.
    service : str
        green, yellow or fhvhv.
    month : Month
        Month to fetch.
    cache : Path
        Folder of all sources' caches; the file is written to ``cache/<source.key>/``.

    Raises
    ------
    MonthNotPublishedError
        When the source does not have the month.
    DownloadError
        When the source does not answer, only a part of the file arrives, or it cannot be written.
    TripSchemaError
        When what the source has is not a complete Parquet file; `TooLargeError` when it is above a ceiling.
    """
    name, folder = file_name(service, month), cache / source.key
    url = f"{source.url}/{name}"
    version = source.version(name)
    if version is None:
        raise MonthNotPublishedError(
            f"{service} {month}: not published at {url}. {publication(source.url)}"
            "Choose an earlier month or another --source.",
            service=service,
            month=str(month),
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with only_one_process(
            folder / f".{name}.lock", f"{name}: another process is fetching this file; waiting"
        ):
            manifest = _matching_manifest(folder / name, version)
            if manifest is None:
                manifest = _renew(source, folder / name, url, version)
            else:
                _require_parquet(folder / name, url, is_exact=True)
                logger.info("%s: the cached copy still matches %s", name, source.url)
    except OSError as error:
        raise DownloadError(
            f"{url}: cannot be stored in {folder}: {error.strerror or error}. "
            "Free disk space, give write access to the folder, or set MLOPS_STATE_DIR to another folder."
        ) from error
    size, sha256 = manifest["bytes"], manifest["sha256"]
    replaced = tuple(
        path
        for path in (replaced_path(folder / name, sha) for sha in manifest.get("replaced", ()))
        if path.exists()
    )
    return MonthFile(service, month, folder / name, url, size, sha256, version, replaced)


def replaced_path(path: Path, sha256: str) -> Path:
    """Path of the kept copy of a month's earlier file.

    Examples
    --------
    >>> str(replaced_path(Path("green_tripdata_2023-10.parquet"), "0123456789abcdef"))
    'replaced/green_tripdata_2023-10_0123456789ab.parquet'
    """
    return path.parent / "replaced" / f"{path.stem}_{sha256[:12]}{path.suffix}"


def _matching_manifest(path: Path, version: str) -> dict[str, Any] | None:
    """The file's manifest, if it matches the source's version and the file's bytes; else None."""
    try:
        manifest = json.loads(_manifest_path(path).read_text(encoding="utf-8"))
        if version.startswith(UNSURE) or manifest["version"] != version:
            return None
        if manifest["bytes"] != path.stat().st_size or manifest["sha256"] != sha256_of(path):
            logger.warning("%s: the cached copy has changed on disk; fetching it again", path.name)
            return None
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # no file, or not a valid manifest
        return None
    return dict(manifest)


def _renew(source: Source, path: Path, url: str, version: str) -> dict[str, Any]:
    """Fetch the file and write first it, then its manifest, under their final names.

    If the process is killed between the two, the manifest is missing or does not
    match the file, and the next run fetches the file again.
    """
    logger.info("%s: fetching from %s", path.name, url.rpartition("/")[0])
    for leftover in path.parent.glob(
        f".{path.name}.*.part"
    ):  # from a killed process: this process holds the lock
        leftover.unlink(missing_ok=True)
    with _temporary(path) as temporary:
        sha256 = _download(source, path.name, temporary, url, version)
        size = temporary.stat().st_size
        replaced = _keep_replaced(path, sha256)
        temporary.replace(path)
    manifest = {
        "url": url,
        "version": version,
        "sha256": sha256,
        "bytes": size,
        "fetched_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "replaced": replaced,
    }
    with _temporary(_manifest_path(path)) as temporary:
        with temporary.open("w", encoding="utf-8") as text:
            text.write(json.dumps(manifest, indent=2) + "\n")
            text.flush()
            os.fsync(text.fileno())
        temporary.replace(_manifest_path(path))
    _sync_folder(path.parent)
    return manifest


def _keep_replaced(path: Path, sha256: str) -> list[str]:
    """Hashes of the month's earlier files, oldest first; the file that is replaced now is kept if it is intact."""
    try:
        before = json.loads(_manifest_path(path).read_text(encoding="utf-8"))
        replaced, last = list(before.get("replaced", ())), before["sha256"]
        if last != sha256 and sha256_of(path) == last:
            kept = replaced_path(path, last)
            kept.parent.mkdir(exist_ok=True)
            kept.unlink(missing_ok=True)
            os.link(path, kept)  # atomic; the old file stays until the new one replaces it
            replaced = [*(sha for sha in replaced if sha != last), last]
            logger.warning("%s: republished with other bytes; the old file is kept as %s", path.name, kept)
    except (
        FileNotFoundError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ):  # no file, or not a valid manifest
        return []
    return [sha for sha in replaced if sha != sha256]


def _download(source: Source, name: str, path: Path, url: str, version: str) -> str:
    """Write the file to `path` and return its sha256; starts again when the connection breaks."""
    retry = retries.few_attempts(BrokenOffError, lambda error: f"{name}: {error.reason}")
    return retry(_download_once, source, name, path, url, version)


def _download_once(source: Source, name: str, path: Path, url: str, version: str) -> str:
    with _HashingWriter(path) as target, progress.step(name, None, progress.BYTES) as report:
        source.download(name, target, _Watch(name, url, report))
        target.flush()
        os.fsync(target.fileno())
        sha256 = target.digest.hexdigest()
    _require_parquet(path, url, is_exact=version == f"sha256:{sha256}")
    return sha256


def _require_parquet(path: Path, url: str, is_exact: bool) -> None:
    """Raise unless the file is a complete Parquet file below the ceilings.

    Parameters
    ----------
    is_exact : bool
        Whether these bytes are known to be all that the source has. Otherwise a file without its end is a broken
        download: a body may end early although nothing says so, and a file may still be growing.
    """
    try:
        ceilings.require(path, url)
        pq.read_metadata(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        if has_encrypted_footer(path):
            raise encrypted(url) from error
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(40)
            file.seek(max(size - len(MAGIC), len(MAGIC)))
            has_end = file.read() == MAGIC
        got = f"got none that can be read ({size} bytes)"
        difference = f"it starts with {MAGIC!r}, but expected a footer at its end, {got}"
        if not head.startswith(MAGIC):
            if is_exact or not MAGIC.startswith(head):
                raise not_parquet(url, head, f"{size} bytes") from error
            difference = f"expected {MAGIC!r} at its start, got {head!r} ({size} bytes)"
        reason = f"a {'damaged' if has_end else 'truncated'} Parquet file"
        if is_exact or has_end:
            raise TripSchemaError(f"{url}: {reason}; {difference}. Put a complete copy there.") from error
        raise BrokenOffError(url, reason, difference) from error


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A unique temporary path next to `path`; a file there is deleted at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _manifest_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _sync_folder(folder: Path) -> None:
    """Flush the folder to disk, so that renames survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _HashingWriter(io.BufferedWriter):
    """A new file that computes the sha256 of the bytes written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self.digest = hashlib.sha256()

    def write(self, chunk: Any) -> int:
        self.digest.update(chunk)
        return super().write(chunk)


class _Watch:
    """Reports the progress of a download, or logs it now and then; ends one that is too slow or too large."""

    def __init__(self, name: str, url: str, report: Progress = lambda done, total: None) -> None:
        self._name, self._url, self._report = name, url, report
        self._logged = time.monotonic()
        self._since: tuple[float, int] | None = (
            None  # when the rate was last looked at, with the bytes until then
        )

    def __call__(self, done: int, total: int | None) -> None:
        ceilings.require_size(max(done, total or 0), self._url)
        self._report(done, total)
        now = time.monotonic()
        if now - self._logged >= PROGRESS_SECONDS and not progress.is_shown():
            self._logged = now
            logger.info("%s: %s", self._name, _how_far(done, total))
        if self._since is None:
            self._since = now, done
        seconds, arrived = now - self._since[0], done - self._since[1]
        if seconds < RATE_SECONDS or done == total:
            return
        self._since = now, done
        if arrived < MIN_BYTES_PER_SECOND * seconds:
            difference = (
                f"expected at least {MIN_BYTES_PER_SECOND} bytes a second, got {arrived / seconds:.0f}"
            )
            raise BrokenOffError(self._url, "the bytes arrive too slowly", difference)


def _how_far(done: int, total: int | None) -> str:
    """Bytes that have arrived, in a unit that suits the size.

    Examples
    --------
    >>> _how_far(6_400, 21_000), _how_far(3_000_000, 45_100_000), _how_far(3_000_000, None)
    ('6.4 of 21.0 kB', '3 of 45 MB', '3 MB')
    """
    size, unit, digits = (1e6, "MB", 0) if (total or done) >= 1e6 else (1e3, "kB", 1)
    of_total = "" if total is None else f" of {total / size:.{digits}f}"
    return f"{done / size:.{digits}f}{of_total} {unit}"
