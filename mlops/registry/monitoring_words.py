"""What a record means, in words: for the message, the report and the history page. No code reads them back."""

from __future__ import annotations

import math
from typing import Final

from mlops.registry.monitoring_record import Record

CAUSES: Final = {
    "unit_of_distance": "distances in another unit",
    "clock_shift": "a clock that is wrong",
    "duplicated_trips": "trips that occur twice",
    "missing_trips": "missing trips",
    "new_zone": "a new zone",
    "swapped_zones": "pickup and drop-off swapped",
    "slower_rides": "slower rides",
    "faster_rides": "faster rides",
    "mix": "another mix of rides",
    "season": "the season",
    "missing_values": "missing values",
    "error_at_constant_mix": "a larger error on the same rides",
    "worse_than_predecessor": "a champion that is worse than its predecessor",
    "worse_than_baseline": "a champion that is worse than the pair median",
}
ACTIONS: Final = {
    "none": "nothing",
    "alert": "nothing was changed",
    "retrain": "training was started",
    "rollback": "the predecessor is champion again",
}


def cause(name: str) -> str:
    """A cause in words.

    Examples
    --------
    >>> cause("mix"), cause("some_new_cause")
    ('another mix of rides', 'some new cause')
    """
    return CAUSES.get(name, name.replace("_", " "))


def causes(record: Record, most: int = 3) -> str:
    """The most important causes of a month in words, with commas; empty if it has none."""
    return ", ".join(map(cause, record.causes[:most]))


def done(record: Record) -> str:
    """What was done about a month, as a sentence or in words."""
    return record.done or ACTIONS[record.action]


def minutes(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """An error with its 95 % interval; a dash if it is unknown.

    Examples
    --------
    >>> minutes(4.2), minutes(4.2, 4.11, 4.3), minutes(math.nan)
    ('4.20 minutes', '4.20 minutes (4.11 to 4.30)', '–')
    """
    if not math.isfinite(value):
        return "–"
    return f"{value:.2f} minutes{between(low, high)}"


def between(low: float, high: float) -> str:
    """Both ends of an interval in brackets, after a space; empty if one is unknown."""
    return f" ({low:.2f} to {high:.2f})" if math.isfinite(low) and math.isfinite(high) else ""


def signed(value: float) -> str:
    """A change in minutes with its sign; a dash if it is unknown.

    Examples
    --------
    >>> signed(0.8), signed(-0.125), signed(0.001)
    ('+0.80', '-0.12', '0.00')
    """
    if not math.isfinite(value):
        return "–"
    return f"{value:+.2f}" if round(abs(value), 2) else "0.00"


def percent(share: float) -> str:
    """A share, in percent; with one decimal below ten.

    Examples
    --------
    >>> percent(0.5), percent(0.034), percent(math.nan)
    ('50 %', '3.4 %', '–')
    """
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def headline(record: Record) -> str:
    """One sentence: whether there is an alarm, the error now and promised, and the likely cause.

    Examples
    --------
    >>> measured = {"rmse": 5.1, "rmse_promised": 4.1}
    >>> headline(Record("2023-11", "7", "6", "2023-10", 60_000, measured, True, ("clock_shift",)))
    'Alarm for 2023-11: RMSE is 5.10 minutes, 1.00 more than promised; likely cause: a clock that is wrong.'
    """
    rmse, promised = record.value("rmse"), record.value("rmse_promised")
    change, why = rmse - promised, causes(record)
    start = f"{'Alarm' if record.alarm else 'No alarm'} for {record.month}: "
    if not math.isfinite(rmse):
        error = "no error was measured"
    elif not math.isfinite(change):
        error = f"RMSE is {minutes(rmse)}"
    elif round(abs(change), 2):
        error = f"RMSE is {minutes(rmse)}, {abs(change):.2f} {'more' if change > 0 else 'less'} than promised"
    else:
        error = f"RMSE is {minutes(rmse)}, as promised"
    named = "likely cause" if record.alarm else "what changed"
    return f"{start}{error}" + (f"; {named}: {why}." if why else ".")
