"""New York's calendar: public holidays, and school days by rules."""

from __future__ import annotations

import functools
from datetime import MAXYEAR, MINYEAR
from typing import Any, NamedTuple

import holidays
import numpy as np
import numpy.typing as npt
from dateutil.easter import easter

from ..errors import MlopsError

Array = npt.NDArray[Any]
HOLIDAYS_IN_SCHOOL = ("Lincoln", "Susan B. Anthony")  # state holidays on which schools are open


def public_holidays(times: Array) -> Array:
    """Public holidays of New York in the years of `times`, the year before and the year after.

    Parameters
    ----------
    times : datetime64 array of shape (n,)
        New York's wall clock.

    Returns
    -------
    datetime64[D] array
        In order. There is one before and one after each time.

    Examples
    --------
    >>> days = public_holidays(np.array(["2023-07-03T08:30"], "datetime64[us]"))
    >>> np.datetime64("2023-07-04") in days, np.datetime64("2024-01-01") in days
    (True, True)
    """
    first, last = years_of(times.astype("datetime64[D]").astype(np.int64))
    return _public_holidays(max(first - 1, MINYEAR), min(last + 1, MAXYEAR))


@functools.lru_cache(maxsize=64)
def _public_holidays(first_year: int, last_year: int) -> Array:
    known = holidays.country_holidays("US", subdiv="NY", years=range(first_year, last_year + 1))
    days = np.array(sorted(known), "datetime64[D]")
    days.flags.writeable = False  # every caller gets the same array
    return days


def years_of(day: Array) -> tuple[int, int]:
    """First and last year of days counted from 1970-01-01; 1970 for no days.

    Raises
    ------
    MlopsError
        When a year is outside of Python's calendar.
    """
    if not len(day):
        return 1970, 1970
    ends = np.array([day.min(), day.max()], "datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    first, last = int(ends[0]), int(ends[1])
    if first < MINYEAR or last > MAXYEAR:  # numpy's times go further than Python's calendar
        raise MlopsError(
            f"requests: pickup_at: expected years {MINYEAR} to {MAXYEAR}; got years {first} to {last}"
        )
    return first, last


class Calendar(NamedTuple):
    """Calendar features of each day of some years, indexed by days since the first day."""

    first_day: int
    columns: dict[str, Array]


@functools.lru_cache(maxsize=64)
def calendar(first_year: int, last_year: int) -> Calendar:
    """Calendar of these years."""
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
    return Calendar(int(number[0]), {name: values.astype(np.int8) for name, values in columns.items()})


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
