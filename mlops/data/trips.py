"""From trips as published to clean trips: one schema, named rules, a count for each rejection.

A month is cleaned batch by batch, so memory does not grow with its size.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.data.raw_trips import Columns, read_trips
from mlops.data.trip_samples import TripSample
from mlops.errors import ConfigError, one_line
from mlops.files import atomic_write
from mlops.month import Month

Mask = npt.NDArray[np.bool_]
Reasons = npt.NDArray[np.int16]
SHORTEST_MINUTES, LONGEST_MINUTES = 1.0, 60.0
LONGEST_MILES = 100.0
LAST_ZONE = (
    265  # 264 means "unknown", 265 "outside of NYC"; requests contain both, so the model trains on both
)


TRIP_SCHEMA = pa.schema(
    [
        ("pickup_at", pa.timestamp("us")),
        ("dropoff_at", pa.timestamp("us")),
        ("pickup_zone", pa.int32()),
        ("dropoff_zone", pa.int32()),
        ("distance_miles", pa.float64()),
        ("passenger_count", pa.int64()),
        ("duration_minutes", pa.float64()),
        ("for_training", pa.bool_()),
    ]
)
"""Stored form of a clean trip: New York's wall-clock times, miles, minutes; distance and passengers nullable."""


@dataclass(frozen=True)
class Rule:
    """A named reason to reject a trip.

    Parameters
    ----------
    name : str
        Name under which rejections are counted and shown.
    rejects : callable
        Maps trip columns (arrays of equal length) and the file's month to a mask; true means rejected.
    training_only : bool
        The trip is excluded from training but stays in the test set, so no added rule makes the test easier.
    """

    name: str
    rejects: Callable[[Columns, Month], Mask]
    training_only: bool = True


def _time_missing(trips: Columns, month: Month) -> Mask:
    return np.asarray(np.isnat(trips["pickup_at"]) | np.isnat(trips["dropoff_at"]))


def _outside_month(trips: Columns, month: Month) -> Mask:
    first, end = np.datetime64(month.start, "us"), np.datetime64(month.end, "us")
    return (trips["pickup_at"] < first) | (trips["pickup_at"] >= end)


def _zone_unknown(trips: Columns, month: Month) -> Mask:
    pickup, dropoff = trips["pickup_zone"], trips["dropoff_zone"]
    return (pickup < 1) | (pickup > LAST_ZONE) | (dropoff < 1) | (dropoff > LAST_ZONE)


def _distance_absurd(trips: Columns, month: Month) -> Mask:
    miles = trips["distance_miles"]
    return ~((miles >= 0) & (miles <= LONGEST_MILES))


def _duplicate(trips: Columns, month: Month) -> Mask:
    return np.asarray(trips["is_duplicate"])


RULES: tuple[Rule, ...] = (
    Rule("time_missing", _time_missing, training_only=False),
    Rule("outside_month", _outside_month, training_only=False),
    Rule(
        "under_1_minute",
        lambda trips, month: trips["duration_minutes"] < SHORTEST_MINUTES,
        training_only=False,
    ),
    Rule(
        "over_60_minutes",
        lambda trips, month: trips["duration_minutes"] > LONGEST_MINUTES,
        training_only=False,
    ),
    Rule("zone_unknown", _zone_unknown),
    Rule("distance_absurd", _distance_absurd),
    Rule("duplicate", _duplicate),  # TLC stores a refunded trip twice: about 1 in 800 green trips
)
"""Rules in the order of application; a trip is counted under the first rule that rejects it."""


@dataclass(frozen=True)
class Quality:
    """How many trips of a month were kept, and why the others were not.

    ``kept + sum(rejected.values()) == rows`` always. ``test_rows`` counts the
    trips that the test metrics cover: all trips except those that a rule with
    ``training_only=False`` rejects. ``by_day`` counts the same trips by the day
    of their pickup, from the first day of the month; empty where days are unknown.
    """

    rows: int
    kept: int
    test_rows: int
    rejected: dict[str, int] = field(default_factory=dict)
    by_day: tuple[int, ...] = ()

    @property
    def rejected_share(self) -> float:
        """Share of the rows that any rule rejected, 0 to 1."""
        return (self.rows - self.kept) / self.rows if self.rows else 0.0


def with_own(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The usual rules, then a person's own.

    Raises
    ------
    ConfigError
        When `rules` is not a tuple or list of rules; one rule in parentheses is none without a comma.
    """
    if isinstance(rules, Rule):
        raise ConfigError("OWN_RULES: expected a tuple of rules; got one Rule: put a comma behind it")
    if not isinstance(rules, tuple | list):
        raise ConfigError(f"OWN_RULES: expected a tuple of rules; got a value of type {type(rules).__name__}")
    other = [type(rule).__name__ for rule in rules if not isinstance(rule, Rule)]
    if other:
        raise ConfigError(
            f"OWN_RULES: expected a tuple of rules; got {other[0]} in it: write Rule(NAME, FUNCTION)"
        )
    return (*RULES, *rules)


def require_usable(rules: Sequence[Rule]) -> None:
    """Raise unless there are rules, each with a name of its own by which its rejections are counted.

    Raises
    ------
    ConfigError
    """
    names = [rule.name for rule in rules]
    wrong = [name for name in names if not isinstance(name, str) or not name.strip() or names.count(name) > 1]
    if wrong or not names:
        raise ConfigError(
            f"cleaning rules: expected at least one, each with another name; got {wrong or 'none'}. Give each "
            "rule a name that no other rule has, also none of RULES in mlops/data/trips.py."
        )


def clean(trips: Columns, month: Month, rules: Sequence[Rule] = RULES) -> tuple[Columns, Quality]:
    """Trips for training or test, marked whether they are for training, and the rejections by rule.

    Parameters
    ----------
    trips : dict of str to array, each of shape (n,)
        As from `read_trips`; not changed.
    month : Month
        The file's month.
    rules : sequence of Rule
        Rules in the order of application.

    Returns
    -------
    columns : dict of str to array, each of shape (m,), m <= n
        The trips that no rule or only a ``training_only`` rule rejects, with ``for_training`` (bool).
    quality : Quality
        The counts.

    Raises
    ------
    ConfigError
        When a rule fails, or gives anything but true or false for each trip.
    """
    return _cleaned(trips, month, rules, reasons(trips, month, rules))


def reasons(trips: Columns, month: Month, rules: Sequence[Rule] = RULES) -> Reasons:
    """Of each trip the number of the first rule that rejects it, from 1; 0 if none does. Raises as `clean`."""
    with np.errstate(invalid="ignore"):
        masks = [_rejected(rule, trips, month) for rule in rules]
    reason = np.zeros(len(trips["pickup_at"]), np.int16)
    for number in range(len(rules), 0, -1):  # the first rule overwrites later ones
        reason[masks[number - 1]] = number
    return reason


def _cleaned(trips: Columns, month: Month, rules: Sequence[Rule], reason: Reasons) -> tuple[Columns, Quality]:
    counts = np.bincount(reason, minlength=len(rules) + 1)
    trainable = np.array([True] + [False] * len(rules))
    testable = np.array([True] + [rule.training_only for rule in rules])
    chosen = np.flatnonzero(testable[reason])
    columns = {name: values.take(chosen) for name, values in trips.items()}
    columns["for_training"] = trainable[reason[chosen]]
    rejected = {rule.name: int(count) for rule, count in zip(rules, counts[1:], strict=True)}
    by_day = _by_day(columns["pickup_at"], month)
    return columns, Quality(len(reason), int(counts[0]), len(chosen), rejected, by_day)


def _rejected(rule: Rule, trips: Columns, month: Month) -> Mask:
    """Mask of a rule, which may have been written a minute ago; it cannot change the trips."""
    shown = {name: values.view() for name, values in trips.items()}
    for values in shown.values():
        values.flags.writeable = False
    try:
        mask = np.asarray(rule.rejects(shown, month))
    except Exception as error:  # whatever the rule's code raises
        raise ConfigError(
            f"cleaning rule {rule.name!r} failed ({type(error).__name__}: {one_line(error, 300)}). "
            f"It is called with trips, a dict of the arrays {', '.join(trips)}, and the month. Correct the rule."
        ) from error
    rows = len(trips["pickup_at"])
    if mask.dtype != np.bool_ or mask.shape != (rows,):
        raise ConfigError(
            f"cleaning rule {rule.name!r}: expected true or false for each of {rows:,} trips; got an array of "
            f"{mask.dtype} of shape {mask.shape}. Correct the rule."
        )
    return mask


def clean_file(
    raw: Path,
    service: str,
    month: Month,
    target: Path,
    rules: Sequence[Rule] = RULES,
    label: object = None,
    sample: Path | None = None,
) -> Quality:
    """Write a month's clean trips to `target` as Parquet, atomically; the counts of its trips.

    Parameters
    ----------
    label : object, optional
        Names the file in messages.
    sample : Path, optional
        File for a `TripSample` of the month's trips.

    Raises
    ------
    TripSchemaError
        As `read_trips`.
    """
    days = (month.end - month.start).days
    total = Quality(0, 0, 0, {rule.name: 0 for rule in rules}, (0,) * days)
    sampled = TripSample([rule.name for rule in rules])
    with (
        atomic_write(target) as temporary,
        pq.ParquetWriter(temporary, TRIP_SCHEMA, compression="zstd") as writer,
    ):
        for batch in read_trips(raw, service, label):
            reason = reasons(batch, month, rules)
            columns, quality = _cleaned(batch, month, rules, reason)
            writer.write_table(as_table(columns))
            total = _add(total, quality)
            if sample:
                sampled.add(batch, reason)
    if sample:
        sampled.write(sample)
    return total


def as_table(columns: Columns) -> pa.Table:
    """Clean trips as an Arrow table under `TRIP_SCHEMA`; NaN becomes null."""
    arrays = {name: pa.array(columns[name], from_pandas=True) for name in TRIP_SCHEMA.names}
    return pa.table({n: a.cast(TRIP_SCHEMA.field(n).type) for n, a in arrays.items()}, schema=TRIP_SCHEMA)


def _add(a: Quality, b: Quality) -> Quality:
    rejected = {name: count + b.rejected[name] for name, count in a.rejected.items()}
    by_day = tuple(map(operator.add, a.by_day, b.by_day))
    return Quality(a.rows + b.rows, a.kept + b.kept, a.test_rows + b.test_rows, rejected, by_day)


def count_by_day(clean: Path, month: Month) -> tuple[int, ...]:
    """`Quality.by_day` of a file of clean trips."""
    return _by_day(pq.read_table(clean, columns=["pickup_at"])["pickup_at"].to_numpy(), month)


def _by_day(pickup_at: npt.NDArray[Any], month: Month) -> tuple[int, ...]:
    """Number of pickups on each day of the month."""
    days = (month.end - month.start).days
    number = (pickup_at.astype("datetime64[D]") - np.datetime64(month.start, "D")).astype(np.int64)
    counts = np.bincount(number[(number >= 0) & (number < days)], minlength=days)
    return tuple(counts.tolist())


def summary(counted: Quality) -> str:
    """The counts in a few words, with the rejections of each rule that is not in `RULES`.

    Examples
    --------
    >>> summary(Quality(1000, 950, 980, {"under_1_minute": 20, "over_30_miles": 30}))
    '950 of 1,000 trips (rejected: over_30_miles 30)'
    """
    usual = {rule.name for rule in RULES}
    own = [f"{name} {count:,}" for name, count in counted.rejected.items() if name not in usual]
    return f"{counted.kept:,} of {counted.rows:,} trips" + (f" (rejected: {', '.join(own)})" if own else "")
