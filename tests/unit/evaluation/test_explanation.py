"""What a model's predictions depend on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.small_models import matrix_of, model_of

from mlops.evaluation import explanation
from mlops.evaluation.explanation import Explanation, example, explain
from mlops.model.duration_model import DurationModel
from mlops.model.features import feature_names

Trips = tuple[pd.DataFrame, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def model() -> DurationModel:
    return model_of(matrix_of())


@pytest.fixture(scope="module")
def trips(model: DurationModel) -> Trips:
    """Requests, the minutes that they took, and predictions."""
    requests = make_requests(600, seed=9)
    requests.loc[:20, "distance_miles"] = np.nan
    predicted = model.predict(requests)["duration_minutes"].to_numpy()
    return requests, predicted + np.random.default_rng(1).normal(0, 2, len(requests)), predicted


@pytest.fixture(scope="module")
def explained(model: DurationModel, trips: Trips) -> Explanation:
    return explain(model, *trips)


def test_an_explanation_is_the_same_each_time_and_changes_nothing(
    model: DurationModel, trips: Trips, explained: Explanation
) -> None:
    before = trips[0].copy()
    again = explain(model, *trips)

    pd.testing.assert_frame_equal(again.features, explained.features)
    pd.testing.assert_frame_equal(again.parts, explained.parts)
    assert again.example == explained.example
    pd.testing.assert_frame_equal(trips[0], before)
    np.testing.assert_array_equal(model.predict(trips[0])["duration_minutes"], trips[2])


def test_every_feature_has_its_gain_and_what_is_lost_without_it(
    model: DurationModel, explained: Explanation
) -> None:
    table = explained.features.set_index("feature")

    assert table["gain"].to_dict() == model.importance()
    assert sorted(table.index) == sorted(feature_names())
    assert (table.loc[table["gain"] == 0, "minutes_lost"] == 0).all()
    used = table.loc[table["gain"] > 0.2, "minutes_lost"]
    assert len(used)
    assert (used > 0.1).all()
    assert explained.trips == 600 - 21  # those with a distance: the usual trees answer them


def test_a_shuffled_feature_costs_what_shuffling_it_by_hand_costs(
    model: DurationModel, trips: Trips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a shuffle that reverses: the error grows as with a column in reverse order."""

    class Reversing:
        def permutation(self, values: int | np.ndarray) -> np.ndarray:
            return np.arange(values)[::-1] if isinstance(values, int) else values[::-1]

    requests, actual, _ = (each[30:] for each in trips)
    table = model.matrix(requests)
    lost = explanation._lost_by_feature(model, table.copy(), actual, Reversing())
    parts = dict(explanation._lost_by_part(model, requests, actual, Reversing()))

    name = next(iter(model.importance()))
    place = model.features.index(name)
    mixed = table.copy()
    mixed[:, place] = mixed[::-1, place]
    rmse = [np.sqrt(np.mean((model.estimator.predict(t)[:, 0] - actual) ** 2)) for t in (table, mixed)]
    assert lost[name] == pytest.approx(rmse[1] - rmse[0])
    other = requests.assign(distance_miles=requests["distance_miles"].to_numpy()[::-1])
    far = model.predict(other)["duration_minutes"].to_numpy()
    assert parts["distance"] == pytest.approx(np.sqrt(np.mean((far - actual) ** 2)) - rmse[0])


def test_time_and_date_of_a_request_are_other_rides(trips: Trips) -> None:
    requests = trips[0].head(2).assign(pickup_at=pd.to_datetime(["2023-06-03 08:30", "2023-06-04 17:15"]))
    other = requests.iloc[::-1].reset_index(drop=True)
    times, dates = (
        explanation._PARTS[part](requests, other)["pickup_at"].astype(str).tolist()
        for part in ("time of day", "date")
    )

    assert times == ["2023-06-03 17:15:00", "2023-06-04 08:30:00"]
    assert dates == ["2023-06-04 08:30:00", "2023-06-03 17:15:00"]


def test_parts_are_sorted_and_distance_is_one_only_if_it_is_used(
    trips: Trips, explained: Explanation
) -> None:
    assert explained.parts["minutes_lost"].is_monotonic_decreasing
    assert sorted(explained.parts["part"]) == [
        "date", "distance", "passengers", "pickup and drop-off zone", "time of day",
    ]  # fmt: skip
    free = model_of(matrix_of(features=feature_names(use_distance=False)))
    assert "distance" not in set(explain(free, *trips).parts["part"])


def test_the_example_s_minutes_add_up(explained: Explanation) -> None:
    found = explained.example

    assert found.mean + sum(found.added.values()) == pytest.approx(found.predicted, abs=1e-3)
    assert found.request["distance_miles"] == pytest.approx(found.values["distance_miles"])
    assert found.values["pickup_zone"] == found.request["pickup_zone"]


def test_the_example_is_a_long_ride_of_the_busiest_hour_that_was_predicted_well(model: DurationModel) -> None:
    hours = ["08:00", "17:00", "17:10", "17:20", "17:30", "09:00", "10:00"]
    requests = make_requests(7, seed=3).assign(
        pickup_at=pd.to_datetime([f"2023-06-13 {hour}" for hour in hours]), distance_miles=np.arange(1.0, 8.0)
    )
    predicted = np.array([20.0, 20.1, 19.9, 5.0, 20.0, 6.0, 7.0])  # three quarters are at most 20
    actual = np.array([20.0, 22.0, 19.0, 5.0, 30.0, 6.0, 7.0])

    assert example(model, requests, actual, predicted).request["distance_miles"] == 3.0
    unknown = requests.assign(distance_miles=[1.0, 2.0, np.nan, 4.0, 5.0, 6.0, 7.0])
    assert example(model, unknown, actual, predicted).request["distance_miles"] == 2.0


def test_trips_without_any_distance_have_an_example_too(model: DurationModel, trips: Trips) -> None:
    requests = trips[0].assign(distance_miles=np.nan)
    predicted = model.predict(requests)["duration_minutes"].to_numpy()
    found = example(model, requests, trips[1], predicted)

    assert found.mean + sum(found.added.values()) == pytest.approx(found.predicted, abs=1e-3)
