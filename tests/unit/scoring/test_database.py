"""Results in a real PostgreSQL: rows and types, replacement, and what is refused."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg2
import pytest
from support.failures import closed_port
from support.postgres import Postgres, running_postgres
from support.results import MONTH, VALUES, deliver, write

from mlops import masking
from mlops.errors import ConfigError, ExportError
from mlops.scoring import database
from mlops.scoring.exports import open_export

OTHER = MONTH.replace("v3", "v4")
PASSWORD = "correct-horse-7"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as started:
        yield started


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    """Address of an empty database."""
    sql(server.url, "CREATE DATABASE planning")
    yield server.url.removesuffix("postgres") + "planning"
    sql(server.url, "DROP DATABASE planning WITH (FORCE)")


def sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Rows of the last statement."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def counts(url: str, name: str = MONTH) -> list[int]:
    """Rows of a result in each of the three tables."""
    tables = ("trip_durations", "trip_durations_rejected", "trip_durations_files")
    return [sql(url, f"SELECT count(*) FROM {table} WHERE output = '{name}'")[0][0] for table in tables]


def refusal(to: str, **named: Any) -> str:
    with pytest.raises((ConfigError, ExportError)) as refused:
        open_export(to, **named)
    return str(refused.value)


# --- rows --------------------------------------------------------------------------------------


def test_rows_have_the_values_and_types_of_the_file(url: str) -> None:
    export = open_export(url)
    assert export.find(MONTH, "aa") is None
    summary = deliver(export, rows=2, rejected=1)
    assert export.find(MONTH, "aa") == summary
    assert export.find(MONTH, "bb") is None
    expected = (MONTH, *VALUES.values())
    assert sql(url, "SELECT * FROM trip_durations") == [(*expected[:-1], None)] * 2
    assert sql(url, "SELECT output, row, pickup_at, reason FROM trip_durations_rejected") == [
        (MONTH, 4, "so\ufffdon", "no time")
    ]
    files = sql(
        url, "SELECT input, input_sha256, month, model, version, rows, rejected FROM trip_durations_files"
    )
    assert files == [("green_tripdata_2023-10.parquet", "aa", "2023-10", "trip-duration-green", "3", 3, 1)]


def test_labelled_and_other_results_share_a_table(url: str) -> None:
    sql(url, "CREATE SCHEMA fares")
    export = open_export(url, "fares.durations")
    deliver(export, labelled=True, rows=1)
    deliver(export, OTHER, rows=1)
    found = sql(url, "SELECT output, pickup_at, actual_minutes FROM fares.durations ORDER BY output")
    assert found == [(MONTH, datetime(2023, 10, 1, 8, 30), 13.5), (OTHER, datetime(2023, 10, 1, 8, 30), None)]


def test_a_result_replaces_its_earlier_rows_only(url: str) -> None:
    export = open_export(url)
    deliver(export, rows=3, rejected=2)
    deliver(export, OTHER, rows=4)
    deliver(export, rows=5, sha256="bb")
    assert counts(url) == [5, 0, 1]
    assert counts(url, OTHER) == [4, 0, 1]
    assert (export.find(MONTH, "aa"), export.find(OTHER, "aa") is None) == (None, False)


def test_rows_of_many_batches_arrive_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BATCH_ROWS", 7)
    deliver(open_export(url), rows=30)
    assert counts(url) == [30, 0, 1]


def test_a_delivery_that_fails_changes_nothing(url: str) -> None:
    export = open_export(url)
    deliver(export, rows=3)
    sql(url, "ALTER TABLE trip_durations_rejected ADD CHECK (row < 4)")
    with export.drafts(MONTH) as drafts:
        write(drafts, rows=9, rejected=1, sha256="bb")
        with pytest.raises(ExportError, match=r"PostgreSQL refused \(23514\): new row for relation"):
            export.put(drafts)
    assert counts(url) == [3, 0, 1]
    assert export.find(MONTH, "aa") is not None


# --- what is refused ---------------------------------------------------------------------------


def test_an_existing_table_with_other_columns(url: str) -> None:
    sql(url, "CREATE TABLE trip_durations (output text, pickup_at text, note text)")
    assert refusal(url).startswith(
        "table: trip_durations: an existing table has other columns than results need: pickup_at text (expected "
        "timestamp without time zone), pickup_zone missing (expected integer), "
    )
    assert refusal(url).endswith("Choose another --table, which is then created")
    assert sql(url, "SELECT to_regclass('trip_durations_files')") == [(None,)]


def test_further_columns_of_an_existing_table_are_left_alone(url: str) -> None:
    open_export(url)
    sql(url, "ALTER TABLE trip_durations ADD note text")
    deliver(open_export(url), rows=1)
    assert sql(url, "SELECT note FROM trip_durations") == [(None,)]


def test_a_role_without_rights(url: str) -> None:
    sql(url, "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN")
    as_reader = url.replace("postgres@", "reader@")
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(sql, url, "DROP OWNED BY reader", "DROP ROLE reader")
        cannot_create = refusal(as_reader)
        assert (
            "table trip_durations: PostgreSQL refused (42501): permission denied for schema public"
            in cannot_create
        )
        assert cannot_create.endswith("Give this role the right, or let the tables' owner create them once.")
        open_export(url)
        sql(url, "GRANT SELECT, INSERT ON trip_durations TO reader")
        assert refusal(as_reader) == (
            "table: trip_durations: this role may not DELETE. Give it the rights: GRANT SELECT, INSERT, DELETE ON "
            "trip_durations, trip_durations_rejected, trip_durations_files TO reader"
        )
        tables = "trip_durations, trip_durations_rejected, trip_durations_files"
        sql(
            url,
            f"GRANT DELETE ON trip_durations TO reader; GRANT SELECT, INSERT, DELETE ON {tables} TO reader",
        )
        deliver(open_export(as_reader), rows=1)
    assert counts(url) == [1, 0, 1]


def test_a_table_that_another_session_has_locked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 1)
    export = open_export(url)
    with contextlib.closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE trip_durations")
        with pytest.raises(
            ExportError, match=r"\(55P03\): canceling statement due to lock timeout.*end it\."
        ):
            deliver(export)


def test_a_server_that_is_away() -> None:
    with closed_port() as port:
        text = refusal(f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db")
    assert text.startswith(
        f"postgresql://127.0.0.1:{port}/db, table trip_durations: PostgreSQL did not answer: "
    )
    assert "Connection refused" in text
    assert text.endswith("Check the address, the credentials and the server, or choose another --to.")
    assert PASSWORD not in text


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        text = refusal(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/db", connect_timeout=0.5)
    assert time.monotonic() - began < 10
    assert "timeout expired" in text


def test_a_server_that_goes_away_between_two_results(url: str, server: Postgres) -> None:
    export = open_export(url)
    server.stop()
    try:
        with export.drafts(MONTH) as drafts, pytest.raises(ExportError, match="PostgreSQL did not answer: "):
            write(drafts)
            export.put(drafts)
    finally:
        server.start()
    deliver(export)
    assert counts(url) == [3, 0, 1]


# --- addresses ---------------------------------------------------------------------------------


def test_the_password_is_in_no_text(server: Postgres) -> None:
    named = server.url.replace("postgres@", f"nobody:{PASSWORD}@")
    text = refusal(named)
    assert 'role "nobody" does not exist' in text
    assert PASSWORD not in text
    assert masking.mask(f"cannot connect with {PASSWORD}") == "cannot connect with ****"


def test_a_profile_completes_the_address(url: str, server: Postgres) -> None:
    named = {
        "HOST": "127.0.0.1",
        "PORT": server.port,
        "USER": "postgres",
        "DBNAME": "planning",
        "SCHEMA": "public",
    }
    profile = {f"POSTGRES_{name}": str(value) for name, value in {**named, "PASSWORD": PASSWORD}.items()}
    export = open_export("postgresql://", profile=profile)
    assert export.place == f"postgresql://127.0.0.1:{server.port}/planning, table public.trip_durations"
    deliver(export, rows=2)
    assert counts(url) == [2, 0, 1]
    assert masking.mask(PASSWORD) == "****"


def test_an_address_without_a_profile_is_completed_by_libpq_s_variables(
    url: str, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "HOST": "127.0.0.1",
        "PORT": server.port,
        "USER": "postgres",
        "DATABASE": "planning",
    }.items():
        monkeypatch.setenv(f"PG{name}", str(value))
    deliver(open_export("postgresql://"), rows=2)
    assert counts(url) == [2, 0, 1]
    assert "PGPASSWORD" not in os.environ


@pytest.mark.parametrize(
    "to", ["postgresql+asyncpg://me:secret-9@host/db", "postgresqlx://me:secret-9@host/db"]
)
def test_another_driver_is_refused(to: str) -> None:
    kind = to.partition("://")[0]
    expected = f"to: expected postgresql://user:password@host:port/database; got {kind}://host/db"
    assert refusal(to) == expected


def test_an_unclear_password_is_refused_without_showing_it() -> None:
    text = refusal("postgresql://me:sec/ret@host@other/db")
    assert text.startswith("to: expected an address such as scheme://user:password@host/path")
    assert "ret" not in text.partition("got")[2]


def test_a_port_of_a_profile_is_a_number() -> None:
    text = refusal("postgresql://", profile={"POSTGRES_PORT": "5432a"})
    assert text == "POSTGRES_PORT: expected a number in the profile of io_config.yaml; got '5432a'"


@pytest.mark.parametrize("table", ["Trips", "trips; DROP TABLE x", "a.b.c", "t" * 51, "", "1st"])
def test_a_table_s_name_needs_no_quotes(table: str) -> None:
    text = refusal("postgresql://host/db", table=table)
    assert text.startswith("table: expected a name of a-z, 0-9 and _, at most 50 characters")
    assert text.endswith(f"got {table!r}")
