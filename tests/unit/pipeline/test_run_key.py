"""The same run has the same key; what would change its result changes the key."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops import config
from mlops.config import OPERATIONAL, Settings
from mlops.data.trips import RULES, Rule, clean
from mlops.month import Month
from mlops.pipeline import run_key
from mlops.pipeline.run_key import CODE, NOT_DECIDING, compute, git_commit, made_by, rules_sha256

FILES = {"2023-05": "ab" * 32, "2023-06": "cd" * 32}


OTHERWISE: dict[str, Any] = {
    "service": "yellow", "month": "2023-07", "source": "tlc", "train_months": 3, "use_distance": False,
    "half_life_months": 6.0, "max_trials": 2, "warm_start": False, "tuning_seconds": 60.0, "seed": 1,
    "min_rows_ratio": 0.4, "max_rows_ratio": 3.0, "max_rejections_ratio": 3.0, "compare_course": True,
    "allow_unusual_months": True, "min_improvement": 0.02, "max_slice_regression": 0.2, "max_coverage_error": 0.1,
    "min_test_rows": 10, "max_champion_age_months": 6, "connect_timeout": 1.0, "tracking_patience": 1.0,
    "on_busy": "refuse", "force": True, "start_month": "2023-04", "end_month": "2023-09", "publication_wait": 1.0,
    "source_patience": 1.0, "require_approval": "always", "experiment": "short trips", "experiment_note": "why",
}  # fmt: skip


HOW = {
    "source", "source_patience", "publication_wait", "connect_timeout", "tracking_patience", "on_busy", "force",
    "start_month", "end_month", "require_approval", "experiment", "experiment_note",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of one module, one block and a lock file."""
    for folder in ("mlops/data", "data_loaders"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "mlops" / "data" / "trips.py").write_text("a = 1\n")
    (tmp_path / "data_loaders" / "load_trips.py").write_text("b = 1\n")
    (tmp_path / "requirements.txt").write_text("numpy==1.26.4\n")
    monkeypatch.setattr(run_key, "PROJECT", tmp_path)
    run_key._environment.cache_clear()  # of the real project
    yield tmp_path
    run_key._environment.cache_clear()


def key(files: dict[str, str] | None = None, **settings: Any) -> str:
    return compute(Settings(**settings), files or FILES, rules_sha256(RULES))


def test_the_key_is_64_hexadecimal_digits() -> None:
    assert len(key()) == 64
    assert set(key()) <= set("0123456789abcdef")


def test_every_setting_is_covered_here() -> None:
    assert set(OTHERWISE) == set(Settings.model_fields)
    assert all(getattr(Settings(), name) != value for name, value in OTHERWISE.items())


@pytest.mark.parametrize("name", OTHERWISE)
def test_settings_change_the_key_unless_they_are_operational(name: str) -> None:
    start = {"start_month": "2023-04"} if name == "end_month" else {}  # which it needs
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
    (project / "mlops" / "data" / "trips.py").write_text("a = 2\n")
    once = key()
    (project / "data_loaders" / "load_trips.py").write_text("b = 2\n")
    twice = key()

    assert len({before, once, twice}) == 3
    (project / "mlops" / "data" / "trips.py").write_text("a = 1\n")
    (project / "data_loaders" / "load_trips.py").write_text("b = 1\n")
    assert key() == before


def test_a_new_a_renamed_and_a_nested_module_are_noticed(project: Path) -> None:
    seen = {key()}
    data = project / "mlops" / "data"
    (data / "extra.py").write_text("")
    seen.add(key())
    (data / "extra.py").rename(data / "other.py")
    seen.add(key())
    (data / "deep").mkdir()
    (data / "other.py").rename(data / "deep" / "other.py")
    seen.add(key())

    assert len(seen) == 4


def test_hidden_files_do_not_change_the_key(project: Path) -> None:
    before = key()
    (project / "mlops" / "data" / "._trips.py").write_bytes(b"\x00\x05\x16\x07 by macOS")
    (project / "data_loaders" / ".ipynb_checkpoints").mkdir()
    (project / "data_loaders" / ".ipynb_checkpoints" / "load_trips-checkpoint.py").write_text("b = 3\n")

    assert key() == before


def test_code_that_makes_no_model_does_not_change_the_key(project: Path) -> None:
    before = key()
    (project / "README.md").write_text("new")
    (project / "tests").mkdir()
    (project / "tests" / "test_trips.py").write_text("new")
    (project / "mlops" / "data" / "trips.cpython-311.pyc").write_bytes(b"new")

    assert key() == before


def test_listed_files_exist_and_every_exception_is_within_counted_code() -> None:
    assert all((config.PROJECT / name).exists() for name in (*CODE, *NOT_DECIDING))
    for name, reason in NOT_DECIDING.items():
        assert reason
        assert any(name.startswith(f"{folder}/") for folder in CODE), name


@pytest.fixture
def whole_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project's Python files and lock, which tests may change."""
    for place in ("mlops", "data_loaders", "transformers", "data_exporters"):
        for path in (config.PROJECT / place).rglob("*.py"):
            copy = tmp_path / path.relative_to(config.PROJECT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (tmp_path / "requirements.txt").write_bytes((config.PROJECT / "requirements.txt").read_bytes())
    monkeypatch.setattr(run_key, "PROJECT", tmp_path)
    run_key._environment.cache_clear()
    yield tmp_path
    run_key._environment.cache_clear()


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r} to change"
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("mlops/config.py", 'description="Taxi service', 'description="Which taxi service'),
        ("mlops/config.py", "max_trials: int = Field(\n        18,", "max_trials: int = Field(\n        19,"),
        ("mlops/__main__.py", "import argparse", "import argparse as arguments"),
        ("mlops/operations/policies.py", "import", "import os\nimport"),
        ("mlops/evaluation/model_card.py", "import", "import os\nimport"),
        ("mlops/data/sources/web_site.py", "import", "import os\nimport"),
        ("data_exporters/delete_old_outputs.py", "mage_ai", "mage_ai_pro"),
        ("mlops/training/search.py", '"""', '"""Another first sentence. '),
        ("mlops/training/search.py", "\nimport", "\n# a comment\n\nimport"),
        ("transformers/clean_trips.py", "OWN_RULES))", "OWN_RULES)  # all of them\n    )"),
    ],
)
def test_code_that_decides_nothing_does_not_change_the_key(
    path: str, old: str, new: str, whole_project: Path
) -> None:
    before = key(max_trials=5)
    replace(whole_project / path, old, new)
    assert key(max_trials=5) == before


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("mlops/training/search_space.py", "200", "300"),
        ("mlops/training/search.py", "1 / 9", "1 / 8"),
        ("mlops/data/trips.py", "LONGEST_MILES = 100.0", "LONGEST_MILES = 90.0"),
        ("mlops/model/city_calendar.py", "int8", "int16"),
        ("mlops/evaluation/promotion.py", "int = 3", "int = 4"),
        ("mlops/month.py", "% 12", "% 13"),
        ("mlops/pipeline/steps.py", "clean_file", "clean_other_file"),
        ("data_loaders/load_trips.py", "load_trips(settings)", "load_trips(settings).tail(9)"),
        ("transformers/clean_trips.py", "(OWN_RULES", "(OWN_RULES[1:]"),
        ("data_exporters/train_and_register.py", "settings", "other"),
    ],
)
def test_code_that_decides_changes_the_key(path: str, old: str, new: str, whole_project: Path) -> None:
    before = key()
    replace(whole_project / path, old, new)
    assert key() != before


def test_a_user_s_own_block_counts(whole_project: Path) -> None:
    before = key()
    (whole_project / "transformers" / "drop_holidays.py").write_text(
        "def drop_holidays(months): return months\n"
    )
    assert key() != before


def test_line_endings_do_not_change_the_key(whole_project: Path) -> None:
    before, changed = key(), 0
    for path in [*whole_project.rglob("*.py"), whole_project / "requirements.txt"]:
        unix = path.read_bytes()
        path.write_bytes(unix.replace(b"\n", b"\r\n"))
        changed += path.read_bytes() != unix
    run_key._environment.cache_clear()

    assert key() == before
    assert changed > 60


def test_a_file_that_is_not_python_counts_as_its_bytes(project: Path) -> None:
    keys = []
    for text in (b"not python\n", b"not python\r\n", b"not even python\n", b"\0"):
        (project / "data_loaders" / "scratch.py").write_bytes(text)
        keys.append(key())
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_another_lock_file_is_another_environment(project: Path) -> None:
    before, code = key(), made_by()["code_sha256"]
    run_key._environment.cache_clear()
    (project / "requirements.txt").write_text("numpy==1.26.5\n")

    assert key() != before
    assert made_by()["code_sha256"] == code


def test_hashes_and_extras_in_the_lock_do_not_change_the_key(project: Path) -> None:
    before, hashed = key(), "".join(f" \\\n    --hash=sha256:{digit * 64}" for digit in "ab")
    run_key._environment.cache_clear()
    (project / "requirements.txt").write_text(f"numpy[a,b-c]==1.26.4{hashed}\n")

    assert key() == before


def test_another_version_that_is_installed_is_another_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, installed = key(), run_key.version
    run_key._environment.cache_clear()
    monkeypatch.setattr(run_key, "version", lambda name: "0.0" if name == "xgboost" else installed(name))

    assert key() != before


def test_python_counts_up_to_its_minor_version(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for python in ("3.11.7", "3.11.9", "3.12.0"):
        run_key._environment.cache_clear()
        monkeypatch.setattr(run_key.platform, "python_version", lambda python=python: python)
        keys.append(key())

    assert keys[0] == keys[1] != keys[2]


def test_without_a_lock_file_there_is_still_a_key(project: Path) -> None:
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
    (project / "mlops" / "data" / "trips.py").write_text("a = 2\n")
    assert git_commit() == f"{commit}-dirty"


def test_an_archive_inside_another_checkout_has_no_commit(project: Path) -> None:
    git(project.parent, "init", "-q")
    (project.parent / "notes.txt").write_text("of another project")
    git(project.parent, "add", "notes.txt")
    git(project.parent, "commit", "-qm", "of another project")

    assert git_commit() == ""
    git(project.parent, "add", project.name)
    git(project.parent, "commit", "-qm", "with this project in a folder")
    assert git_commit() == git(project.parent, "rev-parse", "HEAD")


def test_a_hook_of_another_repository_does_not_change_the_commit(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    for folder in (project, other):
        git(folder, "init", "-q")
        (folder / "notes.txt").write_text(folder.name)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "first")
    commit = git(project, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))

    assert git_commit() == commit


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_checkout_of_another_user_has_its_commit(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    commit = git(project, "rev-parse", "HEAD")
    for path in [project, *project.rglob("*")]:
        os.chown(path, 12345, 12345)

    assert git_commit() == commit


def test_outside_a_checkout_there_is_no_commit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    assert git_commit() == ""
    monkeypatch.setenv("PATH", str(project))  # nor if git is missing
    assert git_commit() == ""


# --- Rules --------------------------------------------------------------------------------------------------


def test_the_rules_change_the_key() -> None:
    assert compute(Settings(), FILES, rules_sha256(RULES)) == compute(
        Settings(), FILES, rules_sha256([*RULES])
    )
    assert compute(Settings(), FILES, rules_sha256(RULES)) != compute(
        Settings(), FILES, rules_sha256(RULES[:1])
    )


def test_the_order_of_rules_changes_the_key_since_it_changes_the_test_set() -> None:
    trips = {name: np.zeros(1) for name in ("distance_miles", "pickup_at", "duration_minutes")}
    both = [
        Rule("far", lambda trips, month: np.ones(1, bool)),
        Rule("odd", lambda trips, month: np.ones(1, bool), False),
    ]
    rows = [clean(trips, Month(2023, 1), order)[1].test_rows for order in (both, both[::-1])]

    assert rows == [1, 0]
    assert rules_sha256(both) != rules_sha256(both[::-1])
