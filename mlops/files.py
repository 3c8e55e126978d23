"""Files of the state folder: who may enter it, atomic writes, private files, keys, variables and hashes."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import shlex
import shutil
import stat
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from mlops import config
from mlops.errors import ConfigError

logger = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
KEY_DIGITS = 64
# What else make targets create in the state folder.
OF_MAKE = {"bench", "mage", "prefect", "airflow", "kfp", "jupyter", "notebook", "backup.key", "stack.part"}


def close_state(folder: Path | None = None, group: int = 0) -> None:
    """Create the state folder if it is missing, and let no other user enter it; see `close`.

    A folder that holds something else, such as /tmp or a home folder, is left as it is, with a warning.
    """
    folder, places = folder or config.state_dir(), config.state()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = OF_MAKE | {getattr(places, each.name).name for each in fields(places)}
    present = {path.name for path in folder.iterdir()} - {places.locks.name}
    if folder.stat().st_mode & stat.S_ISVTX or (present and not present & known):
        if folder.stat().st_mode & 0o077:
            mode = stat.S_IMODE(folder.stat().st_mode)
            logger.warning(
                "%s: other users may enter this state folder (mode %o), and what is in it is not only state. Let "
                "MLOPS_STATE_DIR name a folder of its own.", folder, mode
            )  # fmt: skip
        return
    database = folder / places.stack.name / "postgres"
    if os.geteuid() == 0 and database.exists():
        group = database.stat().st_gid
    close(folder, group)


def close(folder: Path, group: int = 0) -> None:
    """Let only its owner enter a folder: mode 0700; a folder of another owner is left as it is, with a warning.

    Parameters
    ----------
    folder : Path
    group : int
        A group that may pass through it, but not list it (mode 0710). The stack of root needs that, because
        PostgreSQL refuses to run as root.
    """
    about = folder.stat()
    mode = 0o710 if group else 0o700
    try:
        if group and about.st_gid != group:
            os.chown(folder, -1, group)
        if stat.S_IMODE(about.st_mode) != mode:
            folder.chmod(mode)
    except PermissionError:
        logger.warning(
            "%s: expected a folder that only its owner may enter (mode 700); got mode %o and another owner. Let "
            "MLOPS_STATE_DIR name a folder of your own.", folder, stat.S_IMODE(about.st_mode)
        )  # fmt: skip


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


@contextlib.contextmanager
def only_one_process(lock: Path, waiting: str) -> Iterator[None]:
    """Hold a lock file during the block; while another process holds it, `waiting` is logged once."""
    held = FileLock(lock, fallback_to_soft=False)
    try:
        held.acquire(timeout=0)
    except Timeout:
        logger.info("%s", waiting)
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """An empty folder next to `target`, renamed to it when the block ends without an error; as `atomic_write`.

    If `target` exists by then, because another process was first, that one stays.
    """
    locks = config.state().locks
    for folder in (locks, target.parent):
        folder.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    with FileLock(locks / f"{target.parent.name}-{target.name}.lock", fallback_to_soft=False):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            if not target.exists():
                temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def read_variables(path: Path) -> dict[str, str]:
    """Variables in a file that a shell can read, ``NAME='value'`` in each line."""
    words = shlex.split(path.read_text(encoding="utf-8", errors="surrogateescape"))
    return {name: value for name, _, value in (word.partition("=") for word in words)}


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
