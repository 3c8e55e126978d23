"""Builders of trips, by hand or at random.

Four entry points: `make_trips` (columns as `mlops.data.raw_trips.read_trips` yields them),
`trip` with `write_month` (edge rows in a TLC-shaped Parquet file),
`make_requests` (what the model takes), and `make_batch` or `write_features`
(training data).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.model.features import request_features
from mlops.month import Month
from mlops.training.feature_files import FEATURE_SCHEMA, Batch

MAY = Month(2023, 5)

# Repeated here on purpose: a wrong name in mlops.data.raw_trips must make tests fail.
TLC_NAMES = {
    "green": {
        "pickup_at": "lpep_pickup_datetime",
        "dropoff_at": "lpep_dropoff_datetime",
        "pickup_zone": "PULocationID",
        "dropoff_zone": "DOLocationID",
        "distance_miles": "trip_distance",
        "passenger_count": "passenger_count",
    },
    "yellow": {
        "pickup_at": "tpep_pickup_datetime",
        "dropoff_at": "tpep_dropoff_datetime",
        "pickup_zone": "PULocationID",
        "dropoff_zone": "DOLocationID",
        "distance_miles": "trip_distance",
        "passenger_count": "passenger_count",
    },
    "fhvhv": {
        "pickup_at": "pickup_datetime",
        "dropoff_at": "dropoff_datetime",
        "pickup_zone": "PULocationID",
        "dropoff_zone": "DOLocationID",
        "distance_miles": "trip_miles",
    },
}
TYPES = {
    "pickup_at": pa.timestamp("us"),
    "dropoff_at": pa.timestamp("us"),
    "pickup_zone": pa.int32(),
    "dropoff_zone": pa.int32(),
    "distance_miles": pa.float64(),
    "passenger_count": pa.int64(),
}
MONEY = {"RatecodeID": 1.0, "payment_type": 1, "fare_amount": 12.0, "tip_amount": 2.0, "total_amount": 15.0}


def trip(
    pickup_at: str | datetime | None = "2023-05-10 08:30",
    *,
    seconds: float | None = 600,
    pickup_zone: float | None = 74,
    dropoff_zone: float | None = 75,
    distance_miles: float | None = 2.0,
    passenger_count: float | None = 1,
    **tlc: Any,
) -> dict[str, Any]:
    """A valid trip of ten minutes with the given changes; `tlc` sets TLC's other columns by their names."""
    start = datetime.fromisoformat(pickup_at) if isinstance(pickup_at, str) else pickup_at
    started, lasted = start or datetime(2023, 5, 10), timedelta(seconds=seconds or 0)
    return {
        "pickup_at": start,
        "dropoff_at": None if seconds is None else started + lasted,
        "pickup_zone": pickup_zone,
        "dropoff_zone": dropoff_zone,
        "distance_miles": distance_miles,
        "passenger_count": passenger_count,
        **MONEY,
        **tlc,
    }


def month_table(service: str, *rows: dict[str, Any]) -> pa.Table:
    """Rows from `trip` as a table with the service's TLC columns and fares."""
    names, money = (
        TLC_NAMES[service],
        [name for name in rows[0] if name not in TYPES] if rows else list(MONEY),
    )
    columns = {tlc: pa.array([row[name] for row in rows], TYPES[name]) for name, tlc in names.items()}
    return pa.table({**columns, **{name: [row[name] for row in rows] for name in money}})


def write_month(path: Path, service: str, *rows: dict[str, Any]) -> Path:
    """The rows as a Parquet file of one month."""
    pq.write_table(month_table(service, *rows), path)
    return path


def make_trips(n: int = 200, seed: int = 0, *, month: Month = MAY, zones: int = 12) -> dict[str, np.ndarray]:
    """Trips of a small town, as `raw_trips.read_trips` yields them; one in ten has no passenger count."""
    rng = np.random.default_rng(seed)
    seconds = int((month.end - month.start).total_seconds())
    pickup_at = np.datetime64(month.start, "us") + rng.integers(0, seconds, n) * np.timedelta64(1, "s")
    pickup, dropoff = rng.integers(1, zones + 1, (2, n)).astype(np.int32)
    miles = np.round(0.5 + 0.6 * np.abs(pickup - dropoff) + rng.exponential(0.4, n), 2)
    hour = pickup_at.astype("datetime64[h]").astype(np.int64) % 24
    minutes = miles * np.where((hour >= 7) & (hour < 19), 5.0, 3.0) * rng.lognormal(0, 0.2, n)
    elapsed = (np.clip(minutes, 1.5, 59.0) * 60).astype(np.int64) * np.timedelta64(1_000_000, "us")
    return {
        "pickup_at": pickup_at,
        "dropoff_at": pickup_at + elapsed,
        "pickup_zone": pickup,
        "dropoff_zone": dropoff,
        "distance_miles": miles,
        "passenger_count": np.where(rng.random(n) < 0.1, np.nan, rng.integers(1, 7, n)),
        "duration_minutes": elapsed.astype(np.float64) / 60e6,
        "is_duplicate": np.zeros(n, bool),
    }


def make_requests(n: int = 200, seed: int = 0, *, month: Month = MAY) -> pd.DataFrame:
    """Requests as the model takes them: the columns of `make_trips` that are known beforehand."""
    trips = make_trips(n, seed, month=month)
    passengers = pd.array([None if np.isnan(p) else int(p) for p in trips["passenger_count"]], dtype="Int64")
    return pd.DataFrame(
        {
            **{name: trips[name] for name in ("pickup_at", "pickup_zone", "dropoff_zone", "distance_miles")},
            "passenger_count": passengers,
        }
    )


def make_features(
    n: int = 200, seed: int = 0, *, month: Month = MAY
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of `make_trips`, and durations in minutes."""
    trips = make_trips(n, seed, month=month)
    return request_features(trips), trips["duration_minutes"]


def make_batch(n: int = 200, seed: int = 0, *, month: Month = MAY) -> Batch:
    """The same as a training batch."""
    return Batch(*make_features(n, seed, month=month))


def write_features(
    path: Path, n: int = 200, seed: int = 0, *, month: Month = MAY, for_training: np.ndarray | None = None
) -> Path:
    """Features of `make_trips` as a feature file; by default every trip is for training."""
    known, minutes = make_features(n, seed, month=month)
    marks = np.ones(n, bool) if for_training is None else for_training
    pq.write_table(
        pa.table({**known, "duration_minutes": minutes, "for_training": marks}).cast(FEATURE_SCHEMA), path
    )
    return path
