"""How good a model is, where it is not, and whether it becomes champion.

Everything here is pure. Errors are predicted minus actual, in minutes; a
positive bias predicts too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

Array = npt.NDArray[Any]

NOMINAL = {"coverage_80": 0.8, "coverage_95": 0.95}
BUSIEST_PAIRS = 10
DISTANCE_BANDS = (-np.inf, 0.1, 1.0, 2.0, 5.0, 10.0, np.inf)
DISTANCE_LABELS = ("under 0.1 mi", "0.1-1 mi", "1-2 mi", "2-5 mi", "5-10 mi", "10 mi and more")


def metrics(actual: Array, predicted: Array) -> dict[str, float]:
    """RMSE, MAE, 90th percentile of the absolute error, R2 and bias; minutes, but for R2.

    Examples
    --------
    >>> metrics(np.array([10.0, 20.0]), np.array([11.0, 21.0]))
    {'rmse': 1.0, 'mae': 1.0, 'p90': 1.0, 'r2': 0.96, 'bias': 1.0}
    """
    error = predicted - actual
    return {
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
        "p90": float(np.quantile(np.abs(error), 0.9)),
        "r2": float(r2_score(actual, predicted)) if len(actual) > 1 else float("nan"),
        "bias": float(error.mean()),
    }


def coverage(actual: Array, predictions: pd.DataFrame) -> dict[str, float]:
    """Share of the trips whose minutes lie inside their 80 % and 95 % interval, ends included.

    Examples
    --------
    >>> bounds = {"low_80_minutes": [5, 5], "high_80_minutes": [8, 8], "low_95_minutes": [4, 4]}
    >>> coverage(np.array([6.0, 9.0]), pd.DataFrame({**bounds, "high_95_minutes": [9, 9]}))
    {'coverage_80': 0.5, 'coverage_95': 1.0}
    """
    return {name: float(inside.mean()) for name, inside in _inside(actual, predictions).items()}


def worst_coverage(by_slice: pd.DataFrame, least_rows: int = 1000) -> dict[str, float]:
    """Coverage of the slice, of at least `least_rows` trips, that is furthest from what its interval promises."""
    found = {}
    for name, promised in NOMINAL.items():
        shares = by_slice.loc[by_slice["rows"] >= least_rows, name]
        if len(shares):
            found[f"{name}_worst_slice"] = float(shares.iloc[(shares - promised).abs().argmax()])
    return found


def slices(requests: pd.DataFrame, actual: Array, predictions: pd.DataFrame) -> pd.DataFrame:
    """Errors and coverage by hour, weekday, distance band and the busiest zone pairs.

    Parameters
    ----------
    requests : DataFrame of n rows
        As the model takes them.
    actual : array of shape (n,)
        Minutes.
    predictions : DataFrame of n rows
        As the model gives them.

    Returns
    -------
    DataFrame
        ``slice``, ``value``, ``rows``, ``rmse``, ``mae``, ``bias``, ``coverage_80``, ``coverage_95``; within a
        slice in the order of its values, pairs with the busiest first.
    """
    error = pd.Series(predictions["duration_minutes"].to_numpy() - actual)
    inside = pd.DataFrame(_inside(actual, predictions))
    pickup_at = requests["pickup_at"].reset_index(drop=True)
    groups = {
        "hour": pickup_at.dt.hour,
        "weekday": pickup_at.dt.weekday,
        "distance": _distance_bands(requests["distance_miles"].reset_index(drop=True)),
        "pair": _busiest_pairs(requests),
    }
    return pd.concat([_by(name, values, error, inside) for name, values in groups.items()], ignore_index=True)


class PairMedian:
    """The baseline: the median duration of past trips between the two zones, or of all where there are none.

    Parameters
    ----------
    features : mapping
        ``pickup_zone`` and ``dropoff_zone`` of past trips, n each.
    minutes : array of shape (n,)
        Their durations.
    """

    def __init__(self, features: Mapping[str, Array], minutes: Array) -> None:
        self.overall = float(np.median(minutes))
        self.by_pair = pd.Series(minutes).groupby(_pair(features)).median()

    def predict(self, requests: Mapping[str, Any] | pd.DataFrame) -> Array:
        """Minutes, shape (n,), all finite."""
        return self.by_pair.reindex(_pair(requests)).fillna(self.overall).to_numpy()


@dataclass(frozen=True)
class Evidence:
    """What the decision is made from: RMSE in minutes, all on the same trips of the same month.

    Parameters
    ----------
    challenger_rmse : float
    champion_rmse : float or None
        None when there is no champion, or none that could be scored.
    champion_version : str or None
        None when there is no champion.
    champion_saw_test : bool
        Whether the champion learnt from the test month or later ones, so that the comparison favours it.
    champion_error : str
        Why the champion could not be scored.
    """

    challenger_rmse: float
    champion_rmse: float | None = None
    champion_version: str | None = None
    champion_saw_test: bool = False
    champion_error: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger becomes champion, and why."""

    promote: bool
    reason: str


def decide(evidence: Evidence) -> Verdict:
    """Verdict on a challenger.

    Examples
    --------
    >>> decide(Evidence(challenger_rmse=4.5))
    Verdict(promote=True, reason='there is no champion yet')
    >>> decide(Evidence(4.5, champion_rmse=4.4, champion_version="3")).promote
    False
    """
    challenger, champion = evidence.challenger_rmse, evidence.champion_rmse
    if not np.isfinite(challenger):
        return Verdict(False, f"the challenger's test RMSE is {challenger}")
    if evidence.champion_version is None:
        return Verdict(True, "there is no champion yet")
    name = f"champion (version {evidence.champion_version})"
    if evidence.champion_saw_test:
        return Verdict(False, f"the {name} has learnt from the test month or later ones: not comparable")
    if champion is None:
        return Verdict(True, f"the {name} could not be scored: {evidence.champion_error}")
    if challenger < champion:
        return Verdict(True, f"test RMSE {challenger:.4f} beats {champion:.4f} of the {name}")
    return Verdict(False, f"test RMSE {challenger:.4f} does not beat {champion:.4f} of the {name}")


def _pair(trips: Mapping[str, Any] | pd.DataFrame) -> Array:
    pickup, dropoff = (np.asarray(trips[name], np.int64) for name in ("pickup_zone", "dropoff_zone"))
    return np.where((dropoff >= 0) & (dropoff < 1000), pickup * 1000 + dropoff, -1)


def _distance_bands(miles: pd.Series[Any]) -> pd.Series[Any]:
    bands = pd.cut(miles.clip(upper=1e9), list(DISTANCE_BANDS), labels=list(DISTANCE_LABELS), right=False)
    return bands.cat.add_categories("not known").fillna("not known")


def _busiest_pairs(requests: pd.DataFrame) -> pd.Series[Any]:
    pairs = pd.Series(_pair(requests))
    busiest = pairs.value_counts().index[:BUSIEST_PAIRS]
    named = pd.Categorical(pairs, categories=busiest)
    return pd.Series(named.rename_categories({pair: f"{pair // 1000} -> {pair % 1000}" for pair in busiest}))


def _inside(actual: Array, predictions: pd.DataFrame) -> dict[str, Array]:
    found = {}
    for name in NOMINAL:
        low, high = (predictions[f"{end}_{name[-2:]}_minutes"].to_numpy() for end in ("low", "high"))
        found[name] = (low <= actual) & (actual <= high)
    return found


def _by(name: str, values: pd.Series[Any], error: pd.Series[Any], inside: pd.DataFrame) -> pd.DataFrame:
    grouped = error.groupby(values, observed=True)
    table = pd.DataFrame(
        {
            "rows": grouped.size(),
            "rmse": grouped.apply(lambda part: float(np.sqrt(np.mean(part**2)))),
            "mae": grouped.apply(lambda part: float(np.mean(np.abs(part)))),
            "bias": grouped.mean(),
            **inside.groupby(values, observed=True).mean(),
        }
    )
    table.insert(0, "value", [str(value) for value in table.index])
    table.insert(0, "slice", name)
    return table
