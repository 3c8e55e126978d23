"""A web server with all months in one folder, however well it knows HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.client import HTTPException, responses
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
from requests.utils import get_auth_from_url
from urllib3 import HTTPResponse
from urllib3.exceptions import DecodeError, HTTPError, LocationParseError, ReadTimeoutError
from urllib3.util import Url, parse_url

from mlops.config import TLC_SITE, without_credentials
from mlops.data import retries
from mlops.data.sources.source import (
    CHUNK_BYTES,
    MAGIC,
    UNSURE,
    BrokenOffError,
    Progress,
    RedirectError,
    RefusedError,
    key_of,
    not_parquet,
)
from mlops.errors import ConfigError, DownloadError, one_line

TIMEOUT_SECONDS = (3.0, 30.0)  # to connect (each attempt), and between received bytes
RETRY_AFTER_MAX_SECONDS = 3600.0  # a server may ask for days, by mistake
REDIRECTS = 5  # that are followed, one after the other
_COMPLETE = (200, 203)  # 203: a proxy has changed the headers or the body
_ABSENT = (404, 410)
_TEXT = re.compile(r"text/|application/(\S+\+)?(html|xml|json)", re.IGNORECASE)  # types of answers for people


def open_site(address: str, shown: str) -> WebSite:
    """The web server of a URL.

    Parameters
    ----------
    address, shown : str
        The URL; the same without credentials and query.

    Raises
    ------
    ConfigError
        When the URL has no usable host.
    """
    parts = urlsplit(address)
    try:
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        valid = False
    if not valid:
        raise ConfigError(
            f"source {shown!r}: expected https://host/folder, got no usable host. Correct the address, or choose "
            "another --source."
        )
    session = _Session()  # it retries nothing: `WebSite` does
    session.headers["Accept-Encoding"] = "identity"  # so that Content-Length counts the received bytes
    session.auth = get_auth_from_url(address) if parts.password else None
    base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    kind, control = ("tlc", "../misc/taxi_zone_lookup.csv") if shown == TLC_SITE else (parts.scheme, None)
    return WebSite(
        shown, key_of(kind, shown), control, base, f"?{parts.query}" if parts.query else "", session
    )


@dataclass(frozen=True)
class WebSite:
    """A web server with all files in one folder (`mlops.data.sources.Source`)."""

    url: str
    key: str
    control: str | None
    _address: str = field(repr=False)
    _query: str = field(repr=False)  # may contain a signature
    _session: requests.Session = field(repr=False)

    def version(self, name: str) -> str | None:
        """As `Source.version`."""
        with self._headers(name) as response:
            if response.status_code in _ABSENT:
                return None
            if response.status_code == requests.codes.forbidden:
                raise RefusedError(f"{self.url}/{name}: HTTP 403. Try again later, or check the credentials.")
            self._require_complete(response, name)
            if _is_text(response, name):
                self._require_parquet(response, name)
            headers = response.headers
            return headers.get("ETag") or f"{UNSURE}{headers.get('Content-Length', 'unknown')}"

    def size(self, name: str) -> int | None:
        """As `Source.size`."""
        with self._headers(name) as response:
            return _body_bytes(response) if response.status_code in _COMPLETE else None

    def download(self, name: str, target: BinaryIO, progress: Progress) -> None:
        """As `Source.download`."""
        with self._ask("GET", name) as response:
            self._require_complete(response, name)
            expected, done = _body_bytes(response), 0
            for piece in self._pieces(response, name):
                done += target.write(piece)
                progress(done, expected)

    def _headers(self, name: str) -> requests.Response:
        """Answer to HEAD; to GET, whose body nobody has to read, if HEAD does not tell whether the file is there.

        A server may not know HEAD (405, 501), or not allow it (400, 403: a signed URL is signed for GET). A text
        may be a page about the file. TLC's site knows HEAD, so its 403 is final.
        """
        response = self._ask("HEAD", name)
        status = response.status_code
        is_refused_by_tlc = self.control is not None and status == requests.codes.forbidden
        if status in _ABSENT or is_refused_by_tlc or (status in _COMPLETE and not _is_text(response, name)):
            return response
        response.close()
        return self._ask("GET", name)

    def _pieces(self, response: requests.Response, name: str) -> Iterator[bytes]:
        """The body as it arrives; a generator, so that errors of writing are not caught here."""
        response.raw.headers["Content-Encoding"] = ",".join(_known_encodings(response))
        try:
            while piece := response.raw.read1(CHUNK_BYTES, decode_content=True):
                yield piece
        except HTTPError as error:  # also when fewer bytes arrive than Content-Length says
            expected, arrived = _body_bytes(response), response.raw.tell()
            whole = "the whole file" if expected is None else f"{expected} bytes"
            difference = f"expected {whole}, got {arrived} bytes"
            raise BrokenOffError(f"{self.url}/{name}", _why_broken(error), difference) from self._cause(error)

    def _ask(self, method: str, name: str) -> requests.Response:
        retry = retries.few_attempts(
            (requests.ConnectionError, requests.Timeout, retries.UnavailableError), self._why
        )
        try:
            return retry(self._ask_once, method, name)
        except requests.RequestException as error:
            attempts = retry.statistics["attempt_number"]
            raise DownloadError(
                f"{self.url}/{name}: no answer after {attempts} attempts: {_reason(error)}. "
                "Check the address and the network, or choose another --source."
            ) from self._cause(error)

    def _ask_once(self, method: str, name: str) -> requests.Response:
        response = self._follow(method, f"{self._address}/{name}{self._query}", name)
        if not _is_temporary(response.status_code):
            return response
        with response:
            asked = response.headers.get("Retry-After")
            raise retries.UnavailableError(
                self._unexpected(response, name, "set source_patience to keep trying"),
                reason=f"{self.url}: HTTP {response.status_code}",
                wait_seconds=0.0 if asked is None else wait_seconds(asked),
            )

    def _follow(self, method: str, address: str, name: str) -> requests.Response:
        """Answer after at most `REDIRECTS` redirects, each to an address of the source's own host."""
        history: list[requests.Response] = []
        for _ in range(REDIRECTS + 1):
            response = self._session.request(method, address, stream=True, timeout=TIMEOUT_SECONDS)
            if not response.is_redirect:
                response.history = history
                return response
            response.close()  # without its body, which may have any length
            address = self._next_address(response, name)
            history.append(response)
        raise RedirectError(
            f"{self.url}/{name}: expected the file after at most {REDIRECTS} redirects; got one more. Look at the "
            "server, or choose another --source."
        )

    def _next_address(self, response: requests.Response, name: str) -> str:
        """Where a redirect leads: to the same host, scheme and port, or from http to https of the same host."""
        location = response.headers["Location"].encode("latin1").decode(errors="replace")
        here, shown = parse_url(response.url), "an address that cannot be read"
        try:
            there = parse_url(urljoin(response.url, location))  # as the connection will understand it
        except (LocationParseError, ValueError):
            there = Url()
        else:
            shown = repr(Url(there.scheme, host=there.host, port=there.port).url)[:80]
        is_safer = here.scheme == "http" and _door(there) == ("https", 443)
        if there.host == here.host and there.auth is None and (_door(there) == _door(here) or is_safer):
            return there.url
        raise RedirectError(
            f"{self.url}/{name}: expected the file from {here.scheme}://{here.netloc}; got a redirect to {shown}, "
            "which is not followed. If you trust that address, choose it as --source; else look at the server."
        )

    def _why(self, error: Exception) -> str:
        return (
            error.reason if isinstance(error, retries.UnavailableError) else f"{self.url}: {_reason(error)}"
        )

    def _require_complete(self, response: requests.Response, name: str) -> None:
        if response.status_code not in _COMPLETE:
            raise DownloadError(self._unexpected(response, name, "check the credentials"))

    def _require_parquet(self, response: requests.Response, name: str) -> None:
        """Raise unless the body of this GET starts as a Parquet file does, whatever its headers say."""
        head = b""
        for piece in self._pieces(response, name):
            head = (head + piece)[:40]
            if len(head) >= len(MAGIC):
                break
        if not head.startswith(MAGIC):
            kind = one_line(response.headers["Content-Type"], 40)
            moved = f", after a redirect to {without_credentials(response.url)}" if response.history else ""
            raise not_parquet(f"{self.url}/{name}", head, f"{kind}{moved}")

    def _unexpected(self, response: requests.Response, name: str, advice: str) -> str:
        """Message about an answer that is not the file."""
        got = f"{response.status_code} {responses.get(response.status_code, '')}".strip()
        asked = response.headers.get("Retry-After")
        later = f", Retry-After: {one_line(asked, 40)}" if asked else ""
        return (
            f"{self.url}/{name}: expected HTTP 200, got {got}{later}. "
            f"Try again later, {advice}, or choose another --source."
        )

    def _cause(self, error: Exception) -> Exception | None:
        """Exception to chain; None when its text may contain the query, which may contain a signature."""
        return None if self._query else error


class _Session(requests.Session):
    """A session that leaves redirects to its caller: requests reads the whole body of one into memory."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No target, whatever the answer says."""


def _door(address: Url) -> tuple[str | None, int | None]:
    """Scheme and port."""
    return address.scheme, address.port or {"http": 80, "https": 443}.get(address.scheme or "")


def wait_seconds(retry_after: str) -> float:
    """Seconds that a server asks to wait, at most `RETRY_AFTER_MAX_SECONDS`; 0 if it is not understood.

    Source: RFC 9110, 10.2.3: a number of seconds, or a date. Some servers send fractions.

    Examples
    --------
    >>> wait_seconds("120"), wait_seconds("0.5"), wait_seconds("1m0s"), wait_seconds("-5")
    (120.0, 0.5, 0.0, 0.0)
    >>> wait_seconds("Wed, 21 Oct 2015 07:28:00 GMT"), wait_seconds("Fri, 31 Dec 9999 23:59:59 GMT")
    (0.0, 3600.0)
    """
    if re.fullmatch(r"\s*[0-9]+(\.[0-9]*)?\s*", retry_after):
        seconds = float(retry_after)
    else:
        try:
            moment = parsedate_to_datetime(retry_after)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
            seconds = (moment - datetime.now(timezone.utc)).total_seconds()
        except (ValueError, OverflowError):
            seconds = 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_SECONDS)


def _is_temporary(status: int) -> bool:
    """Whether the same request may succeed later: the server is busy, or out of order."""
    return status in (408, 425, 429) or (status >= 500 and status not in (501, 505))


def _is_text(response: requests.Response, name: str) -> bool:
    """Whether the headers call a month's file a page or a text."""
    return name.endswith(".parquet") and bool(_TEXT.match(response.headers.get("Content-Type", "")))


def _known_encodings(response: requests.Response) -> list[str]:
    """How the body is encoded, without names that are no encoding, such as S3's ``aws-chunked``."""
    named = response.headers.get("Content-Encoding", "").lower().split(",")
    return [name.strip() for name in named if name.strip() in HTTPResponse.CONTENT_DECODERS]


def _body_bytes(response: requests.Response) -> int | None:
    """Content-Length; None when it is missing or counts encoded bytes."""
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch("[0-9]+", length) and not _known_encodings(response) else None


def _why_broken(error: HTTPError) -> str:
    if isinstance(error, ReadTimeoutError):
        return f"no bytes arrived for {TIMEOUT_SECONDS[1]:g} s"
    if isinstance(error, DecodeError):
        return "the body is not encoded as the header Content-Encoding says"
    return "the connection broke off"


def _reason(error: BaseException) -> str:
    """Innermost cause, such as 'Connection refused'; outer messages repeat the URL with its query.

    If the caller is handling an error of its own, as Mage does without an event loop, Python chains that one too.
    """
    inner: BaseException | None = error
    while isinstance(inner, (OSError, HTTPError, HTTPException)):
        # Raising an error again in such a handler replaces its context; requests and urllib3 also hold the cause.
        held = (getattr(inner, "reason", None), *inner.args)
        kept = next((cause for cause in held if isinstance(cause, Exception)), None)
        error, inner = inner, kept or inner.__cause__ or inner.__context__
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__
