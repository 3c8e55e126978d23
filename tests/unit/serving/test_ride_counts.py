"""``GET /rides`` counts the training rides of a pair of zones, as the trips themselves say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from support.builders import make_trips
from support.service_process import Service
from support.tracked import fitted
from support.version_folders import BEFORE

from mlops.data.zones import of_city
from mlops.model.duration_model import DurationModel
from mlops.serving.ride_counts import RULE, count


def ask(running: Service, status: int = 200, **query: Any) -> dict[str, Any]:
    answer = requests.get(f"{running.url}/rides", query, timeout=30)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def pair() -> tuple[int, int, int]:
    """The pair of zones with most training rides of the small model, and how many: from its trips."""
    trips = make_trips(300, 0)
    pairs = np.stack([trips["pickup_zone"], trips["dropoff_zone"]], axis=1)
    found, rides = np.unique(pairs, axis=0, return_counts=True)
    pickup, dropoff = found[rides.argmax()].tolist()
    return pickup, dropoff, int(rides.max())


def test_the_number_is_that_of_the_training_trips(service: Service, pair: tuple[int, int, int]) -> None:
    pickup, dropoff, rides = pair
    assert rides > 1
    assert ask(service, pickup_zone=pickup, dropoff_zone=dropoff) == {
        "service": "sample", "model_version": "7", "pickup_zone": pickup, "dropoff_zone": dropoff, "rides": rides,
        "trained_on": "2022-07 to 2023-05", "tested_on": "2023-06", "test_rmse": 4.035209,
    }  # fmt: skip


def test_all_pairs_together_are_all_training_trips() -> None:
    model = fitted(seed=0)
    assert sum(count(model, a, b) or 0 for a in range(266) for b in range(266)) == 300


def test_a_zone_may_have_its_name(service: Service, pair: tuple[int, int, int]) -> None:
    pickup, dropoff, rides = pair
    name = {number: name for name, number in of_city().ids.items()}[pickup]
    found = ask(service, pickup_zone=f"  {name.upper()} ", dropoff_zone=f" {dropoff}", service="sample")
    assert (found["pickup_zone"], found["rides"]) == (pickup, rides)


@pytest.mark.parametrize("zone", [0, -4, 266, 9_999, 10**30])
def test_an_id_that_tlc_does_not_use_has_no_rides(zone: int, service: Service) -> None:
    assert ask(service, pickup_zone=zone, dropoff_zone=74)["rides"] == 0
    assert ask(service, pickup_zone=74, dropoff_zone=zone)["rides"] == 0


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"pickup_zone": 74}, f"dropoff_zone: expected {RULE}; got nothing"),
        ({"pickup_zone": 74, "dropoff_zone": " "}, f'dropoff_zone: expected {RULE}; got " "'),
        ({"pickup_zone": "x" * 101, "dropoff_zone": 7}, f'pickup_zone: expected {RULE}; got "{"x" * 96}...'),
        (
            {"pickup_zone": [74, 75], "dropoff_zone": 7},
            "pickup_zone: expected each parameter once; got it 2 times",
        ),
        (
            {"pickup": 74, "dropoff_zone": 7},
            "pickup: expected no other parameter than pickup_zone, dropoff_zone, service (is it pickup_zone?); "
            'got "74" (1 more like it)',
        ),
        (
            {"pickup_zone": 74, "dropoff_zone": 7, "service": "green"},
            'service: expected one of sample, which are served here; got "green"',
        ),
    ],
)
def test_what_is_wrong_is_named(query: dict[str, Any], detail: str, service: Service) -> None:
    assert ask(service, 422, **query)["detail"] == detail


def test_a_name_that_is_unknown_gets_near_ones(service: Service) -> None:
    detail = ask(service, 422, pickup_zone="South East Airprt", dropoff_zone=7)["detail"]
    assert "no zone has this name, is it South-East Airport or " in detail


def test_hundreds_of_unknown_parameters_are_one_short_problem(service: Service) -> None:
    problem = ask(service, 422, **{f"p{number}": 1 for number in range(500)})
    assert problem["detail"].endswith("(501 more like it)")
    assert len(problem["errors"]) == 20


@pytest.mark.parametrize("model", [object(), SimpleNamespace(encoder=SimpleNamespace(tables={}))])
def test_a_version_without_the_numbers_says_so(model: Any) -> None:
    assert count(model, 74, 75) is None


def test_a_version_of_before_still_counts() -> None:
    model = DurationModel.load(BEFORE / "data" / "model")
    assert sum(count(model, a, b) or 0 for a in range(266) for b in range(266)) > 100
