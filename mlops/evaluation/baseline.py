"""The baseline that a model has to beat: what past trips between the same two zones took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.evaluation.metrics import pair_codes
from mlops.model.intervals import INTERVAL_COLUMNS

Array = npt.NDArray[Any]
LEVELS = (0.1, 0.9, 0.025, 0.975)  # of `INTERVAL_COLUMNS`: a tenth of the trips below the 80 % interval, ...
SMOOTHING = (
    2.0  # past trips at which a pair's own quantiles have half the weight; it scored best on green months
)


class PairMedian:
    """The pair median, a baseline: the median duration of past trips between the two zones.

    For a zone pair without past trips it is the median of all past trips.

    Parameters
    ----------
    features : mapping
        ``pickup_zone`` and ``dropoff_zone`` of past trips, n each.
    minutes : array of shape (n,)
        Their durations.
    """

    def __init__(self, features: Mapping[str, Array], minutes: Array) -> None:
        self.minutes = pd.Series(minutes)
        self.grouped = self.minutes.groupby(pair_codes(features))
        self.by_pair = self.grouped.median()

    def predict(self, requests: Mapping[str, Any] | pd.DataFrame) -> Array:
        """Minutes, shape (n,), all finite."""
        return self.by_pair.reindex(pair_codes(requests)).fillna(self.minutes.median()).to_numpy()

    def intervals(self, requests: Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
        """`INTERVAL_COLUMNS` of n requests, minutes: quantiles of the past trips between the two zones.

        A pair's quantiles are mixed with those of all past trips: the fewer trips the pair has, the more.
        """
        own = (
            self.grouped.quantile(np.array(LEVELS))
            .unstack()[list(LEVELS)]
            .set_axis([*INTERVAL_COLUMNS], axis=1)
        )
        overall = pd.Series(self.minutes.quantile(list(LEVELS)).to_numpy(), INTERVAL_COLUMNS)
        trips = self.grouped.size()
        mixed = own.mul(trips, axis=0).add(SMOOTHING * overall).div(trips + SMOOTHING, axis=0)
        return mixed.reindex(pair_codes(requests)).fillna(overall).reset_index(drop=True)
