"""The Makefile in folders with odd names, and with odd values; the environments need not be there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mlops.config import PROJECT

ODD = """it's 100% "Zürich" #1 & co; (北京) $HOME `id` -x \\ ~"""
SHOW = 'show: ; @printf "%s\\n" "$$MLOPS_STATE_DIR" "$$MAGE_DATA_DIR"'
TARGETS = (
    "demo",
    "train",
    "editor",
    "notebook",
    "script",
    "mlflow",
    "mlflow-run",
    "serve",
    "stack",
    "stack-status",
    "stack-update",
    "stack-stop",
    "backup",
    "restore",
    "docs",
)


def make(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The end of a make that takes every environment for built."""
    names = re.findall(r"\.venv[\w-]*/[\w-]*installed", (PROJECT / "Makefile").read_text())
    own = {
        name: text for name, text in os.environ.items() if not name.startswith(("MLOPS_", "MAGE_", "MAKE"))
    }
    return subprocess.run(
        ["make", *(f"--old-file={name}" for name in names), f"--eval={SHOW}", *words],
        cwd=folder, env=own | variables, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(params=["plain", "my clone", ODD])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = tmp_path / request.param
    made.mkdir()
    shutil.copy(PROJECT / "Makefile", made)
    for name in re.findall(r"\.venv[\w-]*/[\w-]*installed", (PROJECT / "Makefile").read_text()):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).touch()
    return made


def folders(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_state_is_below_the_checkout(folder: Path) -> None:
    for empty in ({}, {"MLOPS_STATE_DIR": ""}):
        assert folders(make(folder, "show", **empty)) == [f"{folder}/.state", f"{folder}/.state/mage"]


@pytest.mark.parametrize("state", ["/var/lib/mlops", f"/var/{ODD}/state", "/var/$x/${y}/$(z)"])
def test_a_state_folder_is_taken_as_it_is(state: str, folder: Path) -> None:
    assert folders(make(folder, "show", MLOPS_STATE_DIR=state)) == [state, f"{state}/mage"]
    named = folders(make(folder, "show", MLOPS_STATE_DIR=state, MAGE_DATA_DIR="/data/$mage"))
    assert named == [state, "/data/$mage"]


@pytest.mark.parametrize("state", ["state", "my state", "-state", "$x/state"])
def test_a_relative_state_folder_is_below_the_checkout(state: str, folder: Path) -> None:
    expected = [f"{folder}/{state}", f"{folder}/{state}/mage"]
    assert folders(make(folder, "show", MLOPS_STATE_DIR=state)) == expected
    if "$" not in state:  # which make expands on its command line
        assert folders(make(folder, "show", f"MLOPS_STATE_DIR={state}")) == expected


def test_a_tilde_that_no_shell_has_expanded_is_refused(folder: Path) -> None:
    done = make(folder, "show", MLOPS_STATE_DIR="~/state")
    assert done.returncode != 0
    assert "MLOPS_STATE_DIR: expected a full path, since only a shell expands ~; got ~/state" in done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_the_same_commands_in_every_folder(target: str, folder: Path) -> None:
    here, usual = make(folder, "--dry-run", target), make(PROJECT, "--dry-run", target)
    assert here.returncode == usual.returncode == 0, here.stderr
    assert here.stdout == usual.stdout


@pytest.mark.parametrize(
    ("target", "variable", "option"),
    [
        ("train", "SOURCE", "--source="),
        ("bench", "SOURCE", "--source="),
        ("backup", "TO", ""),
        ("restore", "FROM", ""),
    ],
)
def test_a_path_is_one_word_of_the_command(target: str, variable: str, option: str, folder: Path) -> None:
    for path in (f"/data/{ODD}", f"-{ODD}", "plain"):
        done = make(folder, "--dry-run", target, f"{variable}={path.replace('$', '$$')}")
        assert done.returncode == 0, done.stderr
        words = shlex.split(done.stdout)
        assert f"{option}{path}" in words
        assert option or words[-2] == "--"  # after it, a leading dash is no option


def test_a_restore_trusts_an_archive_only_where_somebody_writes_so(folder: Path) -> None:
    for words, expected in (["TRUST=1"], ["--trust"]), (["TRUST=0"], []), ([], []):
        done = make(folder, "--dry-run", "restore", "FROM=a.tar.gz", *words)
        _, _, after = done.stdout.partition("-m stack")
        assert shlex.split(after) == [*expected, "restore", "--", "a.tar.gz"], done.stdout


def test_in_a_shell_of_the_stack_the_editor_has_its_own_database_and_runs_no_schedule(folder: Path) -> None:
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || env\n')
    python.chmod(0o755)
    registry = "http://127.0.0.1:5000"
    database = "postgresql://mage@127.0.0.1:5433/mage"
    done = make(
        folder, "editor", ENV="prod", MAGE_DATABASE_CONNECTION_URL=database, MLFLOW_TRACKING_URI=registry
    )
    printed = done.stdout.splitlines()
    assert f"MLFLOW_TRACKING_URI={registry}" in printed, done.stderr
    assert [line for line in printed if line.startswith(("ENV=", "MAGE_DATABASE_CONNECTION_URL="))] == []


@pytest.mark.parametrize(
    ("asked", "is_off"),
    [({}, True), ({"TERMINAL": "1"}, False), ({"TERMINAL": "xterm"}, True)],  # some desktops set TERMINAL
)
def test_the_editor_has_no_terminal_unless_asked(asked: dict[str, str], is_off: bool, folder: Path) -> None:
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || env\n')
    python.chmod(0o755)
    printed = make(folder, "editor", **asked).stdout.splitlines()
    assert f"DISABLE_TERMINAL={'true' if is_off else 'false'}" in printed
    assert "REQUIRE_USER_AUTHENTICATION=false" in printed


@pytest.mark.parametrize("target", ["stack-status", "stack-stop", "backup"])
def test_after_an_interrupted_upgrade_a_look_at_the_stack_builds_nothing(target: str, folder: Path) -> None:
    """The upgrade was ended while it built `.venv`; make may build here, so nothing is taken for built."""
    (folder / ".venv" / "installed").unlink()

    def run() -> tuple[int, str, str]:
        done = subprocess.run(
            ["make", "--no-print-directory", target], cwd=folder, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    missing = "the environment .venv is missing or not complete: run make upgrade, which builds it"
    python = folder / ".venv" / "bin" / "python"
    assert [run()[0], run()[2].splitlines()[0]] == [2, missing]
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho ModuleNotFoundError >&2; exit 1\n")  # its packages are not there yet
    python.chmod(0o755)
    assert [run()[0], run()[2].splitlines()[0]] == [2, missing]
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "$@"\n')
    assert run() == (0, f"-m stack {target.removeprefix('stack-')}\n", "")


def test_help_works_from_another_folder(folder: Path) -> None:
    assert folders(make(folder.parent, "-C", str(folder), "--no-print-directory", "help"))[0].startswith(
        "help "
    )
