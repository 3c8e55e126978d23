"""The stack of this state folder, from the files that `make stack` writes; `stack` itself is not imported."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from mlops import config


def exists() -> bool:
    """Whether this state folder has a stack, running or not."""
    return (config.state().stack / ".env").exists()


def shell_variables() -> dict[str, str]:
    """Variables that the stack gives to shells; none before its first start, or if this user may not read them."""
    text = _shell_file().read_text(encoding="utf-8") if os.access(_shell_file(), os.R_OK) else ""
    return {name: value for name, _, value in (word.partition("=") for word in shlex.split(text))}


def shell_command() -> str:
    """The command that gives these variables to a shell."""
    return f"set -a; . {shlex.quote(str(_shell_file()))}; set +a"


def command_to_start(uri: str) -> str:
    """The make command that starts the tracking server at this address."""
    address = uri.rstrip("/").replace("//localhost:", "//127.0.0.1:")
    return "make stack" if shell_variables().get("MLFLOW_TRACKING_URI") == address else "make mlflow"


def act_without_models() -> str:
    """What a person can do where no model is registered: train one, or use the stack's registry in this shell."""
    address = shell_variables().get("MLFLOW_TRACKING_URI")
    if address in (None, config.tracking_uri()):
        return "train one first"
    return f"train one first, or use the registry of the stack in {config.state().stack}: {shell_command()}"


def _shell_file() -> Path:
    return config.state().stack / "environment"
