"""The synthetic city: TLC-shaped Parquet months without a network.

A city of 263 zones with two airports, rush hours, weekends, seasons and slowly
thickening traffic, from numpy alone. Its files have TLC's names, columns and
types, and the dirt of TLC's files at TLC's rates, so that everything that
reads real months can be tried on these. Each file carries `SAMPLE_MARKER`,
by which it is known for a sample from whatever folder it comes.

A month depends on its service, its number, the rows asked for and the seed,
and on nothing else: not on the months made before it, nor on the clock.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.config import SERVICES
from mlops.errors import ConfigError, MonthNotPublishedError
from mlops.month import Month
from mlops.tlc import file_name

SAMPLE_MARKER = b"mlops.sample"
FIRST_MONTH = Month(2023, 1)
LAST_MONTH = Month(2024, 12)
GENERATOR = 1  # raise it when the same arguments give other trips: cached months are then fetched anew

Array = npt.NDArray[Any]

ZONES = 263
AIRPORTS = (132, 138)
_CENTRE_ZONES = 40
_CITY_SEED = 20230101
_LOST_CLOCK = np.datetime64("2009-01-01", "us")  # TLC's files of any year hold pickups of this day
_TYPES_CHANGED = Month(2023, 2)  # TLC's files have narrower types, and another Airport_fee, from here on

# Share of the trips that have a fault, after TLC's green months 2023-01 to 2023-10.
_DIRT = {
    "aborted": 0.0260,  # under a minute; TLC: 2.4-3.3 % with those that last 0 seconds
    "frozen": 0.0012,  # exactly 0 seconds
    "endless": 0.0013,  # the meter ran on until it was cut off, 23:50 to 24:00 hours later
    "stuck": 0.0080,  # one to three hours; with the longest honest trips, TLC: 0.9-2.0 % over an hour
    "unmeasured": 0.0320,  # distance 0, beside that of most aborted trips; TLC: 4.4-5.5 % in all
    "absurd": 0.0007,  # hundreds to hundreds of thousands of miles
    "unrecorded": 0.0700,  # null passengers and their sibling columns; TLC: 6-8 %
    "unknown_pickup": 0.0028,  # zones 264 and 265; TLC: 1-1.5 % at either end
    "unknown_dropoff": 0.0105,
    "refunded": 0.0028,  # negative fares
    "misdated": 0.0003,  # picked up in another month or year; TLC: 2 to 38 rows a month
}
_ABSURD_MILES = 278_990.0  # the longest of them in TLC's files
_DAY_SECONDS = 86_400

# Shaped after pickups and minutes per mile in the same green months: weight of each hour in the demand,
# and speed relative to the day's mean at some hours.
_DEMAND_WEEKDAY = (
    9, 6, 4, 4, 4, 6, 16, 38, 50, 52, 50, 53, 55, 54, 64, 72, 78, 82, 80, 60, 46, 38, 30, 20,
)  # fmt: skip
_DEMAND_WEEKEND = (
    38, 30, 24, 20, 14, 8, 8, 14, 22, 34, 44, 52, 56, 56, 60, 62, 64, 66, 66, 58, 50, 46, 44, 42,
)  # fmt: skip
_SPEED_HOURS = (0, 3, 5, 6.5, 8.5, 11, 13, 15.5, 17.5, 20, 22, 24)
_SPEED_WEEKDAY = (1.42, 1.62, 1.70, 1.30, 0.80, 0.96, 0.96, 0.74, 0.70, 1.08, 1.25, 1.42)
_SPEED_WEEKEND = (1.22, 1.34, 1.62, 1.60, 1.40, 1.12, 1.02, 0.98, 1.00, 1.08, 1.12, 1.22)
# January to December, in percent of the year's mean.
_SEASONAL_ROWS = (-4, -3, 2, 1, 3, 1, -3, -4, 0, 4, 1, 2)
_SEASONAL_SPEED = (5, 4, 2, 0, -3, -4, 2, 3, -3, -4, -2, -1)

# Columns of TLC's files in their order; those of fhvhv are in order where they are made.
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


@dataclass(frozen=True)
class SampleSource:
    """The synthetic city as a source of months (`mlops.tlc.Source`).

    Parameters
    ----------
    rows : int
        Trips a month, give or take the seasons' few percent.
    seed : int
        Another seed makes other trips in the same city.

    Examples
    --------
    >>> SampleSource().version("green_tripdata_2022-12.parquet") is None
    True
    """

    rows: int = 20_000
    seed: int = 7
    control = None

    @property
    def url(self) -> str:
        """What a person reads."""
        return "sample"

    @property
    def key(self) -> str:
        """Name of this source's part of the cache; every argument that changes a trip is in it."""
        return f"sample-{GENERATOR}-{self.rows}-{self.seed}"

    def version(self, name: str) -> str | None:
        """What the file's content depends on; None when the city does not publish such a file."""
        return self.key if name in _published() else None

    def size(self, name: str) -> int | None:
        """Not known before a month is made."""
        return None

    def download(self, name: str, target: BinaryIO, progress: Callable[[int, int | None], None]) -> None:
        """Write the file's bytes to `target`, the same ones that `write_month` writes.

        Raises
        ------
        MonthNotPublishedError
            When the city does not publish such a file.
        """
        if name not in _published():
            raise MonthNotPublishedError(
                f"sample: there is no file {name!r}; {_PUBLISHES}, as {file_name('green', FIRST_MONTH)}."
            )
        service, month = _published()[name]
        content = _parquet(make_month(service, month, rows=self.rows, seed=self.seed))
        target.write(content)
        progress(len(content), len(content))


def is_sample(metadata: Mapping[bytes, bytes] | None) -> bool:
    """Whether a Parquet schema's metadata says that its trips never happened.

    Examples
    --------
    >>> is_sample({b"mlops.sample": b"1"}), is_sample({b"pandas": b"{}"}), is_sample(None)
    (True, False, False)
    """
    return metadata is not None and SAMPLE_MARKER in metadata


def write_month(path: Path, service: str, month: Month, *, rows: int = 20_000, seed: int = 7) -> Path:
    """Path of a month of the synthetic city, which exists whole or not at all.

    Raises
    ------
    ConfigError, MonthNotPublishedError
        As `make_month`.
    """
    content = _parquet(make_month(service, month, rows=rows, seed=seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def make_month(service: str, month: Month, *, rows: int = 20_000, seed: int = 7) -> pa.Table:
    """Trips of one month of the synthetic city, with TLC's columns and types for that service.

    Parameters
    ----------
    service : str
        green, yellow or fhvhv.
    month : Month
        From `FIRST_MONTH` to `LAST_MONTH`.
    rows : int
        Trips in a mean month of the first year; seasons and growth change them by a few percent.
    seed : int
        0 or more.

    Raises
    ------
    ConfigError
        For another service, no rows or a negative seed.
    MonthNotPublishedError
        For a month outside the city's years.

    Examples
    --------
    >>> make_month("green", Month(2023, 1), rows=1000).num_rows
    960
    """
    _check(service, month, rows, seed)
    rng = np.random.default_rng([seed, int.from_bytes(service.encode(), "big"), month.year, month.number])
    trips = _soil(rng, month, _drive(rng, month, _rows_of(month, rows)))
    columns = _app_columns(rng, trips) if service == "fhvhv" else _taxi_columns(rng, service, trips)
    return _table(service, month, columns)


_PUBLISHES = f"the synthetic city publishes {', '.join(SERVICES)} from {FIRST_MONTH} to {LAST_MONTH}"


@cache
def _published() -> dict[str, tuple[str, Month]]:
    months = Month.range(FIRST_MONTH, LAST_MONTH)
    return {file_name(service, month): (service, month) for service in SERVICES for month in months}


def _check(service: str, month: Month, rows: int, seed: int) -> None:
    if service not in SERVICES:
        raise ConfigError(f"sample: expected a service of {', '.join(SERVICES)}; got {service!r}")
    if rows < 1:
        raise ConfigError(f"sample: expected at least 1 row a month; got {rows}")
    if seed < 0:
        raise ConfigError(f"sample: expected a seed of 0 or more; got {seed}")
    if not FIRST_MONTH <= month <= LAST_MONTH:
        raise MonthNotPublishedError(
            f"sample {service} {month}: not published; {_PUBLISHES}. Choose a month among these.",
            service=service,
            month=str(month),
        )


@dataclass(frozen=True)
class _City:
    """The places; zone z is at index z - 1."""

    places: Array  # (263,), miles east + 1j * miles north of the centre
    central: Array  # (263,), bool
    detour: Array  # (263, 263), street miles per straight mile
    demand: Array  # (263 * 263,), cumulative share of the trips, pickup zone by pickup zone


@cache
def _city() -> _City:
    """The one city that all services, months and seeds share."""
    rng = np.random.default_rng(_CITY_SEED)
    airports = np.array(AIRPORTS) - 1
    central = np.isin(np.arange(ZONES), np.setdiff1d(rng.permutation(ZONES)[:_CENTRE_ZONES], airports))
    radius = np.where(central, 1.6, 9.0) * np.sqrt(rng.random(ZONES)) + np.where(central, 0.0, 1.2)
    angle = rng.random(ZONES) * 2 * np.pi
    radius[airports], angle[airports] = (13.0, 8.0), (-0.8, 0.4)
    places = radius * np.exp(1j * angle)

    popularity = np.where(central, 1.5, 1.0) / (1 + rng.permutation(ZONES))  # Zipf
    popularity[airports] = np.median(popularity[central])
    taste = rng.lognormal(0, 1.6, size=(ZONES, ZONES))  # some pairs are busy for no reason of place
    pull = np.exp(-np.abs(places[:, None] - places) / 1.6) * taste
    pull[airports] += 0.02  # riders come to and from an airport however far it is
    pull[:, airports] += 0.02
    demand = np.cumsum(popularity[:, None] * popularity * pull)
    return _City(places, central, 1.28 * rng.lognormal(0, 0.08, size=pull.shape), demand / demand[-1])


@dataclass(frozen=True)
class _Trips:
    """Trips before they take a service's columns; all arrays have shape (trips,)."""

    pickup_at: Array
    seconds: Array
    pickup_zone: Array
    dropoff_zone: Array
    miles: Array
    fare: Array
    unrecorded: Array
    refunded: Array


def _rows_of(month: Month, rows: int) -> int:
    return max(1, round(rows * (1 + 0.002 * _age(month)) * (1 + _SEASONAL_ROWS[month.number - 1] / 100)))


def _age(month: Month) -> int:
    return len(Month.range(FIRST_MONTH, month)) - 1


def _drive(rng: np.random.Generator, month: Month, count: int) -> _Trips:
    """Honest trips in order of pickup."""
    pickup_at, speed_of_time = _pickups(rng, month, count)
    city = _city()
    start, end = np.divmod(np.searchsorted(city.demand, rng.random(count)), ZONES)

    straight = np.abs(city.places[start] - city.places[end])
    spread = rng.normal(0, 0.22, size=(2, count))  # where in their zones riders get in and out
    miles = np.hypot(straight + spread[0], 0.45 + spread[1]) * city.detour[start, end]
    miles = np.round(miles * rng.lognormal(0, 0.07, count), 2).clip(min=0.01)

    jam = 1 + 0.25 * city.central[start] + 0.25 * city.central[end]  # the centre feels rush hours more
    airport = np.isin(start + 1, AIRPORTS) | np.isin(end + 1, AIRPORTS)
    # Long trips find fast roads, and those to airports have them.
    speed_mph = 10.5 * miles**0.3 * speed_of_time**jam * np.where(airport, 1.25, 1.0)
    minutes = (1.3 + 60 * miles / speed_mph) * rng.lognormal(0, 0.22, count)  # the noise no model can learn
    fare = 3.0 + 2.2 * miles + 0.45 * minutes
    nothing = np.zeros(count, dtype=bool)
    return _Trips(pickup_at, np.rint(minutes * 60), start + 1, end + 1, miles, fare, nothing, nothing)


def _pickups(rng: np.random.Generator, month: Month, count: int) -> tuple[Array, Array]:
    """Sorted pickup times, and the speed at each relative to the mean of the first year."""
    hours = np.arange((month.end - month.start).days * 24)
    weekend = (month.start.weekday() + hours // 24) % 7 >= 5
    demand = np.where(weekend, np.take(_DEMAND_WEEKEND, hours % 24), np.take(_DEMAND_WEEKDAY, hours % 24))
    slot = rng.choice(hours, size=count, p=demand / demand.sum())
    second = np.sort(slot * 3600 + rng.integers(0, 3600, count))
    hour = second % _DAY_SECONDS / 3600
    speed = np.where(
        weekend[second // 3600],
        np.interp(hour, _SPEED_HOURS, _SPEED_WEEKEND),
        np.interp(hour, _SPEED_HOURS, _SPEED_WEEKDAY),
    )
    drift = 1 + _SEASONAL_SPEED[month.number - 1] / 100 - 0.002 * _age(month)  # traffic thickens
    return np.datetime64(month.start, "us") + second.astype("timedelta64[s]"), speed * drift


def _soil(rng: np.random.Generator, month: Month, trips: _Trips) -> _Trips:
    """The same trips with the faults of real files; several may meet in one row."""
    count = trips.seconds.size
    hit = {fault: rng.random(count) < share for fault, share in _DIRT.items()}

    seconds = trips.seconds.copy()
    for fault, shortest, longest in (
        ("stuck", 3_700, 10_800),
        ("aborted", 1, 60),
        ("frozen", 0, 1),
        ("endless", _DAY_SECONDS - 600, _DAY_SECONDS),
    ):
        seconds[hit[fault]] = np.floor(rng.uniform(shortest, longest, count))[hit[fault]]

    miles = trips.miles.copy()
    miles[hit["unmeasured"] | (hit["aborted"] & (rng.random(count) < 0.7))] = 0.0
    miles[hit["absurd"]] = np.round(rng.lognormal(9, 1.2, count).clip(101, _ABSURD_MILES), 2)[hit["absurd"]]

    nowhere = np.where(rng.random((2, count)) < 0.35, 264, 265)
    return replace(
        trips,
        pickup_at=np.where(hit["misdated"], _wrong_times(rng, month, count), trips.pickup_at),
        seconds=seconds.astype(np.int64),
        pickup_zone=np.where(hit["unknown_pickup"], nowhere[0], trips.pickup_zone),
        dropoff_zone=np.where(hit["unknown_dropoff"], nowhere[1], trips.dropoff_zone),
        miles=miles,
        unrecorded=hit["unrecorded"],
        refunded=hit["refunded"],
    )


def _wrong_times(rng: np.random.Generator, month: Month, count: int) -> Array:
    """Moments near the month's ends, on the wrong side, or on the day that lost clocks show."""
    offset = (rng.exponential(_DAY_SECONDS, (3, count)) + 1).astype("timedelta64[s]")
    start, end = np.datetime64(month.start, "us"), np.datetime64(month.end, "us")
    places = np.stack([start - offset[0], end + offset[1], _LOST_CLOCK + offset[2]])  # (3, trips)
    chosen: Array = np.choose(rng.choice(3, size=count, p=[0.5, 0.2, 0.3]), places)
    return chosen


def _taxi_columns(rng: np.random.Generator, service: str, trips: _Trips) -> dict[str, Array]:
    """Columns of a meter's record, null where it left no record of the ride's circumstances."""
    count, letter = trips.seconds.size, "l" if service == "green" else "t"
    paid = rng.choice([1, 2, 3, 4], size=count, p=[0.63, 0.36, 0.007, 0.003])
    codes = {
        "passenger_count": rng.choice(7, size=count, p=[0.006, 0.865, 0.084, 0.014, 0.005, 0.016, 0.01]),
        "RatecodeID": rng.choice([1, 2, 3, 4, 5], size=count, p=[0.965, 0.003, 0.001, 0.001, 0.03]),
        "trip_type": rng.choice([1, 2], size=count, p=[0.97, 0.03]),
        "payment_type": paid,
    }
    unknown = {name: np.where(trips.unrecorded, np.nan, code) for name, code in codes.items()}
    if service == "yellow":  # there, such a trip has a payment type of its own: 0
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


def _taxi_amounts(rng: np.random.Generator, service: str, trips: _Trips, by_card: Array) -> dict[str, Array]:
    """Dollars and cents, all of them negative for a refund."""
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
    # 0 - x, since -x makes TLC's 0.0 a -0.0.
    return {name: np.round(np.where(trips.refunded, 0 - paid, paid), 2) for name, paid in amounts.items()}


def _app_columns(rng: np.random.Generator, trips: _Trips) -> dict[str, Array]:
    """Columns of a ride-hailing record, which counts no passengers."""
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


def _table(service: str, month: Month, columns: Mapping[str, Array]) -> pa.Table:
    """Columns with the names and types that TLC's files had in that month."""
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


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Said in full: a default of pyarrow's that moves must not move the bytes.
    pq.write_table(
        table, sink, version="2.6", data_page_version="1.0", compression="zstd", compression_level=3,
        use_dictionary=True, write_statistics=True, store_schema=True, row_group_size=1_048_576,
    )  # fmt: skip
    return bytes(sink.getvalue())
