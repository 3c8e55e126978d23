"""Paths and addresses: what some program would misread in them, and what must not be shown of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mlops.errors import ConfigError

_NOWHERE = {r"[\x00-\x1f\x7f]": "it is a control character", "[\udc80-\udcff]": "it is not UTF-8"}
_IN_STATE = {
    "%[0-9A-Fa-f]{2}": "MLflow decodes it, so it would not find the champion",
    r"\?": "an SQLite address ends there",
    **_NOWHERE,
}
_IN_CHECKOUT = {
    r"\?": "Mage's SQLite address ends there",
    ":": "it separates the folders of PATH",
    **_NOWHERE,
}
_IN_ENVIRONMENT = {"%": "MLflow's and Mage's migrations take it for a reference"}

# The module of MLflow that keeps the address given to `mlflow.set_tracking_uri`.
_MLFLOW_STATE = "mlflow.tracking._tracking_service.utils"


def require_usable(checkout: Path, state: Path) -> None:
    """Raise if a path has a character with which some program would read or write at another place.

    Raises
    ------
    ConfigError
        With the path, the character, the reason and what to do.
    """
    elsewhere = "move the checkout to a folder without it, and run make clean install there"
    _require("checkout", checkout, _IN_CHECKOUT, elsewhere)
    _require("Python environment", Path(sys.prefix), _IN_ENVIRONMENT, elsewhere)
    _require("state folder", state, _IN_STATE, "set MLOPS_STATE_DIR to a folder without it")


def given_tracking_uri() -> str | None:
    """Value of ``MLFLOW_TRACKING_URI`` with which this process was started, if any.

    `mlflow.set_tracking_uri` sets that variable too. In Mage's editor a person may call it for runs of their own,
    in the process in which the blocks run.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given and given == getattr(sys.modules.get(_MLFLOW_STATE), "_tracking_uri", None):
        import psutil  # here, because the environment in which `make mlflow` runs does not have it

        return dict(psutil.Process().environ()).get("MLFLOW_TRACKING_URI")
    return given


def sqlite_file(address: str) -> Path | None:
    """File of an SQLite address, as SQLAlchemy reads it; None for another kind of address.

    Raises
    ------
    ConfigError
        When the address names no file, or its options are not ``name=value``, as after a "?" in the file's path.

    Examples
    --------
    >>> sqlite_file("sqlite:////var/mlops/mlflow.db?timeout=30").as_posix()
    '/var/mlops/mlflow.db'
    >>> sqlite_file("http://127.0.0.1:5000")
    """
    if not re.match("sqlite[+:]", address):
        return None
    parts = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]*)(\?.*)?", address, re.DOTALL)
    file, options = parts.groups(default="") if parts else ("", "")
    if not file or file == ":memory:" or file.startswith("file:"):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI: expected a file's path, as in sqlite:////full/path/mlflow.db; got {address}"
        )
    if not re.fullmatch(r"(\?\w+=[^/&]*(&\w+=[^/&]*)*)?", options):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI: expected options such as ?timeout=30 after the file; got {address}, whose path "
            "ends at the '?': use a path without it"
        )
    return Path(file)


def without_credentials(address: str) -> str:
    """URL without user, password, query, fragment and final slash; a path or SQLite address is returned unchanged.

    Examples
    --------
    >>> without_credentials("https://me:secret@example.org/trips/?sig=abc")
    'https://example.org/trips'
    """
    if "://" not in address or address.startswith("sqlite:"):
        return address
    return re.split(r"[?#]", re.sub(r"//[^/]*@", "//", address))[0].rstrip("/")


def _require(kind: str, path: Path, unusable: Mapping[str, str], act: str) -> None:
    """Raise if the path matches one of the patterns, each with the reason why it cannot be used."""
    for pattern, reason in unusable.items():
        if found := re.search(pattern, str(path)):
            why = f"its path contains {found[0]!r} ({reason})"
            raise ConfigError(f"the {kind} {str(path)!r} cannot be used, because {why}; {act}")
