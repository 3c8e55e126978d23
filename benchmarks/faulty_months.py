"""Months with a fault put in on purpose: each function reads TLC's file of a month and writes it with the fault.

All have the same arguments: the file, its month, how much of the fault, the file to write. The same arguments give
the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.month import Month

Change = Callable[[pd.DataFrame, Month, float, np.random.Generator], pd.DataFrame]
Fault = Callable[[Path, Month, float, Path], Path]

SHORT = {"PULocationID": "start", "DOLocationID": "end", "trip_distance": "miles", "trip_miles": "miles"}
AIRPORTS = (1, 132, 138)
NEW_ZONE = 105  # an island without a street: TLC's files of these years have no trip there
KILOMETRES = 1.609344


def _short(name: str) -> str:
    """TLC's name of a column without the service: pickup_at, dropoff_at, start, end, miles."""
    for end, short in (("pickup_datetime", "pickup_at"), ("dropoff_datetime", "dropoff_at")):
        if name.endswith(end):
            return short
    return SHORT.get(name, name)


def _written(change: Change) -> Fault:
    """A function on short names as one that reads and writes TLC's files."""

    def write(raw: Path, month: Month, strength: float, target: Path) -> Path:
        table = pq.read_table(raw)
        names = {name: _short(name) for name in table.column_names}
        trips = table.to_pandas().rename(columns=names)
        changed = change(trips, month, strength, np.random.default_rng(7))
        back = changed.rename(columns={short: name for name, short in names.items()})
        schema = pa.schema([_nullable(field) for field in table.schema])
        pq.write_table(pa.Table.from_pandas(back, schema, preserve_index=False, safe=False), target)
        return target

    write.__doc__ = change.__doc__
    return write


def _nullable(field: pa.Field) -> pa.Field:
    return pa.field(field.name, field.type)


def _some(trips: pd.DataFrame, share: float, rng: np.random.Generator) -> Any:
    return rng.random(len(trips)) < share


def _without(trips: pd.DataFrame, where: Any) -> pd.DataFrame:
    return pd.DataFrame(trips[~where])


def _minutes(trips: pd.DataFrame) -> Any:
    return (trips["dropoff_at"] - trips["pickup_at"]).dt.total_seconds() / 60


def _with_minutes(trips: pd.DataFrame, minutes: Any) -> pd.DataFrame:
    dropoff = trips["pickup_at"] + pd.to_timedelta(np.round(minutes * 60), unit="s")
    return trips.assign(dropoff_at=dropoff.astype(trips["dropoff_at"].dtype))


def _shifted(trips: pd.DataFrame, where: Any, shift: Any) -> pd.DataFrame:
    """Both times of some trips moved."""
    moved = {
        name: trips[name].where(~where, trips[name] + shift).astype(trips[name].dtype)
        for name in ("pickup_at", "dropoff_at")
    }
    return trips.assign(**moved)


def _is_weekend(trips: pd.DataFrame) -> Any:
    return trips["pickup_at"].dt.weekday >= 5


def _at_airport(trips: pd.DataFrame) -> Any:
    return trips["start"].isin(AIRPORTS) | trips["end"].isin(AIRPORTS)


# --- The kinds that must be found ---------------------------------------------------------------------------


@_written
def kilometres(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The distances of a share of the trips are in kilometres."""
    return trips.assign(
        miles=np.where(_some(trips, share, rng), (trips["miles"] * KILOMETRES).round(2), trips["miles"])
    )


@_written
def clock(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The clock of a share of the trips is one hour late: 8:30 instead of 7:30."""
    return _shifted(trips, _some(trips, share, rng), pd.Timedelta(hours=1))


@_written
def new_zone(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the rides begins in a zone that had none."""
    return trips.assign(start=np.where(_some(trips, share, rng), NEW_ZONE, trips["start"]))


@_written
def missing(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the trips is gone."""
    return _without(trips, _some(trips, share, rng))


@_written
def twice(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the trips is in the file twice."""
    return pd.concat([trips, trips[_some(trips, share, rng)]]).sort_values("pickup_at", kind="stable")


@_written
def no_weekends(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the rides on weekends is gone."""
    return _without(trips, (_is_weekend(trips) & _some(trips, share, rng)))


@_written
def slow_airports(trips: pd.DataFrame, month: Month, longer: float, rng: np.random.Generator) -> pd.DataFrame:
    """Rides from and to airports take longer: 0.3 is 30 percent."""
    return _with_minutes(trips, _minutes(trips) * np.where(_at_airport(trips), 1 + longer, 1))


@_written
def swapped_zones(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The zones of pickup and drop-off of a share of the trips are exchanged."""
    where = _some(trips, share, rng)
    start, end = trips["start"], trips["end"]
    return trips.assign(start=np.where(where, end, start), end=np.where(where, start, end))


# --- More kinds ---------------------------------------------------------------------------------------------


@_written
def utc(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The times of a share of the trips are in UTC, four hours later."""
    return _shifted(trips, _some(trips, share, rng), pd.Timedelta(hours=4))


@_written
def no_afternoon(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The afternoons of a share of the trips are read as mornings: 3:30 instead of 15:30."""
    where = _some(trips, share, rng) & (trips["pickup_at"].dt.hour >= 12)
    return _shifted(trips, where, pd.Timedelta(hours=-12))


@_written
def whole_minutes(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The times of a share of the trips have no seconds."""
    where = _some(trips, share, rng)
    cut = {
        name: trips[name].where(~where, trips[name].dt.floor("min")).astype(trips[name].dtype)
        for name in ("pickup_at", "dropoff_at")
    }
    return trips.assign(**cut)


@_written
def repeated_day(trips: pd.DataFrame, month: Month, days: float, rng: np.random.Generator) -> pd.DataFrame:
    """So many days, from the 15th on, are copies of the 14th with other dates."""
    day = trips["pickup_at"].dt.day
    parts = [trips[~day.between(15, 14 + days)]]
    for number in range(1, int(days) + 1):
        copied = trips[day == 14]
        parts.append(_shifted(copied, np.ones(len(copied), bool), pd.Timedelta(days=number)))
    return pd.DataFrame(pd.concat(parts).sort_values("pickup_at", kind="stable"))


@_written
def one_passenger(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the trips has one passenger, whatever it had."""
    where = _some(trips, share, rng)
    return trips.assign(passenger_count=trips["passenger_count"].where(~where, 1))


@_written
def no_passengers(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the trips has no passenger count."""
    where = _some(trips, share, rng)
    return trips.assign(passenger_count=trips["passenger_count"].astype(float).where(~where, np.nan))


@_written
def zero_distance(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The distance of a share of the trips is 0."""
    return trips.assign(miles=trips["miles"].where(~_some(trips, share, rng), 0.0))


@_written
def whole_miles(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The distance of a share of the trips is rounded to whole miles."""
    return trips.assign(miles=trips["miles"].where(~_some(trips, share, rng), trips["miles"].round()))


@_written
def capped(trips: pd.DataFrame, month: Month, most: float, rng: np.random.Generator) -> pd.DataFrame:
    """No ride takes longer than so many minutes."""
    return _with_minutes(trips, np.minimum(_minutes(trips), most))


@_written
def ends_first(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Pickup and drop-off times of a share of the trips are exchanged."""
    where = _some(trips, share, rng)
    start, end = trips["pickup_at"], trips["dropoff_at"]
    return trips.assign(pickup_at=start.where(~where, end), dropoff_at=end.where(~where, start))


@_written
def no_vendor(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the trips of vendor 1 is gone."""
    return _without(trips, ((trips["VendorID"] == 1) & _some(trips, share, rng)))


@_written
def no_zone(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the rides from the busiest pickup zone is gone."""
    busiest = trips["start"].value_counts().index[0]
    return _without(trips, ((trips["start"] == busiest) & _some(trips, share, rng)))


@_written
def no_nights(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A share of the rides from 22 to 4 o'clock is gone."""
    hour = trips["pickup_at"].dt.hour
    return _without(trips, (((hour >= 22) | (hour < 4)) & _some(trips, share, rng)))


@_written
def no_days(trips: pd.DataFrame, month: Month, days: float, rng: np.random.Generator) -> pd.DataFrame:
    """So many days, from the 10th on, have no trips."""
    return _without(trips, trips["pickup_at"].dt.day.between(10, 9 + days))


@_written
def renumbered(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The zones of a share of the trips have other numbers: each id plus 1, the last one becomes 1."""
    where = _some(trips, share, rng)
    other = {name: np.where(where, trips[name] % 263 + 1, trips[name]) for name in ("start", "end")}
    return trips.assign(**other)


@_written
def swapped_days(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Dates of a share of the trips are three days later, counted round within the month's first 28 days."""
    day = trips["pickup_at"].dt.day
    where = _some(trips, share, rng) & (day <= 28)
    shift = pd.to_timedelta((day + 2) % 28 + 1 - day, unit="D")
    return _shifted(trips, where, shift)


@_written
def other_year(trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The dates of a share of the trips are 364 days early."""
    return _shifted(trips, _some(trips, share, rng), pd.Timedelta(days=-364))


@_written
def slow_everywhere(
    trips: pd.DataFrame, month: Month, longer: float, rng: np.random.Generator
) -> pd.DataFrame:
    """All rides take longer: 0.3 is 30 percent."""
    return _with_minutes(trips, _minutes(trips) * (1 + longer))


def stale(raw: Path, month: Month, back: float, target: Path) -> Path:
    """The file is that of so many months before, with the dates of this month."""
    earlier = month - int(back)
    source = raw.with_name(raw.name.replace(str(month), str(earlier)))
    return _moved(source, month, float((month.start - earlier.start).days), target)


@_written
def _moved(trips: pd.DataFrame, month: Month, days: float, rng: np.random.Generator) -> pd.DataFrame:
    moved = _shifted(trips, np.ones(len(trips), bool), pd.Timedelta(days=int(days)))
    return _without(moved, moved["pickup_at"] >= month.end)


@_written
def shuffled_distances(
    trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """A share of the trips has the distance of another trip."""
    other = rng.permutation(trips["miles"].to_numpy())
    return trips.assign(miles=np.where(_some(trips, share, rng), other, trips["miles"]))


@_written
def shuffled_durations(
    trips: pd.DataFrame, month: Month, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """A share of the trips has the duration of another trip."""
    minutes = _minutes(trips).to_numpy()
    other = rng.permutation(minutes)
    return _with_minutes(trips, np.where(_some(trips, share, rng), other, minutes))
