"""A file as batches of request columns, as they are in the file; memory does not grow with its size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from mlops.data.raw_trips import UNREADABLE, opened
from mlops.errors import TripSchemaError, one_line
from mlops.scoring.columns import COLUMNS, DROPOFF_AT, FileColumns, find_columns, require_types
from mlops.scoring.inputs import Input

BATCH_ROWS = 65_536
_CSV_BLOCK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class OpenFile:
    """An open file.

    Parameters
    ----------
    columns : FileColumns
    rows : int or None
        Number of rows, if the file says so.
    batches : iterator of pyarrow.Table
        Tables with `COLUMNS` (``dropoff_at`` only if the file is labelled) in the file's own types; all but the
        last have `BATCH_ROWS` rows. Optional columns that the file does not have are null.
    """

    columns: FileColumns
    rows: int | None
    batches: Iterator[pa.Table]


@contextmanager
def open_file(file: Input) -> Iterator[OpenFile]:
    """The open file, whose columns were checked.

    Raises
    ------
    TripSchemaError
        When it is not a readable Parquet or CSV file with the needed columns; while it is read, too.
    """
    with (_open_csv if file.is_csv else _open_parquet)(file.path, file.label) as found:
        yield found


@contextmanager
def _open_parquet(path: Path, label: str) -> Iterator[OpenFile]:
    with opened(path, label) as file:
        columns = find_columns(file.schema_arrow.names, label)
        require_types(file.schema_arrow, columns, label)
        read = file.iter_batches(BATCH_ROWS, columns=list(columns.names.values()), use_threads=False)
        yield OpenFile(columns, file.metadata.num_rows, _batches(read, columns, label))


@contextmanager
def _open_csv(path: Path, label: str) -> Iterator[OpenFile]:
    try:
        with pa_csv.open_csv(path) as file:
            names = file.schema.names
        columns = find_columns(names, label)
        wanted = list(columns.names.values())
        file = pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
            convert_options=pa_csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=True,
            ),
        )
    except UNREADABLE as error:
        raise TripSchemaError(f"{label}: expected a CSV file; got {one_line(error)}.") from error
    with file:
        yield OpenFile(columns, None, _batches(file, columns, label))


def _batches(read: Iterator[pa.RecordBatch], columns: FileColumns, label: str) -> Iterator[pa.Table]:
    try:
        for table in _filled(read):
            yield _named(table, columns)
    except UNREADABLE as error:
        raise TripSchemaError(
            f"{label}: expected readable rows; got damaged ones ({one_line(error)}). Put a complete copy there."
        ) from error


def _filled(read: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of `BATCH_ROWS` rows, however few the batches have."""
    waiting: list[pa.RecordBatch] = []
    for batch in read:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) < BATCH_ROWS:
            continue
        table = pa.Table.from_batches(waiting)
        while table.num_rows >= BATCH_ROWS:
            yield table.slice(0, BATCH_ROWS)
            table = table.slice(BATCH_ROWS)
        waiting = table.to_batches()
    if waiting:
        yield pa.Table.from_batches(waiting)


def _named(table: pa.Table, columns: FileColumns) -> pa.Table:
    """The table with the names of `COLUMNS`; missing optional ones are null."""
    wanted = [name for name in COLUMNS if name != DROPOFF_AT or columns.is_labelled]
    missing = pa.nulls(table.num_rows)
    return pa.table(
        {name: table[columns.names[name]] if name in columns.names else missing for name in wanted}
    )
