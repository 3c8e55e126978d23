"""A file as batches of request columns, as they are in the file; memory does not grow with its size."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from mlops.data.raw_trips import UNREADABLE, opened
from mlops.errors import TripSchemaError, one_line
from mlops.scoring.columns import COLUMNS, DROPOFF_AT, FileColumns, find_columns, require_types
from mlops.scoring.inputs import Input

BATCH_ROWS = 65_536
MAX_BAD_LINES = 100_000  # with more, the separator is wrong, or it is no table
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
    bad_lines : list of int
        Rows of a CSV file, from 1, that have more or fewer fields than its header, and so are in no batch. It is
        complete when the batches end.
    """

    columns: FileColumns
    rows: int | None
    batches: Iterator[pa.Table]
    bad_lines: list[int] = field(default_factory=list)

    def row_numbers(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Row in the file, from 1, of each row of the batches, whose positions are counted from 0."""
        lines = np.array(self.bad_lines, np.int64)
        before = lines - np.arange(len(lines))  # rows of batches before each bad line, and 1
        return positions + 1 + np.searchsorted(before, positions + 1, side="right")


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
        read = _row_groups(file, list(columns.names.values()))
        yield OpenFile(columns, file.metadata.num_rows, _batches(read, columns, label))


def _row_groups(file: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of one row group after the other: over all of them, Arrow's reader keeps the bytes of each one."""
    for number in range(file.num_row_groups):
        yield from file.iter_batches(BATCH_ROWS, row_groups=[number], columns=names, use_threads=False)


@contextmanager
def _open_csv(path: Path, label: str) -> Iterator[OpenFile]:
    bad_lines: list[int] = []
    with _csv_errors(label):
        with _Quotes(path) as content, _csv(content, pa_csv.ConvertOptions(), []) as file:
            columns = find_columns(file.schema.names, label)
        wanted = list(columns.names.values())
        texts = dict.fromkeys(wanted, pa.string())
        as_text = pa_csv.ConvertOptions(include_columns=wanted, column_types=texts, strings_can_be_null=True)
    with _Quotes(path) as content:
        with _csv_errors(label):
            read = _csv(content, as_text, bad_lines)
        with read:
            yield OpenFile(columns, None, _closed(_batches(read, columns, label), content, label), bad_lines)


class _Quotes(io.RawIOBase):
    """The unpacked bytes of a CSV file; it counts the quotes that were read."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        packed = "gzip" if path.name.lower().endswith(".gz") else None
        self._bytes = pa.input_stream(str(path), compression=packed)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = bytes(self._bytes.read(size))
        self.count += chunk.count(b'"')
        return chunk

    def close(self) -> None:
        self._bytes.close()
        super().close()


def _closed(batches: Iterator[pa.Table], content: _Quotes, label: str) -> Iterator[pa.Table]:
    """The batches; raise if a quote is not closed, because Arrow reads all lines after it as one value."""
    yield from batches
    if content.count % 2:
        raise TripSchemaError(
            f'{label}: expected a CSV file in which each quote (") is closed; got {content.count:,} of them, an '
            "odd number. Correct the quotes: lines after an open one are not read."
        )


def _csv(content: _Quotes, convert: pa_csv.ConvertOptions, bad_lines: list[int]) -> pa_csv.CSVStreamingReader:
    def note(line: pa_csv.InvalidRow) -> str:
        bad_lines.append(line.number - 1)  # the header is line 1
        return "skip" if len(bad_lines) <= MAX_BAD_LINES else "error"

    return pa_csv.open_csv(
        content,
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
        convert_options=convert,
    )


@contextmanager
def _csv_errors(label: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise TripSchemaError(
            f"{label}: expected a CSV file in UTF-8 with a header, separated by commas; got one that cannot be "
            f"read ({one_line(error, 200)}). Write it again so."
        ) from error


def _batches(read: Iterator[pa.RecordBatch], columns: FileColumns, label: str) -> Iterator[pa.Table]:
    try:
        for table in _filled(read):
            yield _named(table, columns)
    except UNREADABLE as error:
        raise TripSchemaError(
            f"{label}: expected readable rows; got damaged ones ({one_line(error, 200)}). Put a complete "
            "copy there."
        ) from error


def _filled(read: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of `BATCH_ROWS` rows, however few the batches have."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in read:
        waiting.append(batch)
        rows += batch.num_rows
        if rows < BATCH_ROWS:
            continue
        table = pa.Table.from_batches(waiting)
        while table.num_rows >= BATCH_ROWS:
            yield table.slice(0, BATCH_ROWS)
            table = table.slice(BATCH_ROWS)
        waiting, rows = table.to_batches(), table.num_rows
    if rows:
        yield pa.Table.from_batches(waiting)


def _named(table: pa.Table, columns: FileColumns) -> pa.Table:
    """The table with the names of `COLUMNS`; missing optional ones are null."""
    wanted = [name for name in COLUMNS if name != DROPOFF_AT or columns.is_labelled]
    missing = pa.nulls(table.num_rows)
    found = {name: _plain(table[spelled]) for name, spelled in columns.names.items()}
    return pa.table({name: found.get(name, missing) for name in wanted})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column, but views of text as text: Arrow cannot choose rows of views."""
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column
