"""A list in the usual form is read as `questions` reads it; any other list is left to it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.serving import plain_lists, questions
from mlops.serving.problems import ProblemError
from mlops.serving.questions import RULES, Asked

RIDE = {"pickup_at": "2023-06-01T08:30:00", "pickup_zone": 74, "dropoff_zone": 75}
FULL = {**RIDE, "distance_miles": 2.5, "passenger_count": 1, "service": "green"}
ONE = json.dumps([FULL])
MOST = 5


def plain(body: str | bytes) -> Asked | None:
    return plain_lists.read(body if isinstance(body, bytes) else body.encode(), MOST)


def arrays(asked: Asked) -> dict[str, Any]:
    """What the model reads of the columns."""
    found = {name: np.array(asked.columns[name], np.float64) for name in REQUEST_COLUMNS[1:]}
    times: Any = asked.columns["pickup_at"]
    return {**found, "pickup_at": pd.DatetimeIndex(times).to_numpy(), "service": asked.columns["service"]}


def same(body: str | bytes) -> bool:
    """Whether the body is in the usual form; then both ways must read the same."""
    found = plain(body)
    if found is None:
        return False
    expected = questions.read(body if isinstance(body, bytes) else body.encode(), MOST)
    assert found.is_list
    assert expected.is_list
    assert list(found.columns) == list(expected.columns) == list(RULES)
    for name, values in arrays(expected).items():
        np.testing.assert_array_equal(arrays(found)[name], values, strict=True)
        assert [one is None for one in found.columns[name]] == [one is None for one in expected.columns[name]]
    return True


@pytest.mark.parametrize(
    "rides",
    [
        [RIDE],
        [FULL] * MOST,
        [RIDE, {**RIDE, "distance_miles": None}, {**RIDE, "distance_miles": 0, "passenger_count": 99}],
        [{**RIDE, "distance_miles": 1000, "passenger_count": 0}, {**RIDE, "passenger_count": 2.0}],
        [{**RIDE, "pickup_zone": None, "dropoff_zone": 74.0}, {**RIDE, "pickup_zone": 0, "dropoff_zone": -1}],
        [{**RIDE, "pickup_zone": 2**31 - 1, "dropoff_zone": -(2**31)}],
        [{**RIDE, "pickup_at": text} for text in ("2009-01-01T00:00:00", "2099-12-31T23:59:59")],
        [{**RIDE, "pickup_at": text} for text in ("2024-02-29T08:30", "2023-03-12T02:30")],
        [dict(reversed(FULL.items())), FULL],
        [{**RIDE, "service": None}, RIDE],
    ],
)
def test_the_usual_form_is_read_by_columns(rides: list[dict[str, Any]]) -> None:
    assert same(json.dumps(rides))
    assert same(json.dumps(rides, indent=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pickup_zone", "JFK Airport"), ("dropoff_zone", "75"), ("pickup_zone", True), ("pickup_zone", 74.5),
        ("pickup_zone", 2**31), ("dropoff_zone", -(2**31) - 1), ("pickup_zone", 10**400), ("pickup_zone", [74]),
        ("distance_miles", -0.1), ("distance_miles", 1000.1), ("distance_miles", float("nan")),
        ("distance_miles", float("inf")), ("distance_miles", "2.5"), ("distance_miles", False),
        ("passenger_count", 100), ("passenger_count", -1), ("passenger_count", 1.5), ("passenger_count", {}),
        ("service", "lyft"), ("service", "yellow"), ("service", []), ("service", ""), ("tip", 1.5), ("", 1),
        ("pickup_at", "2023-06-01"), ("pickup_at", "2023-06-01T08:30"), ("pickup_at", "2023-06-01 08:30:00"),
        ("pickup_at", "2023-06-01T08:30:00Z"), ("pickup_at", "2023-06-01T24:00:00"), ("pickup_at", None),
        ("pickup_at", "2023-02-30T08:30:00"), ("pickup_at", "2023-06-01T08:30:60"), ("pickup_at", 1685608200),
        ("pickup_at", "2023-W22-4T08:30:00"), ("pickup_at", "2023-06-01T08:30.00"), ("pickup_at", "NaT"),
        ("pickup_at", "2008-12-31T23:59:59"), ("pickup_at", "2100-01-01T00:00:00"),
        ("pickup_at", "2023-06-0¹T08:30:00"), ("pickup_at", "2023-06-01T08:30:+5"),
        ("pickup_at", "2023-06-01T08:30:0/"), ("pickup_at", "2023-06-01T08:3::00"),
    ],
)  # fmt: skip
def test_any_other_form_is_left_to_the_other_reader(name: str, value: Any) -> None:
    for first in (True, False):
        rides = [{**FULL, name: value}, FULL]
        assert plain(json.dumps(rides if first else rides[::-1])) is None


@pytest.mark.parametrize(
    "body",
    [
        "", "[", "[]", "{}", "null", "[1]", "[[]]", '["a"]', "[null]", "[{}]", "[" * 100_000, ONE[1:-1], f" {ONE}",
        f"\ufeff{ONE}", f"{ONE}]", ONE[:-2], json.dumps([FULL, None]), json.dumps([FULL] * (MOST + 1)),
        ONE.replace("2.5", "02.5"), ONE.replace("2.5", "1e999"), ONE.replace("pickup_at", "pickup\\u005fat"),
        ONE.encode("utf-16"), ONE.encode().replace(b"green", b"gr\xffen"),
        *(json.dumps([FULL, {key: FULL[key] for key in FULL if key != name}]) for name in RIDE),
    ],
)  # fmt: skip
def test_any_other_body_is_left_to_the_other_reader(body: str | bytes) -> None:
    assert plain(body) is None


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("value", ["null", "1", '"green"', '"\\u0041"', '"2023-06-01T08:30:00"', '""'])
def test_a_field_that_comes_twice_is_refused(name: str, value: str) -> None:
    whole = json.dumps(FULL)
    for twice in (f'{whole[:-1]}, "{name}": {value}}}', f'{{"{name}": {value}, {whole[1:]}'):
        body = f"[{whole}, {twice}]"
        assert plain(body) is None
        with pytest.raises(ProblemError, match=f"{name}: expected each field once; got the field twice"):
            questions.read(body.encode(), MOST)


NUMBERS = st.none() | st.integers(-2, 300) | st.floats(0, 120) | st.sampled_from([True, "74", 1000, -0.0])
TIMES = st.datetimes().map(lambda at: at.isoformat(timespec="seconds")) | st.text(
    "0123456789-:TZ. ", max_size=19
)
RIDES = st.fixed_dictionaries(
    {"pickup_at": TIMES | st.just(RIDE["pickup_at"]), "pickup_zone": NUMBERS, "dropoff_zone": NUMBERS},
    optional={
        "distance_miles": NUMBERS,
        "passenger_count": NUMBERS,
        "service": st.sampled_from(["green", None]),
    },
)


@given(st.lists(RIDES, min_size=1, max_size=3))
@example([{**FULL, "distance_miles": 0.1 + 0.2}])
def test_whatever_is_read_by_columns_is_read_the_same(rides: list[dict[str, Any]]) -> None:
    same(json.dumps(rides))


@given(st.decimals(0, 1000, places=30))
def test_numbers_with_many_digits_are_the_same_number(miles: Any) -> None:
    assert same(ONE.replace("2.5", f"{miles:f}"))


@given(st.data())
def test_a_body_with_one_character_changed_is_read_the_same_or_left(data: st.DataObject) -> None:
    body = bytearray(json.dumps([FULL, RIDE]).encode())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.sampled_from(b'0123456789"{}[],: -.eT\\n') | st.integers(0, 255))
    same(bytes(body))
