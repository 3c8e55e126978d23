"""What a person reads: a leaderboard, a model card and pictures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import make_requests

from mlops.config import Settings
from mlops.evaluation import Evidence, Verdict, slices
from mlops.model import Fit
from mlops.report import COLUMNS, as_text, describe_version, leaderboard, model_card, plots
from mlops.tuning import Search, Trial

MEASURED = {
    "test_rmse": 4.41239, "test_mae": 2.9, "test_p90": 6.5, "test_r2": 0.8, "test_bias": -0.1,
    "test_rows": 61_234, "test_rmse_pair_median": 5.6,
}  # fmt: skip
IMPORTANCE = {"pace_minutes": 0.7, "weekday": 0.3, "month": 0.0}
SHA = "0123456789abcdef" * 4


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


def predictions_of(predicted: np.ndarray) -> pd.DataFrame:
    """Predictions as a model gives them, five minutes either way."""
    bounds = {
        f"{end}_{level}_minutes": predicted + shift
        for level in (80, 95)
        for end, shift in (("low", -5), ("high", 5))
    }
    return pd.DataFrame({"duration_minutes": predicted, **bounds})


def by_slice() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    requests = make_requests(3000)
    rng = np.random.default_rng(0)
    actual = rng.uniform(1, 60, 3000)
    predicted = actual + rng.normal(0, np.where(requests["pickup_at"].dt.hour == 17, 9, 3))
    return slices(requests, actual, predictions_of(predicted)), actual, predicted


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


def card(*, promote: bool = True, **settings: object) -> str:
    months = pd.DataFrame(
        {
            "month": ["2023-06", "2023-05"],
            "role": ["test", "validation"],
            "rows": [65_000, 60_000],
            "kept": [61_000, 58_000],
            "test_rows": [61_234, 58_100],
            "sha256": [SHA, SHA[::-1]],
            "path": ["/secret/place", "/secret/place"],
        }
    )
    chosen = Settings(**settings).describe()
    reason = Verdict(promote, "there is no champion yet")
    return model_card("trip-duration-green", chosen, MEASURED, reason, by_slice()[0], IMPORTANCE, months)


def test_the_card_says_what_was_learnt_how_well_and_what_became_of_it() -> None:
    text = card()

    assert text.startswith("# trip-duration-green, tested on 2023-06\n")
    assert "**Verdict:** champion, because there is no champion yet." in text
    assert "| 2023-06 | test | 65000 | 61000 | 61234 | 0123456789ab |" in text
    assert "| 2023-05 | validation | 60000 | 58000 | 58100 | fedcba987654 |" in text
    assert "| test_rmse | 4.4124 |" in text
    assert "| pace_minutes | 0.700 |" in text
    assert "/secret/place" not in text


def test_the_card_says_challenger_when_it_was_not_promoted() -> None:
    assert "**Verdict:** challenger, because" in card(promote=False)


def test_the_card_repeats_every_setting() -> None:
    text = card(seed=5)

    for name, value in Settings(seed=5).describe().items():
        assert f"| {name} | {value} |" in text


def test_the_card_shows_the_worst_slices_of_some_size_worst_first() -> None:
    section = card().partition("## Where it does worst")[2].partition("##")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]

    assert rows[0][:2] == ["hour", "17"]
    assert len(rows) == 8
    assert all(int(row[2]) >= 100 for row in rows)
    assert [float(row[3]) for row in rows] == sorted((float(row[3]) for row in rows), reverse=True)


@pytest.mark.parametrize(
    ("use_distance", "sentence"),
    [(True, "The distance is the meter's, known only at the end of a ride"), (False, "No distance is used.")],
)
def test_the_card_says_whether_the_meters_distance_is_used(use_distance: bool, sentence: str) -> None:
    assert sentence in card(use_distance=use_distance)


def test_what_is_said_of_an_error_does_not_break_a_table() -> None:
    text = card(source="https://host/a|b")

    (line,) = (line for line in text.splitlines() if line.startswith("| source |"))
    assert line.replace("\\|", "").count("|") == 3


def test_four_pictures_are_drawn(tmp_path: Path) -> None:
    table, actual, predicted = by_slice()
    paths = plots(tmp_path / "plots", actual, predicted, table, IMPORTANCE)

    assert [path.name for path in paths] == [
        "residuals.png", "predicted_vs_actual.png", "error_by_hour.png", "importance.png",
    ]  # fmt: skip
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
        assert path.stat().st_size > 5000


def test_pictures_of_one_trip_are_drawn_too(tmp_path: Path) -> None:
    actual, predicted = np.array([10.0]), np.array([12.0])
    table = slices(make_requests(1), actual, predictions_of(predicted))

    assert len(plots(tmp_path, actual, predicted, table, IMPORTANCE)) == 4
