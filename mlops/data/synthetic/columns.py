"""Trips of the synthetic city in TLC's format: columns, types and nulls, by service."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mlops.data.synthetic.city import AIRPORTS, Array, CityTrips
from mlops.month import Month

SAMPLE_MARKER = b"mlops.sample"
_TYPES_CHANGED = Month(
    2023, 2
)  # from this month on TLC's files have narrower types, and spell Airport_fee so


# Columns of TLC's files in their order; `app_columns` has those of fhvhv.
_TAXI_COLUMNS = {
    "green": (
        "VendorID", "lpep_pickup_datetime", "lpep_dropoff_datetime", "store_and_fwd_flag", "RatecodeID",
        "PULocationID", "DOLocationID", "passenger_count", "trip_distance", "fare_amount", "extra", "mta_tax",
        "tip_amount", "tolls_amount", "ehail_fee", "improvement_surcharge", "total_amount", "payment_type",
        "trip_type", "congestion_surcharge",
    ),
    "yellow": (
        "VendorID", "tpep_pickup_datetime", "tpep_dropoff_datetime", "passenger_count", "trip_distance",
        "RatecodeID", "store_and_fwd_flag", "PULocationID", "DOLocationID", "payment_type", "fare_amount",
        "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge", "total_amount",
        "congestion_surcharge", "airport_fee",
    ),
}  # fmt: skip


_IDENTIFIERS = {"VendorID", "PULocationID", "DOLocationID"}
_CODES = {"RatecodeID", "passenger_count", "payment_type", "trip_type"}  # numbers that may be null


def is_sample(metadata: Mapping[bytes, bytes] | None) -> bool:
    """Whether a Parquet schema's metadata marks its trips as generated.

    Examples
    --------
    >>> is_sample({b"mlops.sample": b"1"}), is_sample({b"pandas": b"{}"}), is_sample(None)
    (True, False, False)
    """
    return metadata is not None and SAMPLE_MARKER in metadata


def taxi_columns(rng: np.random.Generator, service: str, trips: CityTrips) -> dict[str, Array]:
    """Columns of a taxi meter's record; codes are null where the meter recorded none."""
    count, letter = trips.seconds.size, "l" if service == "green" else "t"
    paid = rng.choice([1, 2, 3, 4], size=count, p=[0.63, 0.36, 0.007, 0.003])
    codes = {
        "passenger_count": rng.choice(7, size=count, p=[0.006, 0.865, 0.084, 0.014, 0.005, 0.016, 0.01]),
        "RatecodeID": rng.choice([1, 2, 3, 4, 5], size=count, p=[0.965, 0.003, 0.001, 0.001, 0.03]),
        "trip_type": rng.choice([1, 2], size=count, p=[0.97, 0.03]),
        "payment_type": paid,
    }
    unknown = {name: np.where(trips.unrecorded, np.nan, code) for name, code in codes.items()}
    if service == "yellow":  # there, such trips have payment type 0
        unknown["payment_type"] = np.where(trips.unrecorded, 0, paid)
    flag = rng.choice(["N", "Y"], size=count, p=[0.995, 0.005])
    columns = {
        **unknown,
        **_taxi_amounts(rng, service, trips, paid == 1),
        "VendorID": rng.choice([1, 2], size=count, p=[0.14, 0.86]),
        f"{letter}pep_pickup_datetime": trips.pickup_at,
        f"{letter}pep_dropoff_datetime": trips.pickup_at + trips.seconds.astype("timedelta64[s]"),
        "PULocationID": trips.pickup_zone,
        "DOLocationID": trips.dropoff_zone,
        "trip_distance": trips.miles,
        "store_and_fwd_flag": np.where(trips.unrecorded, None, flag),  # type: ignore[call-overload]
        "ehail_fee": np.full(count, None),
    }
    return {name: columns[name] for name in _TAXI_COLUMNS[service]}


def _taxi_amounts(
    rng: np.random.Generator, service: str, trips: CityTrips, by_card: Array
) -> dict[str, Array]:
    """Amounts in dollars, negative for a refund."""
    count = trips.seconds.size
    at_airport = (service == "yellow") & np.isin(trips.pickup_zone, AIRPORTS)
    amounts = {
        "fare_amount": trips.fare,
        "extra": rng.choice([0.0, 1.0, 2.5], size=count, p=[0.5, 0.3, 0.2]),
        "mta_tax": np.full(count, 0.5),
        "tip_amount": trips.fare * by_card * rng.choice([0.0, 0.15, 0.2, 0.25], size=count),
        "tolls_amount": np.where(rng.random(count) < 0.04, 6.55, 0.0),
        "improvement_surcharge": np.full(count, 1.0),
        "congestion_surcharge": np.where(rng.random(count) < 0.3, 2.75, 0.0),
        "airport_fee": np.where(at_airport, 1.25, 0.0),
    }
    amounts["total_amount"] = np.sum(list(amounts.values()), axis=0)
    for name in ("congestion_surcharge", "airport_fee"):
        amounts[name] = np.where(trips.unrecorded, np.nan, amounts[name])
    # 0 - x instead of -x, which would turn 0.0 into -0.0.
    return {name: np.round(np.where(trips.refunded, 0 - paid, paid), 2) for name, paid in amounts.items()}


def app_columns(rng: np.random.Generator, trips: CityTrips) -> dict[str, Array]:
    """Columns of a ride-hailing record, which has no passenger count."""
    count = trips.seconds.size
    fare = np.round(np.where(trips.refunded, -trips.fare, trips.fare), 2)
    lyft = rng.random(count) < 0.26  # Lyft reports neither the car's arrival nor the originating base
    base = np.where(lyft, "B03406", "B03404")
    wait = rng.gamma(3.0, 80.0, size=(2, count)).astype("timedelta64[s]")
    airport = np.isin(trips.pickup_zone, AIRPORTS) | np.isin(trips.dropoff_zone, AIRPORTS)
    shared, wheelchair, tipped, tolled = rng.random((4, count))
    return {
        "hvfhs_license_num": np.where(lyft, "HV0005", "HV0003"),
        "dispatching_base_num": base,
        "originating_base_num": np.where(lyft, None, base),  # type: ignore[call-overload]
        "request_datetime": trips.pickup_at - wait.sum(axis=0),
        "on_scene_datetime": np.where(lyft, np.datetime64("NaT"), trips.pickup_at - wait[0]),
        "pickup_datetime": trips.pickup_at,
        "dropoff_datetime": trips.pickup_at + trips.seconds.astype("timedelta64[s]"),
        "PULocationID": trips.pickup_zone,
        "DOLocationID": trips.dropoff_zone,
        "trip_miles": trips.miles,
        "trip_time": trips.seconds,
        "base_passenger_fare": fare,
        "tolls": np.where(tolled < 0.08, 6.55, 0.0),
        "bcf": np.round(fare * 0.03, 2),
        "sales_tax": np.round(fare * 0.08875, 2),
        "congestion_surcharge": np.where(rng.random(count) < 0.35, 2.75, 0.0),
        "airport_fee": np.where(airport, 2.5, 0.0),
        "tips": np.round(np.where(tipped < 0.18, np.abs(fare) * 0.18, 0.0), 2),
        "driver_pay": np.round(fare * 0.78, 2),
        "shared_request_flag": np.where(shared < 0.02, "Y", "N"),
        "shared_match_flag": np.where(shared < 0.006, "Y", "N"),
        "access_a_ride_flag": np.where(lyft, "N", " "),
        "wav_request_flag": np.where(wheelchair < 0.002, "Y", "N"),
        "wav_match_flag": np.where(wheelchair < 0.07, "Y", "N"),
    }


def table_of(service: str, month: Month, columns: Mapping[str, Array]) -> pa.Table:
    """Table with the column names and types of TLC's files in that month."""
    later = month >= _TYPES_CHANGED
    arrays = {
        name: pa.array(values, from_pandas=True).cast(_type(name, values, later))
        for name, values in columns.items()
    }
    if service == "yellow" and later:
        arrays["Airport_fee"] = arrays.pop("airport_fee")  # the last column, before and after
    return pa.table(arrays, metadata={SAMPLE_MARKER: b"1"})


def _type(name: str, values: Array, later: bool) -> pa.DataType:
    if name in _IDENTIFIERS:
        return pa.int32() if later else pa.int64()
    if name in _CODES and values.dtype.kind == "f":
        return pa.int64() if later else pa.float64()
    if name == "ehail_fee":
        return pa.float64() if later else pa.null()
    if values.dtype.kind in "UO":
        return pa.large_string() if later else pa.string()
    return pa.from_numpy_dtype(values.dtype)
