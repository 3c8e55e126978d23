"""The evidence for a verdict: sums of squared errors by day and by slice, small enough to store with a model.

Trips of one day share its weather and road works. So the bootstrap for the
interval of a difference draws days, and uses the same days for both models.

Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval); A. Davison,
D. Hinkley, "Bootstrap Methods and their Application", 1997 (resampling of clusters).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.evaluation.metrics import GATED, groupings, sums_by

Array = npt.NDArray[Any]

RESAMPLES = 2000
SEED = 2000
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

    def _resampled(self, contender: str) -> Array:
        """RMSE on each of `RESAMPLES` bootstrap samples of the days; the same samples for every contender."""
        sums = self._sums(contender)
        if not len(sums):
            return np.full(RESAMPLES, np.nan)
        return _rmse(sums[np.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))])

    def _sums(self, contender: str) -> Array:
        """Trips and squared error of each day, oldest first, shape (days, 2); empty if it was not scored."""
        if contender not in self.days:
            return np.empty((0, 2))
        return self.days.sort_values("day")[["trips", contender]].to_numpy(np.float64)


def gather(
    requests: pd.DataFrame,
    actual: Array,
    predicted: Mapping[str, Array],
    *,
    test_month: str,
    champion: Incumbent | None = None,
    artefact_bytes: int = 0,
    row_seconds: float = 0.0,
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
    """
    with np.errstate(over="ignore"):
        squared = {name: (minutes - actual) ** 2 for name, minutes in predicted.items()}
    gated = {name: values for name, values in groupings(requests).items() if name in GATED}
    compared = {name: sums for name, sums in squared.items() if name not in BASELINES}
    days = sums_by({"day": pd.Categorical(requests["pickup_at"].dt.to_period("D"))}, squared)
    minutes = predicted["challenger"]
    return Evidence(
        test_month,
        days.drop(columns="slice").rename(columns={"value": "day"}),
        sums_by(gated, compared),
        champion,
        bool(np.isfinite(minutes).all()),
        float(np.min(minutes, initial=np.inf)),
        float(np.max(minutes, initial=-np.inf)),
        artefact_bytes,
        row_seconds,
    )


def _rmse(sums: Array) -> Array:
    """RMSE from trips and squared errors summed by day, shape (..., days, 2) to (...)."""
    with np.errstate(all="ignore"):  # the verdict refuses values that are not finite
        trips, squared = np.moveaxis(sums.sum(axis=-2), -1, 0)
        return np.asarray(np.sqrt(squared / trips))


def _interval(values: Array) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
