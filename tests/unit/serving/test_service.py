"""The service as a process, asked over HTTP: its answers are the model's, and bad input has a designed answer."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from support.builders import make_requests
from support.service_process import RIDE, Service

from mlops.model import version_code
from mlops.serving.answering import ONE_BY_ONE
from mlops.serving.questions import RULES
from mlops.serving.served import ANSWER_COLUMNS

TIME, ZONE, MILES, PASSENGERS = (
    RULES[name] for name in ("pickup_at", "pickup_zone", "distance_miles", "passenger_count")
)
ANSWER = [*ANSWER_COLUMNS, "out_of_range", "distance", "calibrated", "service", "model_version", "request_id"]


def send(
    service: Service, body: bytes | str = b"", path: str = "/predict", method: str = "POST", **headers: str
) -> tuple[int, Mapping[str, str], Any]:
    """Status, headers and JSON of an answer; ``content_type`` is the header ``content-type``."""
    sent = {
        "content-type": "application/json",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    content = body if isinstance(body, bytes) else body.encode()
    connection.request(method, path, content, {name: text for name, text in sent.items() if text})
    answer = connection.getresponse()
    found, read = {name.lower(): text for name, text in answer.getheaders()}, answer.read()
    connection.close()
    is_json = found["content-type"].removesuffix("problem+json").removesuffix("json") == "application/"
    return answer.status, found, json.loads(read) if read and is_json else read


def refused(service: Service, body: bytes | str, **named: str) -> dict[str, Any]:
    """The problem that comes back, which is complete."""
    status, headers, problem = send(service, body, **named)
    assert headers["content-type"] == "application/problem+json"
    assert problem["status"] == status >= 400
    assert list(problem) == ["type", "title", "status", "detail", "errors", "request_id"]
    assert headers["x-request-id"] == problem["request_id"]
    return dict(problem)


def ride(**changes: Any) -> str:
    return json.dumps({**RIDE, **changes})


@pytest.fixture(scope="session")
def model(files: Path) -> Any:
    return version_code.load_model(files / "data" / "model")


@pytest.fixture(scope="session")
def rides() -> pd.DataFrame:
    """More than are answered one by one, with null in every column that may have it."""
    asked = make_requests(40, seed=3)
    asked.loc[::3, "distance_miles"] = math.nan
    asked.loc[5, ["pickup_zone", "dropoff_zone"]] = [9999, -4]
    return asked.assign(pickup_zone=asked["pickup_zone"].astype("Int64").where(asked.index != 7))


def as_json(rides: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(rides.to_json(orient="records", date_format="iso", date_unit="us"))


# Answers


@pytest.mark.parametrize("count", [1, ONE_BY_ONE, 40])
def test_a_list_gets_the_models_answers_in_its_order(
    count: int, service: Service, model: Any, rides: pd.DataFrame
) -> None:
    answers = service.predict(as_json(rides.head(count)))
    expected = model.predict(rides.head(count))
    assert [list(answer) for answer in answers] == [ANSWER] * count
    found = pd.DataFrame(answers)
    for name in ANSWER_COLUMNS:
        assert found[name].to_numpy() == pytest.approx(expected[name].to_numpy(), rel=1e-9), name
    assert found["out_of_range"].tolist() == expected["out_of_range"].tolist()
    missing = rides.head(count)["distance_miles"].isna()
    assert found["distance"].tolist() == ["missing" if each else "given" for each in missing]


def test_each_request_alone_gets_the_same_answer(service: Service, rides: pd.DataFrame) -> None:
    asked = as_json(rides.head(8))
    together = service.predict(asked)
    for one, expected in zip(asked, together, strict=True):
        answer = service.predict(one)
        assert list(answer) == ANSWER
        assert answer.pop("request_id") != expected.pop("request_id")
        assert answer == expected  # to the last bit
        assert (answer["service"], answer["model_version"], answer["calibrated"]) == ("sample", "7", True)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"pickup_at": "2023-06-01T12:30:00Z"}, {}),
        ({"pickup_at": "2023-06-01T14:30:00+02:00"}, {}),
        ({"pickup_at": "2023-06-01 08:30"}, {}),
        ({"pickup_at": "2023-06-01"}, {"pickup_at": "2023-06-01T00:00:00"}),
        ({"pickup_at": "2023-05-31T24:00"}, {"pickup_at": "2023-06-01T00:00:00"}),
        ({"pickup_zone": 74.0, "passenger_count": 1.0}, {}),
        ({"service": "sample"}, {}),
        ({"service": None}, {}),
        ({"distance_miles": 2}, {"distance_miles": 2.0}),
        ({"pickup_zone": 10**30}, {"pickup_zone": 0}),
        ({"pickup_zone": None}, {"pickup_zone": 0}),
    ],
)
def test_what_means_the_same_gets_the_same_answer(
    changes: dict[str, Any], same: dict[str, Any], service: Service
) -> None:
    found, expected = (service.predict({**RIDE, **each}) for each in (changes, same))
    assert {**found, "request_id": ""} == {**expected, "request_id": ""}


def test_a_field_that_may_be_left_out_is_unknown(service: Service) -> None:
    needed = {name: RIDE[name] for name in ("pickup_at", "pickup_zone", "dropoff_zone")}
    found, expected = (
        service.predict(each)
        for each in (needed, {**needed, "distance_miles": None, "passenger_count": None})
    )
    assert {**found, "request_id": ""} == {**expected, "request_id": ""}
    assert found["distance"] == "missing"


def test_a_zone_may_have_its_name(service: Service) -> None:
    from mlops.data.zones import of_city

    name = next(name for name, number in of_city().ids.items() if number == RIDE["pickup_zone"])
    found, expected = (service.predict({**RIDE, "pickup_zone": each}) for each in (f"  {name.upper()} ", 74))
    assert {**found, "request_id": ""} == {**expected, "request_id": ""}


# Requests that are refused

INVALID = [
    ({"pickup_at": None}, "pickup_at", TIME, "null"),
    ({"pickup_at": "1900-01-01T00:00"}, "pickup_at", TIME, '"1900-01-01T00:00"'),
    ({"pickup_at": "2008-12-31T23:59"}, "pickup_at", TIME, '"2008-12-31T23:59"'),
    ({"pickup_at": "2100-01-01T00:00"}, "pickup_at", TIME, '"2100-01-01T00:00"'),
    ({"pickup_at": "2009-01-01T00:00Z"}, "pickup_at", TIME, '"2009-01-01T00:00Z"'),  # 2008 in New York
    ({"pickup_at": "9999-12-31T23:59-12:00"}, "pickup_at", TIME, '"9999-12-31T23:59-12:00"'),
    ({"pickup_at": "2023-02-29T08:30"}, "pickup_at", TIME, '"2023-02-29T08:30"'),
    (
        {"pickup_at": "2023-06-01T08:30 America/New_York"},
        "pickup_at",
        TIME,
        '"2023-06-01T08:30 America/New_York"',
    ),
    ({"pickup_at": "1685608200"}, "pickup_at", TIME, '"1685608200"'),
    ({"pickup_at": 1685608200}, "pickup_at", TIME, "1685608200"),
    ({"pickup_at": True}, "pickup_at", TIME, "true"),
    ({"pickup_zone": True}, "pickup_zone", ZONE, "true"),
    ({"pickup_zone": 74.5}, "pickup_zone", ZONE, "74.5"),
    ({"dropoff_zone": math.inf}, "dropoff_zone", ZONE, "Infinity"),
    ({"dropoff_zone": []}, "dropoff_zone", ZONE, "[]"),
    ({"dropoff_zone": "  "}, "dropoff_zone", ZONE, '"  "'),
    ({"dropoff_zone": "JFK\ud800"}, "dropoff_zone", f"{ZONE}; no zone has this name", '"JFK\\ud800"'),
    ({"pickup_zone": "74"}, "pickup_zone", f"{ZONE}; an id is a number, without quotes", '"74"'),
    ({"distance_miles": True}, "distance_miles", MILES, "true"),
    ({"distance_miles": math.nan}, "distance_miles", MILES, "NaN"),
    ({"distance_miles": "2.5"}, "distance_miles", MILES, '"2.5"'),
    ({"distance_miles": -0.1}, "distance_miles", MILES, "-0.1"),
    ({"distance_miles": 1000.1}, "distance_miles", MILES, "1000.1"),
    ({"passenger_count": False}, "passenger_count", PASSENGERS, "false"),
    ({"passenger_count": 100}, "passenger_count", PASSENGERS, "100"),
    ({"passenger_count": -1}, "passenger_count", PASSENGERS, "-1"),
    ({"passenger_count": 1.5}, "passenger_count", PASSENGERS, "1.5"),
    ({"service": "blue"}, "service", RULES["service"], '"blue"'),
    ({"service": "green"}, "service", "one of sample, which are served here", '"green"'),
]


@pytest.mark.parametrize(("changes", "field", "rule", "got"), INVALID)
def test_a_wrong_value_is_named_with_its_rule(
    changes: dict[str, Any], field: str, rule: str, got: str, service: Service
) -> None:
    problem = refused(service, ride(**changes))
    assert (problem["status"], problem["title"]) == (422, "Unprocessable Entity")
    assert problem["errors"] == [{"field": field, "rule": rule, "got": got}]
    assert problem["detail"] == f"{field}: expected {rule}; got {got}"
    listed = refused(service, f"[{ride()},{ride(**changes)}]")
    assert listed["errors"] == [{"position": 1, "field": field, "rule": rule, "got": got}]
    assert listed["detail"] == f"request 1: {problem['detail']}"


@pytest.mark.parametrize("name", ["pickup_at", "pickup_zone", "dropoff_zone"])
def test_a_field_that_is_needed_is_named(name: str, service: Service) -> None:
    body = json.dumps({field: value for field, value in RIDE.items() if field != name})
    problem = refused(service, body)
    assert problem["status"] == 422
    assert problem["errors"] == [{"field": name, "rule": RULES[name], "got": "nothing"}]


def test_an_unknown_field_is_refused_with_the_nearest_one(service: Service) -> None:
    (error,) = refused(service, ride(distance=3.1))["errors"]
    known = ", ".join(RULES)
    assert error == {
        "field": "distance",
        "rule": f"no other field than {known} (is it distance_miles?)",
        "got": "3.1",
    }


def test_an_unknown_zone_gets_near_names(service: Service) -> None:
    from mlops.data.zones import of_city

    name = next(iter(of_city().ids))
    (error,) = refused(service, ride(pickup_zone=f"{name}x"))["errors"]
    assert error["rule"].startswith(f"{ZONE}; no zone has this name, is it {name}")


def test_every_wrong_value_is_named_up_to_twenty(service: Service) -> None:
    problem = refused(service, ride(pickup_at=0, pickup_zone=True, distance_miles="far"))
    assert [error["field"] for error in problem["errors"]] == ["pickup_at", "pickup_zone", "distance_miles"]
    assert problem["detail"] == f"pickup_at: expected {TIME}; got 0 (2 more like it)"
    many = refused(service, f"[{','.join([ride(distance_miles=-1)] * 30)}]")
    assert [error["position"] for error in many["errors"]] == list(range(20))
    assert many["detail"].endswith("got -1 (29 more like it)")


A_REQUEST, LENGTH = "a request (a JSON object) or a list of them", "at least 1 and at most 50 requests"


@pytest.mark.parametrize(
    ("body", "field", "rule", "got"),
    [
        ("[]", "body", LENGTH, "a list of 0"),
        (f"[{','.join(['{}'] * 51)}]", "body", LENGTH, "a list of 51"),
        ("null", "body", A_REQUEST, "null"),
        ("true", "body", A_REQUEST, "true"),
        ('"ride"', "body", A_REQUEST, '"ride"'),
        (
            '{"pickup_at": "2023-06-01", "pickup_at": "2023-06-02"}',
            "pickup_at",
            "each field once",
            "the field twice",
        ),
    ],
)
def test_json_that_is_no_request_is_named(
    body: str, field: str, rule: str, got: str, service: Service
) -> None:
    problem = refused(service, body)
    assert problem["status"] == 422
    assert problem["errors"] == [{"field": field, "rule": rule, "got": got}]


def test_a_list_in_a_list_is_no_request(service: Service) -> None:
    problem = refused(service, f"[{ride()}, [{ride()}], 7]")
    assert [(each["position"], each["field"], each["rule"]) for each in problem["errors"]] == [
        (1, "body", "a request (a JSON object)"), (2, "body", "a request (a JSON object)"),
    ]  # fmt: skip
    assert problem["errors"][1]["got"] == "7"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "body: expected JSON; Expecting value: line 1 column 1 (char 0)"),
        (b"pickup_at=2023-06-01", "body: expected JSON; Expecting value: line 1 column 1 (char 0)"),
        (b'{"pickup_at": }', "body: expected JSON; Expecting value: line 1 column 15 (char 14)"),
        (b"{}{}", "body: expected JSON; Extra data: line 1 column 3 (char 2)"),
        (b'{"pickup_at": "\xff"}', "body: expected UTF-8; byte 15 is none of it"),
        (b"\xef\xbb\xbf{}", "body: expected JSON; Expecting value: line 1 column 1 (char 0)"),
        ("{}".encode("utf-16"), "body: expected UTF-8; byte 0 is none of it"),
        (b"[" * 15_000, "body: expected a JSON object, or a list of them; got far deeper nesting"),
        (b'{"a":' * 3_500, "body: expected a JSON object, or a list of them; got far deeper nesting"),
    ],
)
def test_what_is_no_json_is_a_bad_request(body: bytes, says: str, service: Service) -> None:
    problem = refused(service, body)
    assert (problem["status"], problem["detail"], problem["errors"]) == (400, says, [])


def test_a_number_of_thousands_of_digits_is_refused(service: Service) -> None:
    problem = refused(service, ride(pickup_zone=74).replace("74", "7" * 10_000))
    assert problem["status"] == 400
    assert problem["detail"].startswith("body: expected JSON; Exceeds the limit (4300")


def test_a_body_that_is_too_large_is_not_read(service: Service) -> None:
    problem = refused(service, b" " * 20_001)
    assert problem["status"] == 413
    assert problem["detail"].startswith("body: expected at most 20,000 bytes; got 20001.")


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_another_content_type_is_refused(kind: str, service: Service) -> None:
    problem = refused(service, ride(), content_type=kind)
    assert problem["status"] == 415
    assert (
        problem["detail"]
        == f"content-type: expected application/json; got {repr(kind) if kind else 'nothing'}"
    )


@pytest.mark.parametrize(
    "kind", ["Application/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"']
)
def test_the_content_type_may_be_written_otherwise(kind: str, service: Service) -> None:
    assert send(service, ride(), content_type=kind)[0] == 200


def test_a_compressed_body_is_refused(service: Service) -> None:
    problem = refused(service, ride(), content_encoding="gzip")
    assert (problem["status"], problem["detail"]) == (415, "content-encoding: expected none; got 'gzip'")


# Other methods and paths


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_predict_takes_only_post(method: str, service: Service) -> None:
    status, headers, problem = send(service, method=method)
    assert (status, headers["allow"]) == (405, "POST")
    assert problem["detail"] == f"method: expected POST for /predict; got {method}"


def test_a_get_has_a_head(service: Service) -> None:
    for path in ("/model", "/healthz", "/readyz", "/metrics", "/monitoring", "/openapi.json", "/docs"):
        assert send(service, path=path, method="HEAD")[::2] == (200, b""), path
        status, headers, problem = send(service, path=path, method="POST")
        assert (status, headers["allow"]) == (405, "GET, HEAD")
        assert problem["detail"] == f"method: expected GET or HEAD for {path}; got POST"
    assert send(service, method="HEAD")[::2] == (405, b"")


@pytest.mark.parametrize("path", ["/rider", "/predict/", "/Predict", "/models", "/../etc/passwd"])
def test_an_unknown_path_is_a_problem(path: str, service: Service) -> None:
    problem = refused(service, b"", path=path, method="GET")
    assert problem["status"] == 404
    assert problem["detail"].startswith("path: expected one of /predict, /zones, /rides, /model, /healthz, ")
    assert problem["detail"].endswith(f"; got {path}")


# What the service says about itself


def test_it_says_which_version_answers(service: Service) -> None:
    (report,) = service.get("/model")["services"]
    model = report["model"]
    assert (report["service"], model["name"], model["version"]) == ("sample", "trip-duration-sample", "7")
    assert (model["run_key"], model["alias"], model["test_rmse"]) == ("ab" * 32, "champion", 4.035209)
    assert (model["trained_on"], model["tested_on"]) == ("2022-07 to 2023-05", "2023-06")
    assert model["registered_at"] == "2026-11-27T20:04:00Z"
    assert model["loaded_at"].endswith("Z")


def test_it_is_alive_and_ready(service: Service) -> None:
    assert service.get("/healthz") == {"status": "alive"}
    assert service.get("/readyz") == {"status": "ready", "services": ["sample"]}


def test_answers_are_counted(service: Service) -> None:
    def rides() -> float:
        page = requests.get(f"{service.url}/metrics", timeout=30).text
        counted = [line for line in page.splitlines() if line.startswith("trip_duration_rides_total{")]
        assert len(counted) <= 1
        return float(counted[0].split()[-1]) if counted else 0.0

    before = rides()
    service.predict([RIDE] * 3)
    service.predict(RIDE)
    assert rides() == before + 4


def test_the_description_is_for_people_too(service: Service) -> None:
    page = requests.get(f"{service.url}/docs", timeout=30)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    for name in [*RULES, *ANSWER]:
        assert f"<code>{name}" in page.text


def test_a_request_keeps_the_id_that_its_client_gave_it(service: Service) -> None:
    headers = {"X-Request-ID": "order-4711-a"}
    answer = requests.post(f"{service.url}/predict", json=RIDE, headers=headers, timeout=30)
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "order-4711-a"
