"""What makes two runs the same run: source files, settings, rules, code and environment, in one key."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlops.config import PROJECT, Settings
from mlops.data.trips import Rule
from mlops.pipeline import code_hash

DECIDING_PACKAGES = ("hyperopt", "numpy", "pandas", "pyarrow", "scikit-learn", "xgboost", "holidays")
CODE = (
    "mlops/data", "mlops/model", "mlops/training", "mlops/evaluation", "mlops/pipeline",
    "mlops/month.py",  # which months a run has
    "data_loaders", "transformers", "data_exporters",
)  # fmt: skip
"""Code that decides a result: every module in these folders, a new one too, unless `NOT_DECIDING` names it.

The rest of `mlops` is not among it. `config` decides by the settings' values, which are in the key; `registry`
decides by what it holds, which is recorded with a run; `operations`, `mage`, `locks`, `files`, `errors` and the
command line decide nothing about a model or its verdict.
"""

NOT_DECIDING = {
    "mlops/data/sources.py": "the bytes that it fetches are in the key",
    "mlops/data/cache.py": "the bytes that it keeps are in the key",
    "mlops/data/retries.py": "how often a source is asked",
    "mlops/data/synthetic": "the bytes that it makes are in the key",
    "mlops/data/revisions.py": "words about changed files",
    "mlops/evaluation/model_card.py": "words and tables",
    "mlops/evaluation/plots.py": "pictures",
    "mlops/pipeline/schedule.py": "the month that it chooses is in the key",
    "mlops/pipeline/run_key.py": "says what is in the key, and makes no part of a result",
    "mlops/pipeline/code_hash.py": "the same",
    "mlops/pipeline/table_schema.py": "whether a table is refused, and in which words",
    "mlops/pipeline/checkpoint.py": "what an attempt keeps for the next one",
    "mlops/pipeline/run_once.py": "when an attempt is made, not what it comes to",
    "mlops/pipeline/release_stage.py": "what is done with a verdict",
    "mlops/pipeline/run_result.py": "the result as a value",
    "mlops/pipeline/leaderboard.py": "the result as a table for people",
    "data_loaders/find_leftovers.py": "housekeeping",
    "data_exporters/delete_leftovers.py": "housekeeping",
    "data_exporters/delete_old_outputs.py": "housekeeping",
}
"""Modules and folders in `CODE` that decide no result, and why."""


def compute(settings: Settings, files: Mapping[str, str], rules: str) -> str:
    """Key of a run, 64 hexadecimal digits: the same key is the same run, through whatever door.

    What a warm start draws on is not in it: it depends on the registry's history, and is recorded with the run.

    Parameters
    ----------
    settings : Settings
        Those of `Settings.result_settings`.
    files : mapping
        Month (YYYY-MM) to the sha256 of its file, as it came from the source.
    rules : str
        `rules_sha256` of the cleaning rules.

    Examples
    --------
    >>> one, other = Settings(), Settings(connect_timeout=1.0, force=True)
    >>> compute(one, {"2023-06": "ab"}, "12") == compute(other, {"2023-06": "ab"}, "12")
    True
    >>> compute(one, {"2023-06": "ab"}, "12") == compute(one, {"2023-06": "cd"}, "12")
    False
    """
    parts = {
        "settings": settings.result_settings(),
        "files": dict(files),
        "rules": rules,
        **made_by(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def rules_sha256(rules: Sequence[Rule]) -> str:
    """Hash of cleaning rules: of each its name, whether it is for training only, and what it does; in their order.

    The order counts, since a trip that two rules reject stays in the test set if the first is for training only.

    Raises
    ------
    ConfigError
        When a rule cannot be hashed; see `code_hash.function_text`.
    """
    parts = [(rule.name, rule.training_only, code_hash.function_text(rule.rejects)) for rule in rules]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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
    """Of the deciding code as it lies on disk: two states that git would both call dirty differ."""
    digest = hashlib.sha256()
    for path in _deciding_files():
        name = path.relative_to(PROJECT).as_posix()
        digest.update(f"{name}\0{code_hash.source_text(path.read_bytes())}\0".encode())
    return digest.hexdigest()


def _deciding_files() -> Iterator[Path]:
    """Python files that decide a result, in the order of their names."""
    left_out = [PROJECT / name for name in NOT_DECIDING]
    for place in sorted(PROJECT / name for name in CODE):
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            if not any(path.is_relative_to(other) for other in left_out):
                yield path


@functools.cache
def _environment_sha256() -> str:
    """Of the lock, and of what is really installed of the packages that decide a result."""
    lock = PROJECT / "requirements.txt"
    pinned = lock.read_bytes() if lock.is_file() else b""
    digest = hashlib.sha256(pinned.replace(b"\r\n", b"\n"))
    digest.update(platform.python_version().rpartition(".")[0].encode())
    for package in DECIDING_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            digest.update(f"{package}=={version(package)} ".encode())
    return digest.hexdigest()
