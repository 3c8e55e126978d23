"""Paths and addresses: what some program would misread in them, and what must not be shown of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mlops.errors import ConfigError

HIDDEN = "..."  # what is shown of an address besides its scheme, where a password may be anywhere
_URL = re.compile(r"(?!sqlite[+:]|file:)(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>//)?")
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
        When the address names no file, or its options are not ``name=value``, as after a "?" in the file's path;
        for another kind of address, as `require_clear`.

    Examples
    --------
    >>> sqlite_file("sqlite:////var/mlops/mlflow.db?timeout=30").as_posix()
    '/var/mlops/mlflow.db'
    >>> sqlite_file("http://127.0.0.1:5000")
    """
    if not re.match("sqlite[+:]", address):
        require_clear("MLFLOW_TRACKING_URI", address)
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

    Of a URL that can be read in two ways, such as one with an unescaped ``/`` or ``@`` in its password, only the
    scheme is shown.

    Examples
    --------
    >>> without_credentials("https://me:secret@example.org/trips/?sig=abc")
    'https://example.org/trips'
    >>> without_credentials("https://me:sec/ret@example.org/trips")
    'https://...'
    """
    found = _URL.match(address)
    if not found or ("@" not in address and not found["slashes"]):
        return address
    is_database = found["scheme"].startswith("postgresql")
    try:
        place = _place(address) if found["slashes"] else None
    except ValueError:
        place = _place_of_database(address) if is_database else None
    if is_database and address.count("@") > 1:  # SQLAlchemy reads the second one as a part of the host
        place = None
    return f"{found[0]}{HIDDEN}" if place is None else f"{found[0]}{place}".rstrip("/")


def _place(url: str) -> str | None:
    """Host, port and path of a URL; None if an @ behind them may belong to a password."""
    parts = urlsplit(url)
    port = parts.port  # raises where a part of a password is in its place
    host, behind = parts.netloc.rpartition("@")[2], f"{parts.path}{parts.query}{parts.fragment}"
    is_unsure = "@" in behind and re.search("[:@]", parts.netloc)
    return None if is_unsure or (port is None and host.endswith(":")) else f"{host}{parts.path}"


def _place_of_database(url: str) -> str | None:
    """The same as SQLAlchemy reads it: there, a password may contain any character but an @."""
    from sqlalchemy import URL, make_url  # here, because it takes 0.2 s that other addresses do not need
    from sqlalchemy.exc import ArgumentError

    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        return None
    bare = URL.create(read.drivername, host=read.host, port=read.port, database=read.database)
    shown = bare.render_as_string().partition("://")[2]
    return None if "@" in shown else shown


def is_clear(address: str) -> bool:
    """Whether it is clear which part of an address is the password, so that the rest can be shown."""
    shown = without_credentials(address)
    return shown == address or not shown.endswith((f":{HIDDEN}", f"//{HIDDEN}"))


def require_clear(name: str, address: str) -> None:
    """Raise unless `is_clear`, or unless there is no password; `name` says where the address comes from.

    Raises
    ------
    ConfigError
        Its message shows the scheme only.
    """
    if "@" in address and not is_clear(address):
        raise ConfigError(
            f"{name}: expected an address such as scheme://user:password@host/path, with %2F for a /, %40 for "
            f"an @ and so on in the password; got {without_credentials(address)} (more would show the password)"
        )


def _require(kind: str, path: Path, unusable: Mapping[str, str], act: str) -> None:
    """Raise if the path matches one of the patterns, each with the reason why it cannot be used."""
    for pattern, reason in unusable.items():
        if found := re.search(pattern, str(path)):
            why = f"its path contains {found[0]!r} ({reason})"
            raise ConfigError(f"the {kind} {str(path)!r} cannot be used, because {why}; {act}")
