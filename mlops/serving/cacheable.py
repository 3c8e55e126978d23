"""Answers that a client may keep: it asks each time whether its copy is still right, and then gets no other."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response


@dataclass(frozen=True)
class Cacheable:
    """An answer that is the same for everybody, as it is and compressed.

    Parameters
    ----------
    kind : str
        Value of ``Content-Type``.
    headers : mapping of str to str
        More headers.
    plain, packed : bytes
        The content, and the content compressed with gzip.
    tags : tuple of (str, str)
        An ``ETag`` for each of both.

    Examples
    --------
    >>> answer = Cacheable.of("text/css", b"body{}")
    >>> first = answer.sent({})
    >>> first.status_code, first.body, answer.sent({"if-none-match": first.headers["etag"]}).status_code
    (200, b'body{}', 304)
    """

    kind: str
    headers: Mapping[str, str]
    plain: bytes
    packed: bytes
    tags: tuple[str, str]

    @classmethod
    def of(cls, kind: str, content: bytes, headers: Mapping[str, str] | None = None) -> Cacheable:
        """The answer with this content."""
        packed = gzip.compress(content, mtime=0)
        return cls(kind, headers or {}, content, packed, (_tag(content), _tag(packed)))

    def sent(self, asked: Mapping[str, str]) -> Response:
        """The answer to a request with these headers, whose names may be written in any case.

        A client keeps the answer, and asks each time whether it has changed: after an update of the service no
        page mixes old and new files.
        """
        is_packed = _accepts_gzip(asked.get("accept-encoding", ""))
        tag = self.tags[is_packed]
        headers = {**self.headers, "etag": tag, "cache-control": "no-cache", "vary": "accept-encoding"}
        known = {each.strip().removeprefix("W/") for each in asked.get("if-none-match", "").split(",")}
        if known & {tag, "*"}:
            return Response(status_code=304, headers=headers)
        headers["content-type"] = self.kind
        if is_packed:
            headers["content-encoding"] = "gzip"
        return Response(self.packed if is_packed else self.plain, headers=headers)


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


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
