"""A city small enough for pencil and paper, and its encoders."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mlops.model.encoder import Encoder, Totals
from mlops.model.features import ENCODED_FEATURES

ENCODED = [feature.name for feature in ENCODED_FEATURES]


def encode(encoder: Encoder, request: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values[0]) for name, values in encoder.transform(request).items()}


def rows(features: dict[str, np.ndarray], chosen: object) -> dict[str, np.ndarray]:
    """The same features of some trips."""
    return {name: values[chosen] for name, values in features.items()}


def totals_of(
    folds: int, features: dict[str, np.ndarray], minutes: np.ndarray, fold: np.ndarray, parts: Iterable[slice]
) -> Totals:
    """Totals that took the trips in part by part."""
    totals = Totals(ENCODED, folds)
    for part in parts:
        totals.add(rows(features, part), minutes[part], fold[part])
    return totals


WHOLE = (slice(None),)


PAST = {  # two trips from zone 1 to zone 2 on a Monday at 9, one back on a Saturday at 22
    "pickup_zone": np.array([1, 1, 2]),
    "dropoff_zone": np.array([2, 2, 1]),
    "distance_miles": np.array([2.0, 2.0, 3.0], np.float32),
    "weekday": np.array([0, 0, 5]),
    "minute_of_day": np.array([540, 570, 1320]),
    "passenger_count": np.array([1, 1, np.nan], np.float32),
    "month": np.array([5, 5, 5]),
    "is_holiday": np.array([0, 0, 0]),
    "is_school_day": np.array([1, 1, 0]),
}


PAST_MINUTES = np.array([10.0, 20.0, 30.0])


def asked(pickup: int, dropoff: int, weekday: int, hour: int, miles: float = 4.0) -> dict[str, np.ndarray]:
    return {
        "pickup_zone": np.array([pickup]),
        "dropoff_zone": np.array([dropoff]),
        "distance_miles": np.array([miles], np.float32),
        "weekday": np.array([weekday]),
        "minute_of_day": np.array([hour * 60]),
        "passenger_count": np.array([1], np.float32),
        "month": np.array([5]),
        "is_holiday": np.array([0]),
        "is_school_day": np.array([1]),
    }
