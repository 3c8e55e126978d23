"""Checks of features of one's own before a model is trained: what is wrong is said then, not by the service."""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops.errors import ConfigError
from mlops.model.features import ENCODED_FEATURES, STANDARD_FEATURES, standard_features_of
from mlops.model.own_feature_values import PLACE, OwnFeature, about, values_of
from mlops.model.own_features import OWN_FEATURES
from mlops.model.request_columns import REQUEST_COLUMNS, read_requests

Array = npt.NDArray[Any]
TARGETS = ("duration_minutes", "for_training")  # the other columns of a feature file
TAKEN = frozenset(
    {*REQUEST_COLUMNS, *TARGETS, *(feature.name for feature in STANDARD_FEATURES + ENCODED_FEATURES)}
)
COMPARED_ROWS = 8
ODD_TIMES = (
    "1900-01-01T00:00:00",
    "2024-02-29T12:00:00",
    "2023-12-31T23:59:59.999999",
    "2099-07-04T00:00:00",
)


def require_usable(own: Any = OWN_FEATURES) -> None:
    """Raise unless each feature has a name and a meaning, and its function answers odd requests, too.

    Raises
    ------
    ConfigError
        The message names the feature and says what to do.
    MlopsError
        When a function fails; see `own_feature_values.values_of`.
    """
    _require_list(own)
    counts = Counter(feature.name for feature in own)
    for feature in own:
        problem = _problem(feature, counts)
        if problem:
            raise ConfigError(f"{about(feature)}: {problem}")
    if own:
        for requests in _odd_requests():
            values_of(own, _columns(requests))


def require_row_by_row(requests: Mapping[str, Array], own: Any = OWN_FEATURES) -> None:
    """Raise unless the values of some requests are the same in the batch and alone.

    Parameters
    ----------
    requests : mapping of str to array of shape (n,)
        As from `read_requests`.

    Raises
    ------
    ConfigError
        The message has the feature, a request and both values.
    """
    rows = len(requests["pickup_at"])
    if not own or not rows:
        return
    together = values_of(own, _columns(requests))
    for row in np.unique(np.linspace(0, rows - 1, COMPARED_ROWS).astype(int)):
        alone = values_of(own, _columns({name: values[row : row + 1] for name, values in requests.items()}))
        for feature in own:
            pair = together[feature.name][row], alone[feature.name][0]
            if not np.array_equal(*pair, equal_nan=True):
                raise _differs(feature, requests["pickup_at"][row], rows, *pair)


def _differs(feature: OwnFeature, at: Any, rows: int, together: float, alone: float) -> ConfigError:
    return ConfigError(
        f"{about(feature)}: expected the same value for a request alone and among others; got {alone:g} alone and "
        f"{together:g} among {rows:,} (pickup_at {np.datetime_as_string(at, unit='s')}). The service asks for one "
        "request at a time. Use nothing of other requests: no mean, rank or sum of a column, no random number"
    )


def _require_list(own: Any) -> None:
    if isinstance(own, OwnFeature):
        raise ConfigError(
            f"{PLACE}: OWN_FEATURES: expected a tuple; got one OwnFeature: put a comma behind it"
        )
    if not isinstance(own, tuple | list):
        raise ConfigError(
            f"{PLACE}: OWN_FEATURES: expected a tuple; got a value of type {type(own).__name__}"
        )
    other = [type(each).__name__ for each in own if not isinstance(each, OwnFeature)]
    if other:
        raise ConfigError(
            f"{PLACE}: OWN_FEATURES: expected OwnFeature(NAME, MEANING, FUNCTION); got a value of type {other[0]}"
        )


def _problem(feature: OwnFeature, counts: Mapping[Any, int]) -> str:
    """What is wrong with a feature, and what to do; empty if nothing is."""
    name, meaning = feature.name, feature.meaning
    if not isinstance(name, str) or not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        return "expected a name of letters, digits and _, such as hours_to_next_holiday. Choose another name"
    if name in TAKEN:
        return "this name is taken by another column. Choose another name"
    if counts[name] > 1:
        return f"expected one feature with this name; got {counts[name]}. Choose another name"
    if not isinstance(meaning, str) or not meaning.strip() or not meaning.isprintable():
        return f"expected a meaning with its unit, in one line; got {meaning!r}. Say what the number means"
    if not callable(feature.values):
        return f"expected a function; got a value of type {type(feature.values).__name__}. Pass it without ()"
    if not isinstance(feature.needs_distance, bool):
        return f"expected True or False for needs_distance; got {feature.needs_distance!r}"
    return ""


def _columns(requests: Mapping[str, Array]) -> dict[str, Array]:
    """What the functions get."""
    return {"pickup_at": requests["pickup_at"], **standard_features_of(requests)}


def _odd_requests() -> list[dict[str, Array]]:
    """Requests in which all is missing or unknown, each at an odd time; and no request."""
    every = read_requests(
        {
            "pickup_at": np.array(ODD_TIMES, "datetime64[us]"),
            "pickup_zone": np.zeros(len(ODD_TIMES), int),
            "dropoff_zone": np.zeros(len(ODD_TIMES), int),
            "distance_miles": np.full(len(ODD_TIMES), np.nan),
        }
    )
    parts = [*(slice(row, row + 1) for row in range(len(ODD_TIMES))), slice(0, 0)]
    return [{name: values[part] for name, values in every.items()} for part in parts]
