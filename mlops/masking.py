"""Secrets are kept out of what this process writes: logs, tracebacks, messages, the terminal.

No code of ours writes one. But a library's error may quote a whole address, and its log may show each request. So
every secret that this process knows is looked for, and replaced: values of environment variables that are called
secret, passwords and signatures in addresses, paths of webhooks.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from mlops.errors import plain

MASK = "****"
SHORTEST, LONGEST_WORD = (
    8,
    12,
)  # characters: shorter secrets, and shorter ones of letters, may be ordinary words
SHORTEST_PART = 16  # of a webhook's path, whose other parts are words such as "services"
_NAMED = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_KEY$|PRIVATE_KEY$", re.IGNORECASE)
_A_WEBHOOK = re.compile(r"WEBHOOK|HEARTBEAT", re.IGNORECASE)  # its path is secret, too
_A_FILE = re.compile(r"(_FILE|_PATH|_DIR)$", re.IGNORECASE)
_REMEMBERED: set[str] = set()


def remember(address: str, *, is_webhook: bool = False) -> None:
    """Mask the secrets of this address, too: it comes from a setting, not from the environment."""
    _REMEMBERED.update(_in_address(address, is_webhook=is_webhook))


def mask(text: str) -> str:
    """The text without the secrets that this process knows.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, LOCK_URL="postgresql://mage:correct/horse@db/mage"):
    ...     mask("cannot parse postgresql://mage:correct/horse@db/mage")
    'cannot parse postgresql://mage:****@db/mage'
    """
    pattern = _pattern(frozenset(_REMEMBERED | set(_in_environment(os.environ))))
    return pattern.sub(MASK, text) if pattern else text


def clean(text: str) -> str:
    """The text as it may be shown: without secrets, and without control characters except line ends and tabs."""
    return plain(mask(text))


def mask_logs() -> None:
    """From now on, every log record of this process, of any library, is made without secrets."""
    make = logging.getLogRecordFactory()
    if getattr(make, "__module__", "") == __name__:
        return

    def masked(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        text = record.getMessage()
        is_ours = record.name.partition(".")[0] == "mlops"
        shown = (
            clean(text).replace("\n", "\n  ") if is_ours else mask(text)
        )  # no line of it looks like another
        if shown != text:
            record.msg, record.args = shown, ()
        if record.exc_info and record.exc_info[0]:
            lines = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_text = mask(lines)  # formatters take it instead of formatting `exc_info`
        return record

    masked.__module__ = __name__
    logging.setLogRecordFactory(masked)


class Stream:
    """A text stream that writes without secrets; with `is_terminal`, also without control characters."""

    def __init__(self, inner: Any, *, is_terminal: bool = False) -> None:
        self._inner, self._shown = inner, clean if is_terminal else mask

    def write(self, text: str) -> int:
        """Write a text; the length of the given text is returned, as callers expect."""
        self._inner.write(self._shown(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def for_styles(self) -> Stream:
        """The same stream for text with colours: control characters stay, so clean a text before it gets them."""
        return Stream(self._inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextlib.contextmanager
def outputs(*, is_terminal: bool = False) -> Iterator[None]:
    """Inside the block, what this process prints is without secrets; see `Stream`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Stream(each, is_terminal=is_terminal) for each in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _in_environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if "://" in value:
            yield from _in_address(value, is_webhook=bool(_A_WEBHOOK.search(name)))
        elif _NAMED.search(name) and not _A_FILE.search(name):
            yield value


def _in_address(address: str, *, is_webhook: bool = False) -> Iterator[str]:
    """What is secret in an address, however it is misread: a password may contain any character."""
    rest = address.partition("://")[2]
    known, at, behind = rest.rpartition("@")
    if at:
        yield known.partition(":")[2] or known
    for place, _, query in (text.partition("#")[0].partition("?") for text in (rest, behind)):
        yield query
        yield from (part.partition("=")[2] for part in query.split("&"))
        path = place.partition("/")[2] if is_webhook else ""
        yield f"/{path}"
        yield from (part for part in path.split("/") if len(part) >= SHORTEST_PART)


@functools.lru_cache(maxsize=16)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    """Pattern for the secrets, also where they are percent-encoded, decoded, or quoted in JSON or Python."""
    known = [secret for secret in secrets if not secret.isalpha() or len(secret) > LONGEST_WORD]
    forms = {form for secret in known for form in _forms(secret) if len(form) >= SHORTEST}
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None


def _forms(secret: str) -> set[str]:
    decoded = {secret, unquote(secret), unquote_plus(secret)}
    encoded = {encode(text, safe) for text in decoded for encode in (quote, quote_plus) for safe in ("", "/")}
    quoted = {form(text)[1:-1] for text in decoded for form in (json.dumps, repr)}
    return decoded | encoded | quoted
