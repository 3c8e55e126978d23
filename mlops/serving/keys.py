"""Optional keys of the service: who has one may ask; without a file of keys, everybody who reaches the port may.

A key is sent as ``Authorization: Bearer KEY``. The file has a name and the key's sha256 in each line, so it gives
nobody a key. It must be readable by its owner only, and is read again when it changes: a line that is removed
locks that key out within a second.

    # name  sha256 of the key
    planner 5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9

``python -m mlops.serving key planner`` adds a line and prints the key, once. Without a file of keys, the service
listens on this machine only, unless somebody says otherwise: `require_keys_or_loopback`. And pages of other sites,
which a browser on this machine shows, may not ask: `HostCheck`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import ipaddress
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mlops.errors import ConfigError, one_line
from mlops.files import atomic_write, create_private
from mlops.serving import rider
from mlops.serving.asgi import (
    CLIENT,
    FOREIGN,
    NO_KEY,
    PROBES,
    App,
    Receive,
    Refusal,
    Scope,
    Send,
    header,
    notes,
    refuse,
)

logger = logging.getLogger(__name__)

PREFIX = "trip_"  # makes a key that somebody published easy to find
LOOK_SECONDS = 1.0  # between two looks at the file
# What anybody may see: no models, no numbers.
WITHOUT_KEY = PROBES | rider.PATHS.keys() | {"/docs", "/openapi.json", "/zones"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SCHEME = b"bearer "
_MOST_BYTES = 2**20  # of the file


def add(path: Path, name: str) -> str:
    """Make a key, add its line to the file, and return the key, which is stored nowhere.

    Raises
    ------
    ConfigError
        For a name that is taken or not a name, and as `read`.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"key: expected a name of 1 to 40 lower-case letters, digits, '.', '_' or '-'; got {name!r}"
        )
    key = f"{PREFIX}{secrets.token_urlsafe(32)}"
    with atomic_write(path) as temporary:
        if name in (read(path) if path.exists() else {}):
            raise ConfigError(
                f"{path}: there is a key of {name!r} already. Choose another name, or remove its line first."
            )
        before = path.read_bytes() if path.exists() else b"# name  sha256 of the key\n"
        with create_private(temporary) as file:
            ended = before if before.endswith(b"\n") else before + b"\n"
            file.write(ended + f"{name} {_digest(key.encode())}\n".encode())
    return key


def read(path: Path) -> dict[str, bytes]:
    """Digests of the keys in a file, by their names.

    Raises
    ------
    ConfigError
        For a file that is missing, that others can read, or that has another line in it.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077:
                raise ConfigError(
                    f"{path}: expected a file that only its owner can read (mode 600); got mode "
                    f"{stat.S_IMODE(about.st_mode):o}. Run: chmod 600 {path}"
                )
            text = file.read(_MOST_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(
            f"{path}: the keys cannot be read ({error.strerror}). Make one: python -m mlops.serving key NAME"
        ) from error
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            name, digest = _checked(words, f"{path}: line {number}")
            if name in found:
                raise ConfigError(f"{path}: line {number}: expected each name once; got {name!r} again")
            found[name] = digest
    return found


def require_keys_or_loopback(host: str, keys_file: Path | None, *, without_keys: bool) -> None:
    """Raise where others than this machine could ask without a key, and nobody said that they may.

    Parameters
    ----------
    host : str
        Address to listen on, or a name of it.
    keys_file : Path or None
    without_keys : bool
        Whether a person or a compose file has said so: ``--without-keys``. A container needs it, because it
        listens on all of its addresses, and its port is published on 127.0.0.1 only.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> require_keys_or_loopback("127.0.0.1", None, without_keys=False)
    >>> require_keys_or_loopback("0.0.0.0", None, without_keys=False)
    Traceback (most recent call last):
        ...
    mlops.errors.ConfigError: host: expected 127.0.0.1 without a file of keys; got '0.0.0.0', which others can \
reach. Make a key (python -m mlops.serving key NAME) and give its file (--keys-file), or add --without-keys if \
everybody who can reach this address may ask.
    """
    if keys_file or without_keys or _is_loopback(host):
        return
    raise ConfigError(
        f"host: expected 127.0.0.1 without a file of keys; got {host!r}, which others can reach. Make a key "
        "(python -m mlops.serving key NAME) and give its file (--keys-file), or add --without-keys if everybody "
        "who can reach this address may ask."
    )


class KeyFile:
    """The keys of a file, read again when it changes.

    While a changed file cannot be used, the keys before stay valid, and the log says why. A file that is gone has
    no keys.

    Parameters
    ----------
    path : Path
    clock : callable, optional
        Seconds, for tests.

    Raises
    ------
    ConfigError
        As `read`.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._seen, self._looked_at = _mark(path), clock()
        self._keys = tuple(read(path).items())

    def owner(self, key: bytes) -> str | None:
        """The name of a key; None if there is no such key.

        The sha256 is compared with each one in the file, in a time that does not depend on how much is equal.
        """
        self._look()
        digest = hashlib.sha256(key).digest()
        found = None
        for name, known in self._keys:
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        mark = _mark(self._path)
        if mark == self._seen:
            return
        self._seen = mark
        try:
            self._keys = tuple(read(self._path).items()) if mark else ()
        except ConfigError as error:
            logger.error("the keys from before stay valid: %s", one_line(error))
            return
        logger.info("%s: read again; %d keys are valid", self._path, len(self._keys))


class KeyCheck:
    """Middleware that lets a request pass if it has a key, and notes the key's name as the client.

    `WITHOUT_KEY` are the paths that need none.
    """

    def __init__(self, app: App, keys: KeyFile) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the server."""
        if scope["type"] == "http" and scope["path"] not in WITHOUT_KEY:
            given = header(scope, b"authorization")
            name = self._keys.owner(given[len(_SCHEME) :].strip()) if given and _is_bearer(given) else None
            if name is None:
                await refuse(scope, send, _refusal(given))
                return
            notes(scope)[CLIENT] = name
        await self._app(scope, receive, send)


class HostCheck:
    """Middleware that refuses a foreign name in the header ``Host``; for a service without keys.

    A page of another site may let its own name lead to 127.0.0.1 (DNS rebinding), and then read our answers. Such
    a name has a dot. Addresses, ``localhost`` and the names of containers are never foreign, nor are `own`.
    `WITHOUT_KEY` are the paths that are not checked.

    Parameters
    ----------
    app : App
    own : sequence of str
        More names that lead to the service.
    """

    def __init__(self, app: App, own: Sequence[str] = ()) -> None:
        self._app, self._own = app, frozenset(name.lower() for name in own)
        self._is_foreign = functools.lru_cache(256)(self._look)  # a client sends the same one each time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the server."""
        if scope["type"] == "http" and scope["path"] not in WITHOUT_KEY:
            given = header(scope, b"host")
            if given and self._is_foreign(given):
                await refuse(scope, send, _foreign(given))
                return
        await self._app(scope, receive, send)

    def _look(self, given: bytes) -> bool:
        name = given.decode("latin-1").lower()
        if name.startswith("["):  # an IPv6 address
            return not _is_address(name[1:].partition("]")[0])
        name = name.partition(":")[0].rstrip(".")
        return name.count(".") > 0 and not _is_address(name) and name not in self._own


def _foreign(given: bytes) -> Refusal:
    detail = (
        f"host: expected an address, or a name of this service; got {given.decode('latin-1')[:60]!r}. If this "
        "name leads to it, start it with --host-names."
    )
    return Refusal(403, FOREIGN, detail)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _refusal(given: bytes | None) -> Refusal:
    got = (
        "none"
        if given is None
        else "one that is not in the file of keys"
        if _is_bearer(given)
        else "another scheme"
    )
    detail = f"expected the header 'Authorization: Bearer KEY' with a key of this service; got {got}."
    challenge = b'Bearer realm="trip durations"'
    if given is not None and _is_bearer(given):
        challenge += b', error="invalid_token"'
    return Refusal(401, NO_KEY, detail, ((b"www-authenticate", challenge),))


def _is_bearer(given: bytes) -> bool:
    return given[: len(_SCHEME)].lower() == _SCHEME


def _checked(words: list[str], where: str) -> tuple[str, bytes]:
    if len(words) != 2 or not _NAME.fullmatch(words[0]) or not _DIGEST.fullmatch(words[1]):
        # Nothing of the line is shown: somebody may have written a key instead of its sha256.
        raise ConfigError(
            f"{where}: expected a name and the 64 hexadecimal digits of a sha256; got something else"
        )
    return words[0], bytes.fromhex(words[1])


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


def _mark(path: Path) -> tuple[int, ...] | None:
    """What changes when a file changes; None where there is no file."""
    with contextlib.suppress(OSError):
        about = path.stat()
        return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    return None


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name may mean any address, except ``localhost``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
