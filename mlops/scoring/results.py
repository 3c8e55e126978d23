"""The result of one file: its batches are answered one by one and written to the drafts."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops import progress
from mlops.errors import ExportError, one_line
from mlops.month import Month
from mlops.registry.loading import Loaded
from mlops.registry.versions import model_name
from mlops.scoring.answering import (
    LABELLED_SCHEMA,
    OUTPUT_SCHEMA,
    REJECTED_SCHEMA,
    answer,
    reject_lines,
)
from mlops.scoring.counts import Counts
from mlops.scoring.drafts import INPUT_SHA256, RUN_KEY, Drafts, as_metadata
from mlops.scoring.inputs import Input
from mlops.scoring.reading import OpenFile, open_file

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0
_WORDS = ["pickup_zone", "dropoff_zone", "passenger_count", "distance", "model_version", "run_key", "reason"]


def write_result(file: Input, loaded: Loaded, drafts: Drafts) -> dict[str, Any]:
    """Write the answered rows of a file, and the rejected ones if there are any, to the drafts; the summary.

    Both files have the summary in their metadata. The same file and version give the same bytes.

    Raises
    ------
    TripSchemaError
        As `reading.open_file`.
    ExportError
        When the drafts cannot be written.
    """
    counts = Counts(Month.parse(file.month) if file.month else None)
    with open_file(file) as found, contextlib.ExitStack() as written:
        _warn_of_service(found.columns.service, loaded, file.label)
        schema = LABELLED_SCHEMA if found.columns.is_labelled else OUTPUT_SCHEMA
        output = written.enter_context(_Writer(drafts.output, schema))
        rejected = written.enter_context(_Writer(drafts.rejected, REJECTED_SCHEMA))
        for batch in _with_progress(found, file.label):
            answered = answer(batch, loaded, is_wall_clock=found.columns.is_wall_clock, before=counts.rows)
            counts.add(answered)
            output.write(answered.rows)
            rejected.write(_numbered(answered.rejected, found))
        lines = reject_lines(found.bad_lines)
        counts.add_rejected(lines)
        rejected.write(lines)
        summary = _summary(file, loaded, counts)
        output.finish(summary)
        rejected.finish(summary)
    if not summary["rejected"]:
        drafts.rejected.unlink()
    return summary


def _warn_of_service(service: str, loaded: Loaded, label: str) -> None:
    """Warn where TLC's names say that the trips are of another service than the model's."""
    if service and loaded.version.name not in (model_name(service, sample=each) for each in (False, True)):
        logger.warning("%s: these are %s trips, but %s answers", label, service, loaded.version.name)


def _numbered(rejected: pa.Table, found: OpenFile) -> pa.Table:
    """Rejected rows of batches with their numbers in the file, where there may be bad lines between them."""
    if not found.bad_lines or not rejected.num_rows:
        return rejected
    rows = found.row_numbers(rejected["row"].to_numpy() - 1)
    return rejected.set_column(0, rejected.schema.field(0), pa.array(rows))


def _with_progress(found: OpenFile, label: str) -> Iterator[pa.Table]:
    """The batches; every `PROGRESS_SECONDS` a log line says how far they are."""
    start = logged = time.monotonic()
    done = 0
    with progress.step(label, found.rows, progress.ROWS) as report:
        for batch in found.batches:
            yield batch
            done += batch.num_rows
            report(done, found.rows)
            now = time.monotonic()
            if now - logged >= PROGRESS_SECONDS and not progress.is_shown():
                logged = now
                logger.info("%s: %s", label, how_far(done, found.rows, now - start))


def how_far(done: int, total: int | None, seconds: float) -> str:
    """How far a file is, for the log.

    Examples
    --------
    >>> how_far(1_000_000, 4_000_000, 10), how_far(500, None, 0.5)
    ('1,000,000 of 4,000,000 rows, 100,000 rows/s, 30 s left', '500 rows, 1,000 rows/s')
    """
    rate = done / seconds
    if total is None:
        return f"{done:,} rows, {rate:,.0f} rows/s"
    return f"{done:,} of {total:,} rows, {rate:,.0f} rows/s, {(total - done) / rate:.0f} s left"


def _summary(file: Input, loaded: Loaded, counts: Counts) -> dict[str, Any]:
    return {
        "input": file.label,
        INPUT_SHA256: file.sha256,
        "month": file.month,
        "model": loaded.version.name,
        "version": loaded.version.number,
        RUN_KEY: loaded.run_key,
        **counts.summary(),
    }


class _Writer(contextlib.AbstractContextManager["_Writer"]):
    """A Parquet file that is written table by table; it is complete after `finish`."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        words = [name for name in _WORDS if name in schema.names]
        with self._own_errors():
            self._file = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=words)

    def write(self, table: pa.Table) -> None:
        """Add the rows of a table, a row group of their own."""
        if table.num_rows:
            with self._own_errors():
                self._file.write_table(table)

    def finish(self, summary: dict[str, Any]) -> None:
        """Add the summary and end the file."""
        with self._own_errors():
            self._file.add_key_value_metadata(as_metadata(summary))
            self._file.close()

    def __exit__(self, *error: object) -> None:
        """Close the file, which nobody wants if it is not complete."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._file.close()

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise ExportError(
                f"{self._path.parent}: a result cannot be written there ({one_line(error, 200)}). Free disk "
                "space, give write access to the folder, or choose another --to."
            ) from error
