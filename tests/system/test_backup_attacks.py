"""SQL of an archive that tries to run programs and read files: it runs as the database's own user, who may not.

The dumps are real ones of pg_dump's custom format, whose statements were replaced in place.
"""

from __future__ import annotations

import contextlib
import re

import psycopg2
import pytest
from support.archives import pack
from support.stack_process import (
    LOOPBACK,
    Stack,
    StackError,
    cluster,
    free_ports,
    place,
    postgres_programs,
    processes_of,
    select,
)

from stack.backup import _load, back_up, restore
from stack.databases import StackDatabase
from stack.schema import problem
from stack.secret_values import for_start

ROOM = 600  # characters for other statements in a dump
TABLE = f"CREATE TABLE rides (name TEXT); COMMENT ON TABLE rides IS '{'x' * ROOM}'"
FUNCTION = """
    CREATE FUNCTION run(name TEXT) RETURNS TEXT LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE 'RESET ROLE';
        EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {marker}''';
        RETURN name;
    EXCEPTION WHEN insufficient_privilege THEN RETURN name;
    END $$
"""


@pytest.fixture(scope="module")
def stack():
    """A stack of which only PostgreSQL runs, with empty databases."""
    postgres_programs()
    with place() as folder:
        (folder / "stack").mkdir()
        stack = Stack(folder / "stack", for_start(folder / "stack" / ".env", free_ports()))
        try:
            stack.start_service("postgres")
            yield stack
        finally:
            stack.stop()
            assert processes_of(stack.folder) == []


@pytest.fixture(scope="module")
def plain(stack):
    """A dump of a table with a long comment, and its bytes."""
    file = dump_of(stack, TABLE)
    return file, file.read_bytes()


@pytest.fixture
def marker(stack):
    """A file that a program of PostgreSQL's user can make."""
    folder = stack.state / "open"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    yield folder / "ran"
    (folder / "ran").unlink(missing_ok=True)


def execute(stack, *statements, database="postgres"):
    """Run statements as the superuser."""
    login = {"host": LOOPBACK, "port": stack.compose.port("postgres"), "user": "postgres", "dbname": database}
    with contextlib.closing(
        psycopg2.connect(**login, password=stack.values["POSTGRES_PASSWORD"])
    ) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)


def dump_of(stack, *statements):
    """A dump of a database in which the superuser ran these statements."""
    execute(stack, "DROP DATABASE IF EXISTS theirs WITH (FORCE)", "CREATE DATABASE theirs")
    execute(stack, *statements, database="theirs")
    file = stack.state / "theirs.dump"
    with file.open("wb") as output:
        command = ["pg_dump", "--format=custom", "--compress=0", "--no-owner", "theirs"]
        cluster.run(command, stack.environment("postgres"), stack.folder, {}, stdout=output)
    return file


def dump_with(plain, statement):
    """A dump with a statement that pg_dump never writes, in the place of the comment."""
    file, content = plain
    changed, count = re.subn(
        rb"COMMENT ON TABLE public.rides IS 'x+';",
        lambda found: f"{statement};".encode().ljust(len(found[0])),
        content,
    )
    assert count == 1
    file.write_bytes(changed)
    return file


PROGRAM = "must be superuser or have privileges of the pg_execute_server_program role to COPY"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("RESET ROLE; COPY (SELECT 1) TO PROGRAM 'touch {marker}'", PROGRAM),
        ("RESET SESSION AUTHORIZATION; COPY (SELECT 1) TO PROGRAM 'touch {marker}'", PROGRAM),
        ("SET SESSION AUTHORIZATION postgres", "permission denied to set session authorization"),
        ("SET ROLE postgres", 'permission denied to set role "postgres"'),
        ("RESET ROLE; ALTER ROLE mage SUPERUSER", "must be superuser to alter superuser roles"),
        ("RESET ROLE; COPY (SELECT 1) TO '{marker}'", "privileges of the pg_write_server_files role to COPY"),
        (
            "RESET ROLE; COPY public.rides FROM '/etc/passwd'",
            "privileges of the pg_read_server_files role to COPY",
        ),
        ("RESET ROLE; SELECT pg_read_file('/etc/passwd')", "permission denied for function pg_read_file"),
        (
            "RESET ROLE; CREATE EXTENSION file_fdw SCHEMA public",
            'permission denied to create extension "file_fdw"',
        ),
        (
            "RESET ROLE; CREATE FUNCTION public.f(cstring) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
            "permission denied for language c",
        ),
    ],
)
def test_sql_of_an_archive_has_the_rights_of_its_database_only(stack, plain, marker, statement, why):
    dump = dump_with(plain, statement.format(marker=marker))
    with pytest.raises(StackError, match=re.escape(why)):
        _load(stack, "mage", dump, dump)
    assert not marker.exists()
    assert select(stack, "mage", "SELECT to_regclass('rides')") == [None]


def test_a_check_that_runs_while_rows_are_loaded_has_no_more_rights(stack, marker):
    table = "CREATE TABLE checked (name TEXT CHECK (run(name) <> ''))"
    dump = dump_of(stack, FUNCTION.format(marker=marker), table, "INSERT INTO checked VALUES ('one')")
    marker.unlink()  # made when the superuser inserted the row
    assert not _load(stack, "mage", dump, dump)
    assert not marker.exists()
    assert select(stack, "mage", "SELECT name FROM checked") == ["one"]


def test_the_revision_of_tables_is_read_as_their_owner(stack, marker):
    """It may be a view, which runs functions with the rights of the reader."""
    view = "CREATE VIEW alembic_version AS SELECT run('cafe') AS version_num"
    dump = dump_of(stack, FUNCTION.format(marker=marker), view)
    with pytest.raises(StackError, match="its tables have revision cafe, which MLflow"):
        _load(stack, "mlflow", dump, dump)
    with pytest.raises(StackError, match="mlflow's database: its tables have revision cafe"):
        stack.start_service("mlflow")
    assert "revision cafe" in problem("mlflow", StackDatabase("mlflow", stack).url, "before an upgrade")
    assert not marker.exists()


def test_what_no_dump_of_tables_does_is_refused(stack, plain):
    """Last but one: the database keeps it."""
    setting, right = "ALTER DATABASE mage SET search_path = x", "GRANT CONNECT ON DATABASE mage TO PUBLIC"
    dump = dump_with(plain, f"CREATE EXTENSION hstore SCHEMA public; {setting}; {right}")
    found = "got extension hstore, setting search_path=x, right CONNECT"
    with pytest.raises(
        StackError, match=f"database mage: expected tables, as `make backup` writes them; {found}"
    ):
        _load(stack, "mage", dump, dump)
    with pytest.raises(
        StackError, match=r"^database mage: it has extension hstore, which a restore would refuse"
    ):
        back_up(stack, stack.state / "backup.tar.gz")
    assert not list(stack.state.glob("*backup.tar.gz*"))


def test_an_archive_that_runs_programs_restores_nothing(plain, marker):
    """The whole restore, of an archive that somebody trusted."""
    dump = dump_with(plain, f"RESET ROLE; COPY (SELECT 1) TO PROGRAM 'touch {marker}'").read_bytes()
    with place() as folder:
        source = pack(folder / "backup.tar.gz", dumps={"mage.dump": dump, "mlflow.dump": dump})
        with pytest.raises(StackError, match=PROGRAM):
            restore(folder / "stack", source, free_ports(), trust=True)
        assert {path.name for path in folder.iterdir()} == {"backup.tar.gz", "stack.lock"}
        assert processes_of(folder / "stack.part") == []
    assert not marker.exists()
