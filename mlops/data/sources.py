"""Sources of months: TLC's site, another web server, a bucket or a folder.

This is the only module that fetches trips over a network. A source reports the
version of a file and delivers its bytes; `cache` stores them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

import fsspec
import requests
from fsspec.implementations.local import LocalFileSystem
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from mlops.config import TLC_SITE, without_credentials
from mlops.data import retries
from mlops.errors import ConfigError, DownloadError
from mlops.files import sha256_of
from mlops.month import Month

Progress = Callable[[int, int | None], None]
RETRY_AFTER_MAX_SECONDS = 60  # a server may ask for hours
TIMEOUT_SECONDS = (3.0, 30.0)  # to connect (each attempt), and between received bytes
CHUNK_BYTES = 2**20
UNSURE = "bytes:"  # prefix of a version that is not enough to trust a cached copy


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
        """Fingerprint of the file's content; None when the source does not have the file.

        A fingerprint that starts with ``bytes:`` is only a hint: the file is fetched each time.

        Raises
        ------
        DownloadError
            When the source does not answer; `RefusedError` when it does not say whether it has the file.
        """

    def size(self, name: str) -> int | None:
        """Bytes of the file at the source, for a cost estimate; None when unknown."""

    def download(self, name: str, target: BinaryIO, progress: Progress) -> None:
        """Write the file's bytes to `target` in order, calling ``progress(done, total)``.

        Raises
        ------
        DownloadError
            When the bytes do not arrive.
        """


def open_source(source: str) -> Source:
    """Source that the setting names: ``tlc``, a folder or a URL (`sample` is handled in `ingest`).

    Raises
    ------
    ConfigError
        When a folder does not exist or a URL cannot be understood.
    """
    address = TLC_SITE if source == "tlc" else source
    shown = without_credentials(address)
    scheme = urlsplit(shown).scheme.lower() if "://" in address else ""
    if scheme in ("http", "https"):
        return _open_site(address, shown)
    if not scheme:
        return _open_folder(Path(address).expanduser(), source)
    try:
        filesystem, path = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"source {shown!r}: {error}. {_KNOWN_SOURCES}") from error
    except Exception as error:  # an error class of the file system, for example for malformed credentials
        raise _as_download_error(shown, error) from error
    if isinstance(filesystem, LocalFileSystem):
        return _open_folder(Path(path), shown)
    return _Files(shown, _key(scheme, shown), None, filesystem, path.rstrip("/"))


def months_available(source: Source, service: str, months: Sequence[Month]) -> tuple[Month, ...]:
    """Those of `months` that the source has, in the given order.

    TLC's site answers HTTP 403 for a month that is not published, and also for clients that it throttles. So a 403
    counts as "not published" only if the source delivers another file right after it, and only outside the range
    of available months. Otherwise the request is retried, and then reported as an outage.

    Raises
    ------
    DownloadError
        When the source does not answer; `RefusedError` when a refused month may exist.
    """
    answers = {month: _holds(source, file_name(service, month)) for month in months}
    for attempt in retries.few_attempts(RefusedError, lambda error: error.reason):
        with attempt:
            held = [month for month, answer in answers.items() if answer]
            refused = [month for month, answer in answers.items() if answer is None]
            control = file_name(service, max(held)) if held else source.control
            is_open = bool(refused) and control is not None and _holds(source, control)
            answers |= {month: _holds(source, file_name(service, month)) for month in refused}
            still = [month for month in refused if answers[month] is None]
            doubtful = [month for month in still if not is_open or (held and min(held) < month < max(held))]
            if doubtful:
                url = f"{source.url}/{file_name(service, doubtful[0])}"
                why = _why_doubtful(url, len(still), held, is_open)
                raise RefusedError(f"{why}. Try again later, or check the address and the credentials.", why)
    return tuple(month for month, answer in answers.items() if answer)


_KNOWN_SOURCES = "Write sample, tlc, a folder that exists, or an https://, s3:// or gs:// URL."


class BrokenOffError(DownloadError):
    """The download ended early; another attempt may succeed."""

    def __init__(self, url: str, expected_bytes: int | None, got_bytes: int) -> None:
        expected = "the whole file" if expected_bytes is None else f"{expected_bytes} bytes"
        super().__init__(
            f"{url}: the connection broke off; expected {expected}, got {got_bytes} bytes. "
            "Try again later, or choose another --source."
        )


class RefusedError(DownloadError):
    """The source does not say whether it has a file: HTTP 403."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason  # the message without advice, for the log


@dataclass(frozen=True)
class _Site:
    """A web server with all files in one folder."""

    url: str
    key: str
    control: str | None
    _address: str = field(repr=False)  # may contain a password
    _query: str = field(repr=False)  # may contain a signature
    _session: requests.Session = field(repr=False)

    def version(self, name: str) -> str | None:
        with self._ask("HEAD", name) as response:
            if response.status_code == requests.codes.not_found:
                return None
            if response.status_code == requests.codes.forbidden:
                raise RefusedError(f"{self.url}/{name}: HTTP 403. Try again later, or check the credentials.")
            self._require_ok(response, name)
            headers = response.headers
            return headers.get("ETag") or f"{UNSURE}{headers.get('Content-Length', 'unknown')}"

    def size(self, name: str) -> int | None:
        with self._ask("HEAD", name) as response:
            return _body_bytes(response) if response.ok else None

    def download(self, name: str, target: BinaryIO, progress: Progress) -> None:
        with self._ask("GET", name) as response:
            self._require_ok(response, name)
            expected, done = _body_bytes(response), 0
            try:
                for chunk in response.iter_content(CHUNK_BYTES):
                    done += target.write(chunk)
                    progress(done, expected)
            except (
                requests.RequestException
            ) as error:  # also when fewer bytes arrive than Content-Length says
                arrived = response.raw.tell()  # `done` does not count the incomplete chunk
                raise BrokenOffError(f"{self.url}/{name}", expected, arrived) from self._cause(error)

    def _ask(self, method: str, name: str) -> requests.Response:
        retry = retries.few_attempts(
            (requests.ConnectionError, requests.Timeout), lambda error: f"{self.url}: {_reason(error)}"
        )
        address = f"{self._address}/{name}{self._query}"
        try:
            return retry(self._session.request, method, address, stream=True, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            attempts = retry.statistics["attempt_number"]
            raise DownloadError(
                f"{self.url}/{name}: no answer after {attempts} attempts: {_reason(error)}. "
                "Check the address and the network, or choose another --source."
            ) from self._cause(error)

    def _require_ok(self, response: requests.Response, name: str) -> None:
        if response.status_code != requests.codes.ok:
            raise DownloadError(
                f"{self.url}/{name}: expected HTTP 200, got {response.status_code} {response.reason}. "
                "Try again later, check the credentials, or choose another --source."
            )

    def _cause(self, error: Exception) -> Exception | None:
        """Exception to chain; None when its text may contain the query, which may contain a signature."""
        return None if self._query else error


@dataclass(frozen=True)
class _Files:
    """A folder on this machine, in a bucket, or in another file system that fsspec supports."""

    url: str
    key: str
    control: str | None
    _filesystem: Any = field(repr=False)
    _path: str = field(repr=False)

    def version(self, name: str) -> str | None:
        path = f"{self._path}/{name}"
        try:
            self._filesystem.invalidate_cache()  # a cached listing would hide a new version
            try:
                about = self._filesystem.info(path)
            except FileNotFoundError:
                self._filesystem.info(
                    self._path
                )  # raises for a wrong bucket name, which is not a missing month
                return None
            if about["type"] != "file":
                return None
            if isinstance(self._filesystem, LocalFileSystem):
                return f"sha256:{sha256_of(Path(path))}"
            etag = about.get("ETag") or about.get("etag")
            return str(etag) if etag else f"checksum:{self._filesystem.checksum(path)}"
        except Exception as error:  # each file system has its own exceptions
            raise _as_download_error(f"{self.url}/{name}", error) from error

    def size(self, name: str) -> int | None:
        try:
            return int(self._filesystem.size(f"{self._path}/{name}"))
        except Exception as error:  # as above
            raise _as_download_error(f"{self.url}/{name}", error) from error

    def download(self, name: str, target: BinaryIO, progress: Progress) -> None:
        expected, done = None, 0
        for chunk, expected in self._chunks(name):
            done += target.write(chunk)
            progress(done, expected)
        if expected not in (None, done):
            raise BrokenOffError(f"{self.url}/{name}", expected, done)

    def _chunks(self, name: str) -> Iterator[tuple[bytes, int]]:
        """Chunks, each with the total size; a generator, so that errors of writing are not caught here."""
        path = f"{self._path}/{name}"
        try:
            size = int(self._filesystem.size(path))
            with self._filesystem.open(path, "rb", block_size=8 * CHUNK_BYTES) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk, size
        except Exception as error:  # as above
            raise _as_download_error(f"{self.url}/{name}", error) from error


def _holds(source: Source, name: str) -> bool | None:
    """Whether the source has the file; None when it answers HTTP 403."""
    try:
        return source.version(name) is not None
    except RefusedError:
        return None


def _why_doubtful(url: str, refused: int, held: Sequence[Month], is_open: bool | None) -> str:
    """Why a refusal does not prove that a month is not published."""
    if is_open:
        return f"{url}: HTTP 403, although {min(held)} and {max(held)} are available"
    others = f", also for {refused - 1} other months" if refused > 1 else ""
    return f"{url}: HTTP 403{others}, and no file that should exist is available either"


def _open_site(address: str, shown: str) -> _Site:
    parts = urlsplit(address)
    try:
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        valid = False
    if not valid:
        raise ConfigError(
            f"source {shown!r}: expected https://host/folder, got no usable host. {_KNOWN_SOURCES}"
        )
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # so that Content-Length counts the received bytes
    # Only answers of a busy server are retried here. `_ask` retries broken connections,
    # because urllib3 would log them with their query, which may contain a signature.
    retry = Retry(
        total=None,
        connect=0,
        read=0,
        other=0,
        status=retries.ATTEMPTS - 1,
        status_forcelist=(429, 500, 502, 503, 504),
        backoff_factor=retries.BACKOFF_SECONDS,
        retry_after_max=RETRY_AFTER_MAX_SECONDS,
        raise_on_status=False,
    )
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    kind, control = ("tlc", "../misc/taxi_zone_lookup.csv") if shown == TLC_SITE else (parts.scheme, None)
    return _Site(shown, _key(kind, shown), control, base, f"?{parts.query}" if parts.query else "", session)


def _open_folder(path: Path, source: str) -> _Files:
    if not path.is_dir():
        raise ConfigError(f"source {source!r}: there is no folder {path.absolute()}. {_KNOWN_SOURCES}")
    resolved = str(path.resolve())  # a folder with two names is one source
    return _Files(resolved, _key("folder", resolved), None, LocalFileSystem(), resolved)


def _key(kind: str, url: str) -> str:
    """Folder name such as ``folder-trip-data-1a2b3c4d``."""
    last = re.sub(r"[^a-z0-9]+", "-", url.rstrip("/").rpartition("/")[2].lower()).strip("-")[:40]
    return "-".join(filter(None, (kind, last, hashlib.sha256(url.encode()).hexdigest()[:8])))


def _body_bytes(response: requests.Response) -> int | None:
    """Content-Length; None when it is missing or counts encoded bytes."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and "Content-Encoding" not in response.headers else None


def _reason(error: BaseException) -> str:
    """Innermost cause, such as 'Connection refused'; outer messages repeat the URL with its query."""
    inner: BaseException | None = error
    while inner is not None:
        error, inner = inner, inner.__cause__ or inner.__context__
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__


def _as_download_error(url: str, error: Exception) -> DownloadError:
    """`DownloadError` for any error that a file system's library raises."""
    if isinstance(error, FileNotFoundError):
        reason = "no such file, folder or bucket"
    else:
        reason = f"{type(error).__name__}: {error}".rstrip(": .")
    return DownloadError(
        f"{url}: {reason}. Check the address, the credentials and the network, or choose another --source."
    )
