"""What a challenger's intervals do to its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap
from support.contests import ACTUAL, CHAMPION, NOISE, REQUESTS, USUAL, judged, with_intervals

from mlops.evaluation.comparison import Evidence, gather
from mlops.evaluation.interval_rules import worse_scores
from mlops.evaluation.metrics import interval_metrics
from mlops.evaluation.promotion import Limits, decide

OLD = replace(CHAMPION, test_month="2023-01", last_month_learnt="2022-12")
BETTER = judged(4.0, 5.0)


def against(means: Mapping[str, Any], evidence: Evidence = BETTER) -> Evidence:
    """A challenger with these means against a champion with the usual ones."""
    return with_intervals(evidence, challenger=means, champion={})


# --- Interval score ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "score"), [("80", 14.5), ("95", 22.5)])
def test_a_challenger_with_a_significantly_worse_score_is_kept(level: str, score: float) -> None:
    verdict = decide(against({f"interval_score_{level}": score}))

    assert verdict.outcome == "keep"
    assert verdict.reasons == (
        f"the interval score {score:.4f} of the {level} % ranges is significantly above the champion's "
        f"{score - 0.5:.4f}: the 95 % interval of the gain is -0.5000 to -0.5000 minutes, but must not be all "
        "below zero",
    )
    assert verdict.measured[f"interval_score_{level}"] == pytest.approx(score)
    assert verdict.measured[f"interval_score_{level}_champion"] == pytest.approx(score - 0.5)


@pytest.mark.parametrize("score", [13.0, 14.0])
def test_a_score_that_is_not_worse_prevents_nothing(score: float) -> None:
    assert decide(against({"interval_score_80": score})).reasons == decide(BETTER).reasons
    assert decide(BETTER).promote


def test_a_score_that_is_worse_by_chance_prevents_nothing() -> None:
    """On average it is worse, because of a few days."""
    unlucky = np.where(np.arange(30) % 10 == 0, 16.0, 13.95)
    verdict = decide(against({"interval_score_80": unlucky}))

    assert verdict.promote
    low, high = (verdict.measured[f"interval_score_80_gain_{end}"] for end in ("low", "high"))
    assert low < 14.0 - unlucky.mean() < 0 < high


def test_the_interval_of_the_gain_is_that_of_another_bootstrap_over_days() -> None:
    rng = np.random.default_rng(0)
    trips, hard = rng.integers(500, 2000, 30), rng.normal(14.0, 2.0, 30)  # hard days are hard for both
    days = BETTER.days.assign(trips=trips)
    scores = {"challenger": hard, "champion": hard + rng.normal(0.1, 0.4, 30)}
    evidence = with_intervals(
        replace(BETTER, days=days), **{name: {"interval_score_80": mean} for name, mean in scores.items()}
    )

    def gain(trips: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> float:
        return (champion.sum() - challenger.sum()) / trips.sum()

    sums = (trips, scores["champion"] * trips, scores["challenger"] * trips)
    expected = bootstrap(
        sums, gain, paired=True, vectorized=False, method="percentile", n_resamples=4000, rng=rng
    ).confidence_interval
    mean = gain(*sums)
    for found, other in zip(evidence.score_gain_interval("80"), expected, strict=True):
        assert found - mean == pytest.approx(other - mean, rel=0.15)


@pytest.mark.parametrize("champion", [{}, {"champion": {"interval_score_80": math.nan}}])
def test_without_the_champions_intervals_there_is_no_comparison(champion: dict[str, Any]) -> None:
    verdict = decide(with_intervals(BETTER, challenger={"interval_score_80": 99.0}, **champion))

    assert verdict.promote
    assert verdict.measured["interval_score_80"] == pytest.approx(99.0)
    assert "interval_score_80_gain_high" not in verdict.measured


# --- Coverage ------------------------------------------------------------------------------------------------

MISSES = {
    "80 narrow": ({"coverage_80": 0.7391}, "80 % ranges contain 73.91%", "75.00% to 85.00%"),
    "80 wide": ({"coverage_80": 0.8709}, "80 % ranges contain 87.09%", "75.00% to 85.00%"),
    "95 narrow": ({"coverage_95": 0.89}, "95 % ranges contain 89.00%", "90.00% to 100.00%"),
}


@pytest.mark.parametrize(("means", "contain", "limits"), MISSES.values(), ids=MISSES)
def test_a_challenger_whose_coverage_is_off_is_kept(
    means: dict[str, float], contain: str, limits: str
) -> None:
    verdict = decide(against(means))

    assert verdict.outcome == "keep"
    assert verdict.reasons == (f"the {contain} of the trips, but should contain {limits}",)
    assert decide(against(means), Limits(max_coverage_error=0.08)).promote
    assert decide(with_intervals(BETTER, challenger=means)).outcome == "keep"  # the champion has no intervals


def test_a_challenger_whose_coverage_is_off_without_a_distance_is_kept() -> None:
    asked = {"challenger": {}, "without_distance": {"coverage_95": 0.875, "interval_score_95": 99.0}}
    verdict = decide(with_intervals(BETTER, champion={}, **asked))

    assert verdict.outcome == "keep"
    assert verdict.reasons == (
        "without a distance, the 95 % ranges contain 87.50% of the trips, but should contain 90.00% to 100.00%",
    )
    assert verdict.measured["coverage_95"] == pytest.approx(0.95)
    assert verdict.measured["without_distance_coverage_95"] == pytest.approx(0.875)


def test_a_coverage_at_the_limit_passes() -> None:
    for means in (
        {"coverage_80": 0.7501},
        {"coverage_80": 0.8499},
        {"coverage_95": 0.9001},
        {"coverage_95": 1.0},
    ):
        assert decide(against(means)).promote


NO_CHAMPION = {
    "first": judged(4.0),
    "lost": judged(4.0, incumbent=replace(CHAMPION, error="no such file")),
    "old": judged(4.0, 5.0, OLD),
    "old, and as good": judged(4.0, 4.0, OLD),
}


@pytest.mark.parametrize("evidence", NO_CHAMPION.values(), ids=NO_CHAMPION)
def test_coverage_prevents_nothing_without_a_champion_that_could_stay(evidence: Evidence) -> None:
    """The verdict says it all the same."""
    verdict = decide(with_intervals(evidence, challenger={"coverage_80": 0.7}))

    assert verdict.promote
    assert verdict.reasons == (
        *decide(evidence).reasons,
        "the 80 % ranges contain 70.00% of the trips, but should contain 75.00% to 85.00%",
    )


def test_an_old_champion_stays_if_the_score_is_significantly_worse() -> None:
    verdict = decide(against({"interval_score_95": 23.0, "coverage_95": 0.8}, judged(4.0, 5.0, OLD)))

    assert verdict.outcome == "keep"
    assert [reason[:22] for reason in verdict.reasons] == ["the interval score 23."]


# --- With other reasons ---------------------------------------------------------------------------------------


def test_the_verdict_has_the_reasons_of_the_errors_and_of_the_intervals() -> None:
    means = {"interval_score_80": 15.0, "coverage_80": 0.7, "interval_score_95": 23.0, "coverage_95": 0.8}
    kept, refused = (
        decide(against(means, evidence))
        for evidence in (judged(4.0, 4.0), replace(judged(4.0, 5.0), finite=False))
    )

    assert (kept.outcome, refused.outcome) == ("keep", "refuse")
    assert [reason[:20] for reason in kept.reasons] == [
        "RMSE 4.0000 is 0.00%", "the 95 % interval of", "the interval score 1", "the interval score 2",
        "the 80 % ranges cont", "the 95 % ranges cont",
    ]  # fmt: skip
    assert refused.reasons == ("some of the predictions are not finite", *kept.reasons[2:])


# --- Evidence -------------------------------------------------------------------------------------------------


def answers(scale: float, half_80: float = 5.0, half_95: float = 8.0) -> pd.DataFrame:
    """Predictions for `REQUESTS` with intervals of equal width."""
    minutes = ACTUAL + scale * NOISE
    ends = {"low_80": -half_80, "high_80": half_80, "low_95": -half_95, "high_95": half_95}
    return pd.DataFrame(
        {"duration_minutes": minutes, **{f"{name}_minutes": minutes + to for name, to in ends.items()}}
    )


def gathered_with(**intervals: pd.DataFrame) -> Evidence:
    scales = {"challenger": 4.0, "champion": 5.0, "pair_median": 8.0}
    predicted = {name: ACTUAL + scale * NOISE for name, scale in scales.items()}
    return gather(REQUESTS, ACTUAL, predicted, test_month="2023-05", champion=CHAMPION, intervals=intervals)


def test_the_evidence_adds_up_to_the_measures_of_each_contender() -> None:
    given = {
        "challenger": answers(4.0),
        "champion": answers(5.0, 6.0),
        "pair_median": answers(8.0, 9.0, 12.0),
    }
    evidence = gathered_with(**given)

    assert evidence.bad_intervals == 0
    assert set(evidence.intervals["day"]) == set(evidence.days["day"])
    for name, predictions in given.items():
        found = {measure: evidence.interval_mean(name, measure) for measure in USUAL}
        assert found == pytest.approx(interval_metrics(ACTUAL, predictions))
    assert math.isnan(evidence.interval_mean("course", "coverage_80"))
    measured = decide(evidence).measured
    assert (measured["coverage_80"], measured["coverage_95"]) == pytest.approx(
        (
            evidence.interval_mean("challenger", "coverage_80"),
            evidence.interval_mean("challenger", "coverage_95"),
        )
    )


NOT_COMPARED = {
    "none": answers(5.0)[["duration_minutes"]],
    "some": answers(5.0).drop(columns="low_95_minutes"),
    "texts": answers(5.0).astype({"high_80_minutes": str}),
    "missing": answers(5.0).assign(high_80_minutes=math.nan),
    "null": answers(5.0)
    .astype({"high_80_minutes": "Float64"})
    .assign(high_80_minutes=pd.array([None] * 6000, "Float64")),
    "infinite": answers(5.0).assign(low_95_minutes=-math.inf),
}


@pytest.mark.parametrize("champion", NOT_COMPARED.values(), ids=NOT_COMPARED)
def test_a_champion_whose_intervals_are_no_numbers_is_compared_by_its_errors_only(
    champion: pd.DataFrame,
) -> None:
    evidence = gathered_with(challenger=answers(4.0), champion=champion)

    assert set(evidence.intervals["contender"]) == {"challenger"}
    assert decide(evidence, Limits(max_coverage_error=1.0)).promote


BAD = {
    "crossed": ("low_80_minutes", 30.0, "high_80_minutes", 29.0),
    "80 wider than 95": ("low_95_minutes", 30.0, "low_80_minutes", 29.0),
    "95 above 80": ("high_80_minutes", 50.0, "high_95_minutes", 49.0),
    "without the prediction": ("low_80_minutes", 59.0, "high_80_minutes", 60.0),
    "too short": ("low_95_minutes", 0.9, "low_80_minutes", 1.0),
    "too long": ("high_80_minutes", 60.0, "high_95_minutes", 60.1),
    "no number": ("low_80_minutes", math.nan, "high_80_minutes", 60.0),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_challenger_with_wrong_intervals_is_refused(bad: tuple[str, float, str, float]) -> None:
    given = answers(4.0)
    given.loc[[7, 70], list(bad[::2])] = bad[1::2]
    verdict = decide(gathered_with(challenger=given), Limits(max_coverage_error=1.0))

    assert verdict.outcome == "refuse"
    assert verdict.reasons == (
        "the ranges of 2 trips are wrong: expected bounds from 1 to 60 minutes, with the prediction inside the "
        "80 % range, and that inside the 95 % range",
    )


def test_a_challenger_without_intervals_is_refused() -> None:
    assert gathered_with(challenger=answers(4.0)[["duration_minutes"]]).bad_intervals == 6000
    assert gathered_with(challenger=answers(4.0), without_distance=answers(4.0) + 40.0).bad_intervals > 0
    assert gathered_with().bad_intervals == 0


def test_a_gain_without_both_scores_is_no_reason() -> None:
    gain = {"interval_score_80_gain_low": -2.0, "interval_score_80_gain_high": -1.0, "interval_score_80": 9.0}
    assert list(worse_scores(gain)) == []
    assert len(list(worse_scores({**gain, "interval_score_80_champion": 8.0}))) == 1
