"""The error to expect of a month before its durations are known, and how good such estimates were so far.

Two estimates start from the month on which the champion was tested. The first follows the widths of its ranges: a
model that answers with wider ranges expects larger errors. The second follows the mix: each cell of rides (hour,
weekday or weekend, distance, airport) keeps its error, and only the shares of the cells change. Neither can see a
change of the roads themselves, which is why durations decide as soon as they are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.monitoring import cells
from mlops.monitoring.cells import CELL
from mlops.month import Month
from mlops.registry.monitoring_record import Record

WIDTH = "champion_width_80_squared"  # sum of the squared widths of the champion's 80 % ranges, square minutes
SQUARED = "champion_squared"
LOW, HIGH = INTERVAL_COLUMNS[:2]


@dataclass(frozen=True)
class Estimate:
    """RMSE to expect, minutes; NaN where it is not known.

    Parameters
    ----------
    rmse : float
        Mean of the two below, or the one that there is.
    from_widths : float
        From the widths of the ranges; NaN for a version without ranges.
    from_cells : float
        From the mix of rides.
    """

    rmse: float
    from_widths: float
    from_cells: float


@dataclass(frozen=True)
class TrackRecord:
    """How far earlier estimates were from the truth.

    Parameters
    ----------
    months : int
        Months with an estimate, the truth, and the error of the month before.
    difference, naive : float
        Mean absolute difference from the truth, minutes: of the estimates, and of "the same as in the month
        before". NaN without such months.
    """

    months: int
    difference: float
    naive: float

    def __str__(self) -> str:
        if not self.months:
            return "no earlier month has an estimate and its durations, so nothing says how good this estimate is"
        return (
            f"in {self.months} earlier month{'s' if self.months > 1 else ''} the estimate was off by "
            f'{self.difference:.2f} minutes on average, "the same as in the month before" by {self.naive:.2f}'
        )


def estimate(before: pd.DataFrame, now: pd.DataFrame) -> Estimate:
    """RMSE to expect of the champion on trips without durations.

    Parameters
    ----------
    before : DataFrame
        Sums of the month on which the champion was tested: `cells.CELL`, ``trips``, ``champion_squared``, and
        ``champion_width_80_squared`` if it gives ranges; one row or more for each cell.
    now : DataFrame
        The same without ``champion_squared``; ``trips`` may be weights.

    Examples
    --------
    >>> cell = {"week": "weekend", "distance": "1-2 mi", "airport": ""}
    >>> before = pd.DataFrame({"hour_band": ["0-6 h", "6-10 h"], "trips": [50, 50], **cell})
    >>> before = before.assign(champion_squared=[50.0, 450.0], champion_width_80_squared=[200.0, 1800.0])
    >>> estimate(before, before)  # the same rides, so the same error: the root of 500 / 100
    Estimate(rmse=2.23606797749979, from_widths=2.23606797749979, from_cells=2.23606797749979)
    """
    from_widths, from_cells = _from_widths(before, now), _from_cells(before, now)
    there = [value for value in (from_widths, from_cells) if math.isfinite(value)]
    return Estimate(sum(there) / len(there) if there else math.nan, from_widths, from_cells)


def _from_widths(before: pd.DataFrame, now: pd.DataFrame) -> float:
    """The error before, times the growth of the ranges' widths (root mean squares)."""
    if WIDTH not in before or WIDTH not in now:
        return math.nan
    return math.sqrt(_mean(before, SQUARED) * _ratio(_mean(now, WIDTH), _mean(before, WIDTH)))


def _from_cells(before: pd.DataFrame, now: pd.DataFrame) -> float:
    """The squared errors of the cells before, with the shares of the cells now.

    A cell that had no trips before gets the mean of all.
    """
    then = before.groupby(list(CELL), observed=True)[["trips", SQUARED]].sum()
    squared = (then[SQUARED] / then["trips"]).rename("squared")
    trips = now.groupby(list(CELL), observed=True)["trips"].sum()
    known = squared.reindex(trips.index).fillna(_mean(before, SQUARED))
    total = float(trips.sum())
    return math.sqrt(float((known * trips).sum()) / total) if total else math.nan


def _mean(sums: pd.DataFrame, column: str) -> float:
    return _ratio(float(sums[column].sum()), float(sums["trips"].sum()))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def requests_as_sums(answered: pd.DataFrame) -> pd.DataFrame:
    """Logged requests by cell, as `estimate` needs them.

    Parameters
    ----------
    answered : DataFrame of n rows
        Columns of `mlops.data.request_log_files`. A row stands for ``1 / share`` requests.

    Returns
    -------
    DataFrame of one row for each cell
        `cells.CELL`, ``trips`` (requests), and ``champion_width_80_squared`` if every answer has its range.
    """
    weight = 1.0 / answered["share"].to_numpy(np.float64)
    zones = {name: answered[name].fillna(0).to_numpy(np.int64) for name in ("pickup_zone", "dropoff_zone")}
    numbers, table = cells.assign(answered.assign(**zones))
    frame = table.iloc[numbers].reset_index(drop=True).assign(trips=weight)
    width = (answered[HIGH] - answered[LOW]).to_numpy(np.float64)
    if not np.isnan(width).any():
        frame[WIDTH] = weight * width**2
    return frame.groupby(list(CELL), as_index=False, observed=True).sum()


def track_record(records: Sequence[Record]) -> TrackRecord:
    """How far the estimates of these months were from the truth, beside "the same as in the month before".

    Parameters
    ----------
    records : sequence of Record
        Compared months of one model, in any order.

    Examples
    --------
    >>> def month(name, rmse, expected):
    ...     return Record(name, "2", "1", "2023-05", 9, {"rmse": rmse, "rmse_estimated": expected}, False, ())
    >>> print(track_record([month("2023-06", 4.0, 4.5), month("2023-07", 5.0, 4.8)]))
    in 1 earlier month the estimate was off by 0.20 minutes on average, "the same as in the month before" by 1.00
    """
    pairs = np.array(list(_differences({record.month: record for record in records})), np.float64)
    if not len(pairs):
        return TrackRecord(0, math.nan, math.nan)
    difference, naive = np.abs(pairs).mean(axis=0)
    return TrackRecord(len(pairs), float(difference), float(naive))


def _differences(records: Mapping[str, Record]) -> Iterator[tuple[float, float]]:
    """For each month: the estimate, and the error of the month before, minus the truth."""
    for month, record in records.items():
        truth, expected = (record.measured.get(name, math.nan) for name in ("rmse", "rmse_estimated"))
        last = _month_before(record, records.get(str(Month.parse(month) - 1)))
        if all(map(math.isfinite, (truth, expected, last))):
            yield expected - truth, last - truth


def _month_before(record: Record, before: Record | None) -> float:
    """The champion's error in the month before: the one that it promised there, else the one that was measured."""
    if record.promised_month == str(Month.parse(record.month) - 1):
        return record.measured.get("rmse_promised", math.nan)
    return before.measured.get("rmse", math.nan) if before else math.nan
