"""The stack of this state folder, from the files that `make stack` writes; `stack` itself is not imported."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from mlops import config, files


def exists() -> bool:
    """Whether this state folder has a stack, running or not."""
    return (config.state().stack / ".env").exists()


def shell_variables() -> dict[str, str]:
    """Variables that the stack gives to shells; none before its first start, or if this user may not read them."""
    return _variables(config.state().stack / "client" / ".env")


def mage_variables() -> dict[str, str]:
    """Environment of the stack's Mage, from its start to its stop."""
    return _variables(config.state().stack / "run" / "mage" / ".env")


def shell_command() -> str:
    """The command that gives these variables to a shell."""
    return f"set -a; . {shlex.quote(str(config.state().stack / 'environment'))}; set +a"


def act_without_answer(uri: str, *, hangs: bool) -> str:
    """What to do about the tracking server at this address, which is away or, if it hangs, started."""
    address = uri.rstrip("/").replace("//localhost:", "//127.0.0.1:")
    is_stack_s = shell_variables().get("MLFLOW_TRACKING_URI") == address
    if not hangs:
        return f"Start it (`make {'stack' if is_stack_s else 'mlflow'}`)"
    how = " (`make stack-stop stack`)" if is_stack_s else ""
    return f"It is started, but hangs or is overloaded: if that lasts, restart it{how}"


def way_to(address: str) -> str:
    """What a person does so that commands in this shell use the tracking store at this address."""
    if exists() and address.startswith("http://127.0.0.1:"):
        return f"start the stack (`make stack`) and let this shell use it (`{shell_command()}`)"
    return "let MLFLOW_TRACKING_URI name that store"


def act_without_models() -> str:
    """What a person can do where no model is registered: train one, or use the stack's registry in this shell."""
    address = shell_variables().get("MLFLOW_TRACKING_URI")
    if address in (None, config.tracking_uri()):
        return "train one first"
    return f"train one first, or use the registry of the stack in {config.state().stack}: {shell_command()}"


def _variables(path: Path) -> dict[str, str]:
    return files.read_variables(path) if os.access(path, os.R_OK) else {}
