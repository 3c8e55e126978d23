"""Months of hand-written rows, cleaned through real files as in the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from support.builders import MAY, month_table, trip, write_month

from mlops.data.trips import Quality, clean_file
from mlops.training.feature_files import write_features


def features_of(folder: Path, raw: Path, service: str = "green") -> pd.DataFrame:
    """Feature table of a raw month, made through the files of the pipeline."""
    clean_file(raw, service, MAY, folder / "clean.parquet")
    write_features(folder / "clean.parquet", folder / "features.parquet")
    return pd.read_parquet(folder / "features.parquet")


def cleaned(folder: Path, *rows: dict[str, Any], service: str = "green") -> tuple[Quality, pa.Table]:
    """Counts and clean trips of hand-written rows, through real files."""
    quality = clean_file(
        write_month(folder / "raw.parquet", service, *rows), service, MAY, folder / "clean.parquet"
    )
    return quality, pq.read_table(folder / "clean.parquet")


LATER = trip("2023-05-31 23:10:05", seconds=900, pickup_zone=7, dropoff_zone=None, passenger_count=None)


def changed(**columns: Any) -> pa.Table:
    """A green month of two trips in which each named column has been cast, or put through a function."""
    table = month_table("green", trip(), LATER)
    for name, change in columns.items():
        values = table[name].cast(change) if isinstance(change, pa.DataType) else change(table[name])
        table = table.set_column(table.column_names.index(name), name, values)
    return table
