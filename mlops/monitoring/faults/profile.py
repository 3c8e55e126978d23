"""A month's sampled trips in the form that the detectors compare: arrays, and tables of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.data.trips import Quality
from mlops.model.features import features_of
from mlops.monitoring.samples import Sample
from mlops.month import Month

Array = npt.NDArray[Any]
ZONES = 400  # ids from here on are counted together
LONGEST_MINUTES = 180.0  # a longer duration is a meter that was left running
SHORTEST_MILES, LONGEST_MILES = 0.05, 60.0
DAY_KINDS = ("Monday to Friday", "Saturday", "Sunday")  # beside them, 3: a holiday on another day than Sunday
HOURS = 24
AIRPORTS = {1: "Newark", 132: "JFK", 138: "LaGuardia"}


@dataclass(frozen=True)
class Profile:
    """Trips of one month; arrays have one value for each trip of the sample with a pickup inside the month."""

    taken: Sample

    @property
    def month(self) -> Month:
        """The month."""
        return Month.parse(self.taken.month)

    @property
    def quality(self) -> Quality:
        """Counts of all trips of the file."""
        return self.taken.quality

    @property
    def days(self) -> int:
        """Days of the month."""
        return (self.month.end - self.month.start).days

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The published trips with a pickup inside the month, clean or not."""
        pickup = self.taken.rows["pickup_at"]
        return self.taken.rows[(pickup >= self.month.start) & (pickup < self.month.end)].reset_index(
            drop=True
        )

    @cached_property
    def pickup(self) -> Array:
        """Pickup zone, below `ZONES`."""
        return np.clip(self.rows["pickup_zone"].to_numpy(np.int64), 0, ZONES - 1)

    @cached_property
    def dropoff(self) -> Array:
        """Drop-off zone, below `ZONES`."""
        return np.clip(self.rows["dropoff_zone"].to_numpy(np.int64), 0, ZONES - 1)

    @cached_property
    def pair(self) -> Array:
        """One number for each pair of zones."""
        return self.pickup * ZONES + self.dropoff

    @cached_property
    def miles(self) -> Array:
        """Distance, NaN if missing."""
        return self.rows["distance_miles"].to_numpy(np.float64)

    @cached_property
    def minutes(self) -> Array:
        """Duration in minutes as published, also negative ones."""
        return self.rows["duration_minutes"].to_numpy(np.float64)

    @cached_property
    def passengers(self) -> Array:
        """Passengers, NaN if missing."""
        return self.rows["passenger_count"].to_numpy(np.float64)

    @cached_property
    def vendor(self) -> Array:
        """Number of the vendor, -1 if unknown."""
        return self.rows["vendor"].to_numpy(np.int64)

    @cached_property
    def seconds(self) -> Array:
        """Pickup as seconds since the start of the month."""
        since = self.rows["pickup_at"].to_numpy("datetime64[us]") - np.datetime64(self.month.start, "us")
        return since.astype(np.int64) // 1_000_000

    @cached_property
    def day(self) -> Array:
        """Day of the month, from 0."""
        return self.seconds // 86_400

    @cached_property
    def hour(self) -> Array:
        """Hour of the day."""
        return self.seconds // 3600 % HOURS

    @cached_property
    def day_kinds(self) -> Array:
        """Place in `DAY_KINDS` of each day of the month, 3 for a holiday."""
        first = np.datetime64(self.month.start, "D")
        known = calendar_of(first + np.arange(self.days))
        weekday = known["weekday"]
        kinds = np.where(weekday == 6, 2, np.where(weekday == 5, 1, 0))
        return np.where((known["is_holiday"] == 1) & (kinds != 2), 3, kinds)

    @cached_property
    def day_kind(self) -> Array:
        """Place in `DAY_KINDS` of each trip's day, 3 for a holiday."""
        return self.day_kinds[self.day]

    @cached_property
    def hour_of_kind(self) -> Array:
        """Number of the hour and kind of each trip's day, 0 to 71; holidays count as Sundays."""
        return np.minimum(self.day_kind, 2) * HOURS + self.hour

    @cached_property
    def by_day_and_hour(self) -> Array:
        """Trips of the file by day and hour, estimated from the sample, shape (days, 24)."""
        counts = np.bincount(self.day * HOURS + self.hour, minlength=self.days * HOURS)
        return counts.reshape(self.days, HOURS) / max(self.taken.share, 1e-9)

    @cached_property
    def by_hour(self) -> Array:
        """Trips in an average day of each kind but holidays, by hour, shape (3, 24); 0 where a kind has no day."""
        sums = np.stack([self.by_day_and_hour[self.day_kinds == kind].sum(axis=0) for kind in range(3)])
        days = np.bincount(self.day_kinds, minlength=4)[:3]
        return np.asarray(sums / np.maximum(days, 1)[:, None])

    @cached_property
    def by_pair(self) -> Array:
        """Trips by pickup and drop-off zone, shape (ZONES, ZONES)."""
        return np.bincount(self.pair, minlength=ZONES * ZONES).reshape(ZONES, ZONES).astype(float)

    @cached_property
    def is_measured(self) -> Array:
        """Trips with a distance and a duration that a ride can have."""
        with np.errstate(invalid="ignore"):
            far = (self.miles >= SHORTEST_MILES) & (self.miles <= LONGEST_MILES)
            return far & (self.minutes >= 1) & (self.minutes <= LONGEST_MINUTES)


def calendar_of(days: Array) -> dict[str, Array]:
    """``weekday``, ``is_holiday`` and ``is_school_day`` of days (datetime64[D])."""
    nothing = np.zeros(len(days))
    requests = {"pickup_at": days.astype("datetime64[us]"), "pickup_zone": nothing, "dropoff_zone": nothing}
    return features_of({**requests, "distance_miles": nothing, "passenger_count": nothing})


def sums_of(profiles: Sequence[Profile], name: str) -> Array:
    """Sum of an array attribute over months."""
    return np.asarray(np.sum([getattr(profile, name) for profile in profiles], axis=0))
