"""Checks before each step: this process has the code that is on disk, and a person's own parts can be used.

A run key hashes the files on disk, but Python reads a module once. In a notebook's kernel, which stays, a changed
file would be in the key and not in the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.config import PROJECT
from mlops.errors import ConfigError
from mlops.pipeline import code_hash, run_key
from mlops.training import feature_files, own_feature_checks, search_space

FEATURE_CODE = ("mlops/model", "mlops/training/feature_files.py")


@dataclass(frozen=True)
class Stamp:
    """A file as it was at some time: its content, and what shows cheaply that it is the same."""

    content: bytes
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Stamp of a file; empty for one that is not there."""
        try:
            about, content = path.stat(), path.read_bytes()
        except FileNotFoundError:
            return cls(b"", -1, -1)
        return cls(content, about.st_size, about.st_mtime_ns)

    def is_of(self, path: Path) -> bool:
        """Whether the file has still this size and time of change."""
        try:
            about = path.stat()
        except FileNotFoundError:
            return self.size == -1
        return (self.size, self.changed_ns) == (about.st_size, about.st_mtime_ns)


def stamps() -> dict[Path, Stamp]:
    """Stamps of the modules of `mlops` that can change a result."""
    files = (path for path in run_key.deciding_files() if path.is_relative_to(PROJECT / "mlops"))
    return {path: Stamp.of(path) for path in files}


LOADED = stamps()
"""The files when this process loaded them. They are read with the imports, since later they may be others."""


def require_usable() -> None:
    """Raise unless the code is the one on disk, and the features and the search space can be used.

    It takes a few milliseconds.

    Raises
    ------
    ConfigError
        The message names the file or the feature, and says what to do.
    MlopsError
        When the function of a feature of one's own fails.
    """
    require_current()
    own_feature_checks.require_usable()
    search_space.require_usable()


def require_current() -> None:
    """Raise if a module that can change a result is another one on disk than in this process.

    A file that was only touched, or in which only comments, docstrings or layout changed, is still the same.

    Raises
    ------
    ConfigError
    """
    changed = []
    for path, loaded in LOADED.items():
        if loaded.is_of(path):
            continue
        now = Stamp.of(path)
        if code_hash.source_text(now.content) != code_hash.source_text(loaded.content):
            changed.append(path.relative_to(PROJECT).as_posix())
    if changed:
        raise ConfigError(
            f"{', '.join(changed)} changed after this process had loaded it, so this step would use the old code. "
            "In Mage's editor choose Run, Restart kernel, then run the blocks again from the first one. Elsewhere "
            "start the program again"
        )


def feature_code() -> str:
    """Hash of the code that computes features from requests."""
    code = run_key.inputs()["code"]
    parts = [f"{name} {code[name]}" for name in sorted(code) if name.startswith(FEATURE_CODE)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def require_features_of_this_code(files: Sequence[Path]) -> None:
    """Raise if feature files were written by other code than that of this process.

    Raises
    ------
    ConfigError
        When `build_features` must run again.
    """
    present = feature_code()
    for path in files:
        if feature_files.code_of(path) not in ("", present):
            raise ConfigError(
                f"{path.name}: expected features that the present code computed; got features of other code. "
                "Run build_features again, then this step"
            )
