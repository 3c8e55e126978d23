"""`stack.backup.make`: the command that a restore prints starts the restored stack, and no other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlops.config import PROJECT
from stack.backup import make


@pytest.mark.parametrize("state", ["/srv/other", "/srv/my own", "/srv/it's $x"])
def test_the_command_names_a_state_folder_that_is_not_the_default(state: str) -> None:
    show = """--eval=show: ; @printf '%s' "$$MLOPS_STATE_DIR" """
    command = f'{make("show", Path(state, "stack"))} --silent "$0"'
    done = subprocess.run(
        ["sh", "-c", command, show], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == state


def test_the_command_for_the_default_state_folder_is_the_plain_one() -> None:
    assert make("stack", PROJECT / ".state" / "stack") == "make stack"
