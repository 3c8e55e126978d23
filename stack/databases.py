"""Databases with tables of MLflow or Mage, and their migration: on copies, which take their place at the end.

Until then the databases are not written, so a migration that fails or is killed leaves them as they were. SQLite
and some migration scripts cannot be rolled back.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import sqlalchemy

from mlops.errors import ConfigError
from stack import cluster, schema
from stack.compose import StackError
from stack.stack import BINS, Stack, surroundings

SECONDS = 3600.0
MIGRATE_MAGE = """
from mage_ai.orchestration.db.database_manager import database_manager
database_manager.run_migrations()
"""
COPY, FORMER = "{}_upgraded", "{}_before"
ERRORS = (StackError, ConfigError, OSError, sqlite3.Error, psycopg2.Error, sqlalchemy.exc.SQLAlchemyError)
"""What a database that is read, copied or put in place can raise."""

_ERROR = re.compile(r"^[\w.]*(?:Error|Exception|\.[A-Z]\w+)\b.*:", re.MULTILINE)
Execute = Callable[..., list[Any]]


@dataclass(frozen=True)
class SqliteFile:
    """A SQLite file of a desk without the stack.

    Parameters
    ----------
    owner : str
        ``mlflow`` or ``mage``.
    path : Path
    """

    owner: str
    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def url(self) -> str:
        """Its address."""
        return f"sqlite:///{self.path}"

    @property
    def copy_url(self) -> str:
        """Address of the copy."""
        return f"sqlite:///{self._copy}"

    @property
    def _copy(self) -> Path:
        return self.path.with_name(f".{self.path.name}.upgraded") / self.path.name

    def require_unused(self) -> None:
        """Raise `StackError` while another process has the file open."""
        for process in psutil.process_iter(["pid", "cmdline"]):
            with contextlib.suppress(psutil.Error, OSError):
                if any(Path(opened.path) == self.path for opened in process.open_files()):
                    command = " ".join(process.info["cmdline"])[:100]
                    raise StackError(
                        f"{self.path}: process {process.pid} uses it ({command}); end it or wait for its end, "
                        "then run `make upgrade` again"
                    )

    def save(self, target: Path) -> None:
        """Write a copy of the database as a file."""
        with (
            contextlib.closing(sqlite3.connect(self.path)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
        shutil.copymode(self.path, target)

    def make_copy(self) -> None:
        """Make the copy to migrate."""
        self.discard_copy()
        self._copy.parent.mkdir(mode=0o700)
        self.save(self._copy)

    def discard_copy(self) -> None:
        """Delete the copy, also one that an interrupted upgrade left."""
        shutil.rmtree(self._copy.parent, ignore_errors=True)

    def take_copy(self) -> None:
        """Put the migrated copy in the place of the file."""
        self._copy.replace(self.path)

    def migration(self) -> tuple[dict[str, str], Path]:
        """Return the environment and the folder in which the copy is migrated."""
        here = self._copy.parent
        return {**surroundings(), "MAGE_DATA_DIR": str(here), "MLFLOW_DISABLE_TELEMETRY": "true"}, here


@dataclass(frozen=True)
class StackDatabase:
    """A database of a stack whose PostgreSQL runs.

    Parameters
    ----------
    owner : str
        ``mlflow`` or ``mage``, also the name of the database and of its role.
    stack : Stack
    """

    owner: str
    stack: Stack

    def __str__(self) -> str:
        return f"database {self.owner} of the stack"

    @property
    def url(self) -> str:
        """Its address, for its owner: a superuser who reads it would run what it has in views."""
        return schema.in_postgres(self.owner, self.login)

    @property
    def login(self) -> dict[str, str]:
        """Environment of PostgreSQL's programs, with the login of its owner."""
        return cluster.as_owner(self.owner, self.stack.environment("postgres"), self.stack.values)

    @property
    def copy_url(self) -> str:
        """Address of the copy for its owner; host and password come from the environment."""
        return f"postgresql+psycopg2://{self.owner}@/{COPY.format(self.owner)}"

    def make_copy(self) -> None:
        """Make the copy to migrate.

        Raises
        ------
        StackError
            When another program stays connected to the database for 5 s.
        """
        self.discard_copy()
        copy = COPY.format(self.owner)
        try:
            with _superuser(self.stack) as execute:
                execute(f'CREATE DATABASE "{copy}" TEMPLATE "{self.owner}" OWNER "{self.owner}"')
        except psycopg2.errors.ObjectInUse as error:
            raise StackError(
                f"{self}: another program is connected to it, perhaps a run of the command line; wait for its end"
            ) from error

    def discard_copy(self) -> None:
        """Delete the copy, or the former database; also those that an interrupted upgrade left."""
        with _superuser(self.stack) as execute:
            for name in (COPY, FORMER):
                execute(f'DROP DATABASE IF EXISTS "{name.format(self.owner)}" WITH (FORCE)')

    def migration(self) -> tuple[dict[str, str], Path]:
        """Return the environment and the folder in which the copy is migrated."""
        login = self.stack.environment("mlflow") if self.owner == "mlflow" else self.stack.environment("mage")
        server = {name: self.login[name] for name in ("PGHOST", "PGPORT", "PGPASSWORD")}
        return {**login, **server}, self.stack.folder


Database = SqliteFile | StackDatabase


def migrate(database: Database, log: Path) -> None:
    """Migrate the copy to the revision of the installed program.

    Raises
    ------
    StackError
        When it fails; the message has the program's error, and the file `log` all of its output.
    """
    environment, folder = database.migration()
    for command in _commands(database):
        with log.open("a", encoding="utf-8") as output:
            done = subprocess.run(
                command,
                env={**environment, "MAGE_DATABASE_CONNECTION_URL": database.copy_url},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
            )
        if done.returncode != 0:
            raise StackError(f"{database}: its migration failed: {_error(log)} (all output: {log})")


def take_copies(databases: Sequence[Database]) -> None:
    """Put the migrated copies in the place of the databases; those of a stack all at once."""
    in_stack = [each for each in databases if isinstance(each, StackDatabase)]
    for stack in {each.stack.folder: each.stack for each in in_stack}.values():
        names = [each.owner for each in in_stack]
        with _superuser(stack, at_once=True) as execute:
            for name in names:
                _move_settings(execute, name, COPY.format(name))
                execute(f'ALTER DATABASE "{name}" RENAME TO "{FORMER.format(name)}"')
                execute(f'ALTER DATABASE "{COPY.format(name)}" RENAME TO "{name}"')
    for each in databases:
        if isinstance(each, SqliteFile):
            each.take_copy()


def _move_settings(execute: Execute, name: str, copy: str) -> None:
    """Give the copy what CREATE DATABASE does not copy: settings and rights of the database itself."""
    execute(
        "UPDATE pg_db_role_setting SET setdatabase = (SELECT oid FROM pg_database WHERE datname = %s) "
        "WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = %s)",
        copy,
        name,
    )
    grants = execute(
        "SELECT privilege_type, grantee::regrole::text FROM pg_database, aclexplode(datacl) "
        "WHERE datname = %s AND grantee <> 0 AND grantee <> datdba",
        name,
    )
    for privilege, role in grants:
        execute(f'GRANT {privilege} ON DATABASE "{copy}" TO {role}')


@contextlib.contextmanager
def _superuser(stack: Stack, at_once: bool = False) -> Iterator[Execute]:
    """A function that runs a statement in the stack's PostgreSQL; all in one transaction, or each alone."""
    url = schema.in_postgres("postgres", stack.environment("postgres")).replace("+psycopg2", "")
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = not at_once
        cursor = connection.cursor()

        def execute(statement: str, *values: str) -> list[Any]:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

        yield execute
        connection.commit()


def _commands(database: Database) -> Iterator[list[str]]:
    """The command for each of the owner's tables that are older, in the order in which they were made."""
    python, url = str(BINS["mlflow"] / "python"), database.copy_url
    commands = {
        "mage": [[sys.executable, "-c", MIGRATE_MAGE]],
        "mlflow": [
            [python, "-m", "mlflow", "db", "upgrade", url],
            [python, "-m", "mlflow.server.auth", "db", "upgrade", "--url", url],
        ],
    }
    for tables, command in zip(schema.OWNED[database.owner], commands[database.owner], strict=True):
        if tables.is_older(tables.found(database.url)):
            yield command


def _error(log: Path) -> str:
    """The line of the program's output that names the error, else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    named = [line for line in lines if _ERROR.match(line)]
    return (named or lines or ["no output"])[-1].strip()
