"""Settings of Prefect's server and of the process that runs our flows: addresses, password, database.

Prefect reads all of them from the environment.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from mlops.files import read_variables
from stack import cluster
from stack.compose import LOOPBACK, read_env
from stack.processes import listens
from stack.secret_values import write_env

LOGIN, DATABASE_PASSWORD = "PREFECT_API_AUTH_STRING", "PREFECT_DB_PASSWORD"  # user:password, and a password
DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # the pages that ask no other host
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_RUNNER_PROCESS_LIMIT": "1",  # a run uses all cores, and much of the memory
    "PREFECT_RUNNER_POLL_FREQUENCY": "5",  # seconds; at most that long a run waits for its process
}
"""What we set unless the environment says otherwise."""


def environment(home: Path, port: int, outside: Mapping[str, str]) -> dict[str, str]:
    """Environment of the server and of the runs: that of this process, and what Prefect needs.

    Parameters
    ----------
    home : Path
        Prefect's folder; its database and the passwords are there.
    port : int
        Of the server, on 127.0.0.1.
    outside : mapping
        Environment of this process.
    """
    login, address = secret_values(home)[LOGIN], f"http://{LOOPBACK}:{port}"
    return {
        **DEFAULTS,
        **outside,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_SERVER_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
        "PREFECT_SERVER_API_AUTH_STRING": login,
        LOGIN: login,
    }


def secret_values(home: Path) -> dict[str, str]:
    """The login of pages and API, and the password of the database, made at the first start and then kept."""
    file = home / ".env"
    kept = read_env(file)
    made = {LOGIN: f"owner:{secrets.token_hex(16)}", DATABASE_PASSWORD: secrets.token_hex(32)}
    known = {name: kept.get(name) or value for name, value in made.items()}
    if kept != known:
        write_env(file, known)
    return known


def on_stack(home: Path, stack: Path) -> dict[str, str]:
    """Variables for a running stack: Prefect's database in its PostgreSQL, and its registry; else an empty dict.

    The database and its role are made if they are missing.

    Raises
    ------
    StackError
        When PostgreSQL refuses to make them.
    """
    values = read_env(stack / ".env")
    port = int(values.get("POSTGRES_PORT") or 0)
    if not port or not listens(port):
        return {}
    password = secret_values(home)[DATABASE_PASSWORD]
    superuser = cluster.environment(stack / "postgres" / "data", port, values["POSTGRES_PASSWORD"])
    cluster.make_databases(superuser, {**values, DATABASE_PASSWORD: password}, stack)
    database = f"postgresql+asyncpg://prefect:{password}@{LOOPBACK}:{port}/prefect"
    return {**read_variables(stack / "client" / ".env"), "PREFECT_SERVER_DATABASE_CONNECTION_URL": database}
