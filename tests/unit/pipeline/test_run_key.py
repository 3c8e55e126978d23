"""The same run has the same key through whatever door, and what would change its result changes the key."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops import config
from mlops.config import OPERATIONAL, Settings
from mlops.pipeline import run_key
from mlops.pipeline.run_key import compute, git_commit, made_by

RULES = ("too long", "too short")
FILES = {"2023-05": "ab" * 32, "2023-06": "cd" * 32}
OTHERWISE: dict[str, Any] = {
    "service": "yellow", "month": "2023-07", "source": "tlc", "train_months": 3, "use_distance": False,
    "half_life_months": 6.0, "max_trials": 2, "warm_start": False, "tuning_seconds": 60.0, "seed": 1,
    "min_rows_ratio": 0.4, "max_rows_ratio": 3.0, "max_rejections_ratio": 3.0, "compare_course": True,
    "allow_unusual_months": True, "min_improvement": 0.02, "max_slice_regression": 0.2, "min_test_rows": 10,
    "max_champion_age_months": 6, "connect_timeout": 1.0, "tracking_patience": 1.0, "on_busy": "refuse",
    "force": True, "start_month": "2023-04", "end_month": "2023-09", "publication_wait": 1.0,
    "source_patience": 1.0,
}  # fmt: skip
HOW = {
    "source", "source_patience", "publication_wait", "connect_timeout", "tracking_patience", "on_busy", "force",
    "start_month", "end_month",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of one module, one block and a lock file."""
    for folder in ("mlops", "data_loaders"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mlops" / "trips.py").write_text("a = 1\n")
    (tmp_path / "data_loaders" / "load_trips.py").write_text("b = 1\n")
    (tmp_path / "requirements.txt").write_text("numpy==1.26.4\n")
    monkeypatch.setattr(run_key, "PROJECT", tmp_path)
    run_key._environment_sha256.cache_clear()  # of the real project
    yield tmp_path
    run_key._environment_sha256.cache_clear()


def key(files: dict[str, str] | None = None, **settings: Any) -> str:
    return compute(Settings(**settings), files or FILES, RULES)


def test_the_key_is_64_hexadecimal_digits() -> None:
    assert len(key()) == 64
    assert set(key()) <= set("0123456789abcdef")


def test_every_setting_is_looked_at_here() -> None:
    assert set(OTHERWISE) == set(Settings.model_fields)
    assert all(getattr(Settings(), name) != value for name, value in OTHERWISE.items())


@pytest.mark.parametrize("name", OTHERWISE)
def test_settings_change_the_key_unless_they_only_say_how(name: str) -> None:
    start = {"start_month": "2023-04"} if name == "end_month" else {}  # without which it makes no sense
    changed = key() != key(**start, **{name: OTHERWISE[name]})

    assert changed == (name not in OPERATIONAL)
    assert set(OPERATIONAL) == HOW


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "2023-06": "ce" * 32},
        {"2023-05": FILES["2023-06"], "2023-06": FILES["2023-05"]},
        {"2023-06": FILES["2023-06"]},
        {**FILES, "2023-04": "ab" * 32},
    ],
    ids=["republished", "swapped", "one less", "one more"],
)
def test_other_files_have_another_key(files: dict[str, str]) -> None:
    assert key(files) != key()


def test_the_order_of_months_and_settings_does_not_matter() -> None:
    assert key(dict(reversed(FILES.items()))) == key()
    assert (
        Settings.parse({"seed": 1, "month": "2023-05"}).result_settings()
        == Settings(month="2023-05", seed=1).result_settings()
    )


# --- Code and environment -----------------------------------------------------------------------------------


def test_a_changed_line_changes_the_key_though_nothing_was_committed(project: Path) -> None:
    before = key()
    (project / "mlops" / "trips.py").write_text("a = 2\n")
    once = key()
    (project / "data_loaders" / "load_trips.py").write_text("b = 2\n")
    twice = key()

    assert len({before, once, twice}) == 3
    (project / "mlops" / "trips.py").write_text("a = 1\n")
    (project / "data_loaders" / "load_trips.py").write_text("b = 1\n")
    assert key() == before


def test_a_new_a_renamed_and_a_nested_module_are_noticed(project: Path) -> None:
    seen = {key()}
    (project / "mlops" / "extra.py").write_text("")
    seen.add(key())
    (project / "mlops" / "extra.py").rename(project / "mlops" / "other.py")
    seen.add(key())
    (project / "mlops" / "deep").mkdir()
    (project / "mlops" / "other.py").rename(project / "mlops" / "deep" / "other.py")
    seen.add(key())

    assert len(seen) == 4


def test_what_makes_no_model_does_not_change_the_key(project: Path) -> None:
    before = key()
    (project / "README.md").write_text("new")
    (project / "tests").mkdir()
    (project / "tests" / "test_trips.py").write_text("new")
    (project / "mlops" / "trips.cpython-311.pyc").write_bytes(b"new")

    assert key() == before


def test_the_blocks_that_train_are_code_too() -> None:
    assert all((config.PROJECT / folder).is_dir() for folder in run_key.CODE)


def test_another_lock_file_is_another_environment(project: Path) -> None:
    before, code = key(), made_by()["code_sha256"]
    run_key._environment_sha256.cache_clear()
    (project / "requirements.txt").write_text("numpy==1.26.5\n")

    assert key() != before
    assert made_by()["code_sha256"] == code


def test_another_version_that_is_installed_is_another_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, installed = key(), run_key.version
    run_key._environment_sha256.cache_clear()
    monkeypatch.setattr(run_key, "version", lambda name: "0.0" if name == "xgboost" else installed(name))

    assert key() != before


def test_python_counts_up_to_its_minor_version(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for python in ("3.11.7", "3.11.9", "3.12.0"):
        run_key._environment_sha256.cache_clear()
        monkeypatch.setattr(run_key.platform, "python_version", lambda python=python: python)
        keys.append(key())

    assert keys[0] == keys[1] != keys[2]


def test_without_a_lock_file_there_is_a_key_all_the_same(project: Path) -> None:
    (project / "requirements.txt").unlink()

    assert len(key()) == 64


# --- The commit ---------------------------------------------------------------------------------------------


def git(project: Path, *words: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    command = ["git", "-C", str(project), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_says_whether_files_differ_from_it(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    git(project, "tag", "v1")
    commit = git(project, "rev-parse", "HEAD")

    assert git_commit() == commit
    (project / "mlops" / "trips.py").write_text("a = 2\n")
    assert git_commit() == f"{commit}-dirty"


def test_outside_a_checkout_there_is_no_commit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    assert git_commit() == ""
    monkeypatch.setenv("PATH", str(project))  # nor without git
    assert git_commit() == ""


def test_the_rules_change_the_key_and_their_order_does_not() -> None:
    assert compute(Settings(), FILES, RULES) == compute(Settings(), FILES, RULES[::-1])
    assert compute(Settings(), FILES, RULES) != compute(Settings(), FILES, RULES[:1])
