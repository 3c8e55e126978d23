"""A folder on this machine, in a bucket, or in another file system that fsspec supports."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.implementations.local import LocalFileSystem

from mlops.data.sources.source import CHUNK_BYTES, BrokenOffError, Progress
from mlops.errors import ConfigError, DownloadError, MlopsError, TripSchemaError, one_line
from mlops.files import sha256_of


@dataclass(frozen=True)
class Folder:
    """A folder of months (`mlops.data.sources.Source`)."""

    url: str
    key: str
    _filesystem: Any = field(repr=False)
    _path: str = field(repr=False)
    control = None

    def version(self, name: str) -> str | None:
        """As `Source.version`."""
        path = f"{self._path}/{name}"
        with self._own_errors(name):
            self._filesystem.invalidate_cache()  # a cached listing would hide a new version
            about = self._info(name)
            if about is None:
                return None
            if about["type"] != "file":
                raise TripSchemaError(
                    f"{self.url}/{name}: expected a file, got {_kind(about)}. Put one Parquet file under this "
                    "name (Spark writes a folder of parts: write them into one file)."
                )
            if self._is_local:
                return f"sha256:{sha256_of(Path(path))}"
            etag = about.get("ETag") or about.get("etag")
            return str(etag) if etag else f"checksum:{self._filesystem.checksum(path)}"

    def size(self, name: str) -> int | None:
        """As `Source.size`."""
        with self._own_errors(name):
            size = self._filesystem.size(f"{self._path}/{name}")
            return None if size is None else int(size)

    def download(self, name: str, target: BinaryIO, progress: Progress) -> None:
        """As `Source.download`."""
        expected, done = None, 0
        for chunk, expected in self._chunks(name):
            done += target.write(chunk)
            progress(done, expected)
        if expected not in (None, done):
            difference = f"expected {expected} bytes, got {done} bytes"
            raise BrokenOffError(f"{self.url}/{name}", "the connection broke off", difference)

    def names(self) -> list[str]:
        """Names of the files in the folder, sorted; not those in its subfolders.

        Raises
        ------
        DownloadError
            When it cannot be listed.
        """
        try:
            self._filesystem.invalidate_cache()
            found = self._filesystem.ls(self._path, detail=True)
        except Exception as error:  # as in `_own_errors`
            raise as_download_error(self.url, error, self._is_local) from cause(error)
        return sorted(each["name"].rpartition("/")[2] for each in found if each["type"] == "file")

    def _chunks(self, name: str) -> Iterator[tuple[bytes, int | None]]:
        """Chunks, each with the total size; a generator, so that errors of writing are not caught here."""
        size = self.size(name)
        with self._own_errors(name):
            path = f"{self._path}/{name}"
            with self._filesystem.open(path, "rb", block_size=8 * CHUNK_BYTES) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk, size

    def _info(self, name: str) -> dict[str, Any] | None:
        """What the file system knows of the file; None when nothing has this name."""
        path = f"{self._path}/{name}"
        try:
            return dict(self._filesystem.info(path))
        except FileNotFoundError:
            if self._is_local and Path(path).is_symlink():
                raise DownloadError(
                    f"{self.url}/{name}: a link to {Path(path).readlink()}, which does not exist. "
                    "Put the file there, or remove the link."
                ) from None
            folder = self._filesystem.info(
                self._path
            )  # raises for a wrong bucket name: no month is missing there
            if folder["type"] == "file":
                raise ConfigError(f"source {self.url}: expected a folder of months, got a file.") from None
            return None

    @property
    def _is_local(self) -> bool:
        return isinstance(self._filesystem, LocalFileSystem)

    @contextmanager
    def _own_errors(self, name: str) -> Iterator[None]:
        """Raise `DownloadError` for any error of the file system: each has its own exceptions."""
        try:
            yield
        except MlopsError:
            raise
        except Exception as error:
            raise as_download_error(f"{self.url}/{name}", error, self._is_local) from cause(error)


def as_download_error(url: str, error: Exception, is_local: bool = False) -> DownloadError:
    """`DownloadError` for any error that a file system's library raises."""
    advice = "Check the address, the credentials and the network, or choose another --source."
    if isinstance(error, FileNotFoundError):
        reason = "no such file, folder or bucket"
    elif is_local and isinstance(error, PermissionError):
        reason, advice = "permission denied", "Give this user read access, or choose another --source."
    else:
        reason = f"{type(error).__name__}: {_without_secrets(error)}".rstrip(": .")
    return DownloadError(f"{url}: {reason}. {advice}")


def cause(error: Exception) -> Exception | None:
    """Exception to chain; None when its text may contain a password."""
    return error if _without_secrets(error) == one_line(error) else None


def _without_secrets(error: Exception) -> str:
    """Text of an error on one line, without what may be a user and a password."""
    return re.sub(r"""[^\s"'/]*@""", "", one_line(error))


def _kind(about: dict[str, Any]) -> str:
    """What has a month's name, if it is not a file."""
    if about["type"] == "directory":
        return "a folder"
    mode = about.get("mode", 0)
    known = {stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket"}
    return next((kind for is_it, kind in known.items() if is_it(mode)), f"something else ({about['type']})")
