"""What a record means, in words: for the message, the report and the history page. No code reads them back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mlops.registry.monitoring_record import Record


@dataclass(frozen=True)
class Cause:
    """A cause in words, and what to do where the data are wrong; empty for a cause that is no fault."""

    words: str
    act: str = ""


_WHOLE = "ask for the whole file, or wait until it is published again"
_ONCE = "ask for a file without the repeated trips"
_ROWS = "ask the publisher whether rows were mixed up"
_TIMES = "ask the publisher how the times were made"
_LOST = "ask the publisher for the values that were lost"
CAUSES: Final[dict[str, Cause]] = {
    "unit_of_distance": Cause("distances in another unit", "ask the publisher for the unit of the distances"),
    "clock_shift": Cause(
        "a clock that is wrong",
        "compare the clock of the file with the file of another service of the same month",
    ),
    "swapped_days": Cause("trips on wrong days", _TIMES),
    "duplicated_trips": Cause("trips that occur twice", _ONCE),
    "repeated_day": Cause("a day that occurs twice", _ONCE),
    "stale_copy": Cause("trips of another month", "ask for the file of this month"),
    "outside_month": Cause("trips of another month", "ask for the file of this month"),
    "missing_trips": Cause("missing trips", _WHOLE),
    "more_trips": Cause("far more trips", "ask whether the file has trips of other services"),
    "new_zone": Cause("a new zone", "look whether the zone is on the publisher's map of zones"),
    "swapped_zones": Cause("pickup and drop-off swapped", "ask the publisher which column is the pickup"),
    "renumbered_zones": Cause(
        "zones with other numbers", "compare the publisher's list of zones with the old one"
    ),
    "equal_zones": Cause("rides that end where they begin", "ask the publisher for the drop-off zones"),
    "missing_values": Cause("missing values", "ask for the missing values"),
    "constant_values": Cause("a column with one value", _LOST),
    "zero_distances": Cause("distances of 0", _LOST),
    "rounded_distances": Cause("rounded distances", _LOST),
    "rounded_durations": Cause("rounded durations", _LOST),
    "rounded_times": Cause("rounded times", _LOST),
    "capped_durations": Cause("durations that were cut off", _LOST),
    "absurd_distances": Cause("impossible distances", "ask the publisher for the unit of the distances"),
    "negative_durations": Cause("rides that end before they begin", _TIMES),
    "short_durations": Cause("rides of less than a minute", _TIMES),
    "long_durations": Cause("rides of more than an hour", _TIMES),
    "mismatched_distances": Cause("distances of other rides", _ROWS),
    "mismatched_durations": Cause("durations of other rides", _ROWS),
    "slower_rides": Cause(
        "slower rides", "look for what made these rides slower: the roads, or the times in the file"
    ),
    "faster_rides": Cause(
        "faster rides", "look for what made these rides faster: the roads, or the times in the file"
    ),
    "mix": Cause("another mix of rides"),
    "season": Cause("the season"),
    "drift": Cause("other values than before"),
    "error_at_constant_mix": Cause("a larger error on the same rides"),
    "worse_than_predecessor": Cause("a champion that is worse than its predecessor"),
    "worse_than_baseline": Cause("a champion that is worse than the pair median"),
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
    return CAUSES[name].words if name in CAUSES else name.replace("_", " ")


def act(name: str) -> str:
    """What to do about a fault of the data.

    Examples
    --------
    >>> act("swapped_zones"), act("some_new_cause")
    ('ask the publisher which column is the pickup', 'find out why: some new cause')
    """
    known = CAUSES.get(name)
    return known.act if known and known.act else f"find out why: {cause(name)}"


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
