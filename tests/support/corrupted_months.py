"""Months of green trips whose durations were changed on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def corrupted(durations: np.ndarray) -> np.ndarray:
    """Durations that are three times as long, and those of other trips."""
    return 3 * np.random.default_rng(1).permutation(durations)


def with_durations(path: Path, target: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write the same month with other durations."""
    table = pq.read_table(path)
    pickup, dropoff = (table[f"lpep_{end}_datetime"].to_numpy() for end in ("pickup", "dropoff"))
    ends = pickup + change(dropoff - pickup)
    place = table.schema.get_field_index("lpep_dropoff_datetime")
    field = table.schema.field(place)
    pq.write_table(table.set_column(place, field, pa.array(ends, field.type)), target)
