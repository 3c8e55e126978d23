"""The synthetic city: places, traffic, and typical faults of taxi meters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.month import Month

FIRST_MONTH = Month(2023, 1)
LAST_MONTH = Month(2024, 12)
Array = npt.NDArray[Any]
ZONES = 263
AIRPORTS = (132, 138)
_CENTRE_ZONES = 40
_CITY_SEED = 20230101
_LOST_CLOCK = np.datetime64("2009-01-01", "us")  # files of every year contain pickups of this day


# Share of trips with each fault, as in TLC's green months 2023-01 to 2023-10.
_DIRT = {
    "aborted": 0.0260,  # under a minute; TLC: 2.4-3.3 %, including trips of 0 seconds
    "frozen": 0.0012,  # exactly 0 seconds
    "endless": 0.0013,  # the meter ran until its limit, 23:50 to 24:00 hours
    "stuck": 0.0080,  # one to three hours; TLC: 0.9-2.0 % over an hour, including long correct trips
    "unmeasured": 0.0320,  # distance 0, in addition to most aborted trips; TLC: 4.4-5.5 % in total
    "absurd": 0.0007,  # hundreds to hundreds of thousands of miles
    "unrecorded": 0.0700,  # null passengers and related columns; TLC: 6-8 %
    "unknown_pickup": 0.0028,  # zones 264 and 265; TLC: 1-1.5 % for pickup and drop-off each
    "unknown_dropoff": 0.0105,
    "refunded": 0.0028,  # negative fares
    "misdated": 0.0003,  # picked up in another month or year; TLC: 2 to 38 rows a month
}


_ABSURD_MILES = 278_990.0  # the largest in TLC's files
_DAY_SECONDS = 86_400


# From pickups and minutes per mile in the same green months: weight of each hour in the demand,
# and speed at some hours relative to the day's mean.
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

_DIRECTIONS = ("East", "North-East", "North", "North-West", "West", "South-West", "South", "South-East")


@dataclass(frozen=True)
class _City:
    """Places and demand; zone z is at index z - 1."""

    places: Array  # (263,), miles east + 1j * miles north of the centre
    central: Array  # (263,), bool
    detour: Array  # (263, 263), street miles per straight mile
    demand: Array  # (263 * 263,), cumulative share of the trips, ordered by pickup zone


@cache
def city() -> _City:
    """The city; all services, months and seeds share it."""
    rng = np.random.default_rng(_CITY_SEED)
    airports = np.array(AIRPORTS) - 1
    central = np.isin(np.arange(ZONES), np.setdiff1d(rng.permutation(ZONES)[:_CENTRE_ZONES], airports))
    radius = np.where(central, 1.6, 9.0) * np.sqrt(rng.random(ZONES)) + np.where(central, 0.0, 1.2)
    angle = rng.random(ZONES) * 2 * np.pi
    radius[airports], angle[airports] = (13.0, 8.0), (-0.8, 0.4)
    places = radius * np.exp(1j * angle)

    popularity = np.where(central, 1.5, 1.0) / (1 + rng.permutation(ZONES))  # Zipf
    popularity[airports] = np.median(popularity[central])
    taste = rng.lognormal(0, 1.6, size=(ZONES, ZONES))  # some pairs are busy independently of their distance
    pull = np.exp(-np.abs(places[:, None] - places) / 1.6) * taste
    pull[airports] += 0.02  # airports attract trips from any distance
    pull[:, airports] += 0.02
    demand = np.cumsum(popularity[:, None] * popularity * pull)
    return _City(places, central, 1.28 * rng.lognormal(0, 0.08, size=pull.shape), demand / demand[-1])


def zone_names() -> tuple[str, ...]:
    """Name of each zone, in the order of the ids: where it lies, and a number.

    Examples
    --------
    >>> zone_names()[131], zone_names()[0]
    ('South-East Airport', 'North-East 1')
    """
    numbers: Counter[str] = Counter()
    names = []
    for number, part in enumerate(zone_areas(), 1):
        numbers[part] += number not in AIRPORTS
        names.append(f"{part} Airport" if number in AIRPORTS else f"{part} {numbers[part]}")
    return tuple(names)


def zone_areas() -> tuple[str, ...]:
    """Part of the city in which each zone lies, in the order of the ids.

    Examples
    --------
    >>> zone_areas()[131], zone_areas()[0]
    ('South-East', 'North-East')
    """
    eighths = np.rint(np.angle(city().places) / (np.pi / 4)).astype(int) % 8
    parts = np.where(city().central, "Centre", np.take(_DIRECTIONS, eighths))
    return tuple(parts.tolist())


@dataclass(frozen=True)
class CityTrips:
    """Trips before conversion to a service's columns; all arrays have shape (trips,)."""

    pickup_at: Array
    seconds: Array
    pickup_zone: Array
    dropoff_zone: Array
    miles: Array
    fare: Array
    unrecorded: Array
    refunded: Array


def rows_of(month: Month, rows: int) -> int:
    """Number of trips in a month, if an average month of the first year has `rows`."""
    return max(1, round(rows * (1 + 0.002 * _age(month)) * (1 + _SEASONAL_ROWS[month.number - 1] / 100)))


def _age(month: Month) -> int:
    return len(Month.range(FIRST_MONTH, month)) - 1


def drive(rng: np.random.Generator, month: Month, count: int) -> CityTrips:
    """Trips without faults, in order of pickup."""
    pickup_at, speed_of_time = _pickups(rng, month, count)
    places = city()
    start, end = np.divmod(np.searchsorted(places.demand, rng.random(count)), ZONES)

    straight = np.abs(places.places[start] - places.places[end])
    spread = rng.normal(0, 0.22, size=(2, count))  # positions of riders within their zones
    miles = np.hypot(straight + spread[0], 0.45 + spread[1]) * places.detour[start, end]
    miles = np.round(miles * rng.lognormal(0, 0.07, count), 2).clip(min=0.01)

    jam = 1 + 0.25 * places.central[start] + 0.25 * places.central[end]  # rush hours are slower in the centre
    airport = np.isin(start + 1, AIRPORTS) | np.isin(end + 1, AIRPORTS)
    # Long trips and airport trips use faster roads.
    speed_mph = 10.5 * miles**0.3 * speed_of_time**jam * np.where(airport, 1.25, 1.0)
    minutes = (1.3 + 60 * miles / speed_mph) * rng.lognormal(
        0, 0.22, count
    )  # noise that no model can predict
    fare = 3.0 + 2.2 * miles + 0.45 * minutes
    nothing = np.zeros(count, dtype=bool)
    return CityTrips(pickup_at, np.rint(minutes * 60), start + 1, end + 1, miles, fare, nothing, nothing)


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
    drift = (
        1 + _SEASONAL_SPEED[month.number - 1] / 100 - 0.002 * _age(month)
    )  # traffic gets slower each month
    return np.datetime64(month.start, "us") + second.astype("timedelta64[s]"), speed * drift


def soil(rng: np.random.Generator, month: Month, trips: CityTrips) -> CityTrips:
    """The same trips with faults of real files; a row may have several faults."""
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
    """Times just outside the month, or on the day that a reset clock shows."""
    offset = (rng.exponential(_DAY_SECONDS, (3, count)) + 1).astype("timedelta64[s]")
    start, end = np.datetime64(month.start, "us"), np.datetime64(month.end, "us")
    places = np.stack([start - offset[0], end + offset[1], _LOST_CLOCK + offset[2]])  # (3, trips)
    chosen: Array = np.choose(rng.choice(3, size=count, p=[0.5, 0.2, 0.3]), places)
    return chosen
