"""Numbers for the charts beside the blocks in Mage's editor.

Each function takes what a block shows, and returns the x and y of one chart: for bars, labels and heights; for
lines, numbers and a list of heights for each line; for a table, its columns and rows. Where there is nothing to
draw, the chart says why. Texts are ASCII without quotes, because Mage's page reads no others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops import config
from mlops.data import raw_trips as published
from mlops.data import trip_counts, trip_samples, zones
from mlops.data.trip_counts import Counts
from mlops.data.trips import RULES
from mlops.errors import DataQualityError, MlopsError, one_line
from mlops.pipeline import block_tables, months_table, run_once
from mlops.pipeline.months_table import REJECTED

Chart = tuple[list[Any], list[Any]]
Draw = Callable[[pd.DataFrame], Chart]
RAW_ROWS, KEPT_ROWS, ROWS_BY_RULE = 10, 3, 2
BIN_MINUTES = 2
LONGEST_NOTE = 200  # characters
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
OWN = "own rules"  # line of the rules that are not `RULES`
LINES = (
    "over_60_minutes", "under_1_minute", "duplicate", "time_missing", "zone_unknown", "outside_month", OWN,
    "distance_absurd",
)  # fmt: skip
"""Lines of `rejections_by_month`. Mage gives the first and fourth, and the second and sixth, nearly one colour."""


def _chart(nothing: Callable[[str], Chart]) -> Callable[[Draw], Callable[[pd.DataFrame | None], Chart]]:
    """Let a function draw the months behind a block's table; `nothing` makes a chart of a reason not to."""

    def decorate(draw: Draw) -> Callable[[pd.DataFrame | None], Chart]:
        @functools.wraps(draw)
        def drawn(table: pd.DataFrame | None) -> Chart:
            try:
                return draw(_months(table))
            except MlopsError as error:
                return nothing(_plain(one_line(error, LONGEST_NOTE)))

        return drawn

    return decorate


_table = _chart(lambda reason: (["nothing to show"], [[reason]]))
_bars = _chart(lambda reason: ([reason], [0]))
_lines = _chart(lambda reason: ([0, 1], [[0, 0]]))  # a line has no labels; the charts beside it say why


# --- Charts of load_trips -----------------------------------------------------------------------------------


@_table
def raw_trips(months: pd.DataFrame) -> Chart:
    """Trips of the newest month as TLC published them: the columns that this project reads, by TLC's names."""
    newest = months.iloc[0]
    path = Path(newest["raw"] if "raw" in months else newest["path"])
    trips = published.first_trips(path, newest["service"])
    chosen = np.unique(np.linspace(0, len(trips["pickup_at"]) - 1, RAW_ROWS).astype(int))
    names = published.TLC_COLUMNS[newest["service"]]
    rows = zip(*([_cell(trips[name][row]) for row in chosen] for name in names), strict=True)
    return ["service", *names.values()], [[newest["service"], *row] for row in rows]


# --- Charts of clean_trips ----------------------------------------------------------------------------------


@_table
def sampled_trips(months: pd.DataFrame) -> Chart:
    """Some trips that cleaning kept, then some that each rule rejected, of the newest months that have them."""
    samples = [_sample(row) for row in _cleaned(months).to_dict("records")]
    trips = pd.concat(samples, ignore_index=True)
    is_kept = trips["rule"] == ""
    rejected = trips[~is_kept].groupby("rule", sort=False).head(ROWS_BY_RULE)
    chosen = pd.concat([trips[is_kept].head(KEPT_ROWS), rejected.sort_values("rule", kind="stable")])
    names = _zone_names(bool(months["sample"].iloc[0]))
    rows = [
        [
            _plain(trip["rule"].replace("_", " ")) if trip["rule"] else "kept",
            _cell(trip["pickup_at"]),
            _number(trip["duration_minutes"], 1),
            _number(trip["distance_miles"], 2),
            names.get(trip["pickup_zone"], str(trip["pickup_zone"])),
            names.get(trip["dropoff_zone"], str(trip["dropoff_zone"])),
        ]
        for trip in chosen.to_dict("records")
    ]
    columns = ["result", f"{months['service'].iloc[0]} pickup", "minutes", "miles", "from", "to"]
    return columns, rows


@_bars
def durations(months: pd.DataFrame) -> Chart:
    """Kept trips of all months by their duration, in bins of `BIN_MINUTES`; a label is a bin's first minute."""
    by_second = _counts(months).sum(axis=(0, 1))
    width = BIN_MINUTES * 60
    whole = by_second[:-1].reshape(-1, width).sum(axis=1)
    whole[-1] += by_second[-1]  # the longest trips, of 60 minutes
    return [f"{BIN_MINUTES * i}-{BIN_MINUTES * (i + 1)}" for i in range(len(whole))], whole.tolist()


@_bars
def rejections_by_rule(months: pd.DataFrame) -> Chart:
    """Rejected trips in percent of all, by rule: of the test month, and of the months before it."""
    cleaned = _cleaned(months).sort_values("month", ascending=False, kind="stable")
    labels, shares = [], []
    before = cleaned.iloc[1:]
    for name in _rejecting(cleaned):
        rule = _plain(name.removeprefix(REJECTED).replace("_", " "))
        for label, part in ((cleaned["month"].iloc[0], cleaned.iloc[:1]), ("before", before)):
            labels.append(f"{rule} {label}")
            shares.append(_percent(part[name].sum(), part["rows"].sum()))
    return (labels[::-1], shares[::-1]) if labels else (["no trip was rejected"], [0])  # drawn from below


@_lines
def rejections_by_month(months: pd.DataFrame) -> Chart:
    """Rejected trips in percent of all, by month: `LINES`.

    A month is a number, because Mage draws no other lines: the months since the year 0.
    """
    cleaned = _cleaned(months).sort_values("month", kind="stable")
    usual = {f"{REJECTED}{rule.name}" for rule in RULES}
    own = [name for name in map(str, cleaned) if name.startswith(REJECTED) and name not in usual]
    columns = [own if line == OWN else [f"{REJECTED}{line}"] for line in LINES]
    lines = [cleaned.reindex(columns=names, fill_value=0).sum(axis=1) for names in columns]
    rows = cleaned["rows"].tolist()
    heights = [[_percent(*pair) for pair in zip(line.tolist(), rows, strict=True)] for line in lines]
    numbers = [12 * int(month[:4]) + int(month[5:]) - 1 for month in cleaned["month"]]
    return numbers, heights


def rule_labels() -> list[str]:
    """Names of the lines of `rejections_by_month`."""
    return [line.replace("_", " ") for line in LINES]


@_bars
def trips_by_hour(months: pd.DataFrame) -> Chart:
    """Kept trips of all months by the hour of the pickup."""
    return _hours(), _counts(months).sum(axis=(0, 2)).tolist()


@_bars
def trips_by_weekday(months: pd.DataFrame) -> Chart:
    """Kept trips of all months by the weekday of the pickup."""
    return list(WEEKDAYS), _counts(months).sum(axis=(1, 2)).tolist()


@_bars
def median_by_hour(months: pd.DataFrame) -> Chart:
    """Median duration in minutes of the kept trips of all months, by the hour of the pickup."""
    return _hours(), _medians(_counts(months).sum(axis=0))


@_bars
def median_by_weekday(months: pd.DataFrame) -> Chart:
    """Median duration in minutes of the kept trips of all months, by the weekday of the pickup."""
    return list(WEEKDAYS), _medians(_counts(months).sum(axis=1))


# --- The months and their trips -----------------------------------------------------------------------------


def _months(table: pd.DataFrame | None) -> pd.DataFrame:
    """The full months table, newest month first."""
    if not isinstance(table, pd.DataFrame):
        raise DataQualityError("the block of this chart has not run: run it, then this chart")
    if months_table.is_nothing(table):
        raise DataQualityError(str(table[months_table.NOTHING_TO_DO].iloc[0]))
    months = block_tables.months_of(table)
    if "path" not in months or "month" not in months:
        raise DataQualityError("this chart draws the months of load_trips or clean_trips; choose one of them")
    return months.sort_values("month", ascending=False, kind="stable", ignore_index=True)


def _cleaned(months: pd.DataFrame) -> pd.DataFrame:
    if "raw" not in months:
        raise DataQualityError("this chart draws clean trips: choose the block clean_trips")
    return months


def _sample(row: dict[Any, Any]) -> pd.DataFrame:
    found = trip_samples.read(months_table.prepared_path(row, "samples", row["rules_sha256"]))
    if found is None:
        raise DataQualityError("there is no sample of these trips: run clean_trips again")
    table: pd.DataFrame = found.to_pandas()
    return table


def _counts(months: pd.DataFrame) -> Counts:
    """Counts of the kept trips of all months; those of each month are kept in a file."""
    total = np.zeros(trip_counts.SHAPE, np.int64)
    for row in _cleaned(months).to_dict("records"):
        name = f"{row['service']}_{row['month']}_{row['sha256'][:12]}_{row['clean_sha256'][:12]}.parquet"
        file = Path(row["prepared"]) / "counts" / name
        if file.is_file():
            total += trip_counts.read(file)
            continue
        clean = Path(row["path"])
        run_once.require_unchanged(clean, row["clean_sha256"])
        counts = trip_counts.count(clean)
        trip_counts.write(counts, file)
        total += counts
    return total


def _rejecting(cleaned: pd.DataFrame) -> list[str]:
    """Columns of the rules that reject any trip, those that reject most first."""
    names = [name for name in map(str, cleaned) if name.startswith(REJECTED) and cleaned[name].any()]
    return sorted(names, key=lambda name: -int(cleaned[name].sum()))


# --- Texts and numbers that a chart can show ----------------------------------------------------------------


def _zone_names(is_sample: bool) -> dict[int, str]:
    """Names of zones by their ids; empty if TLC's table is not on this computer."""
    try:
        known = zones.of_city() if is_sample else zones.read(config.state().serving / zones.FILE)
    except (OSError, MlopsError):
        return {}
    return {number: _plain(name) for name, number in known.ids.items()}


def _hours() -> list[str]:
    return [str(hour) for hour in range(trip_counts.HOURS)]


def _medians(counts: Counts) -> list[float]:
    """Median of each row in minutes; 0 for a row without trips."""
    return [round(trip_counts.median_minutes(row) or 0.0, 2) for row in counts]


def _percent(part: float, whole: float) -> float:
    return round(100 * float(part) / float(whole), 3) if whole else 0.0


def _cell(value: Any) -> Any:
    """A time to the minute, a number, or empty for none."""
    if isinstance(value, np.datetime64 | pd.Timestamp):
        return "" if pd.isna(value) else f"{pd.Timestamp(value):%Y-%m-%d %H:%M}"
    return _number(value, 2)


def _number(value: Any, digits: int) -> Any:
    return "" if pd.isna(value) else round(float(value), digits) if float(value) % 1 else int(value)


def _plain(text: str) -> str:
    """A text as Mage's page can read it."""
    return text.replace("\\", "/").replace('"', "").encode("ascii", "replace").decode("ascii")
