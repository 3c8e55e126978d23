"""Whatever the evidence, there is a verdict, and its record gives the same verdict again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.contests import CHAMPION, DAYS, gathered

from mlops.errors import MlopsError
from mlops.evaluation.comparison import Evidence, Incumbent
from mlops.evaluation.promotion import Limits, Record, Verdict, decide, replay

sums = st.floats(0) | st.sampled_from([0.0, math.nan, math.inf, 1e308])


rows = st.tuples(st.integers(0, 9000), sums, sums, sums)


month = st.sampled_from(["2023-04", "2022-11", "2023-05", "", "soon"])


ODD = ["trips", "challenger", "champion", "pair_median"]


@st.composite
def odd_evidence(draw: st.DrawFn) -> Evidence:
    """Anything that the types allow."""
    days, table = (pd.DataFrame(draw(st.lists(rows, max_size=9)), columns=ODD) for _ in range(2))
    missing = draw(st.sampled_from([["champion"], ["pair_median"], []]))
    incumbent = st.builds(Incumbent, st.just("1"), month, month, st.sampled_from(["", "no such file"]))
    return Evidence(
        "2023-05",
        days.assign(day=DAYS[: len(days)]).drop(columns=missing),
        table.assign(slice="pair", value=DAYS[: len(table)]).drop(columns=missing),
        draw(st.none() | incumbent),
        draw(st.booleans()),
        *draw(st.tuples(st.floats(), st.floats(), st.integers(0, 10**12), st.floats())),
    )


@given(odd_evidence())
def test_whatever_the_evidence_there_is_a_verdict_with_reasons_and_it_can_be_replayed(
    evidence: Evidence,
) -> None:
    limits = Limits(min_slice_rows=0)
    verdict = decide(evidence, limits)
    text = Record(evidence, limits, verdict).to_json()

    assert verdict.outcome in ("promote", "keep", "refuse")
    assert verdict.reasons
    assert all(math.isfinite(value) for value in verdict.measured.values())
    assert replay(text) == verdict
    assert Record.from_json(text).to_json() == text
    json.loads(text, parse_constant=pytest.fail)  # NaN and Infinity are not JSON


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_the_order_of_days_and_slices_does_not_matter(random: Any) -> None:
    evidence = gathered(4.2, 4.0)
    days, table = (
        frame.iloc[random.sample(range(len(frame)), len(frame))] for frame in (evidence.days, evidence.slices)
    )
    limits = Limits(max_slice_regression=0.02, min_slice_rows=100)

    assert decide(replace(evidence, days=days, slices=table), limits) == decide(evidence, limits)


def test_a_record_keeps_every_digit_and_the_limits() -> None:
    evidence, limits = gathered(4.0, 5.0), Limits(min_improvement=0.1 + 0.2)
    found = Record.from_json(Record(evidence, limits, decide(evidence, limits)).to_json())

    pd.testing.assert_frame_equal(found.evidence.days, evidence.days, check_exact=True)
    pd.testing.assert_frame_equal(found.evidence.slices, evidence.slices, check_exact=True)
    assert found.evidence.champion == CHAMPION
    assert found.limits == limits
    assert found.verdict == decide(evidence, limits)
    assert not replay(Record(evidence, limits, Verdict("promote", (), {})).to_json()).promote


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"evidence": {}, "limits": {}, "verdict": {}}', "null"])
def test_other_text_is_no_record(text: str) -> None:
    with pytest.raises(MlopsError) as caught:
        replay(text)

    assert str(caught.value).startswith(
        f"verdict: expected JSON with evidence, limits and verdict; got {text[:60]!r} ("
    )
    assert str(caught.value).endswith("Take verdict.json from the run that judged the model.")
