"""Files of the state folder: atomic writes, private files, keys and hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from mlops import config
from mlops.errors import ConfigError

CHUNK_BYTES = 2**20
KEY_DIGITS = 64


@contextlib.contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Temporary path next to `target`; the file is renamed to `target` when the block ends without an error.

    Thus `target` is complete or absent. Processes that write the same target wait for each other, so the temporary
    name is always the same, and the rest of a killed process is removed, as is a link that somebody put there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "trips.csv") as temporary:
    ...         _ = temporary.write_text("minutes", encoding="utf-8")
    ...     [path.name for path in Path(folder).iterdir()]
    ['trips.csv']
    """
    locks = config.state().locks
    for folder in (locks, target.parent):
        folder.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    with FileLock(locks / f"{target.name}.lock", fallback_to_soft=False):
        temporary.unlink(missing_ok=True)
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def create_private(path: Path) -> BinaryIO:
    """Create a file that only its owner can read, open for writing and reading; nothing is written through a link.

    Raises
    ------
    FileExistsError
        When there is anything with this name, also a link that leads nowhere.
    """
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w+b")


def read_key(path: Path, instead: str) -> bytes | None:
    """The 32 bytes of a key file, or None if there is no file.

    Parameters
    ----------
    path : Path
    instead : str
        What to do without this key, for the error.

    Raises
    ------
    ConfigError
        For a link, a file that others can read, and a file that is no key.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:  # also for a link
        raise ConfigError(f"{path}: this key cannot be read ({error.strerror}). {instead}") from error
    with os.fdopen(opened, "rb") as file:
        about = os.fstat(opened)
        if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077:
            raise ConfigError(
                f"{path}: expected a file that only its owner can read (mode 600); got mode "
                f"{stat.S_IMODE(about.st_mode):o}. If nobody else can have read it: chmod 600 {path}. Else: "
                f"{instead}"
            )
        text = file.read(KEY_DIGITS + 2).strip()
    if not re.fullmatch(rb"[0-9a-f]{%d}" % KEY_DIGITS, text):
        raise ConfigError(
            f"{path}: expected a key of {KEY_DIGITS} hexadecimal digits; got something else. {instead}"
        )
    return bytes.fromhex(text.decode())


def make_key(path: Path, instead: str) -> bytes:
    """The 32 bytes of a key file, which is made if there is none: a random key, completely or not at all.

    Raises
    ------
    ConfigError
        As `read_key`.
    """
    while (key := read_key(path, instead)) is None:
        passing = path.with_name(f".{path.name}.{os.getpid()}.part")
        passing.unlink(missing_ok=True)
        try:
            with create_private(passing) as file:
                file.write(f"{secrets.token_hex(KEY_DIGITS // 2)}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process has made it
                os.link(passing, path)
        finally:
            passing.unlink(missing_ok=True)
    return key
