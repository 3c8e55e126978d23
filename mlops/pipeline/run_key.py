"""What makes two runs the same run: source files, settings, code and environment, in one key."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from mlops.config import PROJECT, Settings

CODE = ("mlops", "data_loaders", "transformers", "data_exporters")
DECIDING_PACKAGES = ("hyperopt", "numpy", "pandas", "pyarrow", "scikit-learn", "xgboost", "holidays")


def compute(settings: Settings, files: Mapping[str, str], rules: Iterable[str]) -> str:
    """Key of a run, 64 hexadecimal digits: the same key is the same run, through whatever door.

    What a warm start draws on is not in it: it depends on the registry's history, and is recorded with the run.

    Parameters
    ----------
    settings : Settings
        Those of `Settings.result_settings`.
    files : mapping
        Month (YYYY-MM) to the sha256 of its file, as it came from the source.
    rules : iterable of str
        Names of the cleaning rules.

    Examples
    --------
    >>> one, other = Settings(), Settings(connect_timeout=1.0, force=True)
    >>> compute(one, {"2023-06": "ab"}, ["too long"]) == compute(other, {"2023-06": "ab"}, ["too long"])
    True
    >>> compute(one, {"2023-06": "ab"}, ["too long"]) == compute(one, {"2023-06": "cd"}, ["too long"])
    False
    """
    parts = {
        "settings": settings.result_settings(),
        "files": dict(files),
        "rules": sorted(rules),
        **made_by(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def made_by() -> dict[str, str]:
    """Hashes of what makes a model: ``code_sha256`` and ``environment_sha256``."""
    return {"code_sha256": _code_sha256(), "environment_sha256": _environment_sha256()}


def git_commit() -> str:
    """The commit, with ``-dirty`` where files differ from it; nothing outside a git checkout."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return ""


def _code_sha256() -> str:
    """Of `mlops` and the blocks as they lie on disk: two states that git would both call dirty differ."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in CODE for path in (PROJECT / folder).rglob("*.py")):
        digest.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _environment_sha256() -> str:
    """Of the lock, and of what is really installed of the packages that decide a result."""
    lock = PROJECT / "requirements.txt"
    digest = hashlib.sha256(lock.read_bytes() if lock.is_file() else b"")
    digest.update(platform.python_version().rpartition(".")[0].encode())
    for package in DECIDING_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            digest.update(f"{package}=={version(package)} ".encode())
    return digest.hexdigest()
