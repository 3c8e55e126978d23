"""Months with any number of trips: copies of the same trips, each time slightly changed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

JITTER_MINUTES, JITTER_DISTANCE = 30, 0.02


def write_copies(raw: Path, target: Path, copies: int, seed: int) -> int:
    """Write a month `copies` times, with slightly changed pickup times and distances; return the number of rows.

    Only one copy is in memory at a time. Pickup and drop-off move together, so durations do not change.
    """
    names = [name for name in pq.read_schema(raw).names if name.endswith("_datetime")]
    names += ["PULocationID", "DOLocationID", "passenger_count", "trip_distance"]
    month, rows, rng = pq.read_table(raw, columns=names), 0, np.random.default_rng(seed)
    with pq.ParquetWriter(target, month.schema) as writer:
        for copy in range(copies):
            writer.write_table(_moved(month, rng) if copy else month)
            rows += month.num_rows
    return rows


def _moved(month: pa.Table, rng: np.random.Generator) -> pa.Table:
    seconds = rng.integers(-60 * JITTER_MINUTES, 60 * JITTER_MINUTES, month.num_rows)
    by = pa.array(seconds * 1_000_000, pa.int64()).cast(pa.duration("us"))
    stretch = pa.array(1 + JITTER_DISTANCE * rng.uniform(-1, 1, month.num_rows))
    columns = []
    for field in month.schema:
        column = month[field.name].combine_chunks()
        if field.name.endswith("_datetime"):
            column = pc.add(column, by)
        elif field.name == "trip_distance":
            column = pc.multiply(column, stretch)
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=month.schema)


if __name__ == "__main__":
    raw_file, target_file, count, first = sys.argv[1:]
    write_copies(Path(raw_file), Path(target_file), int(count), int(first))
