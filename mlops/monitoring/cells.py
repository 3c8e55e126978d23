"""Cells of similar rides, in which errors are summed: band of hours, part of the week, distance, airport.

The slices are those of `evaluation.metrics.groupings`, so monitoring, verdict and model card name rides alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.evaluation import metrics

Array = npt.NDArray[Any]

CELL = ("hour_band", "week", "distance", "airport")
"""Columns that say which cell a row is about."""
_GROUPINGS = ("hour band", "week", "distance", "from airport", "to airport")


def assign(requests: pd.DataFrame) -> tuple[Array, pd.DataFrame]:
    """The cell of each of n requests.

    Parameters
    ----------
    requests : DataFrame of n rows
        ``pickup_at``, ``pickup_zone``, ``dropoff_zone`` and ``distance_miles``.

    Returns
    -------
    numbers : int64 array of shape (n,)
        Row of the table for each request.
    table : DataFrame of one row for each possible cell
        `CELL`, as texts; always the same.

    Examples
    --------
    >>> asked = {"pickup_at": pd.to_datetime(["2023-05-14 17:05"]), "distance_miles": [15.0]}
    >>> numbers, table = assign(pd.DataFrame({**asked, "pickup_zone": [132], "dropoff_zone": [7]}))
    >>> table.loc[numbers[0]].to_dict()
    {'hour_band': '16-20 h', 'week': 'weekend', 'distance': '10 mi and more', 'airport': 'from JFK'}
    """
    groups = metrics.groupings(requests)
    chosen = [groups[name] for name in _GROUPINGS]
    shape = [len(values.categories) + 1 for values in chosen]  # one more for rides in no such slice
    codes = [values.codes.astype(np.int64) + 1 for values in chosen]
    return np.ravel_multi_index(codes, shape), _table([[*map(str, values.categories)] for values in chosen])


def _table(names: list[list[str]]) -> pd.DataFrame:
    """The cell of each number, for the names of each kind of slice."""
    hours, weeks, distances, pickups, dropoffs = (["", *each] for each in names)
    index = pd.MultiIndex.from_product([hours, weeks, distances, pickups, dropoffs])
    table = index.to_frame(index=False, name=["hour_band", "week", "distance", "pickup", "dropoff"])
    airport = [
        " ".join(filter(None, (pickup and f"from {pickup}", dropoff and f"to {dropoff}")))
        for pickup, dropoff in zip(table.pop("pickup"), table.pop("dropoff"), strict=True)
    ]
    return table.assign(airport=airport)
