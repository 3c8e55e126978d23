"""Small results of scoring, written as scoring writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops.scoring.answering import LABELLED_SCHEMA, OUTPUT_SCHEMA, REJECTED_SCHEMA
from mlops.scoring.drafts import Drafts, as_metadata
from mlops.scoring.exports import Export

MONTH = "green_tripdata_2023-10.trip-duration-green-v3"
VALUES: dict[str, Any] = {
    "pickup_at": datetime(2023, 10, 1, 8, 30), "pickup_zone": 74, "dropoff_zone": None, "distance_miles": 2.5,
    "passenger_count": None, "duration_minutes": 12.25, "low_80_minutes": 8.0, "high_80_minutes": 16.0,
    "low_95_minutes": 6.0, "high_95_minutes": 24.5, "out_of_range": False, "distance": "given",
    "model_version": "3", "run_key": "aa07", "actual_minutes": 13.5,
}  # fmt: skip


def write(
    drafts: Drafts,
    sha256: str = "aa",
    rows: int = 3,
    rejected: int = 0,
    labelled: bool = False,
    **changed: Any,
) -> dict[str, Any]:
    """Write a result of equal rows to the drafts, and return its summary."""
    schema = LABELLED_SCHEMA if labelled else OUTPUT_SCHEMA
    values = VALUES | changed
    summary = {"input": "green_tripdata_2023-10.parquet", "input_sha256": sha256, "month": "2023-10"}
    summary |= {"model": "trip-duration-green", "version": "3", "run_key": values["run_key"]}
    about = {**summary, "rows": rows + rejected, "answered": rows, "rejected": rejected}
    _write(drafts.output, pa.table({f.name: [values[f.name]] * rows for f in schema}, schema), about)
    if rejected:
        refused = {
            **dict.fromkeys(REJECTED_SCHEMA.names, None),
            "row": 4,
            "pickup_at": "so\0on",
            "reason": "no time",
        }
        table = pa.table({name: [value] * rejected for name, value in refused.items()}, REJECTED_SCHEMA)
        _write(drafts.rejected, table, about)
    return about


def deliver(export: Export, name: str = MONTH, **result: Any) -> dict[str, Any]:
    """Write a result and deliver it; its summary."""
    with export.drafts(name) as drafts:
        summary = write(drafts, **result)
        assert export.put(drafts) == export.where(name)
    return summary


def _write(path: Any, table: pa.Table, summary: dict[str, Any]) -> None:
    with pq.ParquetWriter(path, table.schema) as file:
        file.write_table(table)
        file.add_key_value_metadata(as_metadata(summary))
