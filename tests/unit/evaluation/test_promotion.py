"""The decision branch by branch, and its interval by another bootstrap."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap
from support.builders import make_requests, make_trips
from support.contests import CHAMPION, DAYS, REQUESTS, gathered, judged, slices_of, with_days

from mlops.evaluation.baseline import PairMedian
from mlops.evaluation.comparison import Evidence, gather
from mlops.evaluation.promotion import Limits, Verdict, decide
from mlops.month import Month

# --- Without a champion -------------------------------------------------------------------------------------


def test_the_first_champion_only_has_to_be_fit() -> None:
    verdict = decide(judged(4.0), Limits())

    assert (verdict.outcome, verdict.promote, verdict.reason) == (
        "promote",
        True,
        "there was no champion before",
    )
    assert verdict.measured == {
        "rmse_challenger": 4.0, "rmse_pair_median": 8.0, "test_rows": 30_000, "test_days": 30,
        "least_minutes": 1.0, "most_minutes": 60.0, "artefact_bytes": 8_000_000, "row_seconds": 0.002,
    }  # fmt: skip


UNFIT = {
    "not finite": ({"finite": False}, "some of the predictions are not finite"),
    "too short": (
        {"least_minutes": 0.5},
        "the predictions are 0.5 to 60 minutes, but must be 1 to 60 minutes",
    ),
    "too long": (
        {"most_minutes": 60.01},
        "the predictions are 1 to 60.01 minutes, but must be 1 to 60 minutes",
    ),
    "no range": (
        {"least_minutes": math.nan},
        "the predictions are nan to 60 minutes, but must be 1 to 60 minutes",
    ),
    "large": ({"artefact_bytes": 150_000_000}, "the artefact has 150.0 MB, but at most 100.0 MB are allowed"),
    "slow": ({"row_seconds": 0.3}, "one request takes 0.300 s of CPU time, but at most 0.25 s are allowed"),
    "not timed": (
        {"row_seconds": math.nan},
        "one request takes nan s of CPU time, but at most 0.25 s are allowed",
    ),
}


UNFIT_DAYS = {
    "few": ({"trips": 166}, "the test month has 4,980 trips, but at least 5,000 are needed"),
    "pair median": ({"pair_median": 16_000.0}, "RMSE 4.0000 is not below the RMSE 4.0000 of the pair median"),
    "course": ({"course": 9_000.0}, "RMSE 4.0000 is not below the RMSE 3.0000 of the course's recipe"),
    "no course": ({"course": math.nan}, "RMSE 4.0000 is not below the RMSE nan of the course's recipe"),
}


@pytest.mark.parametrize("evidence", [judged(4.0), judged(4.0, 5.0)], ids=["first", "better"])
@pytest.mark.parametrize(("changes", "reason"), UNFIT.values(), ids=UNFIT)
def test_an_unfit_challenger_is_refused(evidence: Evidence, changes: dict[str, Any], reason: str) -> None:
    verdict = decide(replace(evidence, **changes), Limits())

    assert (verdict.outcome, verdict.promote, verdict.reasons) == ("refuse", False, (reason,))


@pytest.mark.parametrize(("columns", "reason"), UNFIT_DAYS.values(), ids=UNFIT_DAYS)
def test_a_challenger_on_too_few_trips_or_behind_a_baseline_is_refused(
    columns: dict[str, Any], reason: str
) -> None:
    evidence = with_days(judged(4.0), **columns)
    if "trips" in columns:  # equally few trips, the same RMSE
        evidence = with_days(evidence, challenger=166 * 16.0, pair_median=166 * 64.0)

    assert decide(evidence, Limits()) == Verdict("refuse", (reason,), decide(evidence, Limits()).measured)


def test_a_baseline_that_was_not_scored_is_not_beaten() -> None:
    evidence = judged(4.0)
    verdict = decide(replace(evidence, days=evidence.days.drop(columns="pair_median")), Limits())

    assert verdict.reasons == ("RMSE 4.0000 is not below the RMSE nan of the pair median",)


def test_what_is_at_a_limit_passes() -> None:
    limits = Limits(min_test_rows=30_000, max_artefact_bytes=8_000_000, max_row_seconds=0.002)

    assert decide(judged(4.0), limits).promote


def test_the_verdict_has_every_reason() -> None:
    evidence = with_days(judged(9.0, 8.0, finite=False, row_seconds=1.0), course=50_000.0)

    assert decide(evidence, Limits(min_test_rows=40_000)).reasons == (
        "some of the predictions are not finite",
        "the test month has 30,000 trips, but at least 40,000 are needed",
        "one request takes 1.000 s of CPU time, but at most 0.25 s are allowed",
        "RMSE 9.0000 is not below the RMSE 8.0000 of the pair median",
        "RMSE 9.0000 is not below the RMSE 7.0711 of the course's recipe",
        "pair 0 -> 1: RMSE 9.0000 is 12.5% above the champion's 8.0000 on 5,000 trips",
        "RMSE 9.0000 is 12.50% above the RMSE 8.0000 of the champion (version 3), "
        "but must be at least 1.00% below",
        "the 95 % interval of the gain in RMSE is -1.0000 to -1.0000 minutes, but must be above zero",
    )


# --- Against a champion -------------------------------------------------------------------------------------


def test_a_better_challenger_is_promoted() -> None:
    verdict = decide(judged(4.0, 5.0), Limits())

    assert verdict.outcome == "promote"
    assert verdict.reason == (
        "RMSE 4.0000 is 20.00% below the RMSE 5.0000 of the champion (version 3); "
        "the 95 % interval of the gain in RMSE is 1.0000 to 1.0000 minutes"
    )
    assert verdict.measured["rmse_champion"] == 5.0
    assert verdict.measured["gain_minutes"] == 1.0
    assert verdict.measured["improvement"] == 0.2
    assert verdict.measured["worst_slice_regression"] == pytest.approx(-0.2)
    assert verdict.measured["champion_age_months"] == 1


def test_a_champion_stays_when_the_gain_is_small() -> None:
    assert decide(judged(4.0, 5.0), Limits(min_improvement=0.2)).promote
    verdict = decide(judged(4.0, 5.0), Limits(min_improvement=0.21))

    assert verdict.outcome == "keep"
    assert verdict.reasons == (
        "RMSE 4.0000 is 20.00% below the RMSE 5.0000 of the champion (version 3), "
        "but must be at least 21.00% below",
    )


def test_an_equal_challenger_changes_nothing() -> None:
    assert decide(judged(4.0, 4.0), Limits()).reasons == (
        "RMSE 4.0000 is 0.00% below the RMSE 4.0000 of the champion (version 3), but must be at least 1.00% below",
        "the 95 % interval of the gain in RMSE is 0.0000 to 0.0000 minutes, but must be above zero",
    )
    assert decide(judged(4.0, 4.0), Limits(min_improvement=0)).outcome == "keep"


def test_nothing_is_better_than_a_champion_without_error() -> None:
    verdict = decide(with_days(judged(4.0, 4.0), champion=0.0), Limits())

    assert (verdict.outcome, verdict.measured["improvement"]) == ("keep", 0.0)


def test_errors_too_large_to_add_up_are_not_compared() -> None:
    verdict = decide(with_days(judged(4.0, 4.0), champion=[1e308] + [16_000.0] * 29), Limits())

    assert verdict.outcome == "keep"
    assert verdict.reasons == (
        "not all errors of challenger and champion (version 3) are finite, so they cannot be compared",
    )


def test_one_good_day_is_chance() -> None:
    evidence = judged(4.0, 4.0)
    lucky = [0.0 if day == "2023-05-09" else 16_000.0 for day in DAYS]
    verdict = decide(with_days(evidence, challenger=lucky), Limits())

    assert verdict.measured["improvement"] > 0.015
    assert verdict.outcome == "keep"
    high = verdict.measured["gain_high"]
    assert verdict.reasons == (
        f"the 95 % interval of the gain in RMSE is 0.0000 to {high:.4f} minutes, but must be above zero",
    )


def test_the_interval_is_that_of_another_bootstrap_over_days() -> None:
    rng = np.random.default_rng(0)
    trips = rng.integers(500, 2000, 30)
    hard = rng.lognormal(2.8, 0.3, 30)  # hard days are hard for both
    sums = {"champion": trips * hard * rng.normal(1.05, 0.02, 30), "challenger": trips * hard}
    evidence = with_days(judged(4.0, 4.0), trips=trips, **sums)

    def gain(trips: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> float:
        return math.sqrt(champion.sum() / trips.sum()) - math.sqrt(challenger.sum() / trips.sum())

    columns = (trips, sums["champion"], sums["challenger"])
    expected = bootstrap(
        columns, gain, paired=True, vectorized=False, method="percentile", n_resamples=4000, rng=rng
    ).confidence_interval
    measured = decide(evidence, Limits()).measured
    for found, other in zip(evidence.gain_interval(), expected, strict=True):
        assert found - measured["gain_minutes"] == pytest.approx(other - measured["gain_minutes"], rel=0.08)
    assert (measured["gain_low"], measured["gain_high"]) == evidence.gain_interval()
    assert measured["gain_low"] < measured["gain_minutes"] < measured["gain_high"]


def test_the_interval_of_one_contender_is_wider_than_that_of_the_difference() -> None:
    hard = np.linspace(8.0, 24.0, 30) * 1000
    evidence = with_days(judged(4.0, 4.0), challenger=hard, champion=1.1 * hard)
    low, high = evidence.rmse_interval("challenger")
    gain_low, gain_high = evidence.gain_interval()

    assert low < evidence.rmse("challenger") < high
    assert high - low > 10 * (gain_high - gain_low)
    assert all(math.isnan(end) for end in evidence.rmse_interval("course"))


HINT = "; make a version of this project champion first"


@pytest.mark.parametrize("learnt", ["2023-05", "2023-06", "2024-01", ""])
@pytest.mark.parametrize("error", ["", "no such file"])
def test_a_champion_trained_on_the_test_month_is_not_compared(learnt: str, error: str) -> None:
    champion = replace(CHAMPION, last_month_learnt=learnt, error=error)
    verdict = decide(judged(4.0, incumbent=champion), Limits())

    assert verdict.outcome == "refuse"
    assert verdict.reasons == (
        f"the champion (version 3) was trained on months up to {learnt or 'an unknown one'}, "
        f"so a comparison on 2023-05 is not fair{'' if learnt else HINT}",
    )


def test_it_is_not_compared_even_if_it_was_scored_and_lost() -> None:
    champion = replace(CHAMPION, last_month_learnt="2023-05")

    assert decide(judged(4.0, 5.0, champion), Limits()).outcome == "refuse"


def test_a_champion_that_cannot_be_scored_loses() -> None:
    champion = replace(CHAMPION, error="no such file")
    verdict = decide(judged(4.0, incumbent=champion), Limits())

    assert verdict.outcome == "promote"
    assert verdict.reason == "the champion (version 3) could not be scored: no such file"


def test_a_champion_with_predictions_that_are_not_finite_loses() -> None:
    evidence = with_days(judged(4.0, 5.0), champion=[math.nan] + [16_000.0] * 29)
    verdict = decide(replace(evidence, slices=slices_of((5000, 9.0, 4.0))), Limits())

    assert verdict.outcome == "promote"
    assert verdict.reason == "the champion (version 3) could not be scored: it has no finite RMSE"


def test_a_champion_that_cannot_be_scored_does_not_lose_to_an_unfit_challenger() -> None:
    champion = replace(CHAMPION, error="no such file")
    verdict = decide(judged(4.0, incumbent=champion, row_seconds=9.0), Limits())

    assert verdict.reasons == ("one request takes 9.000 s of CPU time, but at most 0.25 s are allowed",)


def test_few_days_are_not_enough_for_a_comparison() -> None:
    evidence, first = judged(4.0, 5.0), judged(4.0)
    lost = judged(4.0, incumbent=replace(CHAMPION, error="no such file"))
    week, less = (replace(evidence, days=evidence.days[:days]) for days in (7, 6))

    assert decide(week, Limits()).promote
    assert decide(less, Limits()).outcome == "refuse"
    assert decide(less, Limits()).reasons == (
        "the comparison has trips of 6 days, but at least 7 are needed",
    )
    for alone in (first, lost):
        assert decide(replace(alone, days=alone.days[:1]), Limits(min_test_rows=1)).promote


# --- An old champion ----------------------------------------------------------------------------------------


OLD = replace(CHAMPION, test_month="2023-01", last_month_learnt="2022-12")


def noisy(challenger: float) -> Evidence:
    """Evidence of a challenger whose gain over a champion with RMSE 4 differs from day to day."""
    evidence = judged(4.0, 4.0, OLD)
    return with_days(evidence, challenger=1000 * challenger**2 * np.linspace(0.9, 1.1, 30))


def test_an_old_champion_is_replaced_by_one_that_is_not_worse() -> None:
    verdict = decide(noisy(4.01), Limits())
    interval = f"{verdict.measured['gain_low']:.4f} to {verdict.measured['gain_high']:.4f} minutes"

    assert verdict.outcome == "promote"
    assert verdict.measured["gain_minutes"] < 0 < verdict.measured["gain_high"]
    assert verdict.reasons == (
        "the champion (version 3) was judged 4 months earlier (limit: 3), and the challenger is not "
        "significantly worse",
        "RMSE 4.0100 is 0.25% above the RMSE 4.0000 of the champion (version 3)",
        f"the 95 % interval of the gain in RMSE is {interval}",
    )
    assert decide(judged(4.0, 4.0, OLD), Limits()).promote


@pytest.mark.parametrize("month", ["2023-02", "", "May"])
def test_a_champion_not_older_than_the_limit_stays(month: str) -> None:
    champion = replace(OLD, test_month=month)

    assert decide(replace(noisy(4.01), champion=champion), Limits()).outcome == "keep"


def test_an_old_champion_that_is_significantly_better_stays() -> None:
    verdict = decide(noisy(4.2), Limits())

    assert verdict.outcome == "keep"
    assert len(verdict.reasons) == 3
    assert verdict.reasons[-1] == (
        "the champion (version 3) was judged 4 months earlier (limit: 3), "
        "but the challenger is significantly worse"
    )


def test_an_old_champion_stays_if_the_challenger_has_a_worse_slice() -> None:
    worse = replace(noisy(3.99), slices=slices_of((500, 4.5, 4.0)))

    assert decide(noisy(3.99), Limits()).promote
    assert decide(worse, Limits()).outcome == "refuse"


def test_age_is_counted_in_months_over_new_year() -> None:
    champion = replace(OLD, test_month="2022-11", last_month_learnt="2022-10")

    assert decide(judged(4.0, 5.0, champion), Limits()).measured["champion_age_months"] == 6


# --- Slices -------------------------------------------------------------------------------------------------


def test_a_slice_that_got_worse_is_named() -> None:
    table = slices_of((500, 5.6, 5.0), (499, 50.0, 5.0), (500, 5.5, 5.0), (0, 0.0, 0.0))
    limits = Limits(max_slice_regression=0.11)
    verdict = decide(judged(4.0, 5.0, slices=table), limits)

    assert verdict.outcome == "refuse"
    assert verdict.reasons == ("pair 0 -> 1: RMSE 5.6000 is 12.0% above the champion's 5.0000 on 500 trips",)
    assert verdict.measured["worst_slice_regression"] == pytest.approx(0.12)
    assert decide(judged(4.0, 5.0, slices=table), Limits(max_slice_regression=0.13)).promote


def test_a_slice_may_grow_by_just_the_limit() -> None:
    evidence = judged(4.0, 5.0, slices=slices_of((1000, 5.0, 4.0)))

    assert decide(evidence, Limits(max_slice_regression=0.25)).promote
    assert not decide(evidence, Limits(max_slice_regression=0.249)).promote


def test_the_worst_five_are_named_and_the_others_counted() -> None:
    table = slices_of(*((1000, 4.0 + number / 2, 4.0) for number in range(8)))
    verdict = decide(judged(4.0, 5.0, slices=table), Limits())

    assert [reason.split(":")[0] for reason in verdict.reasons] == [
        "pair 7 -> 1", "pair 6 -> 1", "pair 5 -> 1", "pair 4 -> 1", "pair 3 -> 1",
        "2 more slices are more than 10.0% worse",
    ]  # fmt: skip
    assert len(decide(judged(4.0, 5.0, slices=table[:6]), Limits()).reasons) == 5


def test_a_slice_without_error_has_no_share_to_grow_by() -> None:
    table = slices_of((1000, 0.0, 0.0), (1000, 1.0, 0.0))
    verdict = decide(judged(4.0, 5.0, slices=table), Limits())

    assert verdict.reasons == ("pair 1 -> 1: RMSE 1.0000 is inf% above the champion's 0.0000 on 1,000 trips",)
    assert "worst_slice_regression" not in verdict.measured
    assert decide(judged(4.0, 5.0, slices=table[:1]), Limits()).promote


# --- Evidence that cannot be judged -------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e200])
def test_predictions_that_are_no_durations_are_refused(odd: float) -> None:
    verdict = decide(gathered(np.where(np.arange(6000) == 17, odd, 4.0), 5.0), Limits())

    assert verdict.outcome == "refuse"
    assert verdict.reasons[0].startswith("some of the" if not math.isfinite(odd) else "the predictions are")
    assert verdict.reasons[-1] == (
        "not all errors of challenger and champion (version 3) are finite, so they cannot be compared"
    )


def test_no_trips_are_refused() -> None:
    none = np.empty(0)
    predicted = {"challenger": none, "champion": none, "pair_median": none}
    verdict = decide(gather(REQUESTS[:0], none, predicted, test_month="2023-05"), Limits())

    assert verdict.outcome == "refuse"
    assert "the test month has 0 trips, but at least 5,000 are needed" in verdict.reasons


# --- What must not become champion --------------------------------------------------------------------------


def test_noise_is_never_promoted() -> None:
    for seed in range(100):
        by_day = np.random.default_rng(seed).normal(4, 0.005 * 4, 32)[REQUESTS["pickup_at"].dt.day]
        assert decide(gathered(by_day, 4.0), Limits()).outcome == "keep"


def test_a_model_of_shuffled_durations_is_refused_and_the_slices_are_named() -> None:
    past, month = make_trips(20_000, month=Month(2023, 4)), make_trips(20_000, seed=1)
    shuffled = np.random.default_rng(0).permutation(past["duration_minutes"])
    pace = past["duration_minutes"].mean() / past["distance_miles"].mean()
    contenders = {
        "challenger": PairMedian(past, shuffled).predict(month),
        "champion": np.clip(month["distance_miles"] * pace, 1, 60),
        "pair_median": PairMedian(past, past["duration_minutes"]).predict(month),
    }
    requests = make_requests(20_000, seed=1)
    evidence = gather(
        requests, month["duration_minutes"], contenders, test_month="2023-05", champion=CHAMPION
    )
    verdict = decide(evidence, Limits())

    assert verdict.outcome == "refuse"
    assert "is not below the RMSE" in verdict.reasons[0]
    assert sum("above the champion's" in reason for reason in verdict.reasons) == 5
    assert verdict.reasons[1].startswith("distance ")


@pytest.mark.parametrize("day", [1, 14, 31])
def test_a_model_that_is_better_on_one_day_only_is_not_promoted(day: int) -> None:
    own = (REQUESTS["pickup_at"].dt.day == day).to_numpy()
    verdict = decide(gathered(np.where(own, 0.0, 4.0), 4.0), Limits())

    assert verdict.outcome == "keep"
    assert verdict.measured["improvement"] > 0.01
    assert verdict.measured["gain_low"] == 0
