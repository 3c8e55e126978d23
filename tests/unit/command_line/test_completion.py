"""Completion in a real bash: commands, options, and the values of options."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from mlops.command_line.command_parser import commands_of
from mlops.command_line.completion import SHELLS
from mlops.command_line.parser import parser, print_completion
from mlops.config import PROJECT


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The completion script of bash, in a file."""
    path = tmp_path_factory.mktemp("completion") / "trip-duration.bash"
    with path.open("w") as stream, contextlib.redirect_stdout(stream):
        assert print_completion(Namespace(shell="bash")) == 0
    return path


def offered(script: Path, *words: str) -> list[str]:
    """What bash offers for the word at the end of a command line."""
    asked = f"""
source {shlex.quote(str(script))}
COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}
$(complete -p trip-duration | grep -o '_shtab[a-z_]*') trip-duration {shlex.join([words[-1], words[-2]])}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", asked], cwd=PROJECT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_commands(script: Path) -> None:
    assert offered(script, "trip-duration", "") == [*commands_of(parser())]
    assert offered(script, "trip-duration", "tr") == ["train", "trust"]
    assert offered(script, ".venv/bin/trip-duration", "comp") == ["completion"]


def test_options_of_the_command(script: Path) -> None:
    assert offered(script, "trip-duration", "train", "--serv") == ["--service"]
    found = offered(script, "trip-duration", "doctor", "-")
    assert "--resume" in found and "--max-trials" not in found


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["train", "--service", ""], ["green", "yellow", "fhvhv"]),
        (["score", "--service", "y"], ["yellow"]),
        (["monitor", "--service", "f"], ["fhvhv"]),
        (["train", "--force", "--on-busy", ""], ["wait", "refuse"]),
        (["backfill", "--require-approval", "b"], ["borderline"]),
        (["completion", ""], [*SHELLS]),
    ],
)
def test_values(words: list[str], values: list[str], script: Path) -> None:
    assert offered(script, "trip-duration", *words) == values


def test_files_and_folders(script: Path) -> None:
    assert offered(script, "trip-duration", "monitor", "--report", "pyproj") == ["pyproject.toml"]
    assert offered(script, "trip-duration", "train", "--source", "mlo") == ["mlops"]
    assert "README.md" not in offered(script, "trip-duration", "train", "--source", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_completion(Namespace(shell=shell)) == 0
    script = capsys.readouterr().out
    assert "trip-duration" in script and "--service" in script
    assert "python -m mlops" not in script
