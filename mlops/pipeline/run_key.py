"""The run key: a hash of source files, settings, rules, code and environment. Equal inputs give equal keys."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
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
"""Code that can change a result: all modules in these folders, including new ones, except those in `NOT_DECIDING`.

The rest of `mlops` is not in the key. `config` affects a result only through the settings' values, which are in
the key. `registry` affects it only through its content, which each run records. `operations`, `mage`, `locks`,
`files`, `errors` and the command line do not affect a model or its verdict.
"""

NOT_DECIDING = {
    "mlops/data/sources": "hashes of the files that it fetches are in the key",
    "mlops/data/cache.py": "hashes of the files that it stores are in the key",
    "mlops/data/ceilings.py": "refuses files, and changes none",
    "mlops/data/parquet_pages.py": "measures files for that",
    "mlops/data/request_log_files.py": "what the service was asked, for monitoring",
    "mlops/data/run_plan.py": "says what a run would do",
    "mlops/data/retries.py": "decides only how often a source is queried",
    "mlops/data/synthetic": "hashes of the files that it makes are in the key",
    "mlops/data/trip_counts.py": "numbers for charts",
    "mlops/data/trip_samples.py": "trips for charts",
    "mlops/data/zone_map.py": "shapes of zones, for a map",
    "mlops/data/zone_shapefile.py": "shapes of zones, for a map",
    "mlops/data/zone_shapes.py": "shapes of zones, for a map",
    "mlops/data/zones.py": "names of zones, for people who ask for a prediction",
    "mlops/data/revisions.py": "describes changed files",
    "mlops/evaluation/card.py": "the content of a card as a value",
    "mlops/evaluation/card_format.py": "Markdown and HTML of cards",
    "mlops/evaluation/card_summary.py": "sentences of cards",
    "mlops/evaluation/card_tables.py": "tables of cards",
    "mlops/evaluation/model_card.py": "texts and tables",
    "mlops/evaluation/words.py": "words for features and slices",
    "mlops/evaluation/explanation.py": "explains a model that is already fitted and judged",
    "mlops/evaluation/explanation_plots.py": "plots",
    "mlops/evaluation/plot_style.py": "plots",
    "mlops/evaluation/plots.py": "plots",
    "mlops/training/own_feature_checks.py": "refuses features, and changes none",
    "mlops/pipeline/code_checks.py": "refuses to run, and changes no result",
    "mlops/pipeline/schedule.py": "the month that it chooses is in the key",
    "mlops/pipeline/run_key.py": "computes the key, not a result",
    "mlops/pipeline/code_hash.py": "computes a part of the key, not a result",
    "mlops/pipeline/rule_texts.py": "texts of rules, for people and to compare",
    "mlops/pipeline/table_schema.py": "checks tables and words the errors",
    "mlops/pipeline/block_tables.py": "what the blocks show; the steps read the full tables",
    "mlops/pipeline/glimpses.py": "numbers for charts",
    "mlops/pipeline/checkpoint.py": "stores finished work for the next attempt",
    "mlops/pipeline/run_once.py": "decides when an attempt runs, not its result",
    "mlops/pipeline/release_stage.py": "acts on a verdict that is already made",
    "mlops/pipeline/experiment.py": "runs the stages of any run, and registers nothing",
    "mlops/pipeline/difference.py": "describes what differs between two runs",
    "mlops/pipeline/retry_policy.py": "says which errors another try may mend",
    "mlops/pipeline/run_result.py": "the result as a value",
    "mlops/pipeline/leaderboard.py": "the result as a table for people",
    "data_loaders/find_leftovers.py": "housekeeping",
    "data_exporters/delete_leftovers.py": "housekeeping",
    "data_exporters/delete_old_outputs.py": "housekeeping",
    "data_loaders/load_month.py": "monitoring",
    "transformers/compare_month.py": "monitoring",
    "data_exporters/react_and_report.py": "monitoring",
}
"""Modules and folders in `CODE` that cannot change a result, each with the reason."""

SET_BY_GIT = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
)  # fmt: skip
"""Variables that git sets for its hooks. They name the hook's repository, whatever folder git is asked about."""


def compute(settings: Settings, files: Mapping[str, str], rules: str) -> str:
    """Key of a run, 64 hexadecimal digits. It is the same from Mage and from the command line.

    The starting points of a warm start are not in the key. They depend on the registry's history, and are recorded
    with the run.

    Parameters
    ----------
    settings : Settings
        Only those in `Settings.result_settings` count.
    files : mapping
        Month (YYYY-MM) to the sha256 of its file as published.
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
    """Hash of cleaning rules, in order: the name of each, whether it is for training only, and its code.

    The order counts: a trip that two rules reject stays in the test month if the first is for training only.

    Raises
    ------
    ConfigError
        When a rule cannot be hashed; see `code_hash.function_text`.
    """
    parts = [(rule.name, rule.training_only, code_hash.function_text(rule.rejects)) for rule in rules]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def made_by() -> dict[str, str]:
    """Hashes of the code and the environment: ``code_sha256`` and ``environment_sha256``."""
    return {f"{name}_sha256": _sha256_of(parts) for name, parts in inputs().items()}


def inputs() -> dict[str, dict[str, str]]:
    """What `made_by` hashes: ``code``, a hash for each file, and ``environment``, versions by package.

    The code is the one on disk. Unlike git's ``-dirty``, its hashes differ for each change.
    """
    code = {
        path.relative_to(PROJECT).as_posix(): _sha256(code_hash.source_text(path.read_bytes()).encode())
        for path in deciding_files()
    }
    return {"code": code, "environment": dict(_environment())}


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Names whose values differ between two mappings of `inputs`, in words.

    Examples
    --------
    >>> one, other = "1" * 64, "2" * 64  # hashes are not shown
    >>> changes({"a.py": one, "b.py": one, "c.py": one}, {"a.py": other, "b.py": one, "d.py": one})
    'a.py; no longer there: c.py; new: d.py'
    >>> changes({"numpy": "1.26.3"}, {"numpy": "1.26.4"})
    'numpy (1.26.3, now 1.26.4)'
    """
    changed = [name for name in then if name in now and then[name] != now[name]]
    named = [f"{name} ({then[name]}, now {now[name]})" if len(then[name]) < 64 else name for name in changed]
    found = {
        "": named,
        "no longer there: ": sorted(then.keys() - now.keys()),
        "new: ": sorted(now.keys() - then.keys()),
    }
    return "; ".join(f"{what}{', '.join(names)}" for what, names in found.items() if names)


def hash_of(source: str) -> str:
    """Hash of a Python file's text as `inputs` has it: comments and layout do not count."""
    return _sha256(code_hash.source_text(source.encode()).encode())


def text_at(commit: str, name: str) -> str | None:
    """Text of a file of the project at a commit; None if git does not know the commit, or the file in it."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return _git("show", f"{commit}:./{name}")
    return None


def git_commit() -> str:
    """The commit, with ``-dirty`` if files differ from it; empty if the project is not in a git checkout.

    An unpacked archive has no commit, even inside the checkout of another project, which does not track its files.
    """
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        _git("ls-files", "--error-unmatch", "mlops")
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip()
    return ""


def _git(*arguments: str) -> str:
    """Output of git about the project's folder; without `safe.directory`, git refuses that of another user."""
    environment = {name: value for name, value in os.environ.items() if name not in SET_BY_GIT}
    command = ["git", "-C", str(PROJECT), "-c", f"safe.directory={PROJECT}", *arguments]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=True, env=environment
    ).stdout


def deciding_files() -> Iterator[Path]:
    """Python files that can change a result, sorted by name.

    Hidden files and folders are not Python modules: Jupyter, macOS and editors write them.
    """
    excluded = [PROJECT / name for name in NOT_DECIDING]
    for place in sorted(PROJECT / name for name in CODE):
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            is_hidden = any(part.startswith(".") for part in path.relative_to(PROJECT).parts)
            if not is_hidden and not any(path.is_relative_to(other) for other in excluded):
                yield path


@functools.cache
def _environment() -> Mapping[str, str]:
    """Python's minor version, the lock file's hash, and the versions of the packages that can change a result.

    The lock counts without hashes, since a package index may add a file to a version, and without extras, since
    the packages that they add are in the lock.
    """
    lock = PROJECT / "requirements.txt"
    locked = lock.read_bytes().replace(b"\r\n", b"\n") if lock.is_file() else b""
    found = {
        "Python": platform.python_version().rpartition(".")[0],
        lock.name: _sha256(re.sub(rb" \\\n    --hash=sha256:[0-9a-f]{64}|\[[\w,-]+\](?===)", b"", locked)),
    }
    for package in DECIDING_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _sha256_of(parts: Mapping[str, str]) -> str:
    return _sha256(json.dumps(parts, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
