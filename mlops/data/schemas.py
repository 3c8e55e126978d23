"""The contract of clean trips: the schema that every row fulfils, and readers of such tables.

This is separate from `trips`, which writes them: pandera and pandas take half of a process's memory, and code that
only streams trips needs neither.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa_frames
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.data.trips import LONGEST_MINUTES, SHORTEST_MINUTES
from mlops.errors import TripSchemaError

_REQUEST = {
    "pickup_at": pa_frames.Column("datetime64[us]", coerce=True),
    "pickup_zone": pa_frames.Column("int32", pa_frames.Check.ge(0), coerce=True),
    "dropoff_zone": pa_frames.Column("int32", pa_frames.Check.ge(0), coerce=True),
    "distance_miles": pa_frames.Column("float64", nullable=True, coerce=True),
    "passenger_count": pa_frames.Column("Int64", pa_frames.Check.ge(0), nullable=True, coerce=True),
}
REQUESTS = pa_frames.DataFrameSchema(_REQUEST, strict="filter")
"""What is known when a ride is requested: the model's input. Zone 0 means "not given"."""

TRIPS = pa_frames.DataFrameSchema(
    {
        **_REQUEST,
        "dropoff_at": pa_frames.Column("datetime64[us]", coerce=True),
        "duration_minutes": pa_frames.Column(
            "float64", pa_frames.Check.in_range(SHORTEST_MINUTES, LONGEST_MINUTES)
        ),
        "for_training": pa_frames.Column("bool"),
    },
    strict=True,
)
"""The contract of a clean trip table: the request and its outcome."""


def read_requests(path: Path) -> pd.DataFrame:
    """Request columns of every trip that the test metrics cover, checked against `REQUESTS`, shape (m, 5)."""
    table = pq.read_table(path, columns=list(_REQUEST))
    frame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return pd.DataFrame(REQUESTS.validate(frame))


def read_minutes(path: Path) -> npt.NDArray[np.float64]:
    """Durations of the same trips, in the same order, float64 of shape (m,)."""
    return np.asarray(
        pq.read_table(path, columns=["duration_minutes"])["duration_minutes"].to_numpy(), np.float64
    )


def check_trips(path: Path, rows: int = 10_000) -> None:
    """Raise unless the first `rows` trips of a clean file fulfil the contract `TRIPS`.

    Raises
    ------
    TripSchemaError
        Names the column and the first values that violate the contract.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(rows):
                TRIPS.validate(batch.to_pandas(timestamp_as_object=False), lazy=False)
                return
    except (pa_frames.errors.SchemaError, pa_frames.errors.SchemaErrors) as error:
        raise TripSchemaError(f"{path}: a clean trip violates its schema: {error}") from error
