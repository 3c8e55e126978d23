"""The stack's .env: passwords, secrets and ports, made at the first start and kept."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from stack.compose import StackError, read_env, variables

NAMES = {
    "DEFAULT_OWNER_EMAIL": "owner@localhost",
    "DEFAULT_OWNER_USERNAME": "owner",
    "MLFLOW_TRACKING_USERNAME": "owner",
}
"""Who the first users are, where the file does not say."""


def fill_in(path: Path, ports: Mapping[str, str]) -> dict[str, str]:
    """Values of every variable: those of the file, else the default, else a new secret; kept in the file.

    Parameters
    ----------
    path : Path
        A `.env`, or where it will be.
    ports : mapping
        Ports that were asked for, ``MAGE_PORT`` and so on; they win, and are kept.

    Raises
    ------
    StackError
        For a port that is no port.
    """
    kept = {name: value for name, value in read_env(path).items() if value}
    values = {
        name: default or NAMES.get(name) or secrets.token_hex(32) for name, default in variables().items()
    }
    values |= kept | dict(ports)
    for name, value in values.items():
        if name.endswith("_PORT") and not (re.fullmatch(r"\d{1,5}", value) and 0 < int(value) < 65536):
            raise StackError(
                f"{name}: expected a port, 1 to 65535; got {value!r}. It comes from make or {path}."
            )
    if read_env(path) != values:
        write_env(path, values)
    return values


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """A `.env` of these values."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in values.items()))


def asked_ports(environment: Mapping[str, str]) -> dict[str, str]:
    """Ports that make or the shell name."""
    return {
        name: environment[name] for name in variables() if name.endswith("_PORT") and environment.get(name)
    }


def write_for_shells(path: Path, values: Mapping[str, str]) -> None:
    """A file that `set -a; . FILE` reads."""
    write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def write_private(path: Path, text: str) -> None:
    """Write a file, whole or not at all, that only its owner can read."""
    passing = path.with_name(f"{path.name}.part")
    passing.unlink(missing_ok=True)
    passing.touch(0o600, exist_ok=False)
    passing.write_text(text)
    passing.replace(path)
