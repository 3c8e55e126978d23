"""Results in a table of PostgreSQL, one transaction for each input and version.

Three tables are made if they are missing: ``trip_durations`` has a row for each answered row,
``trip_durations_rejected`` one for each row that could not be answered, and ``trip_durations_files`` one for each
result, with its summary. The column ``output`` of all three names the result: input, model and version.

Source: PostgreSQL's manual, "COPY", "Error Codes"; libpq, "Connection Strings".
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import sqlalchemy
from sqlalchemy.exc import ArgumentError, DBAPIError

from mlops import addresses, config, masking
from mlops.config import without_credentials
from mlops.errors import ConfigError, ExportError, one_line
from mlops.locks import DRIVERS, KEEPALIVES
from mlops.scoring.answering import LABELLED_SCHEMA, REJECTED_SCHEMA
from mlops.scoring.drafts import Drafts, drafts_in, read_summary
from mlops.scoring.profile import given

BATCH_ROWS = 65_536
LOCK_SECONDS = 60  # the longest wait for a session that has locked the tables
LONGEST_NAME = 50  # characters of a table's name: PostgreSQL allows 63, and our suffixes need some
OUTPUT = "output"
_TABLE_NAME = re.compile(rf"([a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]{{0,{LONGEST_NAME - 1}}}")

_SQL = {
    pa.timestamp("us"): "timestamp without time zone",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.string(): "text",
}


def _sql_columns(schema: pa.Schema) -> dict[str, str]:
    """Type in SQL of each column of a result's file, after the name of the result."""
    plain = {field.name: getattr(field.type, "value_type", field.type) for field in schema}
    return {OUTPUT: "text", **{name: _SQL[kind] for name, kind in plain.items()}}


COLUMNS = _sql_columns(LABELLED_SCHEMA)
"""Columns of the table of answered rows; ``actual_minutes`` is null where the input is not labelled."""
REJECTED = _sql_columns(REJECTED_SCHEMA)
"""Columns of the table of rejected rows."""
FILES = {
    OUTPUT: "text", "input": "text", "input_sha256": "text", "month": "text", "model": "text", "version": "text",
    "run_key": "text", "rows": "bigint", "rejected": "bigint", "summary": "jsonb",
    "scored_at": "timestamp with time zone",
}  # fmt: skip
"""Columns of the table of results."""
_ADVICE = {
    "42501": "Give this role the right, or let the tables' owner create them once",
    "53100": "Make room on the server's disk",
    "55P03": "Another session has locked the table: end it",
}
"""What to do about some of PostgreSQL's error codes."""


class DatabaseExport:
    """A table of PostgreSQL; each call has a connection of its own, so that scoring may take hours in between.

    Parameters
    ----------
    to : str
        ``postgresql://user:password@host:port/database``. What is missing in it comes from `profile`, else from
        libpq's own variables (``PGHOST``, ``PGPASSWORD`` ...) and files.
    table : str
        Name, also with a schema: ``planning.trip_durations``.
    connect_timeout : float
        Maximum seconds to wait for the server's first answer; libpq waits at least 2.
    profile : mapping
        ``POSTGRES_HOST``, ``POSTGRES_PASSWORD`` ..., as in a profile of Mage's ``io_config.yaml``.

    Raises
    ------
    ConfigError
        When the address, the table's name or an existing table is not as expected.
    ExportError
        When the server does not answer, or refuses.
    """

    def __init__(self, to: str, table: str, connect_timeout: float, profile: Mapping[str, Any]) -> None:
        address = _address(to, profile)
        shown = without_credentials(address.render_as_string(hide_password=False))
        self.table = _table(table, given(profile, "POSTGRES_SCHEMA") or "")
        self.place = f"{shown}, table {self.table}"
        arguments = {
            **KEEPALIVES,
            "tcp_user_timeout": 60_000,
            "connect_timeout": max(2, math.ceil(connect_timeout)),
            "application_name": "mlops score",
            "options": f"-c lock_timeout={LOCK_SECONDS}s -c timezone=UTC",
        }
        self._engine = sqlalchemy.create_engine(
            address, connect_args=arguments, poolclass=sqlalchemy.NullPool
        )
        with self._transaction() as cursor:
            for name, columns in self._tables().items():
                _require_table(cursor, name, columns)

    def drafts(self, name: str) -> AbstractContextManager[Drafts]:
        """As `exports.Export.drafts`; in the state folder."""
        return drafts_in(config.state().scored, name)

    def find(self, name: str, input_sha256: str) -> dict[str, Any] | None:
        """As `exports.Export.find`."""
        with self._transaction() as cursor:
            query = f"SELECT summary FROM {self.table}_files WHERE output = %s AND input_sha256 = %s"
            cursor.execute(query, (name, input_sha256))
            found = cursor.fetchone()
        return dict(found[0]) if found else None

    def put(self, drafts: Drafts) -> str:
        """As `exports.Export.put`, in one transaction, which also deletes the rows of an earlier result."""
        summary = read_summary(drafts.output) or {}
        with self._transaction() as cursor:
            _lock(cursor, f"{self.table} {drafts.name}")  # two machines may write the same result
            for table in self._tables():
                cursor.execute(f"DELETE FROM {table} WHERE output = %s", (drafts.name,))
            _copy(cursor, self.table, drafts.name, drafts.output)
            if drafts.rejected.exists():
                _copy(cursor, f"{self.table}_rejected", drafts.name, drafts.rejected)
            values = [drafts.name, *map(summary.get, list(FILES)[1:-2]), json.dumps(summary)]
            command = (
                f"INSERT INTO {self.table}_files ({', '.join(FILES)}) VALUES ({'%s, ' * len(values)} now())"
            )
            cursor.execute(command, values)
        return self.where(drafts.name)

    def where(self, name: str) -> str:
        """As `exports.Export.where`."""
        return f"{self.place}, output {name}"

    def _tables(self) -> dict[str, dict[str, str]]:
        return {self.table: COLUMNS, f"{self.table}_rejected": REJECTED, f"{self.table}_files": FILES}

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A cursor in a transaction, committed when the block ends without an error."""
        try:
            with contextlib.closing(self._engine.raw_connection()) as connection:
                yield connection.cursor()
                connection.commit()
        except (DBAPIError, self._driver_error) as error:
            raise self._as_export_error(error) from None  # its own text may quote the address

    @property
    def _driver_error(self) -> type[Exception]:
        return self._engine.dialect.loaded_dbapi.Error

    def _as_export_error(self, error: Exception) -> ExportError:
        cause = getattr(error, "orig", None) or error
        code = getattr(cause, "pgcode", None)
        advice = _ADVICE.get(
            code or "", "Check the address, the credentials and the server, or choose another --to"
        )
        kind = f"PostgreSQL refused ({code})" if code else "PostgreSQL did not answer"
        text = masking.clean(one_line(cause, 300)).rstrip(".")
        return ExportError(f"{self.place}: {kind}: {text}{'' if text.endswith('?') else '.'} {advice}.")


def _address(to: str, profile: Mapping[str, Any]) -> sqlalchemy.URL:
    """Parsed address, completed from the profile. No message shows what may be a password."""
    masking.remember(to)
    addresses.require_clear("to", to)
    try:
        address = sqlalchemy.make_url(to)
    except (ArgumentError, ValueError):
        address = None
    if address is None or address.drivername not in DRIVERS:
        raise ConfigError(
            f"to: expected postgresql://user:password@host:port/database; got {without_credentials(to)}"
        )
    port = given(profile, "POSTGRES_PORT") or "0"
    if not (port.isascii() and port.isdigit()):
        raise ConfigError(f"POSTGRES_PORT: expected a number in the profile of io_config.yaml; got {port!r}")
    completed = address.set(
        username=address.username or given(profile, "POSTGRES_USER"),
        password=address.password or given(profile, "POSTGRES_PASSWORD"),
        host=address.host or given(profile, "POSTGRES_HOST"),
        port=address.port or int(port) or None,
        database=address.database or given(profile, "POSTGRES_DBNAME"),
    )
    masking.remember(completed.render_as_string(hide_password=False))
    return completed


def _table(name: str, schema: str) -> str:
    """Name of the table with its schema, if there is one; it needs no quotes in SQL."""
    full = f"{schema}.{name}" if schema and not name.partition(".")[2] else name
    if not _TABLE_NAME.fullmatch(full):
        raise ConfigError(
            f"table: expected a name of a-z, 0-9 and _, at most {LONGEST_NAME} characters, and perhaps a schema "
            f"before it, such as planning.trip_durations; got {full!r}"
        )
    return full


def _require_table(cursor: Any, table: str, columns: Mapping[str, str]) -> None:
    """Create a table unless it exists; raise if an existing one has other columns, or may not be changed.

    Further columns of an existing table are left alone.
    """
    _lock(cursor, table)  # two processes may create it
    found = _columns_of(cursor, table)
    if not found:
        listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        cursor.execute(f"CREATE TABLE {table} ({listed})")
        cursor.execute(f"CREATE INDEX ON {table} ({OUTPUT})")
        return
    wrong = [f"{name} {found.get(name, 'missing')} (expected {kind})"
             for name, kind in columns.items() if found.get(name) != kind]  # fmt: skip
    if wrong:
        raise ConfigError(
            f"table: {table}: an existing table has other columns than results need: {', '.join(wrong)}. Choose "
            "another --table, which is then created"
        )
    for right in ("SELECT", "INSERT", "DELETE"):
        cursor.execute("SELECT has_table_privilege(%s::regclass, %s), current_user", (table, right))
        is_allowed, role = cursor.fetchone()
        if not is_allowed:
            raise ExportError(
                f"table: {table}: this role may not {right}. Give it the rights: GRANT SELECT, INSERT, DELETE ON "
                f"{table}, {table}_rejected, {table}_files TO {role}"
            )


def _columns_of(cursor: Any, table: str) -> dict[str, str]:
    """Type of each column of an existing table; empty if there is none."""
    cursor.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    return dict(cursor.fetchall())


def _lock(cursor: Any, name: str) -> None:
    """Wait for other transactions with this name; the lock ends with the transaction."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"mlops score {name}",))


def _copy(cursor: Any, table: str, name: str, path: Path) -> None:
    """COPY the rows of a file into a table, batch by batch; memory does not grow with the file."""
    with pq.ParquetFile(path) as file:
        columns = [OUTPUT, *file.schema_arrow.names]
        command = f"COPY {table} ({', '.join(columns)}) FROM STDIN WITH (FORMAT csv)"
        for batch in file.iter_batches(BATCH_ROWS):
            values = [pa.repeat(name, len(batch)), *map(_plain, batch.columns)]
            cursor.copy_expert(command, _as_csv(pa.RecordBatch.from_arrays(values, columns)))


def _plain(column: pa.Array) -> pa.Array:
    """The column as text may be sent to PostgreSQL: not as a dictionary, and without null characters."""
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return pc.replace_substring(plain, "\0", "\ufffd") if pa.types.is_string(plain.type) else plain


def _as_csv(batch: pa.RecordBatch) -> io.BytesIO:
    rows = io.BytesIO()
    pyarrow.csv.write_csv(batch, rows, pyarrow.csv.WriteOptions(include_header=False))
    rows.seek(0)
    return rows
