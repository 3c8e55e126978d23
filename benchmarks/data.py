"""Months, fetched and cleaned once, so that every contender gets the same rows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.cells import Cell, Job
from benchmarks.plan import RAW, Bench

REQUEST_COLUMNS = ["pickup_at", "pickup_zone", "dropoff_zone", "distance_miles", "passenger_count"]
TARGET = "duration_minutes"


def cells(bench: Bench) -> list[Cell]:
    """One cell per month, and one for the rows of each test month."""
    return [_month(bench, month) for month in bench.months] + [
        _rows(bench, test) for test in bench.test_months
    ]


def month_cell(month: str) -> str:
    """Name of the cell with a month's files."""
    return f"data/month {month}"


def rows_cell(test: str) -> str:
    """Name of the cell with the rows for all contenders."""
    return f"data/rows {test}"


def clean_path(job: Job, month: str) -> Path:
    """Clean trips of a month that the cell depends on."""
    return Path(job.before[month_cell(month)].values["clean"])


def raw_path(job: Job, month: str) -> Path:
    """Raw file of a month that the cell depends on."""
    return Path(job.before[month_cell(month)].values["raw"])


def _month(bench: Bench, month: str) -> Cell:
    file = Path(bench.source).expanduser() / f"{bench.service}_tripdata_{month}.parquet"
    return Cell(
        month_cell(month),
        "benchmarks.data:prepare_month",
        {"source": bench.source, "service": bench.service, "month": month},
        code=RAW,
        inputs=(str(file),) if file.is_file() else (),
        expected_seconds=3,
    )


def _rows(bench: Bench, test: str) -> Cell:
    training, validation = bench.short_history(test), bench.validation(test)
    return Cell(
        rows_cell(test),
        "benchmarks.data:prepare_rows",
        {"training": list(training), "validation": validation, "test": test},
        after=tuple(month_cell(month) for month in (*training, validation, test)),
        expected_seconds=3,
    )


def prepare_month(job: Job, source: str, service: str, month: str) -> dict[str, Any]:
    """Fetch a month's raw file and clean its trips."""
    raw, sha256 = ours.fetch(source, service, month, job.folder.parent / "months")
    target = job.folder / f"{service}_{month}.parquet"
    rows, kept = ours.clean(raw, service, month, target)
    content = hashlib.sha256(sha256.encode() + target.read_bytes()).hexdigest()
    return {"raw": str(raw), "clean": str(target), "rows": rows, "kept": kept, "content": content}


def prepare_rows(job: Job, training: list[str], validation: str, test: str) -> dict[str, Any]:
    """Write the training, validation and test rows as raw columns.

    The durations of the test month are in a separate file, which no contender reads.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def read(month: str) -> pa.Table:
        return pq.read_table(clean_path(job, month))

    trained_on = pa.concat_tables([read(month) for month in training])
    parts = {
        "training": trained_on.filter(trained_on["for_training"]).select([*REQUEST_COLUMNS, TARGET]),
        "validation": read(validation).select([*REQUEST_COLUMNS, TARGET]),
        "test": read(test).select(REQUEST_COLUMNS),
        "actual": read(test).select([TARGET]),
    }
    digest = hashlib.sha256()
    for name, table in parts.items():
        path = job.folder / f"{name}.parquet"
        pq.write_table(table, path)
        digest.update(path.read_bytes())
    rows = {f"{name}_rows": table.num_rows for name, table in parts.items() if name != "actual"}
    return {"content": digest.hexdigest(), **rows}
