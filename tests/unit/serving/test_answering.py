"""Each request goes to its service's model, and a version that misbehaves is no answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.asgi_calls import call, pieces, scope

from mlops.data.zones import ZoneNames
from mlops.errors import MlopsError
from mlops.registry.signed_version import Version
from mlops.serving import answering, answers
from mlops.serving.app import create_app
from mlops.serving.errors import AmbiguousServiceError, NoModelError, UnknownServiceError
from mlops.serving.models import Models
from mlops.serving.problems import ProblemError
from mlops.serving.questions import read
from mlops.serving.served import ANSWER_COLUMNS, Served
from mlops.serving.settings import ServeSettings

RIDE = {"pickup_at": "2023-06-01T08:30:00", "pickup_zone": 74, "dropoff_zone": 75}
NAMES = ZoneNames({"JFK Airport": 132, "LaGuardia Airport": 138})


class Counting:
    """A model whose minutes are the pickup zone; `others` are more columns of its answers."""

    def __init__(self, **others: Any) -> None:
        self._others = others

    def predict_one(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {**dict.fromkeys(ANSWER_COLUMNS, float(request["pickup_zone"])), **self._others}

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        assert [str(kind) for kind in requests.dtypes] == ["datetime64[ns]", *["float64"] * 4]
        columns = dict.fromkeys(ANSWER_COLUMNS, requests["pickup_zone"])
        return pd.DataFrame({**self._others, **columns}, index=requests.index)


def served(service: str, model: Any, *, knows: bool = False) -> Served:
    name, at = f"trip-duration-{service}", datetime(2026, 11, 27, tzinfo=timezone.utc)
    return Served(
        service, name, "1", "", "", "", None, "champion", at, None, model, knows, Version(name, "1", "", {})
    )


def answer(asked: Any, *versions: Served) -> list[dict[str, Any]]:
    """JSON of the answers of these versions."""
    by_service = {each.service: each for each in versions}
    read_in = read(json.dumps(asked).encode(), most=100)

    def get(service: str | None) -> Served:
        if service in by_service:
            return by_service[service]
        if service is None and len(versions) == 1:
            return versions[0]
        kind = UnknownServiceError if service else AmbiguousServiceError
        raise kind("refused", tuple(by_service))

    groups = answering.answer(read_in, get, lambda service: NAMES)
    found: list[dict[str, Any]] = json.loads(answers.as_json(groups, True, "r-1"))
    return found


@pytest.mark.parametrize("count", [2, 50])
def test_answers_of_several_services_keep_the_order(count: int) -> None:
    both = served("green", Counting(out_of_range=False)), served("sample", Counting(out_of_range=True))
    services = ["sample", "green"] * (count // 2)
    asked = [{**RIDE, "pickup_zone": at, "service": service} for at, service in enumerate(services)]
    found = answer(asked, *both)
    assert [each["service"] for each in found] == services
    assert [each["duration_minutes"] for each in found] == list(range(count))
    assert [each["out_of_range"] for each in found] == [service == "sample" for service in services]


@pytest.mark.parametrize("count", [1, 50])
def test_an_old_version_says_what_it_cannot_say(count: int) -> None:
    found = answer([{**RIDE, "distance_miles": 0}, *[RIDE] * count], served("green", Counting()))
    assert [each["out_of_range"] for each in found] == [None] * (count + 1)
    assert [(each["distance"], each["calibrated"]) for each in found[:2]] == [
        ("given", True),
        ("missing", False),
    ]
    (known,) = answer([RIDE], served("green", Counting(), knows=True))
    assert (known["distance"], known["calibrated"]) == ("missing", True)


def test_a_service_is_needed_where_several_are_served() -> None:
    both = served("green", Counting()), served("sample", Counting())
    rule = "one of green, sample, which are served here"
    for asked, got in (({}, "nothing"), ({"service": "yellow"}, '"yellow"')):
        with pytest.raises(ProblemError) as caught:
            answer([{**RIDE, "service": "green"}, {**RIDE, **asked}], *both)
        (error,) = caught.value.errors
        assert (caught.value.status, error.position, error.field, error.rule, error.got) == (
            422,
            1,
            "service",
            rule,
            got,
        )


def test_a_name_that_is_unknown_gets_near_ones_once() -> None:
    with pytest.raises(ProblemError) as caught:
        answer(
            [RIDE, {**RIDE, "pickup_zone": "JFK Airprt", "dropoff_zone": "Laguardia"}],
            served("green", Counting()),
        )
    first, second = caught.value.errors
    assert (first.position, first.field) == (1, "pickup_zone")
    assert first.rule.endswith("; no zone has this name, is it JFK Airport?")
    assert second.rule.endswith("; no zone has this name")


def test_without_names_the_ids_still_work() -> None:
    model = served("green", Counting())
    asked = read(json.dumps({**RIDE, "pickup_zone": "JFK Airport"}).encode(), most=1)
    with pytest.raises(
        ProblemError, match=r"names are not known now \(no table\), so send the id; got \"JFK Airport\""
    ):
        answering.answer(asked, lambda service: model, lambda service: ZoneNames({}, "no table"))


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_no_answer(count: int, value: float) -> None:
    class Broken(Counting):
        def predict_one(self, request: Mapping[str, Any]) -> dict[str, Any]:
            return {**super().predict_one(request), "high_95_minutes": value}

        def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
            return super().predict(requests).assign(high_95_minutes=np.where(requests.index == 3, value, 1.0))

    with pytest.raises(MlopsError, match="trip-duration-green 1 answered with a value that is no number"):
        answer([RIDE] * count, served("green", Broken()))


# The routes, without a server


def test_without_a_model_the_service_says_when_to_ask_again() -> None:
    app = create_app(Models(["green"]), ServeSettings())
    asked = pieces(json.dumps(RIDE).encode())
    for answer, says in (
        (
            call(app, scope(content_type="application/json"), asked),
            "green: no model is loaded (the registry was not asked yet)",
        ),
        (call(app, scope("/readyz", "GET")), "no model is loaded (/model says why)"),  # it needs no key
    ):
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        ask_again = "Ask again later: /readyz says when a model is loaded."
        assert answer.problem["detail"] == f"{says}. {ask_again}"
    assert call(app, scope("/healthz", "GET")).status == 200


def test_a_failure_is_a_problem_without_details(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Models):
        def get(self, service: str | None = None) -> Served:
            raise RuntimeError("secret")

    app = create_app(Failing(), ServeSettings())
    answer = call(
        app,
        scope(content_type="application/json", x_request_id="request-1"),
        pieces(json.dumps(RIDE).encode()),
    )
    assert answer.status == 500
    assert answer.problem["detail"] == "the service failed. Its log says why."
    assert answer.headers["x-content-type-options"] == "nosniff"
    (logged,) = caplog.records
    assert logged.getMessage() == "request request-1 failed"
    assert logged.exc_info and str(logged.exc_info[1]) == "secret"


def test_a_model_that_never_was_gives_the_services_reason() -> None:
    with pytest.raises(NoModelError):
        Models(["green"]).get("green")
