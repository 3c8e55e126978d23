"""From requests to features; training, batch and single predictions all use this definition.

`request_features` is stateless: it uses only the request, as `request_columns` reads it. Features that are learnt
from past trips are in `encoder`. No feature uses a fare, a tip, a payment, a rate
code or a drop-off time, because they are unknown at the request.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR
from typing import TYPE_CHECKING, Any, NamedTuple

import holidays
import numpy as np
import numpy.typing as npt
from dateutil.easter import easter

from ..errors import MlopsError
from .request_columns import read_requests

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
BATCH_ROWS = 65_536
HOLIDAYS_IN_SCHOOL = ("Lincoln", "Susan B. Anthony")  # state holidays on which schools are open
MIN_MILES = 0.1  # a shorter distance means that the meter did not run
MINUTE, DAY = 60_000_000, 86_400_000_000  # in microseconds


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Parameters
    ----------
    name, meaning : str
        Both contain the unit, if there is one.
    categorical : bool
        Whether it is a code, not a quantity.
    needs_distance : bool
        Whether it is omitted when `use_distance` is off.
    """

    name: str
    meaning: str
    categorical: bool = False
    needs_distance: bool = False


REQUEST_FEATURES = (
    Feature("pickup_zone", "TLC zone of the pickup, 1-265; 0 for any other", categorical=True),
    Feature("dropoff_zone", "TLC zone of the drop-off, 1-265; 0 for any other", categorical=True),
    Feature(
        "distance_miles",
        "trip distance in miles, as measured by the taxi's meter (see docs/decisions)",
        needs_distance=True,
    ),
    Feature("passenger_count", "number of passengers, entered by the driver; may be missing"),
    Feature("minute_of_day", "minutes since midnight, New York"),
    Feature("weekday", "0 Monday to 6 Sunday"),
    Feature("month", "1 January to 12 December"),
    Feature("is_holiday", "1 on a public holiday of New York, else 0"),
    Feature("is_school_day", "1 on a school day of New York's public schools, calculated by rules, else 0"),
)
"""Features that need only the request."""


ENCODED_FEATURES = (
    Feature("pair_minutes", "mean minutes of past trips between the two zones"),
    Feature("pair_time_minutes", "pair_minutes in this part of the day, by weekday or weekend"),
    Feature("pair_band_minutes", "pair_minutes for trips of similar distance", needs_distance=True),
    Feature("pair_spread", "standard deviation of the minutes between the two zones"),
    Feature("pair_trips", "logarithm of 1 + the number of past trips between the two zones"),
    Feature("pickup_hour_minutes", "mean minutes from the pickup zone in this hour of the week"),
    Feature("dropoff_hour_minutes", "mean minutes to the drop-off zone in this hour of the week"),
    Feature(
        "band_pickup_minutes",
        "mean minutes from the pickup zone for trips of similar distance",
        needs_distance=True,
    ),
    Feature(
        "band_dropoff_minutes",
        "mean minutes to the drop-off zone for trips of similar distance",
        needs_distance=True,
    ),
    Feature("pair_pace", "mean minutes per mile between the two zones", needs_distance=True),
    Feature(
        "pair_time_pace", "pair_pace in this part of the day, by weekday or weekend", needs_distance=True
    ),
    Feature("pace_minutes", "pair_time_pace x distance_miles: minutes at the mean pace", needs_distance=True),
    Feature(
        "distance_ratio", "distance divided by the mean distance between the two zones", needs_distance=True
    ),
)
"""Features that `encoder.Encoder` learns from past trips."""


def feature_names(use_distance: bool = True) -> tuple[str, ...]:
    """Columns of a model's feature matrix, in order.

    Examples
    --------
    >>> "pair_pace" in feature_names(), "pair_pace" in feature_names(use_distance=False)
    (True, False)
    """
    return tuple(f.name for f in REQUEST_FEATURES + ENCODED_FEATURES if use_distance or not f.needs_distance)


CATEGORICAL = frozenset(f.name for f in REQUEST_FEATURES + ENCODED_FEATURES if f.categorical)
"""Names of the features that are codes."""


def request_features(requests: Mapping[str, Any] | pd.DataFrame) -> dict[str, Array]:
    """Stateless features of each request.

    Parameters
    ----------
    requests : mapping or DataFrame
        Columns of n values, as `read_requests` takes them.

    Returns
    -------
    dict of str to array of shape (n,)
        As `features_of`.

    Raises
    ------
    MlopsError
        As `read_requests`.

    Examples
    --------
    >>> import pandas as pd
    >>> ride = {"pickup_at": pd.Timestamp("2023-07-03 08:30"), "pickup_zone": 74, "dropoff_zone": 42}
    >>> request_features(pd.DataFrame([{**ride, "distance_miles": 2.1}]))["minute_of_day"]
    array([510], dtype=int16)
    """
    return features_of(read_requests(requests))


def features_of(requests: Mapping[str, Array]) -> dict[str, Array]:
    """Stateless features of requests that `read_requests` returned.

    Returns
    -------
    dict of str to array of shape (n,)
        One entry for each of `REQUEST_FEATURES`; NaN only in ``distance_miles`` (also from a million miles on) and
        ``passenger_count`` (also for a number that is not a count).
    """
    since_1970 = requests["pickup_at"].astype(np.int64)
    day = since_1970 // DAY
    minute_of_day = (since_1970 - day * DAY) // MINUTE
    calendar = _calendar(*_years(day))
    day -= calendar.first_day
    return {
        "pickup_zone": requests["pickup_zone"],
        "dropoff_zone": requests["dropoff_zone"],
        "distance_miles": _miles(requests["distance_miles"]),
        "passenger_count": _counts(requests["passenger_count"]),
        "minute_of_day": minute_of_day.astype(np.int16),
        **{name: of_days[day] for name, of_days in calendar.columns.items()},
    }


def _miles(miles: Array) -> Array:
    return np.where(np.abs(miles) < 1e6, miles, np.float32(np.nan))


def _counts(counts: Array) -> Array:
    possible = (counts >= 0) & (counts < 1e6) & (counts == np.floor(counts))
    return np.where(possible, counts, np.float32(np.nan))


def _years(day: Array) -> tuple[int, int]:
    """First and last year of days counted from 1970-01-01."""
    if not len(day):
        return 1970, 1970
    ends = np.array([day.min(), day.max()], "datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    first, last = int(ends[0]), int(ends[1])
    if first < MINYEAR or last > MAXYEAR:  # numpy's times go further than Python's calendar
        raise MlopsError(
            f"requests: pickup_at: expected years {MINYEAR} to {MAXYEAR}; got years {first} to {last}"
        )
    return first, last


class _Calendar(NamedTuple):
    """Calendar features of each day of some years, indexed by days since the first day."""

    first_day: int
    columns: dict[str, Array]


@functools.lru_cache(maxsize=64)
def _calendar(first_year: int, last_year: int) -> _Calendar:
    days = np.arange(f"{first_year:04d}-01-01", f"{last_year + 1:04d}-01-01", dtype="datetime64[D]")
    years = range(first_year, last_year + 1)
    known = holidays.country_holidays("US", subdiv="NY", years=years)
    number = days.astype(np.int64)
    weekday = (number + 3) % 7  # 1970-01-01 was a Thursday
    holiday = np.isin(days, np.array(sorted(known), "datetime64[D]"))
    school_holidays = [
        day for day, name in known.items() if not any(person in name for person in HOLIDAYS_IN_SCHOOL)
    ]
    closed = np.isin(days, np.array(sorted(school_holidays), "datetime64[D]"))
    in_term = np.concatenate([_in_term(year) for year in years])
    columns = {
        "weekday": weekday,
        "month": days.astype("datetime64[M]").astype(np.int64) % 12 + 1,
        "is_holiday": holiday,
        "is_school_day": in_term & ~closed & (weekday < 5),
    }
    return _Calendar(int(number[0]), {name: values.astype(np.int8) for name, values in columns.items()})


def _in_term(year: int) -> Array:
    """Whether each day of a calendar year is in school term; weekends and holidays inside a term count as in term.

    Term ends on 26 June and begins on the Thursday after Labor Day. Recesses: 24 December to 1 January,
    Presidents' week, Good Friday to the Friday after Easter. In some years the real dates differ by a few days.

    Source: calendars of the New York City Department of Education, 2018 to 2024.
    """
    days = np.arange(f"{year:04d}-01-01", f"{year + 1:04d}-01-01", dtype="datetime64[D]")
    mondays = {
        month: np.busday_offset(f"{year:04d}-{month:02d}", 0, "forward", weekmask="Mon") for month in (2, 9)
    }
    presidents_day, labor_day = mondays[2] + 14, mondays[9]
    easter_day = np.datetime64(easter(year))
    break_ends, break_begins = np.datetime64(f"{year:04d}-01-01"), np.datetime64(f"{year:04d}-12-24")
    summer = (days > np.datetime64(f"{year:04d}-06-26")) & (days < labor_day + 3)
    winter = (days >= presidents_day) & (days < presidents_day + 5)
    spring = (days >= easter_day - 2) & (days <= easter_day + 5)
    return np.asarray((days > break_ends) & (days < break_begins) & ~summer & ~winter & ~spring)
