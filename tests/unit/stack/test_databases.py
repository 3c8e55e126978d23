"""`stack.databases`: copies of SQLite files, and the line of a program's output that names its error."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stack.compose import StackError
from stack.databases import SqliteFile, migrate

KILLED = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA journal_mode = wal")
database.execute("CREATE TABLE rides (name TEXT)")
database.execute("INSERT INTO rides VALUES ('before')")
database.commit()
os._exit(0)
"""


@pytest.fixture
def file(tmp_path: Path) -> SqliteFile:
    """A database whose process was killed: its last changes are still in the log beside it."""
    path = tmp_path / "it's a desk #1" / "mlflow.db"
    path.parent.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, path], check=True)
    assert path.with_name("mlflow.db-wal").stat().st_size > 0
    path.chmod(0o600)
    return SqliteFile("mlflow", path)


def rides(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [name for (name,) in database.execute("SELECT name FROM rides")]


def change(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE rides SET name = 'after'")


def test_a_copy_that_is_discarded_changes_nothing(file: SqliteFile) -> None:
    file.make_copy()
    change(Path(file.copy_url.removeprefix("sqlite:///")))
    file.make_copy()  # as after an upgrade that was killed
    assert Path(file.copy_url.removeprefix("sqlite:///")).parent.stat().st_mode & 0o777 == 0o700
    assert rides(Path(file.copy_url.removeprefix("sqlite:///"))) == ["before"]
    file.discard_copy()
    assert rides(file.path) == ["before"]
    assert [path.name for path in file.path.parent.iterdir()] == ["mlflow.db"]


def test_a_copy_takes_the_place_of_the_file_and_of_its_log(file: SqliteFile) -> None:
    file.make_copy()
    change(Path(file.copy_url.removeprefix("sqlite:///")))
    file.take_copy()
    file.discard_copy()
    assert rides(file.path) == ["after"]
    assert [path.name for path in file.path.parent.iterdir()] == ["mlflow.db"]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_open_is_in_use(file: SqliteFile) -> None:
    file.require_unused()
    with (
        contextlib.closing(sqlite3.connect(file.path)) as database,
        pytest.raises(StackError, match=r"process \d+ uses it \(.*\); end it or wait for its end, then run"),
    ):
        database.execute("SELECT name FROM rides").fetchall()
        file.require_unused()


@pytest.mark.parametrize(
    ("output", "named"),
    [
        (
            'psycopg2.errors.DuplicateTable: relation "jobs" already exists\n\nThe above exception was ...\n\n'
            'sqlalchemy.exc.ProgrammingError: (psycopg2.errors.DuplicateTable) relation "jobs" already exists\n'
            "[SQL: CREATE TABLE jobs]\n(Background on this error at: https://sqlalche.me/e/20/f405)\n",
            'sqlalchemy.exc.ProgrammingError: (psycopg2.errors.DuplicateTable) relation "jobs" already exists',
        ),
        ("starting\nError: no such command\n", "Error: no such command"),
        ("Killed", "Killed"),
        ("", "no output"),
    ],
)
def test_a_failure_is_named_by_the_program(
    file: SqliteFile, tmp_path: Path, output: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.make_copy()
    program = f"import sys; sys.stderr.write({output!r}); sys.exit(1)"
    monkeypatch.setattr("stack.databases._commands", lambda _: [[sys.executable, "-c", program]])
    with pytest.raises(StackError) as caught:
        migrate(file, tmp_path / "mlflow.log")
    assert str(caught.value) == (
        f"{file.path}: its migration failed: {named} (all output: {tmp_path / 'mlflow.log'})"
    )
