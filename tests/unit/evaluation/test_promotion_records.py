"""Whatever the evidence, there is a verdict, and its record gives the same verdict again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.contests import CHAMPION, DAYS, USUAL, gathered, with_intervals

from mlops.config import PROJECT
from mlops.errors import MlopsError
from mlops.evaluation.comparison import Evidence, Incumbent
from mlops.evaluation.promotion import Limits, Record, Verdict, decide, replay

sums = st.floats(0) | st.sampled_from([0.0, math.nan, math.inf, 1e308])


rows = st.tuples(st.integers(0, 9000), sums, sums, sums)


month = st.sampled_from(["2023-04", "2022-11", "2023-05", "", "soon"])


ODD = ["trips", "challenger", "champion", "pair_median"]
contender = st.sampled_from(["challenger", "champion"])
measured = st.lists(st.tuples(contender, st.integers(0, 9000), *[st.floats()] * len(USUAL)), max_size=6)


@st.composite
def odd_evidence(draw: st.DrawFn) -> Evidence:
    """Anything that the types allow."""
    days, table = (pd.DataFrame(draw(st.lists(rows, max_size=9)), columns=ODD) for _ in range(2))
    missing = draw(st.sampled_from([["champion"], ["pair_median"], []]))
    intervals = pd.DataFrame(draw(measured), columns=["contender", "trips", *USUAL])
    incumbent = st.builds(Incumbent, st.just("1"), month, month, st.sampled_from(["", "no such file"]))
    return Evidence(
        "2023-05",
        days.assign(day=DAYS[: len(days)]).drop(columns=missing),
        table.assign(slice="pair", value=DAYS[: len(table)]).drop(columns=missing),
        draw(st.none() | incumbent),
        draw(st.booleans()),
        *draw(st.tuples(st.floats(), st.floats(), st.integers(0, 10**12), st.floats())),
        intervals.assign(day=DAYS[: len(intervals)]),
        draw(st.integers(0, 3)),
    )


@settings(max_examples=60)
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
    by_day = {"interval_score_95": 22.0 + np.arange(len(evidence.days)) % 5}
    evidence = with_intervals(evidence, challenger=by_day, champion={})
    tables = {
        name: (frame := getattr(evidence, name)).iloc[random.sample(range(len(frame)), len(frame))]
        for name in ("days", "slices", "intervals")
    }
    limits = Limits(max_slice_regression=0.02, min_slice_rows=100)

    assert decide(replace(evidence, **tables), limits) == decide(evidence, limits)


def test_a_record_keeps_every_digit_and_the_limits() -> None:
    evidence, limits = gathered(4.0, 5.0), Limits(min_improvement=0.1 + 0.2)
    means = {"interval_score_80": 1 / 3 + np.arange(len(evidence.days))}
    evidence = with_intervals(evidence, challenger=means, champion={})
    found = Record.from_json(Record(evidence, limits, decide(evidence, limits)).to_json())

    pd.testing.assert_frame_equal(found.evidence.days, evidence.days, check_exact=True)
    pd.testing.assert_frame_equal(found.evidence.slices, evidence.slices, check_exact=True)
    pd.testing.assert_frame_equal(found.evidence.intervals, evidence.intervals, check_exact=True)
    assert found.evidence.champion == CHAMPION
    assert found.limits == limits
    assert found.verdict == decide(evidence, limits)
    assert not replay(Record(evidence, limits, Verdict("promote", (), {})).to_json()).promote


def test_a_record_without_intervals_gives_the_verdict_that_it_has() -> None:
    """It was written before 2026-12: today's rules about intervals have nothing to say about it."""
    text = (PROJECT / "tests" / "fixtures" / "verdict_before_ranges.json").read_text(encoding="utf-8")

    assert "intervals" not in json.loads(text)["evidence"]
    assert "max_coverage_error" not in json.loads(text)["limits"]
    assert replay(text) == Record.from_json(text).verdict == decide(gathered(4.0, 5.0))
    assert replay(text).promote


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"evidence": {}, "limits": {}, "verdict": {}}', "null"])
def test_other_text_is_no_record(text: str) -> None:
    with pytest.raises(MlopsError) as caught:
        replay(text)

    assert str(caught.value).startswith(
        f"verdict: expected JSON with evidence, limits and verdict; got {text[:60]!r} ("
    )
    assert str(caught.value).endswith("Take verdict.json from the run that judged the model.")
