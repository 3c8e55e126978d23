"""A record survives its JSON, fits into a tag, and what is no record counts as missing."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.monitored import FINDING, alarm, record

from mlops.registry import monitoring_record
from mlops.registry.monitoring_record import LONGEST, Finding, Record, from_json, parsed, to_json

texts = st.text(max_size=30)
numbers = st.floats(allow_infinity=False)
findings = st.builds(Finding, texts, texts, numbers, st.booleans(), numbers)
records = st.builds(
    Record,
    st.just("2023-11"), texts, texts, texts, st.integers(0, 10**9), st.dictionaries(texts, numbers, max_size=5),
    st.booleans(), st.lists(texts, max_size=3).map(tuple), st.lists(findings, max_size=3).map(tuple),
    st.lists(st.tuples(texts, numbers, numbers), max_size=3).map(tuple),
    st.sampled_from(monitoring_record.ACTIONS), texts, texts, texts, st.lists(texts, max_size=3).map(tuple),
)  # fmt: skip


@given(records)
def test_a_record_survives_its_json(made: Record) -> None:
    text = to_json(made)
    json.loads(text, parse_constant=pytest.fail)  # no NaN, which only Python reads
    assert repr(from_json(text)) == repr(made)  # as text, because NaN is not equal to itself


def test_numbers_that_are_not_finite_become_nan() -> None:
    found = from_json(to_json(record(measured={"rmse": math.inf, "bias": math.nan, "mae": 2.5})))
    assert found and math.isnan(found.value("rmse")) and math.isnan(found.value("bias"))
    assert found.value("mae") == 2.5 and math.isnan(found.value("no such name"))


def test_long_texts_are_shortened_until_they_fit_and_values_stay() -> None:
    long = [Finding("new_zone", f"{place} {'zone ' * 80}", 0.5, True, 3.0) for place in range(40)]
    made = alarm(
        findings=tuple(long),
        slices=tuple((f"{place} {'cell ' * 40}", 0.5, 0.1) for place in range(60)),
        done="done " * 400,
        notes=tuple("note " * 100 for _ in range(30)),
        causes=tuple(f"cause_{place}" for place in range(30)),
    )
    text = to_json(made)
    found = from_json(text)
    assert found and LONGEST * 0.4 < len(text) <= LONGEST
    assert found.measured == made.measured and found.causes == made.causes[:12]
    assert found.findings[0].text[:6] == "0 zone" and found.slices[0][0][:6] == "0 cell"
    assert 0 < len(found.findings) < 40 and found.done[:9] == "done done"


def test_what_fits_is_not_changed() -> None:
    made = alarm(findings=(FINDING,) * 10, done="Version 6 is champion again.\nIts line end stays.")
    assert from_json(to_json(made)) == made


def test_too_many_values_are_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"^record of 2023-10: expected at most 4500 characters of JSON; got \d+, "
    ):
        to_json(alarm(measured={f"value_{place}": 1.5 for place in range(500)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"month": "2023-13"}, {"month": "0001-01"},
        {"month": " 2023-11"}, {"month": "２０２３-11"}, {"month": None}, {"trips": -1},
        {"trips": True}, {"trips": 1.5}, {"alarm": "no"}, {"alarm": 0}, {"measured": {"rmse": "4"}},
        {"measured": {"rmse": True}}, {"measured": []}, {"causes": "mix"}, {"causes": [1]}, {"action": "delete"},
        {"slices": [["cell", 1.0]]}, {"slices": [["cell", "1", 0.5]]}, {"findings": [{"cause": "mix"}]},
        {"findings": {"cause": "mix"}}, {"notes": [None]}, {"champion": 7}, {"done": None},
    ],
)  # fmt: skip
def test_a_changed_record_counts_as_missing(changes: dict[str, Any]) -> None:
    fields = json.loads(to_json(record("2023-11")))
    assert from_json(json.dumps(fields)) is not None
    assert from_json(json.dumps(fields | changes)) is None


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "{" * 9, "[" * 100_000, '{"month": NaN}', "half a rec"]
)
def test_what_is_no_record_counts_as_missing(text: str) -> None:
    assert from_json(text) is None


def test_infinity_in_a_text_is_no_number() -> None:
    text = to_json(record(measured={"rmse": 4.25}))
    assert (
        from_json(text.replace("4.25", "1e999")) is None
        and from_json(text.replace("4.25", "Infinity")) is None
    )


def test_a_record_of_a_newer_release_is_read() -> None:
    fields = json.loads(to_json(record())) | {"weather": "rain"}
    assert from_json(json.dumps(fields)) == record()


def test_records_are_in_the_order_of_their_months_without_those_that_cannot_be_read() -> None:
    texts = {"2023-10": "{}", "2023-09": to_json(record("2023-09")), "2023-08": to_json(record("2023-08"))}
    texts["2023-11"] = texts["2023-08"]  # a record under another month's name
    found, unreadable = parsed(texts)
    assert [each.month for each in found] == ["2023-08", "2023-09"] and unreadable == ("2023-10", "2023-11")
