"""A version gets rows that are alike one after the other; its answers come back in the order of the requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops.registry.local_copy import predict_columns


class Noting:
    """A model that notes its requests, and answers with their distances."""

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        self.requests = requests
        return pd.DataFrame({"duration_minutes": requests["distance_miles"]}, index=requests.index)


def requests(times: Any, pickup_zone: Any, dropoff_zone: Any) -> dict[str, Any]:
    miles = np.arange(float(len(times)))
    zones = {"pickup_zone": np.array(pickup_zone), "dropoff_zone": np.array(dropoff_zone)}
    return {"pickup_at": times, **zones, "distance_miles": miles, "passenger_count": np.ones(len(times))}


def test_rows_are_in_the_order_of_zones_and_hours_and_answers_are_not() -> None:
    texts = [
        "2023-07-08T01:00",
        "2023-07-07T02:00",
        "2023-07-09T00:30",
        "2023-07-03T01:59",
        "2023-07-04T01:00",
    ]
    times = np.array(texts * 2, "datetime64[us]")  # Saturday, Friday, Sunday, Monday, Tuesday
    model, pickup = Noting(), [2] * 5 + [1] * 5
    found = predict_columns(model, requests(times, pickup, [9, 9, 9, 9, 9, 8, 8, 8, 8, 3]))
    assert found["duration_minutes"].tolist() == list(range(10))
    assert model.requests["distance_miles"].tolist() == [9, 8, 6, 7, 5, 3, 4, 1, 2, 0]


@pytest.mark.parametrize("kind", ["datetime64[us]", "datetime64[ns]"])
def test_any_zone_gets_its_own_answer(kind: str) -> None:
    zones = [np.nan, 264.0, -1.0, 2.0**31 - 1, -(2.0**31), 40_000.0, 1.0, np.nan]
    times = pd.DatetimeIndex(np.array(["2023-07-08T01:00", "2023-07-07T02:00"] * 4, kind))
    model = Noting()
    found = predict_columns(model, requests(times, zones, zones[::-1]))
    assert found["duration_minutes"].tolist() == list(range(8))
    asked = model.requests.set_index("distance_miles")
    for row in range(8):
        np.testing.assert_equal(asked.loc[row, "pickup_zone"], zones[row])
        assert asked.loc[row, "pickup_at"] == times[row]
