"""Set up PostgreSQL like its container image: a data folder, a password for every role, and both databases."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops.files import close, close_state, create_private
from stack.compose import LOOPBACK, ROOT, StackError

DEBIAN = Path("/usr/lib/postgresql")
SECONDS_TO_MAKE = 120


def programs(data: Path | None = None) -> Path:
    """Find the folder of PostgreSQL's programs: of the version that created the data, else the newest version.

    Raises
    ------
    StackError
        When PostgreSQL is not installed.
    """
    made_by = data / "PG_VERSION" if data else None
    version = made_by.read_text(encoding="utf-8").strip() if made_by and made_by.exists() else "*"
    found = sorted(DEBIAN.glob(f"{version}/bin/initdb"), key=lambda path: int(path.parts[-3]))
    initdb = found[-1] if found else shutil.which("initdb")
    if initdb is None:
        wanted = "postgresql" if version == "*" else f"postgresql-{version}"
        raise StackError(
            f"PostgreSQL's server is not installed: no initdb in {DEBIAN}/{version}/bin and none on PATH. "
            f"Install it: apt-get install {wanted}"
        )
    return Path(initdb).resolve().parent


def user() -> dict[str, Any]:
    """Return arguments of subprocess that name PostgreSQL's user if this process is root; else an empty dict.

    Raises
    ------
    StackError
        When this process is root and there is no such user.
    """
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        for entry in pwd.getpwall():
            if entry.pw_name == name:
                return {"user": name, "group": entry.pw_gid, "extra_groups": []}
    raise StackError(
        "PostgreSQL refuses to run as root, and this machine has no user `postgres` or `nobody`. "
        "Run make as another user."
    )


def environment(data: Path, port: int, password: str) -> dict[str, str]:
    """Return the environment of PostgreSQL's programs: PATH, and the login of the superuser."""
    return {
        "PATH": f"{programs(data)}:{os.defpath}",
        "HOME": str(data.parent),
        "LANG": "C.UTF-8",
        "PGHOST": LOOPBACK,
        "PGPORT": str(port),
        "PGUSER": "postgres",
        "PGPASSWORD": password,
    }


def as_owner(name: str, environment: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the login of Mage's or MLflow's own role, which is no superuser."""
    return {**environment, "PGUSER": name, "PGPASSWORD": values[f"{name.upper()}_DB_PASSWORD"]}


def command(data: Path, cwd: Path, port: int) -> list[str]:
    """Return the command that starts the server in the folder `cwd`.

    It listens on 127.0.0.1 only, not on a socket file: that path may be too long, and it requires no password.
    """
    settings = {"listen_addresses": LOOPBACK, "unix_socket_directories": "", "port": port}
    options = (f"--{name}={value}" for name, value in settings.items())
    return [str(programs(data) / "postgres"), "-D", str(data.relative_to(cwd)), *options]


def close_folders(folder: Path) -> None:
    """Let no other user enter a stack's folder and its state folder; PostgreSQL's user may pass through."""
    group = user().get("group", 0)
    close_state(folder.parent, group)
    close(folder, group)


def make(data: Path, environment: Mapping[str, str]) -> None:
    """Create the data folder if it is missing, completely or not at all; its owner is PostgreSQL's user.

    Raises
    ------
    StackError
        When that user cannot enter the folder, or initdb fails.
    """
    if data.exists():
        return
    home, owner = data.parent, user()
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    if owner:
        shutil.chown(home, owner["user"], owner["group"])
        _require_reachable(home, owner)
    passing, secret = home / "data.part", home / "password"
    shutil.rmtree(passing, ignore_errors=True)
    try:
        secret.unlink(missing_ok=True)
        with create_private(secret) as file:
            file.write(environment["PGPASSWORD"].encode())
        if owner:
            shutil.chown(secret, owner["user"])
        options = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
        run(["initdb", f"--pgdata={passing}", *options, f"--pwfile={secret}"], environment, home)
    finally:
        secret.unlink(missing_ok=True)
    passing.rename(data)


def make_databases(environment: Mapping[str, str], values: Mapping[str, str], home: Path) -> None:
    """Create both databases and roles if they are missing, and set the passwords from `values`."""
    passwords = {name: value for name, value in values.items() if name.endswith("_DB_PASSWORD")}
    run(["sh", str(ROOT / "docker" / "postgres-databases.sh")], {**environment, **passwords}, home, {})


def run(
    arguments: list[str],
    environment: Mapping[str, str],
    cwd: Path,
    who: Mapping[str, Any] | None = None,
    seconds: float = SECONDS_TO_MAKE,
    **streams: Any,
) -> None:
    """Run one of PostgreSQL's programs as PostgreSQL's user, and wait for its end.

    Raises
    ------
    StackError
        When it fails; the message contains its error output.
    """
    program = shutil.which(arguments[0], path=environment["PATH"]) or arguments[0]
    done = subprocess.run(
        [program, *arguments[1:]],
        env=dict(environment),
        cwd=cwd,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        timeout=seconds,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **streams},
        **(user() if who is None else who),
    )
    if done.returncode != 0:
        raise StackError(
            f"{Path(program).name}: ended with status {done.returncode}; its error output:\n{done.stderr.strip()}"
        )


def _require_reachable(folder: Path, owner: Mapping[str, Any]) -> None:
    for place in [*reversed(folder.parents), folder]:
        entered = subprocess.run(["test", "-x", place], cwd="/", timeout=10, **owner)
        if entered.returncode != 0:
            raise StackError(
                f"{folder}: PostgreSQL refuses to run as root, and its user {owner['user']} cannot enter {place}. "
                "Set MLOPS_STATE_DIR to a folder that every user may enter, or run make as another user."
            )
