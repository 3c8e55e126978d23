"""What an attempt keeps of its search, so that the next one continues it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.tracked import NAME, mlflow_client, runs_of

from mlops.config import Settings
from mlops.errors import TrackingDownError
from mlops.pipeline import fit_stage
from mlops.pipeline.checkpoint import Checkpoint
from mlops.pipeline.fit_stage import Attempt, TrialLog, kept_trials, origin_of
from mlops.registry import runs, versions
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID, Run
from mlops.registry.versions import Start
from mlops.training import search
from mlops.training.search import Trial

KEY = "ab" * 32
START = Start(dict.fromkeys(search.BOUNDS, 1.0), "run 1", "2023-05", "champion")


def trial(number: int, rmse: float = 4.5) -> Trial:
    return Trial(number, 1, {"max_depth": 8}, 100, rmse, 0.1)


def attempt(run: Any, **settings: Any) -> Attempt:
    return Attempt(run, Checkpoint.of(NAME, KEY), NAME, Settings(**settings), pd.DataFrame())


def kept() -> tuple[Trial, ...]:
    return kept_trials(Checkpoint.of(NAME, KEY))


def logged(run: Run) -> list[tuple[str, float]]:
    """Name and RMSE of each logged trial."""
    trials = [found for found in runs_of() if found.data.tags.get(MLFLOW_PARENT_RUN_ID) == run.run_id]
    return sorted((found.info.run_name, found.data.metrics["validation_rmse"]) for found in trials)


def test_trials_are_kept_and_logged_and_read_by_the_next_attempt(store: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        for number in (1, 2):
            TrialLog(attempt(run)).keep(trial(number, 4.0 + number))

    assert kept() == (trial(1, 5.0), trial(2, 6.0))
    assert logged(run) == [("trial 1", 5.0), ("trial 2", 6.0)]


def test_the_last_result_of_a_repeated_trial_counts(store: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        first = TrialLog(attempt(run))
        for number in (1, 2, 3):
            first.keep(trial(number))
        TrialLog(attempt(run), restored=3).keep(trial(2, 4.2))

    assert [(found.number, found.validation_rmse) for found in kept()] == [
        (1, 4.5),
        (2, 4.2),
        (3, 4.5),
    ]
    assert logged(run) == [("trial 1", 4.5), ("trial 2", 4.2), ("trial 3", 4.5)]


def test_trials_are_kept_while_the_server_is_away(store: Path) -> None:
    class Away:
        asked = 0

        def log_trial(self, *_: Any) -> None:
            self.asked += 1
            raise TrackingDownError("no answer")

    away = Away()
    log = TrialLog(attempt(away))
    for number in (1, 2, 3):
        log.keep(trial(number))

    assert [found.number for found in kept()] == [1, 2, 3]
    assert (log.server_away, away.asked) == (True, 1)


@pytest.mark.parametrize("starts", [(), (START,)])
def test_every_attempt_starts_with_the_points_of_the_first_and_logs_them(
    starts: tuple[Start, ...], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "warm_starts", lambda *_: starts)
    with start_run(NAME, "r", KEY) as run:
        first = fit_stage.warm_starts(attempt(run))
    monkeypatch.setattr(versions, "warm_starts", lambda *_: pytest.fail("asked again"))
    with start_run(NAME, "another", KEY, "another") as again:
        assert fit_stage.warm_starts(attempt(again)) == first

    assert len(first) == len(starts)
    assert runs.tags_of(again.run_id)["warm_start"] == ("run 1" if starts else "none")
    files = {file.path for file in mlflow_client().list_artifacts(again.run_id)}
    assert ("warm_start.csv" in files) == bool(starts)


def test_an_attempt_has_a_unique_name_which_the_next_one_keeps(store: Path) -> None:
    one = origin_of(Checkpoint.of(NAME, KEY), Settings())

    assert origin_of(Checkpoint.of(NAME, KEY), Settings(force=True)) == one
    assert (one["run_key"], one["forced"]) == (KEY, "false")
    assert origin_of(Checkpoint.of(NAME, "cd" * 32), Settings())["attempt"] != one["attempt"]
