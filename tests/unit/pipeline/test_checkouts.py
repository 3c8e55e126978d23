"""A commit has the same run key and the same text files in every checkout of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops import config
from mlops.config import Settings
from mlops.pipeline import run_key

COPIED = (
    "mlops",
    "data_loaders",
    "transformers",
    "data_exporters",
    "docker",
    ".gitattributes",
    "requirements.txt",
)
RULES_KEY = """
from mlops.config import Settings
from mlops.data.trips import RULES
from mlops.pipeline import run_key
print(run_key.compute(Settings(), {}, run_key.rules_sha256(RULES)), run_key.__file__)
"""


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose one commit has the project's code, lock, scripts and .gitattributes."""
    folder = tmp_path_factory.mktemp("repository")
    for name in COPIED:
        source, target = config.PROJECT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def as_on_windows(repository: Path, target: Path) -> None:
    git(target.parent, "clone", "-q", "-c", "core.autocrlf=true", str(repository), str(target))


def worktree(repository: Path, target: Path) -> None:
    git(repository, "worktree", "add", "-q", "--detach", str(target))


def shallow(repository: Path, target: Path) -> None:
    git(target.parent, "clone", "-q", "--depth", "1", f"file://{repository}", str(target))


def archive(repository: Path, target: Path) -> None:
    target.mkdir()
    git(repository, "archive", "--output", str(target.parent / "archive.tar"), "HEAD")
    shutil.unpack_archive(target.parent / "archive.tar", target)


@pytest.fixture
def look_from(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], tuple[str, str]]]:
    """Run key and commit, as a checkout sees them."""

    def look(folder: Path) -> tuple[str, str]:
        monkeypatch.setattr(run_key, "PROJECT", folder)
        run_key._environment.cache_clear()
        return run_key.compute(Settings(), {}, ""), run_key.git_commit()

    yield look
    run_key._environment.cache_clear()


@pytest.mark.parametrize("check_out", [as_on_windows, worktree, shallow, archive])
def test_the_run_key_and_the_commit_are_the_same(
    check_out: Callable[[Path, Path], None],
    repository: Path,
    tmp_path: Path,
    look_from: Callable[[Path], tuple[str, str]],
) -> None:
    target = tmp_path / "Zürich #1 (copy)"
    check_out(repository, target)

    key, commit = look_from(repository)
    assert commit == git(repository, "rev-parse", "HEAD")
    assert look_from(target) == (key, "" if check_out is archive else commit)


def test_the_key_with_the_rules_is_the_same_in_a_process_of_each_checkout(
    repository: Path, tmp_path: Path
) -> None:
    target = tmp_path / "it's 100% mine"
    as_on_windows(repository, target)
    keys = set()
    for folder in (repository, target):
        done = subprocess.run([sys.executable, "-c", RULES_KEY], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        key, file = done.stdout.strip().split(" ", 1)
        assert file == str(folder / "mlops" / "pipeline" / "run_key.py")
        keys.add(key)
    assert len(keys) == 1


def test_git_s_default_on_windows_keeps_the_lines_of_texts_and_the_bytes_of_pictures(
    repository: Path, tmp_path: Path
) -> None:
    target = tmp_path / "clone"
    as_on_windows(repository, target)
    files = [target / name for name in git(target, "ls-files", "-z").split("\0") if name]
    assert len(files) > 60
    changed = [
        path for path in files if path.read_bytes() != (repository / path.relative_to(target)).read_bytes()
    ]
    assert changed == []
    assert subprocess.run(["sh", "-n", target / "docker" / "postgres-databases.sh"]).returncode == 0
    assert git(target, "status", "--short") == ""


@pytest.mark.parametrize("suffix", ["png", "npz", "ubj", "parquet"])
def test_binary_files_are_marked(suffix: str, repository: Path) -> None:
    assert git(repository, "check-attr", "text", f"some.{suffix}") == f"some.{suffix}: text: unset"
