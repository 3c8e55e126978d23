"""The stack of this state folder: is it started, does this shell use it? And the Mage that the doctor looks at.

The variables of the stack's Mage come from the file with which supervisord starts it, not from this shell.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops import config
from mlops.operations.doctor.finding import Finding, not_checked
from mlops.registry import local_stack


@dataclass(frozen=True)
class Mage:
    """A Mage that the doctor looks at.

    Parameters
    ----------
    variables : mapping
        Its environment variables.
    project : Path
        The Mage project that it serves.
    is_stack : bool
        Whether `make stack` started it.
    """

    variables: Mapping[str, str]
    project: Path
    is_stack: bool = False

    @property
    def start(self) -> str:
        """The command that starts it."""
        return "make stack" if self.is_stack else "mage start"


def look_over() -> Generator[Finding, None, bool]:
    """Findings about the stack of this state folder, none if it has none. Returns whether it is started."""
    if not local_stack.exists():
        return False
    about, use = f"stack in {config.state().stack}", local_stack.shell_command()
    if not _launch_file().exists():
        parts = "its Mage, Mage's database and registry were not looked at"
        yield not_checked(about, f"it is stopped, so {parts}; start it with make stack")
        return False
    theirs, given = _client_variables(), os.environ.get("MLFLOW_TRACKING_URI")
    if not theirs:
        why = (
            "its variables cannot be read; let make stack end, and run the doctor as the user who started it"
        )
        yield not_checked(about, why)
        return False
    others = [name for name, value in theirs.items() if os.environ.get(name) != value]
    if not given:
        yield _unused(about, f"commands in this shell use that store, until {use}")
    elif "MLFLOW_TRACKING_URI" in others:
        why = f"MLFLOW_TRACKING_URI in this shell is {config.without_credentials(given)}; to check it, first {use}"
        server = config.without_credentials(theirs["MLFLOW_TRACKING_URI"])
        yield not_checked(f"{about}: its tracking server {server}", why)
    elif others:
        yield Finding(f"{about}: this shell has other values of {', '.join(others)}; run {use}", is_open=True)
    else:
        yield Finding(f"{about}: this shell uses it")
    return True


def is_started() -> bool:
    """Whether this state folder has a stack that is started, and this user may read its variables."""
    return local_stack.exists() and _launch_file().exists() and bool(_client_variables())


def mage(is_started: bool) -> Mage:
    """The Mage to look at: that of a started stack, else the one that this environment describes."""
    if is_started:
        launch = json.loads(_launch_file().read_text(encoding="utf-8"))
        return Mage(local_stack.mage_variables(), Path(launch["cwd"]), is_stack=True)
    served = os.environ.get("MAGE_REPO_PATH")  # Mage in a container serves a copy
    return Mage(dict(os.environ), Path(served or config.PROJECT))


@contextlib.contextmanager
def used(is_started: bool) -> Iterator[None]:
    """Inside the block, this process uses the stack's tracking server and locks, unless its shell names others."""
    theirs = _client_variables() if is_started else {}
    names_another = os.environ.get("MLFLOW_TRACKING_URI") not in (None, "", theirs.get("MLFLOW_TRACKING_URI"))
    adopted = {} if names_another else theirs
    before = {name: os.environ.get(name) for name in adopted}
    os.environ.update(adopted)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def is_used() -> bool:
    """Whether this process uses the tracking server of the stack."""
    return os.environ.get("MLFLOW_TRACKING_URI") == _client_variables().get("MLFLOW_TRACKING_URI")


def _client_variables() -> dict[str, str]:
    """Those of the stack's variables that decide which registry and locks a command uses."""
    found = local_stack.shell_variables()
    return {name: value for name, value in found.items() if name.startswith("MLFLOW_") or name == "LOCK_URL"}


def _unused(about: str, then: str) -> Finding:
    """That the stack is checked, and not the store that this shell uses."""
    store = config.tracking_uri()
    file = config.sqlite_file(store)
    if file is not None and file.exists():
        return not_checked(f"tracking store {store}", f"the {about} is checked instead; {then}")
    return Finding(f"{about}: it is checked, and not the store {store}, which does not exist; {then}")


def _launch_file() -> Path:
    """The file with which supervisord starts the stack's Mage; it is there from the stack's start to its stop."""
    return config.state().stack / "run" / "mage.json"
