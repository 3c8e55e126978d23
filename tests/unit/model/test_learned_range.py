"""The learned range covers its training trips, however they were batched, and little else."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from support.builders import make_batch, make_features, make_requests, make_trips

from mlops.model.features import feature_names, request_features
from mlops.model.learned_range import LearnedRange
from mlops.model.request_columns import read_requests
from mlops.training.boosting import build_matrix


def learned(*batches: dict[str, np.ndarray], use_distance: bool = True) -> LearnedRange:
    found = LearnedRange()
    for columns in batches:
        found = found.including(columns, feature_names(use_distance))
    return found


def test_it_is_the_zones_and_largest_quantities_of_the_trips() -> None:
    trips = pd.DataFrame(make_trips(50, zones=30))

    assert learned(make_features(0)[0], request_features(trips)).as_dict() == {
        "pickup_zone": sorted(set(trips["pickup_zone"])),
        "dropoff_zone": sorted(set(trips["dropoff_zone"])),
        "distance_miles": np.float32(trips["distance_miles"].max()),
        "passenger_count": trips["passenger_count"].max(),
    }


def test_batches_add_up_to_the_range_of_all_trips_and_none_is_changed() -> None:
    requests = make_requests(90)
    parts = [request_features(requests.iloc[start : start + 30]) for start in (0, 30, 60)]
    first = learned(parts[0])
    before = first.as_dict()

    assert learned(*parts).as_dict() == learned(request_features(requests)).as_dict() != before
    assert first.as_dict() == before


def test_no_training_trip_is_outside_and_a_fit_learns_from_its_training_trips_only() -> None:
    found = build_matrix(
        [make_batch(100, 1), make_batch(100, 2)], [make_batch(100, 3)], seed=1, threads=1
    ).learned
    requests = pd.concat([make_requests(100, seed) for seed in (1, 2)])

    assert not found.outside(read_requests(requests)).any()
    assert found.as_dict() == learned(*(make_features(100, seed)[0] for seed in (1, 2))).as_dict()


@pytest.mark.parametrize(("column", "value"), [("distance_miles", np.nan), ("passenger_count", pd.NA)])
def test_a_quantity_that_no_trip_has_is_not_judged(column: str, value: object) -> None:
    requests = make_requests(20)
    found = learned(request_features(requests.assign(**{column: value})))

    assert column not in found.as_dict()
    assert not found.outside(read_requests(requests.assign(**{column: 1000}))).any()


def test_a_quantity_that_the_model_does_not_use_is_not_judged() -> None:
    found = learned(make_features(20)[0], use_distance=False)

    assert set(found.as_dict()) == {"pickup_zone", "dropoff_zone", "passenger_count"}


def test_an_unknown_zone_is_outside_also_where_trips_with_one_were_learnt() -> None:
    requests = make_requests(20).assign(pickup_zone=999)

    assert learned(request_features(requests)).outside(read_requests(requests)).all()


def test_nothing_is_inside_of_no_trips() -> None:
    assert LearnedRange().outside(read_requests(make_requests(5))).tolist() == [True] * 5


def test_it_is_the_same_after_a_file_of_json() -> None:
    found = learned(make_features(50)[0])
    again = LearnedRange.from_dict(json.loads(json.dumps(found.as_dict())))
    requests = read_requests(make_requests(300, seed=3).assign(pickup_zone=np.arange(300) % 20))

    assert again.as_dict() == found.as_dict()
    assert again.outside(requests).tolist() == found.outside(requests).tolist()
    assert 0 < found.outside(requests).sum() < 300
