"""What a model's predictions depend on: minutes lost without a part of a request, and why one ride takes so long.

A value is shuffled among the trips, so that it is some other trip's value; the growth of the error says how much
the model depends on it. Encoded features stand in for each other: shuffled alone, each of them costs little. So
whole parts of the request are shuffled, too, and all features are computed from it again.

Source: L. Breiman, "Random Forests", Machine Learning 45, 2001 (permutation importance); C. Molnar,
"Interpretable Machine Learning", 2022, 8.5 (correlated features).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.model.duration_model import MEAN_MINUTES, DurationModel

Array = npt.NDArray[Any]
TRIPS, REPEATS, SEED = 5_000, 2, 7  # twice the trips change no loss by more than 0.1 minutes
DISTANCE, _MILES = "distance", "distance_miles"
TYPICAL = 0.75  # the ride that is explained is longer than this share of all


@dataclass(frozen=True)
class Example:
    """Why the model predicts so many minutes for one ride of the test month.

    Parameters
    ----------
    request : mapping
        Inputs of the model.
    actual, predicted : float
        Minutes.
    mean : float
        Minutes that the model predicts on average.
    added : mapping of str to float
        Minutes that each feature adds; they and `mean` add up to `predicted` before it is limited.
    values : mapping of str to float
        What the trees read of each feature; zones as in the request.
    """

    request: Mapping[str, Any]
    actual: float
    predicted: float
    mean: float
    added: Mapping[str, float]
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the predictions of a model depend on.

    Parameters
    ----------
    features : DataFrame
        ``feature``, ``gain`` (share of the trees' total gain) and ``minutes_lost`` (growth of the RMSE in minutes
        when the feature is shuffled), largest gain first.
    parts : DataFrame
        ``part`` of a request in words, and ``minutes_lost``, largest first.
    trips : int
        Trips of the test month that were shuffled.
    example : Example
    """

    features: pd.DataFrame
    parts: pd.DataFrame
    trips: int
    example: Example


def explain(model: DurationModel, requests: pd.DataFrame, actual: Array, predicted: Array) -> Explanation:
    """What the model depends on, from n trips of the test month; the same each time.

    Parameters
    ----------
    model : DurationModel
    requests : DataFrame of n rows
        Inputs of the model.
    actual, predicted : array of shape (n,)
        Minutes.
    """
    rng = np.random.default_rng(SEED)
    chosen = np.sort(rng.permutation(_usual(model, requests))[:TRIPS])
    sample, minutes = requests.iloc[chosen], actual[chosen]
    gain = model.importance()
    lost = _lost_by_feature(model, model.matrix(sample), minutes, rng)
    rows = [(name, share, lost[name]) for name, share in gain.items()]
    parts = _lost_by_part(model, sample, minutes, rng)
    return Explanation(
        pd.DataFrame(rows, columns=["feature", "gain", "minutes_lost"]),
        pd.DataFrame(parts, columns=["part", "minutes_lost"]).sort_values("minutes_lost", ascending=False),
        len(sample),
        example(model, requests, actual, predicted),
    )


def example(model: DurationModel, requests: pd.DataFrame, actual: Array, predicted: Array) -> Example:
    """A ride of the busiest hour, predicted well and longer than `TYPICAL` of all that the usual trees answer."""
    usual = _usual(model, requests)
    hours = requests["pickup_at"].dt.hour.to_numpy()[usual]
    busy = usual[hours == np.bincount(hours).argmax()]
    distance = np.abs(predicted[busy] - np.quantile(predicted[usual], TYPICAL))
    near = busy[distance <= max(0.25, distance.min())]  # a quarter of a minute
    place = near[np.argmin(np.abs(predicted[near] - actual[near]))]
    row = requests.iloc[[place]]
    request = {str(name): value for name, value in row.to_dict("records")[0].items()}
    values = dict(zip(model.features, model.matrix(row)[0].tolist(), strict=True))
    added = model.contributions(request)
    return Example(
        request, float(actual[place]), float(predicted[place]), added.pop(MEAN_MINUTES), added,
        values | {name: float(request[name]) for name in ("pickup_zone", "dropoff_zone")},
    )  # fmt: skip


def _usual(model: DurationModel, requests: pd.DataFrame) -> Array:
    """Places of the trips that the model's usual trees answer: all, if none has a distance."""
    known = requests[_MILES].notna().to_numpy()
    return np.flatnonzero(known if _MILES in model.features and known.any() else np.full(len(known), True))


def _lost_by_feature(
    model: DurationModel, table: Array, actual: Array, rng: np.random.Generator
) -> dict[str, float]:
    """Growth of the RMSE, by feature; 0 without a prediction for one that no tree uses."""
    before, lost = _rmse(model.estimator.predict(table)[:, 0], actual), {}
    used = {name for name, share in model.importance().items() if share > 0}
    for place, name in enumerate(model.features):
        shuffled, own = [], table[:, place].copy()
        for _ in range(REPEATS if name in used else 0):
            table[:, place] = rng.permutation(own)
            shuffled.append(_rmse(model.estimator.predict(table)[:, 0], actual))
        table[:, place] = own
        lost[name] = float(np.mean(shuffled) - before) if shuffled else 0.0
    return lost


def _lost_by_part(
    model: DurationModel, requests: pd.DataFrame, actual: Array, rng: np.random.Generator
) -> list[tuple[str, float]]:
    """Growth of the RMSE, by part of the request."""

    def rmse(asked: pd.DataFrame) -> float:
        return _rmse(model.predict(asked)["duration_minutes"].to_numpy(np.float64), actual)

    mine, found = requests.reset_index(drop=True), []
    before = rmse(mine)
    for part, replaced in _PARTS.items():
        others = [mine.iloc[rng.permutation(len(mine))].reset_index(drop=True) for _ in range(REPEATS)]
        if part != DISTANCE or _MILES in model.features:
            found.append(
                (part, float(np.mean([rmse(mine.assign(**replaced(mine, o))) for o in others]) - before))
            )
    return found


def _day(requests: pd.DataFrame) -> pd.Series:
    day: pd.Series = requests["pickup_at"].dt.normalize()
    return day


def _time(requests: pd.DataFrame) -> pd.Series:
    return requests["pickup_at"] - _day(requests)


_PARTS: dict[str, Callable[[pd.DataFrame, pd.DataFrame], dict[str, pd.Series]]] = {
    "pickup and drop-off zone": lambda _, other: {n: other[n] for n in ("pickup_zone", "dropoff_zone")},
    DISTANCE: lambda _, other: {_MILES: other[_MILES]},
    "time of day": lambda mine, other: {"pickup_at": _day(mine) + _time(other)},
    "date": lambda mine, other: {"pickup_at": _day(other) + _time(mine)},
    "passengers": lambda _, other: {"passenger_count": other["passenger_count"]},
}
"""Columns of the requests in which a part is another trip's, from the requests and those in another order."""


def _rmse(predicted: Array, actual: Array) -> float:
    return float(np.sqrt(np.mean((predicted - actual) ** 2)))
