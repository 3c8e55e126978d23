"""What a contender's errors are in a month, overall and by slice, with 95 % intervals by bootstrap over days.

Everything is computed from the sums by day and cell; no trip is read again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.monitoring.cells import CELL
from mlops.monitoring.sums import CONTENDERS, DAY, TRIPS

Array = npt.NDArray[np.float64]

MEASURES = {
    "rmse": "squared", "mae": "absolute", "bias": "error", "coverage_80": "inside_80", "coverage_95": "inside_95",
    "interval_score_80": "score_80", "interval_score_95": "score_95",
}  # fmt: skip
"""Measures, and the sums that they are made of; minutes, coverage as a share."""
RMSE = "rmse"
RESAMPLES, SEED = 1000, 1979
FEWEST_DAYS = 7  # with fewer, a bootstrap over days gives an interval that is too narrow, or none
ALL = "all trips"


def measure(sums: pd.DataFrame, contender: str) -> dict[str, float]:
    """Those of `MEASURES` that a contender has, over all trips; empty if it did not answer.

    Parameters
    ----------
    sums : DataFrame
        From `sums.sum_up`.
    contender : str
        ``champion``, ``predecessor`` or ``baseline``.

    Examples
    --------
    >>> sums = pd.DataFrame({"trips": [1, 3], "champion_squared": [4.0, 60.0], "champion_error": [2.0, -4.0]})
    >>> measure(sums, "champion")
    {'rmse': 4.0, 'bias': -0.5}
    """
    trips = float(sums[TRIPS].sum())
    there = {name: f"{contender}_{column}" for name, column in MEASURES.items()}
    found = {name: float(sums[column].sum()) / trips for name, column in there.items() if column in sums}
    return {name: float(np.sqrt(value)) if name == RMSE else value for name, value in found.items()}


def interval(sums: pd.DataFrame, contender: str, name: str = RMSE) -> tuple[float, float]:
    """95 % interval of a measure, by bootstrap over days; NaN without the measure, or of few days."""
    column = f"{contender}_{MEASURES[name]}"
    if column not in sums:
        return float("nan"), float("nan")
    return _interval(sums.groupby(DAY)[[TRIPS, column]].sum().to_numpy(np.float64), is_root=name == RMSE)


def by_slice(sums: pd.DataFrame) -> pd.DataFrame:
    """Errors by slice: of all trips, and for each value of each column of `cells.CELL`.

    Returns
    -------
    DataFrame
        ``slice`` (hour_band, week, distance, airport; ``all trips`` for all), ``value``, ``trips``, ``share`` of
        the trips, and for each contender c the `MEASURES` that it has as ``c_rmse``, ``c_mae``, ...; for the first
        contender's RMSE its 95 % interval, ``c_rmse_low`` and ``c_rmse_high``. Rides without an airport are left
        out of the slice airport.
    """
    rows = [{"slice": ALL, "value": "", **_row(sums, sums)}]
    for name in CELL:
        for value, part in sums.groupby(name, sort=False):
            if value:
                rows.append({"slice": name, "value": str(value), **_row(part, sums)})
    return pd.DataFrame(rows)


def _row(part: pd.DataFrame, sums: pd.DataFrame) -> dict[str, float]:
    row = {TRIPS: int(part[TRIPS].sum()), "share": float(part[TRIPS].sum() / sums[TRIPS].sum())}
    found = {each: measure(part, each) for each in CONTENDERS}
    for contender, measured in found.items():
        row |= {f"{contender}_{name}": value for name, value in measured.items()}
    for contender in [each for each, measured in found.items() if measured][:1]:
        row[f"{contender}_rmse_low"], row[f"{contender}_rmse_high"] = interval(part, contender)
    return row


def _interval(by_day: Array, *, is_root: bool) -> tuple[float, float]:
    """95 % interval of a mean or its root, from trips and sums by day, shape (days, 2)."""
    days = len(by_day)
    if days < FEWEST_DAYS:
        return float("nan"), float("nan")
    weights = np.random.default_rng(SEED).multinomial(days, np.full(days, 1 / days), RESAMPLES)
    trips, sums = (weights @ by_day).T
    values = np.sqrt(sums / trips) if is_root else sums / trips
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
