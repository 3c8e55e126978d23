"""The file that a backup writes: a gzipped tar, authenticated with a key of the state folder; how it is unpacked.

At its end is an HMAC of all bytes before, in the comment of an empty gzip member, which other programs skip. The
key is in no archive.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hmac
import io
import json
import os
import platform
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from mlops.files import CHUNK_BYTES, KEY_DIGITS, create_private, make_key, read_key
from stack.compose import StackError
from stack.secret_values import NAMES

KEY = "backup.key"  # file of the state folder
DATABASES = (
    "mage",
    "mlflow",
)  # Mage's first: a run that has ended there has also ended in MLflow's later dump
PROJECT = (
    "project"  # name of Mage's copy of the project in the archive; it has what was changed in Mage's pages
)
OF_STATE = (
    "months/*/replaced",
    "told",
    "serving/requests",
)  # folders of the state folder: old bytes of months, which messages were sent, and the service's request log
KEYS = (
    "registry.key",
)  # files of the state folder that only their owner reads: what versions are signed with
API_KEYS = (
    "serving/keys",
)  # the same: hashes of the service's API keys; a restore keeps those that are there
MANIFEST = "manifest.json"
FORMAT, FORMER = 2, 1  # the former one has no HMAC and no list of its files
MANIFEST_BYTES = 2**26
SKIPPED = ("__pycache__", ".file_versions")

INSTEAD = "Move it away, or put the key of your backups there."
ADVICE = (
    "An archive has Python code, in its models and its copy of Mage's project, which the stack runs with your "
    "rights, and users who can log in. If it comes from another state folder of yours, copy `backup.key` of that "
    "folder to {key} and restore again. If that key is lost, and nobody else could change this file, trust it: "
    "make restore FROM=... TRUST=1"
)

_NEEDED = (MANIFEST, *(f"{name}.dump" for name in DATABASES))
_FILES = (*_NEEDED, *(f"state/{name}" for name in (*KEYS, *API_KEYS)))
_FOLDERS = ("artifacts", PROJECT, *(f"state/{pattern}" for pattern in OF_STATE))
_NAME = re.compile(r"[\w.%+@-]+( [\w.%+@-]+)*")  # of a user, also an address
_ENDING = b"\x1f\x8b\x08\x10\0\0\0\0\0\xffhmac-sha256 %b\0\x03\0\0\0\0\0\0\0\0\0"
_ENDING_BYTES = len(_ENDING % (b"0" * KEY_DIGITS))
_DAMAGES = (OSError, EOFError, ValueError, RecursionError, zlib.error, tarfile.TarError)


def write(target: Path, places: Mapping[str, Path], about: Mapping[str, Any], state: Path) -> list[str]:
    """Write an archive.

    Parameters
    ----------
    target : Path
        Created; only its owner can read it.
    places : mapping
        Files, and folders with all that is in them, by their names in the archive.
    about : mapping
        For the manifest, which is written last.
    state : Path
        The state folder; its key is made if there is none.

    Returns
    -------
    list of str
        What is no file and no folder, or has a control character in its name, and so is not in the archive.
    """
    key = make_key(state / KEY, INSTEAD)
    contents: dict[str, int] = {}
    left_out: list[str] = []
    with create_private(target) as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
            for name, path in _entries(places):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    added = _add(tar, name, path)
                    contents |= added or {}
                    left_out += [name] if added is None else []
            text = json.dumps({"format": FORMAT, **about, "contents": contents}, indent=2).encode()
            entry = tarfile.TarInfo(MANIFEST)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        size = file.tell()
        file.seek(0)
        file.write(_ending(file, size, key))
    return left_out


def unpack(source: Path, target: Path, state: Path, trust: bool) -> dict[str, str]:
    """Unpack an archive into a new folder, after its HMAC and all names in it were checked.

    Parameters
    ----------
    source, target : Path
    state : Path
        The state folder with the key.
    trust : bool
        Whether the HMAC need not be one of this key.

    Returns
    -------
    dict of str
        Names of the first users, by their variables.

    Raises
    ------
    StackError
        For an archive that is not authentic, or damaged, or has more in it than `write` writes.
    """
    target.mkdir(mode=0o700)
    copy = target / ".archive"  # what is checked cannot be changed before it is unpacked
    try:
        problem = _take(source, copy, read_key(state / KEY, INSTEAD))
        if problem and not trust:
            raise StackError(f"{source}: {problem}. {ADVICE.format(key=state / KEY)}")
        with tarfile.open(copy) as tar:
            members = _checked(tar, shutil.disk_usage(target).free)
            manifest = _manifest(tar, members)
            users = known_users(manifest.get("users"), f"{MANIFEST}, users")
            tar.extractall(target, members=members, filter="data")
    except _DAMAGES as error:
        raise StackError(f"{source}: expected an archive made by `make backup`; got: {error}") from error
    copy.unlink()
    return users


def require_safe_python() -> None:
    """Raise `StackError` where Python would write outside of the folder into which it unpacks."""
    if not hasattr(tarfile, "data_filter"):
        raise StackError(
            f"Python {platform.python_version()} cannot unpack an archive safely (it has no tarfile.data_filter); "
            "expected 3.10.12, 3.11.4 or newer: make install PYTHON=..., then restore again."
        )


def known_users(found: object, where: str) -> dict[str, str]:
    """Return the names of the first users, or raise ValueError if there is anything else."""
    if not isinstance(found, dict):
        raise ValueError(f"{where}: expected names of users; got {type(found).__name__}")
    for variable, name in found.items():
        if variable not in NAMES:
            raise ValueError(f"{where}: expected {', '.join(NAMES)}; got {variable!r}")
        if not isinstance(name, str) or len(name) > 254 or not _NAME.fullmatch(name):
            raise ValueError(
                f"{where}: {variable}: expected letters, digits, single spaces, . _ % + @ -; got {name!r}"
            )
    return found


def _entries(places: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for name, place in places.items():
        place = place.resolve()  # a folder that was moved to another disk may have a link in its place
        for path in (place, *sorted(place.rglob("*"))):
            inside = path.relative_to(place).parts
            if not any(part in SKIPPED for part in inside):
                yield str(PurePosixPath(name, *inside)), path


def _add(tar: tarfile.TarFile, name: str, path: Path) -> dict[str, int] | None:
    """Add a file or an empty folder; return the size of a file by its name, and None for what is not added."""
    kind = path.lstat().st_mode
    is_file, entry = stat.S_ISREG(kind), tarfile.TarInfo(name)
    if not (is_file or stat.S_ISDIR(kind)) or not _is_expected(name, is_file):
        return None
    if not is_file:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
        return {}
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        about = os.fstat(file.fileno())
        entry.size, entry.mode, entry.mtime = about.st_size, about.st_mode & 0o777, about.st_mtime
        tar.addfile(entry, file)
    return {name: entry.size}


def _ending(file: BinaryIO, size: int, key: bytes, copy: BinaryIO | None = None) -> bytes:
    """Read the next bytes of a file, and write them to a copy; return the end of an archive of these bytes."""
    code = hmac.new(key, digestmod="sha256")
    while size and (chunk := file.read(min(size, CHUNK_BYTES))):
        code.update(chunk)
        size -= len(chunk)
        if copy:
            copy.write(chunk)
    return _ENDING % code.hexdigest().encode()


def _take(source: Path, copy: Path, key: bytes | None) -> str:
    """Copy an archive to a new file; return why it is not known to be authentic, else an empty text."""
    with source.open("rb") as file, create_private(copy) as kept:
        size = max(os.fstat(file.fileno()).st_size - _ENDING_BYTES, 0)
        expected = _ending(file, size, key or b"", kept)
        found = file.read(_ENDING_BYTES)
        kept.write(found)
    if not found.startswith(_ENDING.partition(b"%b")[0]):
        return "it has no HMAC at its end, so an older version made it, or it is not complete"
    if key is None:
        return "there is no key here to check its HMAC with"
    if not hmac.compare_digest(found, expected):
        return "its HMAC was made with another key, or it was changed afterwards"
    return ""


def _checked(tar: tarfile.TarFile, free_bytes: int) -> list[tarfile.TarInfo]:
    """Return all files and folders of an archive; ValueError if there is anything else."""
    found: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        is_file = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
        shown = repr(member.name)[:200]
        if not (is_file or member.isdir()):
            raise ValueError(f"{shown}, which is neither a file nor a folder")
        if not _is_expected(member.name, is_file) or member.name in found:
            raise ValueError(f"{shown}, a name that no backup writes, or writes once")
        free_bytes -= max(member.size, 0)
        if member.size < 0 or free_bytes < 0:
            raise ValueError(f"{shown} of {member.size:,} bytes, for which there is no room on the disk")
        found[member.name] = member
    return list(found.values())


def _is_expected(name: str, is_file: bool) -> bool:
    parts = name.split("/")
    if not name.isprintable() or any(part in ("", ".", "..") for part in parts):
        return False
    return (is_file and name in _FILES) or any(_is_below(parts, folder.split("/")) for folder in _FOLDERS)


def _is_below(parts: list[str], folder: list[str]) -> bool:
    return len(parts) >= len(folder) and all(map(fnmatch.fnmatchcase, parts, folder))


def _manifest(tar: tarfile.TarFile, members: list[tarfile.TarInfo]) -> dict[str, Any]:
    """Read the manifest; ValueError if it is none, or does not list the files."""
    sizes = {member.name: member.size for member in members if not member.isdir()}
    for name in _NEEDED:
        if name not in sizes:
            raise ValueError(f"no {name} in it")
    if sizes[MANIFEST] > MANIFEST_BYTES:
        raise ValueError(f"{MANIFEST} of {sizes[MANIFEST]:,} bytes")
    file = tar.extractfile(MANIFEST)
    manifest = json.loads(file.read()) if file else None
    if not isinstance(manifest, dict) or manifest.get("format") not in (FORMER, FORMAT):
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise ValueError(
            f"format {str(found)[:99]!r} instead of {FORMAT}; restore with the code that wrote it"
        )
    del sizes[MANIFEST]
    if manifest["format"] == FORMAT and manifest.get("contents") != sizes:
        raise ValueError(f"other files, or of other sizes, than {MANIFEST} lists")
    return manifest
