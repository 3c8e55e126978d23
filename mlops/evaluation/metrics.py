"""How good a model is, in total and by slice: its minutes, and its 80 % and 95 % intervals.

All functions are pure. Errors are predicted minus actual, in minutes. A positive
bias means that predictions are too long. An interval is measured by its coverage
(the share of the trips inside), its width, and its interval score (Winkler): the
width, plus a penalty for a trip outside. The lower the score, the better.

Source: T. Gneiting, A. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 2007, 6.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

Array = npt.NDArray[Any]

LEVELS = {"80": 0.8, "95": 0.95}
NOMINAL = {f"coverage_{level}": nominal for level, nominal in LEVELS.items()}
LEAST_ROWS = 1000
"""Slices of fewer trips are not reported as bad ones: their RMSE and coverage are mostly noise."""
BUSIEST_PAIRS = 10
DISTANCE_BANDS = (0.1, 1.0, 2.0, 5.0, 10.0)
DISTANCE_LABELS = ("under 0.1 mi", "0.1-1 mi", "1-2 mi", "2-5 mi", "5-10 mi", "10 mi and more")
HOUR_BANDS = (6, 10, 16, 20)
HOUR_LABELS = ("0-6 h", "6-10 h", "10-16 h", "16-20 h", "20-24 h")
AIRPORTS = {1: "EWR", 132: "JFK", 138: "LGA"}
"""Zones of the TLC's map that are airports."""
GATED = ("hour band", "week", "distance", "pair", "from airport", "to airport")
"""Slices that the verdict checks: large enough to distinguish a regression from the noise of a month."""


def error_metrics(actual: Array, predicted: Array) -> dict[str, float]:
    """RMSE, MAE, 90th percentile of the absolute error, R2 and bias; all in minutes except R2.

    Examples
    --------
    >>> error_metrics(np.array([10.0, 20.0]), np.array([11.0, 21.0]))
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


def interval_metrics(actual: Array, predictions: pd.DataFrame) -> dict[str, float]:
    """Coverage, and mean width and interval score in minutes, of the 80 % and the 95 % interval.

    Examples
    --------
    >>> bounds = {"low_80_minutes": [5, 5], "high_80_minutes": [8, 8], "low_95_minutes": [4, 4]}
    >>> found = interval_metrics(np.array([6.0, 9.0]), pd.DataFrame({**bounds, "high_95_minutes": [9, 9]}))
    >>> {name: round(value, 4) for name, value in found.items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'coverage_80': 0.5, 'width_80': 3.0, 'interval_score_80': 8.0,
     'coverage_95': 1.0, 'width_95': 5.0, 'interval_score_95': 5.0}
    """
    return {name: float(values.mean()) for name, values in interval_measures(actual, predictions).items()}


def interval_measures(actual: Array, predictions: pd.DataFrame) -> dict[str, Array]:
    """The same for each of n trips: whether it is inside, the width, and the score, shape (n,) each.

    Both ends of an interval are inside. A trip outside costs 2 / (1 - level) times its distance to the interval.
    """
    found: dict[str, Array] = {}
    for level, nominal in LEVELS.items():
        low, high = (predictions[f"{end}_{level}_minutes"].to_numpy(np.float64) for end in ("low", "high"))
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            width, outside = high - low, np.fmax(low - actual, actual - high).clip(0)
        found[f"coverage_{level}"] = (low <= actual) & (actual <= high)
        found[f"width_{level}"] = width
        found[f"interval_score_{level}"] = width + 2 / (1 - nominal) * outside
    return found


def worst_coverage(by_slice: pd.DataFrame, least_rows: int = LEAST_ROWS) -> dict[str, float]:
    """Coverage in the slice where it is furthest from nominal, for slices as in `worst_covered`."""
    worst = worst_covered(by_slice, least_rows)
    return {f"{name}_worst_slice": float(by_slice[name].loc[label]) for name, label in worst.items()}


def worst_covered(by_slice: pd.DataFrame, least_rows: int = LEAST_ROWS) -> dict[str, Any]:
    """For each of `NOMINAL`, the index label of the slice in which coverage is furthest from nominal.

    Only slices of at least `least_rows` trips count; empty if there is none.
    """
    large = by_slice[by_slice["rows"] >= least_rows]
    if large.empty:
        return {}
    return {name: (large[name] - nominal).abs().idxmax() for name, nominal in NOMINAL.items()}


def slices(
    requests: pd.DataFrame,
    actual: Array,
    predictions: pd.DataFrame,
    rivals: Mapping[str, Array] = MappingProxyType({}),
) -> pd.DataFrame:
    """Errors and intervals by slice, for each of the `groupings`.

    Parameters
    ----------
    requests : DataFrame of n rows
        Inputs of the model.
    actual : array of shape (n,)
        Minutes.
    predictions : DataFrame of n rows
        Outputs of the model.
    rivals : mapping of str to array of shape (n,), optional
        Minutes that others predict: ``champion``, ``pair_median``.

    Returns
    -------
    DataFrame
        ``slice``, ``value``, ``rows``, ``rmse``, ``mae``, ``bias``, those of `interval_metrics`, and
        ``<name>_rmse`` of each of `rivals`. Each slice is sorted by its values; pairs by trips, most first.
    """
    error = predictions["duration_minutes"].to_numpy() - actual
    measures = {
        "rmse": error**2,
        "mae": np.abs(error),
        "bias": error,
        **interval_measures(actual, predictions),
    }
    with np.errstate(over="ignore"):  # a rival may predict nonsense
        measures |= {f"{name}_rmse": (minutes - actual) ** 2 for name, minutes in rivals.items()}
    table = sums_by(groupings(requests), measures).rename(columns={"trips": "rows"})
    table[list(measures)] = table[list(measures)].div(table["rows"], axis=0)
    roots = [name for name in measures if name.endswith("rmse")]
    table[roots] = np.sqrt(table[roots])
    return table


def groupings(requests: pd.DataFrame) -> dict[str, pd.Categorical]:
    """For each kind of slice, the value of each of the n trips, or NaN. Reports and verdicts use the same slices.

    Examples
    --------
    >>> asked = {"pickup_at": pd.to_datetime(["2023-05-14 17:05"]), "distance_miles": [15.0]}
    >>> found = groupings(pd.DataFrame({**asked, "pickup_zone": [132], "dropoff_zone": [7]}))
    >>> {name: values[0] for name, values in found.items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'hour': 17, 'weekday': 6, 'distance': '10 mi and more', 'pair': '132 -> 7', 'hour band': '16-20 h',
     'week': 'weekend', 'from airport': 'JFK', 'to airport': nan}
    """
    pickup_at = pd.DatetimeIndex(requests["pickup_at"])
    hour, weekday = pickup_at.hour.to_numpy(), pickup_at.weekday.to_numpy()
    return {
        "hour": pd.Categorical(hour),
        "weekday": pd.Categorical(weekday),
        "distance": _distance_bands(requests["distance_miles"].to_numpy(np.float64)),
        "pair": _busiest_pairs(requests),
        "hour band": _named(np.searchsorted(HOUR_BANDS, hour, side="right"), dict(enumerate(HOUR_LABELS))),
        "week": _named(weekday >= 5, {False: "Monday to Friday", True: "weekend"}),
        "from airport": _named(requests["pickup_zone"].to_numpy(), AIRPORTS),
        "to airport": _named(requests["dropoff_zone"].to_numpy(), AIRPORTS),
    }


def sums_by(groups: Mapping[str, pd.Categorical], columns: Mapping[str, Array]) -> pd.DataFrame:
    """Trips and the sum of each column by slice: ``slice``, ``value``, ``trips`` and `columns`.

    Slices without trips are dropped.

    Examples
    --------
    >>> sums_by({"half": pd.Categorical(["am", "pm", "am"])}, {"minutes": np.array([5.0, 7.0, 9.0])})
      slice value  trips  minutes
    0  half    am      2     14.0
    1  half    pm      1      7.0
    """
    tables = []
    for name, values in groups.items():
        place = values.codes.astype(np.intp) + 1  # 0: in no slice
        trips = np.bincount(place, minlength=len(values.categories) + 1)[1:]
        sums = {
            column: np.bincount(place, numbers, len(trips) + 1)[1:] for column, numbers in columns.items()
        }
        table = pd.DataFrame(
            {"slice": name, "value": [str(value) for value in values.categories], "trips": trips, **sums}
        )
        tables.append(table[trips > 0])
    return pd.concat(tables, ignore_index=True)


def pair_codes(trips: Mapping[str, Any] | pd.DataFrame) -> Array:
    """One number for each pair of zones, int64 of shape (n,)."""
    pickup, dropoff = (np.asarray(trips[name], np.int64) for name in ("pickup_zone", "dropoff_zone"))
    return np.where((dropoff >= 0) & (dropoff < 1000), pickup * 1000 + dropoff, -1)


def _named(values: Array, names: Mapping[int, str]) -> pd.Categorical:
    """Values replaced by their names; NaN for values without a name."""
    return pd.Categorical(values, categories=list(names)).rename_categories(dict(names))


def _distance_bands(miles: Array) -> pd.Categorical:
    band = np.searchsorted(DISTANCE_BANDS, miles, side="right")
    return _named(np.where(np.isnan(miles), -1, band), {**dict(enumerate(DISTANCE_LABELS)), -1: "not known"})


def _busiest_pairs(requests: pd.DataFrame) -> pd.Categorical:
    pairs = pair_codes(requests)
    busiest = pd.Series(pairs).value_counts().index[:BUSIEST_PAIRS]
    return _named(pairs, {pair: f"{pair // 1000} -> {pair % 1000}" for pair in busiest})
