"""The result of one file: its batches are answered one by one and written to the drafts."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops.month import Month
from mlops.registry.loading import Loaded
from mlops.scoring.answering import (
    LABELLED_SCHEMA,
    OUTPUT_SCHEMA,
    REJECTED_SCHEMA,
    answer,
)
from mlops.scoring.counts import Counts
from mlops.scoring.drafts import INPUT_SHA256, Drafts, as_metadata
from mlops.scoring.inputs import Input
from mlops.scoring.reading import open_file

_WORDS = ["pickup_zone", "dropoff_zone", "passenger_count", "distance", "model_version", "run_key", "reason"]


def write_result(file: Input, loaded: Loaded, drafts: Drafts) -> dict[str, Any]:
    """Write the answered rows of a file, and the rejected ones if there are any, to the drafts; the summary.

    Both files have the summary in their metadata.

    Raises
    ------
    TripSchemaError
        As `reading.open_file`.
    """
    counts = Counts(Month.parse(file.month) if file.month else None)
    with open_file(file) as found:
        schema = LABELLED_SCHEMA if found.columns.is_labelled else OUTPUT_SCHEMA
        with _Writer(drafts.output, schema) as output, _Writer(drafts.rejected, REJECTED_SCHEMA) as rejected:
            for batch in found.batches:
                answered = answer(
                    batch, loaded, is_wall_clock=found.columns.is_wall_clock, first_row=counts.rows + 1
                )
                counts.add(answered)
                output.write(answered.rows)
                rejected.write(answered.rejected)
            summary = _summary(file, loaded, counts)
            output.close(summary)
            rejected.close(summary)
    if not summary["rejected"]:
        drafts.rejected.unlink()
    return summary


def _summary(file: Input, loaded: Loaded, counts: Counts) -> dict[str, Any]:
    return {
        "input": file.label,
        INPUT_SHA256: file.sha256,
        "month": file.month,
        "model": loaded.version.name,
        "version": loaded.version.number,
        "run_key": loaded.run_key,
        **counts.summary(),
    }


class _Writer(contextlib.AbstractContextManager["_Writer"]):
    """A Parquet file that is written table by table."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        words = [name for name in _WORDS if name in schema.names]
        self._file = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=words)

    def write(self, table: pa.Table) -> None:
        """Add the rows of a table, a row group of their own."""
        if table.num_rows:
            self._file.write_table(table)

    def close(self, summary: dict[str, Any]) -> None:
        """Add the summary and end the file."""
        self._file.add_key_value_metadata(as_metadata(summary))
        self._file.close()

    def __exit__(self, *error: object) -> None:
        self._file.close()
