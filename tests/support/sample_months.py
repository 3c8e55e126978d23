"""Months of the synthetic city, and the columns that TLC gives them."""

from __future__ import annotations

import pandas as pd

from mlops.data.synthetic.source import make_month
from mlops.month import Month

MAY = Month(2023, 5)


TLC_COLUMNS = {
    "green": [
        "VendorID", "lpep_pickup_datetime", "lpep_dropoff_datetime", "store_and_fwd_flag", "RatecodeID",
        "PULocationID", "DOLocationID", "passenger_count", "trip_distance", "fare_amount", "extra", "mta_tax",
        "tip_amount", "tolls_amount", "ehail_fee", "improvement_surcharge", "total_amount", "payment_type",
        "trip_type", "congestion_surcharge",
    ],
    "yellow": [
        "VendorID", "tpep_pickup_datetime", "tpep_dropoff_datetime", "passenger_count", "trip_distance",
        "RatecodeID", "store_and_fwd_flag", "PULocationID", "DOLocationID", "payment_type", "fare_amount",
        "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge", "total_amount",
        "congestion_surcharge", "Airport_fee",
    ],
    "fhvhv": [
        "hvfhs_license_num", "dispatching_base_num", "originating_base_num", "request_datetime",
        "on_scene_datetime", "pickup_datetime", "dropoff_datetime", "PULocationID", "DOLocationID",
        "trip_miles", "trip_time", "base_passenger_fare", "tolls", "bcf", "sales_tax", "congestion_surcharge",
        "airport_fee", "tips", "driver_pay", "shared_request_flag", "shared_match_flag", "access_a_ride_flag",
        "wav_request_flag", "wav_match_flag",
    ],
}  # fmt: skip


SERVICES = tuple(TLC_COLUMNS)


def green(*months: Month) -> pd.DataFrame:
    """Green trips under short names, with their minutes."""
    trips = pd.concat([make_month("green", month).to_pandas() for month in months], ignore_index=True)
    minutes = (trips.lpep_dropoff_datetime - trips.lpep_pickup_datetime).dt.total_seconds() / 60
    return trips.rename(
        columns={"lpep_pickup_datetime": "pickup_at", "PULocationID": "start", "DOLocationID": "end"}
    ).assign(minutes=minutes)


def honest(trips: pd.DataFrame) -> pd.DataFrame:
    return trips[trips.minutes.between(1, 60)]
