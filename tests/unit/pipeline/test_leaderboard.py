"""Texts for a terminal: the leaderboard, and the description of a version."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops.errors import MlopsError
from mlops.evaluation.comparison import Evidence, Incumbent
from mlops.pipeline import block_tables, months_table
from mlops.pipeline.leaderboard import COLUMNS, as_text, check_leaderboard, leaderboard, of_version, read
from mlops.pipeline.run_result import RunResult
from mlops.registry import versions
from mlops.registry.versions import Version
from mlops.training.search import Trial

MADE = Version("trip-duration-sample", "2", "run", {"outcome": "champion", "test_month": "2023-06"})
VERSION = MADE.uri
MEASURED = {
    "test_rmse": 4.41239, "test_mae": 2.9, "test_p90": 6.5, "test_r2": 0.8, "test_bias": -0.1,
    "test_rows": 61_234, "test_rmse_pair_median": 5.6,
}  # fmt: skip
CHAMPION = Incumbent("1", test_month="2023-05", last_month_learnt="2023-04")


def judged(incumbent: Incumbent | None = None, **rmse: float) -> Evidence:
    """Evidence of two days with 100 trips and these RMSE; the pair median's is 5.6."""
    sums = {name: 100 * value**2 for name, value in {"pair_median": 5.6, **rmse}.items()}
    days = pd.DataFrame({"day": ["2023-06-01", "2023-06-02"], "trips": 100, **sums})
    return Evidence("2023-06", days, pd.DataFrame(), incumbent, True, 1.0, 60.0, 8_000_000, 0.002)


def trials_of(*rmse: float) -> list[Trial]:
    """One trial per RMSE; its number is the depth of its trees. NaN is a failed trial."""
    return [
        Trial(number, 1, {"max_depth": number}, 30, r, 1.0, "boom" if math.isnan(r) else "")
        for number, r in enumerate(rmse, 1)
    ]


def board(evidence: Evidence, *trials: Trial, chosen: int = 0) -> pd.DataFrame:
    return leaderboard(MADE, "champion: better", MEASURED, evidence, trials[chosen], trials)


def test_the_leaderboard_has_the_version_its_rivals_then_trials_best_first() -> None:
    table = board(judged(CHAMPION, champion=4.5, course=5.1), *trials_of(4.9, math.nan, 4.7), chosen=2)

    assert list(table) == [*COLUMNS, "rounds", "max_depth"]
    assert table["entry"].tolist() == [
        VERSION, "pair median", "course's recipe", "version 1", "trial 3", "trial 1", "trial 2",
    ]  # fmt: skip
    assert table["validation_rmse"].fillna(0).tolist() == [4.7, 0, 0, 0, 4.7, 4.9, 0]
    assert table["test_rmse"].fillna(0).tolist() == [4.4124, 5.6, 5.1, 4.5, 0, 0, 0]
    assert table["max_depth"].fillna(0).tolist() == [3, 0, 0, 0, 3, 1, 2]
    assert table["rounds"].fillna(0).tolist() == [30, 0, 0, 0, 30, 30, 30]
    assert table.loc[0, ["test_mae", "test_p90", "about"]].tolist() == [2.9, 6.5, "champion: better"]
    assert table["about"].tolist()[1:] == [
        "baseline", "baseline", "champion at the time of the test",
        "30 rounds, max_depth=3", "30 rounds, max_depth=1", "boom",
    ]  # fmt: skip


def test_trials_of_a_higher_rung_come_first_although_their_losses_do_not_compare() -> None:
    low, high = (
        Trial(number, rung, {"max_depth": number}, 30, rmse, 1.0)
        for number, rung, rmse in ((1, 1, 4.0), (2, 2, 4.8))
    )
    table = board(judged(), low, high, chosen=1)

    assert table["entry"].tolist()[2:] == ["trial 2", "trial 1"]
    assert table.loc[0, "validation_rmse"] == 4.8


def test_a_champion_that_was_not_scored_is_not_on_the_leaderboard() -> None:
    for evidence in (judged(), judged(Incumbent("1", "", "", error="gone"))):
        assert board(evidence, *trials_of(4.7))["entry"].tolist() == [VERSION, "pair median", "trial 1"]


def test_the_text_shows_the_best_trials_only() -> None:
    table = board(judged(), *trials_of(*np.linspace(4.5, 5, 12)))
    text = as_text(RunResult.of_version(MADE, table, "better"), trials=3)

    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        VERSION, "pair", "trial", "trial", "trial",
    ]  # fmt: skip
    assert "4.4124" in text
    assert "NaN" not in text


def test_a_block_shows_the_leaderboard_beside_the_champion_before(store: Path) -> None:
    table = board(judged(CHAMPION, champion=4.5), *trials_of(4.7, math.nan), chosen=0)
    shown = block_tables.of_result(RunResult.of_version(MADE, table, "better"))
    assert shown.drop(columns="table").to_dict("list") == {
        "entry": ["version 2", "pair median", "version 1", "trial 1", "trial 2"],
        "result": ["champion", "baseline", "champion before", "", ""],
        "test RMSE (min)": ["4.4124", "5.6000", "4.5000", "", ""],
        "vs champion %": ["-1.9", "+24.4", "+0.0", "", ""],
        "validation RMSE": ["4.7000", "", "", "4.7000", ""],
        "test MAE (min)": ["2.9000", "", "", "", ""],
        "test P90 (min)": ["6.5000", "", "", "", ""],
        "rounds": ["30", "", "", "30", "30"],
        "max_depth": ["1", "", "", "1", "2"],
    }
    pd.testing.assert_frame_equal(block_tables.full_table(shown), table)


def test_a_block_shows_the_leaderboard_beside_the_baseline_if_there_was_no_champion(store: Path) -> None:
    table = board(judged(), *trials_of(4.7))
    shown = block_tables.of_result(RunResult.of_version(MADE, table, "better"))
    assert shown["vs baseline %"].tolist() == ["-21.2", "+0.0", ""]


def test_a_version_whose_run_is_gone_is_shown_alone(store: Path) -> None:
    version = Version(MADE.name, "2", "run", MADE.tags | {"test_rmse": "4.5"})
    shown = block_tables.of_result(RunResult.of_version(version, of_version(version), "better"))
    assert shown.iloc[0, :3].tolist() == ["version 2", "champion", "4.5000"]
    assert not [name for name in shown if name.startswith("vs")]


@pytest.mark.parametrize(("is_repeat", "again"), [(False, ""), (True, " (registered by an earlier run)")])
def test_a_block_says_why_the_run_ended_so_and_where_to_look(
    is_repeat: bool, again: str, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = board(judged(), *trials_of(4.7))
    result = RunResult.of_version(MADE, table, "reasons " * 20, is_repeat=is_repeat)
    with caplog.at_level(logging.INFO, logger="mlops.pipeline.block_tables"):
        block_tables.of_result(result)
    first, *why, look, every = caplog.messages
    assert first == f"trip-duration-sample: version 2 is champion{again}"
    assert " ".join(line.strip() for line in why) == ("reasons " * 20).strip()
    assert max(map(len, why)) <= 102
    assert look == f"look at the version, its card and its run: {versions.link(MADE)}"
    assert every.endswith("python -m mlops registry --model trip-duration-sample")


def test_programs_can_read_the_kind_and_version_of_a_row(tmp_path: Path) -> None:
    table = board(judged(CHAMPION, champion=4.5), *trials_of(4.7))
    table.to_csv(tmp_path / "leaderboard.csv", index=False)
    for found in (table, read(tmp_path / "leaderboard.csv")):
        assert found["kind"].tolist() == ["version", "baseline", "champion", "trial"]
        assert found["model"].tolist() == ["trip-duration-sample", "", "", ""]
        assert found["number"].tolist() == ["2", "", "", ""]


def test_nothing_to_do_is_a_result_too() -> None:
    result = RunResult.of_nothing(months_table.nothing_to_do("not published yet", "2023-07"))
    assert (result.outcome, result.version, result.month) == ("nothing to do", None, "2023-07")
    assert as_text(result) == "nothing to do: not published yet"
    check_leaderboard(result.board)


@pytest.mark.parametrize(("column", "value"), [("test_rmse", math.nan), ("kind", "trial"), ("number", "")])
def test_a_leaderboard_without_a_tested_version_is_refused(column: str, value: object) -> None:
    table = board(judged(), *trials_of(4.7))
    check_leaderboard(table)
    table.loc[0, column] = value
    with pytest.raises(MlopsError, match="expected a version with its test RMSE"):
        check_leaderboard(table)
