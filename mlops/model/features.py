"""From requests to features; training, batch and single predictions all use this definition.

`request_features` is stateless: it uses only the request, as `request_columns` reads it. Features of your own are
in `own_features`, and features that are learnt from past trips in `encoder`. No feature uses a fare, a tip, a
payment, a rate code or a drop-off time, because they are unknown at the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .city_calendar import calendar, years_of
from .own_feature_values import OwnFeature, usable_ones, values_of
from .own_features import OWN_FEATURES
from .request_columns import read_requests

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
BATCH_ROWS = 65_536
MIN_MILES = 0.1  # a shorter distance means that the meter did not run
MINUTE, DAY = 60_000_000, 86_400_000_000  # in microseconds


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Parameters
    ----------
    name, meaning : str
        Both contain the unit, if there is one.
    categorical : bool
        Whether it is a code, not a quantity.
    needs_distance : bool
        Whether it is omitted when `use_distance` is off.
    """

    name: str
    meaning: str
    categorical: bool = False
    needs_distance: bool = False


STANDARD_FEATURES = (
    Feature("pickup_zone", "TLC zone of the pickup, 1-265; 0 for any other", categorical=True),
    Feature("dropoff_zone", "TLC zone of the drop-off, 1-265; 0 for any other", categorical=True),
    Feature(
        "distance_miles",
        "trip distance in miles, as measured by the taxi's meter (see docs/decisions)",
        needs_distance=True,
    ),
    Feature("passenger_count", "number of passengers, entered by the driver; may be missing"),
    Feature("minute_of_day", "minutes since midnight, New York"),
    Feature("weekday", "0 Monday to 6 Sunday"),
    Feature("month", "1 January to 12 December"),
    Feature("is_holiday", "1 on a public holiday of New York, else 0"),
    Feature("is_school_day", "1 on a school day of New York's public schools, calculated by rules, else 0"),
)
"""Features that need only the request, and that this project has from the start."""


def described(own: OwnFeature) -> Feature:
    """A feature of one's own as a column of the feature table."""
    return Feature(own.name, own.meaning, needs_distance=own.needs_distance)


REQUEST_FEATURES = (*STANDARD_FEATURES, *map(described, usable_ones(OWN_FEATURES)))
"""Features that need only the request: those of this project, then a person's own."""


ENCODED_FEATURES = (
    Feature("pair_minutes", "mean minutes of past trips between the two zones"),
    Feature("pair_time_minutes", "pair_minutes in this part of the day, by weekday or weekend"),
    Feature("pair_band_minutes", "pair_minutes for trips of similar distance", needs_distance=True),
    Feature("pair_spread", "standard deviation of the minutes between the two zones"),
    Feature("pair_trips", "logarithm of 1 + the number of past trips between the two zones"),
    Feature("pickup_hour_minutes", "mean minutes from the pickup zone in this hour of the week"),
    Feature("dropoff_hour_minutes", "mean minutes to the drop-off zone in this hour of the week"),
    Feature(
        "band_pickup_minutes",
        "mean minutes from the pickup zone for trips of similar distance",
        needs_distance=True,
    ),
    Feature(
        "band_dropoff_minutes",
        "mean minutes to the drop-off zone for trips of similar distance",
        needs_distance=True,
    ),
    Feature("pair_pace", "mean minutes per mile between the two zones", needs_distance=True),
    Feature(
        "pair_time_pace", "pair_pace in this part of the day, by weekday or weekend", needs_distance=True
    ),
    Feature("pace_minutes", "pair_time_pace x distance_miles: minutes at the mean pace", needs_distance=True),
    Feature(
        "distance_ratio", "distance divided by the mean distance between the two zones", needs_distance=True
    ),
)
"""Features that `encoder.Encoder` learns from past trips."""


def feature_names(use_distance: bool = True) -> tuple[str, ...]:
    """Columns of a model's feature matrix, in order.

    Examples
    --------
    >>> "pair_pace" in feature_names(), "pair_pace" in feature_names(use_distance=False)
    (True, False)
    """
    return tuple(f.name for f in REQUEST_FEATURES + ENCODED_FEATURES if use_distance or not f.needs_distance)


CATEGORICAL = frozenset(f.name for f in REQUEST_FEATURES + ENCODED_FEATURES if f.categorical)
"""Names of the features that are codes."""


def request_features(requests: Mapping[str, Any] | pd.DataFrame, *, strict: bool = False) -> dict[str, Array]:
    """Stateless features of each request.

    Parameters
    ----------
    requests : mapping or DataFrame
        Columns of n values, as `read_requests` takes them.
    strict : bool
        As in `features_of`.

    Returns
    -------
    dict of str to array of shape (n,)
        As `features_of`.

    Raises
    ------
    MlopsError
        As `read_requests` and `features_of`.

    Examples
    --------
    >>> import pandas as pd
    >>> ride = {"pickup_at": pd.Timestamp("2023-07-03 08:30"), "pickup_zone": 74, "dropoff_zone": 42}
    >>> request_features(pd.DataFrame([{**ride, "distance_miles": 2.1}]))["minute_of_day"]
    array([510], dtype=int16)
    """
    return features_of(read_requests(requests), strict=strict)


def features_of(requests: Mapping[str, Array], *, strict: bool = False) -> dict[str, Array]:
    """Stateless features of requests that `read_requests` returned.

    Parameters
    ----------
    strict : bool
        For training: a feature of one's own with an impossible value is an error. Otherwise the value is missing,
        because a prediction must not fail for it.

    Returns
    -------
    dict of str to array of shape (n,)
        One entry for each of `REQUEST_FEATURES`; NaN only in ``distance_miles`` (also from a million miles on) and
        ``passenger_count`` (also for a number that is not a count) and in features of one's own, which are
        float32.

    Raises
    ------
    MlopsError
        When the function of a feature of one's own fails; see `own_feature_values.values_of`.
    """
    columns = standard_features_of(requests)
    if OWN_FEATURES:
        columns |= values_of(OWN_FEATURES, {"pickup_at": requests["pickup_at"], **columns}, strict)
    return columns


def standard_features_of(requests: Mapping[str, Array]) -> dict[str, Array]:
    """The part of `features_of` that is `STANDARD_FEATURES`."""
    since_1970 = requests["pickup_at"].astype(np.int64)
    day = since_1970 // DAY
    minute_of_day = (since_1970 - day * DAY) // MINUTE
    days = calendar(*years_of(day))
    day -= days.first_day
    return {
        "pickup_zone": requests["pickup_zone"],
        "dropoff_zone": requests["dropoff_zone"],
        "distance_miles": _miles(requests["distance_miles"]),
        "passenger_count": _counts(requests["passenger_count"]),
        "minute_of_day": minute_of_day.astype(np.int16),
        **{name: of_days[day] for name, of_days in days.columns.items()},
    }


def _miles(miles: Array) -> Array:
    return np.where(np.abs(miles) < 1e6, miles, np.float32(np.nan))


def _counts(counts: Array) -> Array:
    possible = (counts >= 0) & (counts < 1e6) & (counts == np.floor(counts))
    return np.where(possible, counts, np.float32(np.nan))
