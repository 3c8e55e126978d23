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
TRIPS, SEED = 5_000, 7  # another seed changes the larger losses by some percent
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
    """Growth of the RMSE, by feature; 0 for one that no tree uses.

    One prediction for all of them: many small ones are slow on a busy machine.
    """
    gain = model.importance()
    used = [place for place, name in enumerate(model.features) if gain[name] > 0]
    mixed = np.repeat(table[np.newaxis], len(used) + 1, axis=0)  # the first stays as it is
    for number, place in enumerate(used, 1):
        mixed[number, :, place] = rng.permutation(table[:, place])
    lost = _growths(model.estimator.predict(mixed.reshape(-1, len(model.features)))[:, 0], actual)
    return dict.fromkeys(model.features, 0.0) | {
        model.features[p]: g for p, g in zip(used, lost, strict=True)
    }


def _lost_by_part(
    model: DurationModel, requests: pd.DataFrame, actual: Array, rng: np.random.Generator
) -> list[tuple[str, float]]:
    """Growth of the RMSE, by part of the request."""
    mine = requests.reset_index(drop=True)
    parts = [part for part in _PARTS if part != DISTANCE or _MILES in model.features]
    others = [mine.iloc[rng.permutation(len(mine))].reset_index(drop=True) for _ in parts]
    mixed = [mine.assign(**_PARTS[part](mine, other)) for part, other in zip(parts, others, strict=True)]
    predicted = model.predict(pd.concat([mine, *mixed], ignore_index=True))["duration_minutes"]
    return list(zip(parts, _growths(predicted.to_numpy(np.float64), actual), strict=True))


def _growths(predicted: Array, actual: Array) -> list[float]:
    """RMSE minus the first RMSE, of n predictions after the first n, of the n after these, and so on."""
    errors = predicted.reshape(-1, len(actual)) - actual
    rmse = np.sqrt((errors**2).mean(axis=1))
    return [float(growth) for growth in rmse[1:] - rmse[0]]


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
