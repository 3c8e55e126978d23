"""Signatures of versions and of alias moves, made with a key that lies outside of the registry.

Whoever can write to the registry can change every file and every tag in it. The key is a file of the state folder,
so such a person cannot sign. It is made at first use. All machines that share a registry need the same key.
"""

from __future__ import annotations

import hmac
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from mlops import config, files
from mlops.errors import command

TAG = "signature"  # of a version: its files with their sha256, and the HMAC, as JSON
VERSION, ENTRY, APPROVAL = "version", "journal entry", "approval"  # what a signature can be of
_ADDED = ("registered_model_meta",)  # files that MLflow's client adds to a version that it downloads


def sign(kind: str, content: Mapping[str, object]) -> str:
    """HMAC-SHA256 of plain values, 64 hexadecimal digits; the key is made if there is none.

    Parameters
    ----------
    kind : str
        `VERSION`, `ENTRY` or `APPROVAL`, so that a signature of the one is none of the other.
    content : mapping
        Values that JSON can hold; their order does not count.

    Raises
    ------
    ConfigError
        When the key cannot be used; the message says why and what to do.
    """
    path = config.state().registry_key
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _hmac(files.make_key(path, _restored()), kind, content)


def is_signed(kind: str, content: Mapping[str, object], found: object) -> bool:
    """Whether this is the signature of the content, made with the key of this state folder.

    Raises
    ------
    ConfigError
        As `sign`.
    """
    key = files.read_key(config.state().registry_key, _restored())
    expected = _hmac(key, kind, content) if key else ""
    return bool(expected) and hmac.compare_digest(
        expected.encode(), str(found).encode("utf-8", "backslashreplace")
    )


def files_in(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by its path there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "MLmodel").write_text("{}", encoding="utf-8")
    ...     files_in(Path(folder))["MLmodel"][:12]
    '44136fa355b3'
    """
    return {
        path.relative_to(folder).as_posix(): "a link" if path.is_symlink() else files.sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }


def remove_added(folder: Path) -> None:
    """Remove what belongs to no version: files of MLflow's client, and bytecode.

    Python writes bytecode beside code that it imports, also in the store of a registry on this machine.
    """
    for path in [folder / name for name in _ADDED]:
        if path.is_file():
            path.unlink()
    for cached in [path for path in folder.rglob("__pycache__") if path.is_dir()]:
        shutil.rmtree(cached, ignore_errors=True)  # what stays is a file that was added


def find_change(expected: Mapping[str, str], folder: Path) -> str:
    """The first file below a folder that differs from those expected, and how; empty if none does."""
    found = files_in(folder)
    for path in sorted({*expected, *found}):
        if path not in found:
            return f"{path} was removed"
        if path not in expected:
            return f"{path} was added"
        if found[path] != expected[path]:
            return f"{path} was changed"
    return ""


def _hmac(key: bytes, kind: str, content: Mapping[str, object]) -> str:
    text = json.dumps([kind, content], sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, text.encode(), "sha256").hex()


def _restored() -> str:
    """What to do without a key that can be used."""
    return f"Restore it from a backup; or delete it, and sign what you trust again: {command('trust all')}"
