"""What a person reads in a terminal: a leaderboard, and a version described."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from mlops.evaluation import Evidence
from mlops.model import Fit
from mlops.report import COLUMNS, as_text, describe_version, leaderboard
from mlops.tuning import Search, Trial

MEASURED = {
    "test_rmse": 4.41239, "test_mae": 2.9, "test_p90": 6.5, "test_r2": 0.8, "test_bias": -0.1,
    "test_rows": 61_234, "test_rmse_pair_median": 5.6,
}  # fmt: skip


def found(*rmse: float) -> Search:
    """A search with one trial for each RMSE; NaN for one that failed."""
    trials = tuple(
        Trial(
            number,
            1,
            {"max_depth": number},
            0 if math.isnan(r) else 30,
            r,
            1.0,
            "boom" if math.isnan(r) else "",
        )
        for number, r in enumerate(rmse, 1)
    )
    best = min((t for t in trials if not t.error), key=lambda t: t.validation_rmse)
    return Search(trials, best, Fit(None, best.rounds, best.validation_rmse), hit_ceiling=False)  # type: ignore[arg-type]


def board(evidence: Evidence, *rmse: float) -> pd.DataFrame:
    return leaderboard("models:/trip-duration-sample/2", "champion: better", MEASURED, evidence, found(*rmse))


def test_trials_of_a_higher_rung_come_first_although_their_losses_do_not_compare() -> None:
    low, high = (
        Trial(number, rung, {"max_depth": number}, 30, rmse, 1.0)
        for number, rung, rmse in ((1, 1, 4.0), (2, 2, 4.8))
    )
    searched = Search((low, high), high, Fit(None, 30, 4.8), hit_ceiling=False)  # type: ignore[arg-type]
    table = leaderboard("models:/trip-duration-sample/2", "champion", MEASURED, Evidence(4.4), searched)

    assert table["entry"].tolist()[2:] == ["trial 2", "trial 1"]
    assert table.loc[0, "validation_rmse"] == 4.8


def test_the_leaderboard_has_the_version_what_it_met_then_trials_best_first() -> None:
    table = board(Evidence(4.4, 4.5, "1"), 4.9, math.nan, 4.7)

    assert tuple(table.columns) == COLUMNS
    assert table["entry"].tolist() == [
        "models:/trip-duration-sample/2", "pair median", "version 1", "trial 3", "trial 1", "trial 2",
    ]  # fmt: skip
    assert table["validation_rmse"].fillna(0).tolist() == [4.7, 0, 0, 4.7, 4.9, 0]
    assert table["test_rmse"].fillna(0).tolist() == [4.4124, 5.6, 4.5, 0, 0, 0]
    assert table.loc[0, ["test_mae", "test_p90", "about"]].tolist() == [2.9, 6.5, "champion: better"]
    assert table["about"].tolist()[1:] == [
        "baseline", "champion until now", "30 rounds, max_depth=3", "30 rounds, max_depth=1", "boom",
    ]  # fmt: skip


@pytest.mark.parametrize("evidence", [Evidence(4.4), Evidence(4.4, None, "1", champion_error="gone")])
def test_a_champion_that_was_not_scored_is_not_on_the_leaderboard(evidence: Evidence) -> None:
    assert board(evidence, 4.7)["entry"].tolist() == [
        "models:/trip-duration-sample/2",
        "pair median",
        "trial 1",
    ]


def test_the_text_shows_the_best_trials_only() -> None:
    text = as_text(board(Evidence(4.4), *np.linspace(4.5, 5, 12)), trials=3)

    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        "models:/trip-duration-sample/2", "pair", "trial", "trial", "trial",
    ]  # fmt: skip
    assert "4.4124" in text
    assert "NaN" not in text


def test_a_version_is_described_beside_its_baseline() -> None:
    tags = {"first_month_learnt": "2023-01", "last_month_learnt": "2023-05", "test_month": "2023-06"}
    text = describe_version(tags, MEASURED, "models:/trip-duration-sample/2", "trip-duration-sample")

    assert text.startswith(
        "trip-duration-sample: champion is models:/trip-duration-sample/2, learnt from 2023-01 to 2023-05, "
        "tested on 61,234 trips of 2023-06\n"
    )
    (rmse,) = (line.split() for line in text.splitlines() if line.strip().startswith("rmse"))
    assert rmse == ["rmse", "4.4124", "5.6"]
    assert text.endswith('load it: mlflow.pyfunc.load_model("models:/trip-duration-sample@champion")')
