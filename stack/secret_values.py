"""The `.env` of a stack: passwords, secrets and ports, created at the first start and then kept."""

from __future__ import annotations

import itertools
import re
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from mlops.files import create_private
from stack.compose import StackError, read_env, required, variables

NAMES = {
    "DEFAULT_OWNER_EMAIL": "owner@localhost",
    "DEFAULT_OWNER_USERNAME": "owner",
    "MLFLOW_TRACKING_USERNAME": "owner",
}
"""Names of the first users, if the file does not set them."""

PORTS = ("MAGE_PORT", "MLFLOW_PORT", "POSTGRES_PORT", "SERVING_PORT")


def fill_in(path: Path, ports: Mapping[str, str]) -> dict[str, str]:
    """Return a value for every variable: the file's, else the default, else, if it is required, a new secret.

    They are written to the file.

    Parameters
    ----------
    path : Path
        A `.env`; it need not exist yet.
    ports : mapping
        Requested ports, ``MAGE_PORT`` and so on; they replace those of the file.

    Raises
    ------
    StackError
        For a port that is not a number from 1 to 65535, or a damaged file.
    """
    values = _filled(path, ports)
    keep(path, values)
    return values


def for_start(path: Path, ports: Mapping[str, str]) -> dict[str, str]:
    """Return the values for a start with these ports; nothing is written until the start finds its ports free.

    Raises
    ------
    StackError
        As `fill_in`, and where two services have the same port.
    """
    values = _filled(path, ports)
    for first, second in itertools.combinations(PORTS, 2):
        if int(values[first]) == int(values[second]):
            raise StackError(
                f"{first} and {second}: expected different ports; got {values[first]} for both. "
                f"Correct it in the make command or in {path}."
            )
    return values


def keep(path: Path, values: Mapping[str, str]) -> None:
    """Write these values, unless the file has them."""
    if read_env(path) != values:
        write_env(path, values)


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Write these values as a `.env`."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in values.items()))


def asked_ports(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the ports that make or a shell set in an environment."""
    return {
        name: environment[name] for name in variables() if name.endswith("_PORT") and environment.get(name)
    }


def give_to_shells(folder: Path, values: Mapping[str, str]) -> None:
    """Write what a shell reads with `set -a; . FOLDER/environment`; the values are in `client/.env` there."""
    path = folder / "client" / ".env"
    write_variables(path, values)
    write_private(folder / "environment", f". {shlex.quote(str(path))}\n")


def write_variables(path: Path, values: Mapping[str, str]) -> None:
    """Write a file that a shell and `mlops.files.read_variables` can read, in a folder of its own."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it is written completely or not at all."""
    passing = path.with_name(f"{path.name}.part")
    passing.unlink(missing_ok=True)
    with create_private(passing) as file:
        file.write(text.encode(errors="surrogateescape"))  # a variable may have any bytes
    passing.replace(path)


def _filled(path: Path, ports: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in read_env(path).items() if value}
    new = {name: NAMES.get(name) or secrets.token_hex(32) for name in required()}
    values = (
        {name: default or new.get(name, "") for name, default in variables().items()} | kept | dict(ports)
    )
    for name, value in values.items():
        is_port = name in PORTS or (name.endswith("_PORT") and value not in ("", "None"))
        if is_port and not (re.fullmatch(r"\d{1,5}", value) and 0 < int(value) < 65536):
            raise StackError(
                f"{name}: expected a port, 1 to 65535; got {value!r}. Correct it in the make command or in {path}."
            )
    return values
