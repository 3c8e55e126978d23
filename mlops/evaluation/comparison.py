"""The evidence for a verdict: sums of errors by day and by slice, small enough to store with a model.

Trips of one day share its weather and road works. So the bootstrap for the
interval of a difference draws days, and uses the same days for both models.

Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval); A. Davison,
D. Hinkley, "Bootstrap Methods and their Application", 1997 (resampling of clusters).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.data.trips import LONGEST_MINUTES, SHORTEST_MINUTES
from mlops.evaluation.metrics import GATED, groupings, interval_measures, sums_by
from mlops.model.intervals import INTERVAL_COLUMNS

Array = npt.NDArray[Any]

RESAMPLES = 2000
SEED = 2000
WITHOUT_DISTANCE = "without_distance"  # contender: the challenger, asked without a distance; its ranges only
BASELINES = {"pair_median": "the pair median", "course": "the course's recipe"}


@dataclass(frozen=True)
class Incumbent:
    """The current champion, as the registry describes it.

    Parameters
    ----------
    version : str
    test_month : str
        YYYY-MM, the month it was judged on; empty if unknown.
    last_month_learnt : str
        YYYY-MM, its last training month; empty if unknown.
    error : str
        Why it could not be loaded or scored; empty if it was.
    """

    version: str
    test_month: str
    last_month_learnt: str
    error: str = ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that a verdict depends on, except the limits. All errors are of the same trips of one month.

    Parameters
    ----------
    test_month : str
        YYYY-MM.
    days : DataFrame
        ``day`` (YYYY-MM-DD), ``trips``, and the sum of squared errors (minutes squared) of each contender:
        ``challenger``, ``pair_median``, and ``champion`` and ``course`` if they were scored.
    slices : DataFrame
        ``slice``, ``value``, ``trips``, and the same sums for ``challenger`` and ``champion``. Only the slices in
        `GATED`.
    champion : Incumbent or None
        None if there is no champion yet.
    finite : bool
        Whether all predictions of the challenger are finite.
    least_minutes, most_minutes : float
        Range of the challenger's predictions.
    artefact_bytes : int
    row_seconds : float
        CPU time of one request.
    intervals : DataFrame
        ``contender``, ``day``, ``trips``, and the sums of `metrics.interval_measures`; only contenders that give
        intervals. Empty in a ``verdict.json`` from before 2026-12.
    bad_intervals : int
        Trips for which the challenger's bounds are not in order around its prediction, or not 1 to 60 minutes,
        with a distance or without.
    """

    test_month: str
    days: pd.DataFrame
    slices: pd.DataFrame
    champion: Incumbent | None
    finite: bool
    least_minutes: float
    most_minutes: float
    artefact_bytes: int
    row_seconds: float
    intervals: pd.DataFrame = field(default_factory=pd.DataFrame)
    bad_intervals: int = 0

    @property
    def rows(self) -> int:
        """Trips of the test month."""
        return int(self.days["trips"].sum())

    def rmse(self, contender: str) -> float:
        """RMSE of a contender on all trips, minutes; NaN if it was not scored."""
        return float(_rmse(self._sums(contender)))

    def rmse_interval(self, contender: str) -> tuple[float, float]:
        """95 % interval of a contender's RMSE, minutes; NaN if it was not scored."""
        return _interval(self._resampled(contender))

    def gain_interval(self) -> tuple[float, float]:
        """95 % interval of the champion's RMSE minus the challenger's, both on the same days, minutes."""
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            return _interval(self._resampled("champion") - self._resampled("challenger"))

    def interval_mean(self, contender: str, measure: str) -> float:
        """Mean of one of the `metrics.interval_measures` over all trips; NaN if a contender gives no intervals."""
        return float(_mean(self._interval_sums(contender, measure)))

    def score_gain_interval(self, level: str) -> tuple[float, float]:
        """95 % interval of the champion's interval score minus the challenger's, minutes; level is 80 or 95."""
        champion, challenger = (
            _mean(_resamples(self._interval_sums(contender, f"interval_score_{level}")))
            for contender in ("champion", "challenger")
        )
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            return _interval(champion - challenger)

    def _resampled(self, contender: str) -> Array:
        """RMSE on each of `RESAMPLES` bootstrap samples of the days; the same samples for every contender."""
        return _rmse(_resamples(self._sums(contender)))

    def _sums(self, contender: str) -> Array:
        """Trips and squared error of each day, oldest first, shape (days, 2); empty if it was not scored."""
        if contender not in self.days:
            return np.empty((0, 2))
        return self.days.sort_values("day")[["trips", contender]].to_numpy(np.float64)

    def _interval_sums(self, contender: str, measure: str) -> Array:
        """As `_sums`, of a measure of the intervals."""
        if self.intervals.empty:
            return np.empty((0, 2))
        own = self.intervals[self.intervals["contender"] == contender]
        return own.sort_values("day")[["trips", measure]].to_numpy(np.float64)


def gather(
    requests: pd.DataFrame,
    actual: Array,
    predicted: Mapping[str, Array],
    *,
    test_month: str,
    champion: Incumbent | None = None,
    artefact_bytes: int = 0,
    row_seconds: float = 0.0,
    intervals: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> Evidence:
    """Evidence from n trips of the test month.

    Parameters
    ----------
    requests : DataFrame of n rows
        Inputs of the model.
    actual : array of shape (n,)
        Minutes.
    predicted : mapping of str to array of shape (n,)
        Minutes by contender: ``challenger``, ``pair_median``, and ``champion`` and ``course`` if they were scored.
    test_month, champion, artefact_bytes, row_seconds
        As in `Evidence`.
    intervals : mapping of str to DataFrame of n rows, optional
        Predictions with `INTERVAL_COLUMNS` by contender. A contender without these columns, or with a value in
        them that is not a finite number, is left out.
    """
    with np.errstate(over="ignore"):
        squared = {name: (minutes - actual) ** 2 for name, minutes in predicted.items()}
    gated = {name: values for name, values in groupings(requests).items() if name in GATED}
    compared = {name: sums for name, sums in squared.items() if name not in BASELINES}
    by_day = {"day": pd.Categorical(requests["pickup_at"].dt.to_period("D"))}
    minutes = predicted["challenger"]
    return Evidence(
        test_month,
        _daily(by_day, squared),
        sums_by(gated, compared),
        champion,
        bool(np.isfinite(minutes).all()),
        float(np.min(minutes, initial=np.inf)),
        float(np.max(minutes, initial=-np.inf)),
        artefact_bytes,
        row_seconds,
        _measured_intervals(by_day, actual, intervals),
        sum(count_bad(intervals[name]) for name in ("challenger", WITHOUT_DISTANCE) if name in intervals),
    )


def count_bad(predictions: pd.DataFrame) -> int:
    """Predictions with bounds that are not in order around the minutes, or not 1 to 60 minutes."""
    low_80, high_80, low_95, high_95 = INTERVAL_COLUMNS
    in_order = [low_95, low_80, "duration_minutes", high_80, high_95]
    ends = predictions.reindex(columns=in_order).to_numpy(np.float64)
    possible = (ends[:, 0] >= SHORTEST_MINUTES) & (ends[:, -1] <= LONGEST_MINUTES)
    return int((~(possible & (ends[:, 1:] >= ends[:, :-1]).all(axis=1))).sum())


def _measured_intervals(
    by_day: Mapping[str, pd.Categorical], actual: Array, predictions: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Sums of `interval_measures` by contender and day; empty if no contender gives intervals."""
    tables = [
        _daily(by_day, interval_measures(actual, given)).assign(contender=name)
        for name, given in predictions.items()
        if _has_intervals(given)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _has_intervals(predictions: pd.DataFrame) -> bool:
    return all(
        pd.api.types.is_numeric_dtype(values)
        and np.isfinite(values.to_numpy(np.float64, na_value=np.nan)).all()
        for values in (predictions.get(name, pd.Series([np.nan])) for name in INTERVAL_COLUMNS)
    )


def _daily(by_day: Mapping[str, pd.Categorical], columns: Mapping[str, Array]) -> pd.DataFrame:
    """``day``, ``trips`` and the sum of each column."""
    return sums_by(by_day, columns).drop(columns="slice").rename(columns={"value": "day"})


def _resamples(sums: Array) -> Array:
    """Bootstrap samples of the days, shape (days, 2) to (resamples, days, 2): the same days at each call."""
    return sums[_drawn(len(sums))] if len(sums) else np.full((RESAMPLES, 1, 2), np.nan)


@functools.lru_cache(maxsize=4)
def _drawn(days: int) -> Array:
    """Places of the days in each sample, shape (resamples, days)."""
    return np.random.default_rng(SEED).integers(0, days, (RESAMPLES, days))


def _mean(sums: Array) -> Array:
    """Mean over trips, from trips and sums by day, shape (..., days, 2) to (...)."""
    with np.errstate(all="ignore"):  # no trips, or values that are not finite: they are not compared
        trips, total = np.moveaxis(sums.sum(axis=-2), -1, 0)
        return np.asarray(total / trips)


def _rmse(sums: Array) -> Array:
    """RMSE, from trips and squared errors by day, shape (..., days, 2) to (...)."""
    return np.asarray(np.sqrt(_mean(sums)))


def _interval(values: Array) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
