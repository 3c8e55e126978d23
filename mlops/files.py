"""Files of the state folder: written whole or not at all, and known by their hash."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from mlops import config

CHUNK_BYTES = 2**20


@contextlib.contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """A passing name beside the file `target`, which gets its own when the block is done: whole or not at all.

    Whoever makes a file of this name waits for others who do. So the passing name can be the same each time, and
    what a killed process left under it is written over.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "trips.csv") as passing:
    ...         _ = passing.write_text("minutes")
    ...     [path.name for path in Path(folder).iterdir()]
    ['trips.csv']
    """
    locks = config.state().locks
    for folder in (locks, target.parent):
        folder.mkdir(parents=True, exist_ok=True)
    passing = target.with_name(f".{target.name}.tmp")
    with FileLock(locks / f"{target.name}.lock", fallback_to_soft=False):
        try:
            yield passing
            passing.replace(target)
        finally:
            passing.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hash of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
