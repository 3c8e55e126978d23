"""MLflow's server and pages over the store of the state folder, without the stack: `make mlflow`.

It asks for user and password, as the stack does: otherwise any user of this machine could change the registry. It
runs in the environment of the MLflow server, so it imports only what that has too.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from mlops import config
from mlops.errors import ConfigError
from mlops.registry.tables import store_problem
from stack.compose import StackError, read_env

USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"  # signs the forms of MLflow's pages

SETTINGS = {
    "MLFLOW_SERVER_ALLOWED_HOSTS": "localhost:*,127.0.0.1:*",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a job queue for features that are not used here
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
RIGHTS = """\
; As in docker/mlflow-auth.ini.
default_permission = READ
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


def main(port: str) -> None:
    """Become the server, at this port of 127.0.0.1; the folder of its store is created."""
    try:
        state = config.state()
    except ConfigError as error:
        sys.exit(f"error: {error}")
    store = f"sqlite:///{state.tracking_store}"
    if state.tracking_store.exists() and (problem := store_problem(store)):
        sys.exit(f"error: {problem}")
    state.tracking_store.parent.mkdir(parents=True, exist_ok=True)
    try:
        known = login(state.mlflow_login)
    except (StackError, KeyError, OSError) as error:
        sys.exit(f"error: {state.mlflow_login}: no user and password ({error}). Delete this folder.")
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--workers": "1",
        "--app-name": "basic-auth",
        "--backend-store-uri": store,
        "--default-artifact-root": state.artifacts.as_uri(),  # MLflow writes it into SQL as it is, with any quote
    }
    words = [word for option in options.items() for word in option]
    where = f"user {known[USER]}, password in {state.mlflow_login / '.env'}"
    print(f"open http://127.0.0.1:{port} ({where})", flush=True)  # noqa: T201 - a command of make
    command = [sys.executable, "-m", "mlflow", "server", "--no-serve-artifacts", *words]
    own = {
        "MLFLOW_AUTH_CONFIG_PATH": str(state.mlflow_login / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": known[USER],
        "MLFLOW_AUTH_ADMIN_PASSWORD": known[PASSWORD],
        SECRET_KEY: known[SECRET_KEY],
    }
    os.execve(sys.executable, command, {**os.environ, **SETTINGS, **own})


def login(folder: Path) -> dict[str, str]:
    """User and password, made at the first start and then kept in a `.env` that only its owner can read.

    Users that were made in MLflow's pages are kept beside it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, users = folder / ".env", folder / "users.db"
    if not file.exists():
        users.unlink(missing_ok=True)  # its first user has a password that nobody knows any more
        values = {USER: "owner", PASSWORD: secrets.token_hex(16), SECRET_KEY: secrets.token_hex(32)}
        _write(file, "".join(f"{name}={value}\n" for name, value in values.items()))
    address = f"sqlite:///{users}".replace("%", "%%")  # in an INI file a % begins a name
    _write(folder / "auth.ini", f"[mlflow]\ndatabase_uri = {address}\n{RIGHTS}")
    return read_env(file)


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, completely or not at all, and through no link."""
    passing = path.with_name(f"{path.name}.part")
    passing.unlink(missing_ok=True)
    opened = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        file.write(text)
    passing.replace(path)


if __name__ == "__main__":
    main(sys.argv[1])
