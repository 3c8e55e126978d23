"""Files of the state folder: atomic writes and hashes."""

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
    """Temporary path next to `target`; the file is renamed to `target` when the block ends without an error.

    Thus `target` is complete or absent. Processes that write the same target wait for each other, so the temporary
    name is always the same, and the rest of a killed process is overwritten.

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
