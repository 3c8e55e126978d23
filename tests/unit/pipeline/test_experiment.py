"""The result of an experiment as a value, a table, and under the block of Mage; tests/pipelines has whole runs."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from mlops.command_line.parser import parse
from mlops.errors import MlopsError
from mlops.evaluation.comparison import Evidence
from mlops.operations import notifications
from mlops.pipeline import block_tables, leaderboard
from mlops.pipeline.run_result import RunResult
from mlops.training.search import Trial

NAME = "trip-duration-sample"
ABOUT = "experiment 'short trips': refuse: too bad; nothing was registered"
MEASURED = {"test_rmse": 4.5, "test_mae": 2.9, "test_p90": 6.5}
TRIAL = Trial(1, 1, {"max_depth": 6}, 30, 4.7, 1.0, "")


@pytest.fixture
def result() -> RunResult:
    days = pd.DataFrame({"day": ["2023-06-01", "2023-06-02"], "trips": 100, "pair_median": 100 * 5.6**2})
    evidence = Evidence("2023-06", days, pd.DataFrame(), None, True, 1.0, 60.0, 8_000_000, 0.002)
    board = leaderboard.of_experiment(
        "experiment short trips", NAME, ABOUT, MEASURED, evidence, TRIAL, [TRIAL]
    )
    return RunResult.of_experiment("refuse", "too bad", "2023-06", board)


def test_it_has_a_verdict_and_no_version(result: RunResult) -> None:
    assert (result.outcome, result.verdict, result.version) == ("experiment", "refuse", None)
    assert (result.month, result.reason, result.is_repeat, result.is_nothing) == (
        "2023-06", "too bad", False, False,
    )  # fmt: skip


def test_its_leaderboard_begins_with_it_and_names_no_version(result: RunResult, tmp_path: Path) -> None:
    first = result.board.iloc[0]
    assert first[["entry", "kind", "model", "number"]].tolist() == [
        "experiment short trips", "experiment", NAME, "",
    ]  # fmt: skip
    assert result.board["kind"].tolist() == ["experiment", "baseline", "trial"]
    assert result.board["test_rmse"].iloc[:2].tolist() == [4.5, 5.6]
    leaderboard.check_leaderboard(result.board)
    result.board.to_csv(tmp_path / "leaderboard.csv", index=False)
    pd.testing.assert_frame_equal(leaderboard.read(tmp_path / "leaderboard.csv"), result.board)


def test_an_experiment_without_an_error_is_not_accepted(result: RunResult) -> None:
    lost = result.board.assign(test_rmse=float("nan"))
    with pytest.raises(MlopsError, match="train_and_register: expected a version with its test RMSE"):
        leaderboard.check_leaderboard(lost)


def test_the_terminal_shows_the_whole_reason(result: RunResult) -> None:
    assert leaderboard.as_text(result).splitlines()[-1] == ABOUT


def test_the_block_shows_the_verdict_and_logs_the_reason(
    result: RunResult, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mlops")
    shown = block_tables.of_result(result)
    assert shown["entry"].iloc[0] == "experiment short trips"
    assert shown["result"].tolist() == ["experiment: refuse", "baseline", ""]
    assert ABOUT in caplog.messages
    pd.testing.assert_frame_equal(block_tables.full_table(shown), result.board)


def test_no_message_is_sent_about_it(result: RunResult) -> None:
    assert notifications.of_result(block_tables.of_result(result), {}) is None


def test_an_experiment_whose_leaderboard_is_gone_has_one_row() -> None:
    board = leaderboard.of_tags("experiment short trips", NAME, "refuse: too bad", 4.5)
    assert board.iloc[0][["entry", "test_rmse", "about", "kind", "number"]].tolist() == [
        "experiment short trips", 4.5, "refuse: too bad", "experiment", "",
    ]  # fmt: skip
    assert leaderboard.of_tags("e", NAME, "", None)["test_rmse"].isna().all()
    leaderboard.check_leaderboard(board)


@pytest.mark.parametrize("command", ["backfill", "replay"])
def test_a_command_for_several_months_has_no_experiments(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse([command, "--from", "2023-04", "--to", "2023-05", "--experiment", "x"])
    assert capsys.readouterr().err.endswith("error: unknown option --experiment; it is an option of train\n")
