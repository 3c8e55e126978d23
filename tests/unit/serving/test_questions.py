"""What a request may be, below HTTP: limits, zones of time, and the description of each field."""

from __future__ import annotations

import json
import time
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mlops.model.request_columns import as_columns, read_requests
from mlops.serving import questions
from mlops.serving.problems import ProblemError
from mlops.serving.questions import FIRST_YEAR, LAST_YEAR, RULES, Question, read, wall_clock

RIDE = {"pickup_at": "2023-06-01T08:30:00", "pickup_zone": 74, "dropoff_zone": 75}
SCHEMA = Draft202012Validator(Question.model_json_schema())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


def one(**changes: Any) -> Any:
    """Values of a request's fields."""
    columns = read(json.dumps({**RIDE, **changes}).encode(), most=1).columns
    return SimpleNamespace(**{name: value for name, (value,) in columns.items()})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2009-01-01", datetime(2009, 1, 1)),
        ("2099-12-31T23:59:59.999999", datetime(2099, 12, 31, 23, 59, 59, 999_999)),
        ("2008-12-31T23:00-08:00", datetime(2009, 1, 1, 2)),  # 2009 in New York
        ("2023-03-12T06:59Z", datetime(2023, 3, 12, 1, 59)),  # the last minute of standard time
        ("2023-03-12T07:00Z", datetime(2023, 3, 12, 3)),
        ("2023-11-05T05:30Z", datetime(2023, 11, 5, 1, 30)),
        ("2023-11-05T06:30Z", datetime(2023, 11, 5, 1, 30)),  # an hour later, on the same clock
        ("2023-06-01t08:30:15.5z", datetime(2023, 6, 1, 4, 30, 15, 500_000)),
        ("2023-06-01 08:30:15.123456789", datetime(2023, 6, 1, 8, 30, 15, 123_456)),
        ("2023-06-01T24:00", datetime(2023, 6, 2)),
    ],
)
def test_a_time_is_new_yorks_wall_clock(text: str, expected: datetime) -> None:
    assert wall_clock(text) == expected
    assert one(pickup_at=text).pickup_at == expected


@given(
    st.datetimes(datetime(FIRST_YEAR, 1, 2), datetime(LAST_YEAR, 12, 30)),
    st.sampled_from(["", "Z", "-04:00", "+05:45", "-12:00"]),
)
def test_a_time_means_what_it_means_to_the_model(at: datetime, offset: str) -> None:
    text = at.isoformat() + offset
    request = {**RIDE, "pickup_at": text, "distance_miles": None}
    assert np.datetime64(wall_clock(text), "us") == read_requests(as_columns(request))["pickup_at"][0]


@pytest.mark.parametrize(
    "text",
    [
        "", "2023", "2023-06", "20230601", "2023-W22-4", "2023-152", "2023-06-01T08", "2023-06-01T0830", "08:30",
        "2023-06-01T08:30:60", "2023-06-01T25:00", "2023-13-01", "2023-06-01T08:30+5", "2023-06-01T08:30\n",
        "٢٠٢٣-06-01", "2023-06-01T08:30:00,5", "0001-01-01T00:00+14:00", "9999-12-31T24:00",
        "now",
    ],
)  # fmt: skip
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(ValueError):
        wall_clock(text)


@given(st.dictionaries(st.sampled_from([*RULES, "other"]), SCALARS))
def test_the_description_allows_what_is_answered(changes: dict[str, Any]) -> None:
    """What the schema forbids is refused; the schema cannot say all, such as days that no month has."""
    body = {**RIDE, **changes}
    try:
        read(json.dumps(body).encode(), most=1)
    except ProblemError as problem:
        assert problem.status in (400, 422)
        assert problem.errors or problem.status == 400
    else:
        assert SCHEMA.is_valid(body), body


@given(st.binary(max_size=40))
def test_any_bytes_get_an_answer_or_a_problem(body: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        read(body, most=1)
    assert caught.value.status in (400, 422)


@given(
    st.recursive(
        SCALARS, lambda each: st.lists(each) | st.dictionaries(st.text(max_size=3), each), max_leaves=5
    )
)
def test_any_json_gets_a_problem_that_names_what_is_wrong(value: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        read(json.dumps(value).encode(), most=3)
    assert caught.value.status == 422
    assert all(len(error.got) <= 100 for error in caught.value.errors)


def test_a_number_beyond_all_zones_is_no_zone() -> None:
    assert one(pickup_zone=2**31 - 1).pickup_zone == 2**31 - 1
    assert one(pickup_zone=-(2**31)).pickup_zone == -(2**31)
    assert one(pickup_zone=2**31, dropoff_zone=-1e300).pickup_zone == questions.NO_ZONE
    assert one(pickup_zone=2**31, dropoff_zone=-1e300).dropoff_zone == questions.NO_ZONE


def test_a_requests_type_survives() -> None:
    found = one(distance_miles=3, passenger_count=2.0, pickup_zone="JFK Airport")
    assert (found.distance_miles, found.passenger_count, found.pickup_zone) == (3.0, 2, "JFK Airport")
    assert type(found.passenger_count) is int


def test_every_field_has_its_rule_a_unit_and_an_example() -> None:
    described = SCHEMA.schema["properties"]
    assert list(described) == list(RULES)
    assert [name for name in described if RULES[name] not in described[name]["description"]] == []
    assert [name for name in described if not described[name]["examples"]] == []
    assert SCHEMA.schema["required"] == ["pickup_at", "pickup_zone", "dropoff_zone"]


def test_a_list_is_remembered_as_one() -> None:
    asked = read(json.dumps([RIDE]).encode(), most=1)
    assert (asked.is_list, len(asked.columns["pickup_at"])) == (True, 1)
    assert not read(json.dumps(RIDE).encode(), most=1).is_list
    with pytest.raises(ProblemError, match="at least 1 and at most 1 requests; got a list of 2"):
        read(json.dumps([RIDE, RIDE]).encode(), most=1)


@pytest.mark.parametrize(
    "body",
    [
        "{" + ",".join(f'"{n}":1' for n in range(90_000)) + ',"89999":1}',  # one name twice, at the end
        "{" + ",".join(f'"distance_mile{n}":1' for n in range(40_000)) + "}",
        json.dumps([{**RIDE, "other": 1}] * 15_000),
    ],
    ids=["twice", "unknown names", "many errors"],
)
def test_a_mebibyte_of_mistakes_takes_no_minutes(body: str) -> None:
    began = time.process_time()
    with pytest.raises(ProblemError) as caught:
        read(body.encode(), most=15_000)
    assert time.process_time() - began < 10
    assert len(caught.value.errors) <= 20


def test_nesting_up_to_the_limit_of_python_is_a_problem() -> None:
    statuses = {}
    for depth in range(900, 1000, 3):
        with pytest.raises(ProblemError) as caught:
            read(json.dumps(RIDE).replace("74", "[" * depth + "]" * depth).encode(), most=1)
        statuses[caught.value.status] = caught.value
    assert set(statuses) <= {400, 422}
    assert 422 in statuses
