"""The page for riders, ``/``: where from, where to, when, and about how many minutes.

Beside this module are the page's files, which are served as they are: HTML, one style sheet and plain JavaScript
modules. The page asks the service itself for everything else, and nothing from any other host. The files need no
key; what they ask the service for does, where keys are used.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = "index.html"
FILES: Final = (
    PAGE, "page.css", "page.js", "answer.js", "calls.js", "choices.js", "combobox.js", "curve.js", "map.js",
    "view.js", "week.js", "words.js",
)  # fmt: skip
PATHS: Final = {"/" if name == PAGE else f"/rider/{name}": name for name in FILES}
"""Name of the file at each path of the service."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The page's ``Content-Security-Policy``: its own scripts and styles, nothing inline, no other host."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True)
class Sent:
    """The answer to one request for a file.

    Parameters
    ----------
    status : int
        200; 304 if the browser has this very file.
    headers : dict of str to str
    body : bytes
        Empty for 304.
    """

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class PageFile:
    """A file of the page, as it is and compressed.

    Parameters
    ----------
    kind : str
        Value of ``Content-Type``.
    plain, packed : bytes
        The file, and the file compressed with gzip.
    """

    kind: str
    plain: bytes
    packed: bytes

    def sent(self, asked: Mapping[str, str]) -> Sent:
        """The answer to a request with these headers, whose names may be written in any case.

        A browser keeps the file, and asks each time whether it has changed: after an update of the service no
        page mixes old and new files.

        Examples
        --------
        >>> file = PageFile("text/css", b"body{}", gzip.compress(b"body{}", mtime=0))
        >>> first = file.sent({})
        >>> first.status, first.body, file.sent({"if-none-match": first.headers["etag"]}).status
        (200, b'body{}', 304)
        """
        is_packed = _accepts_gzip(asked.get("accept-encoding", ""))
        body = self.packed if is_packed else self.plain
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {
            "etag": tag, "cache-control": "no-cache", "vary": "accept-encoding",
            "content-security-policy": POLICY,
        }  # fmt: skip
        known = {each.strip().removeprefix("W/") for each in asked.get("if-none-match", "").split(",")}
        if known & {tag, "*"}:
            return Sent(304, headers, b"")
        headers["content-type"] = self.kind
        if is_packed:
            headers["content-encoding"] = "gzip"
        return Sent(200, headers, body)


def read(
    load: Callable[[str], bytes] = lambda name: (Path(__file__).parent / name).read_bytes(),
) -> dict[str, PageFile]:
    """The page's files by their path at the service.

    Raises
    ------
    OSError
        When a file is missing, as in an incomplete installation.
    """
    return {path: _packed(name, load(name)) for path, name in PATHS.items()}


def _packed(name: str, content: bytes) -> PageFile:
    return PageFile(_TYPES[Path(name).suffix], content, gzip.compress(content, mtime=0))


def _accepts_gzip(accepted: str) -> bool:
    """Whether a value of ``Accept-Encoding`` allows gzip.

    Examples
    --------
    >>> [_accepts_gzip(each) for each in ("gzip, br", "deflate", "gzip;q=0", "")]
    [True, False, False, False]
    """
    for each in accepted.lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False
