"""What an attempt keeps of its search, so that the next one continues it."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.builders import make_requests, write_features
from support.tracked import NAME, mlflow_client, runs_of

from mlops.config import Settings
from mlops.errors import TrackingDownError
from mlops.model.duration_model import DurationModel
from mlops.month import Month
from mlops.pipeline import fit_stage
from mlops.pipeline.checkpoint import Checkpoint
from mlops.pipeline.fit_stage import Attempt, TrialLog, kept_trials, origin_of
from mlops.registry import runs, versions
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID, Run
from mlops.registry.versions import Start
from mlops.training import search_space
from mlops.training.coverage_aim import Aim, Covered, next_aim
from mlops.training.search import Trial

KEY = "ab" * 32
START = Start(dict.fromkeys(search_space.first_guess(), 1.0), "run 1", "2023-05", "champion")


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


def test_the_table_of_trials_has_those_of_the_search_and_the_chosen_one(store: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        asked = attempt(run)
        assert fit_stage.trials_table(asked).empty
        for number in (1, 2, 3):
            TrialLog(asked).keep(trial(number, 4.0 + number))
        asked.checkpoint.note("fitted", {"metrics": {"trials": 2}, "best_trial": 1})

        assert fit_stage.trials_table(asked).to_dict("records") == [
            {
                "number": 1,
                "rung": 1,
                "validation_rmse": 5.0,
                "parameters": "{'max_depth': 8}",
                "is_chosen": True,
            },
            {
                "number": 2,
                "rung": 1,
                "validation_rmse": 6.0,
                "parameters": "{'max_depth': 8}",
                "is_chosen": False,
            },
        ]


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


# --- What the ranges aim at ---------------------------------------------------------------------------------


def covered(month: str, coverage_80: float, coverage_95: float, **parameters: str) -> None:
    """A finished run about a month, and the coverage that it measured."""
    with start_run(NAME, month, f"{len(runs_of()):064x}") as run:
        run.log_parameters({"month": month, **parameters})
        found = {"test_coverage_80": coverage_80, "test_coverage_95": coverage_95}
        for name, value in found.items():  # as a person could: NaN as well
            mlflow_client().log_metric(run.run_id, name, value)


def months(folder: Path) -> pd.DataFrame:
    """Feature files of a training and a validation month."""
    roles = {"2023-04": "training", "2023-05": "validation"}
    paths = [write_features(folder / f"{m}.parquet", 600, month=Month.parse(m)) for m in roles]
    return pd.DataFrame({"month": roles.keys(), "role": roles.values(), "features": map(str, paths)})


def aim_of(**settings: Any) -> Aim:
    """The aim of a new run about 2023-06."""
    shutil.rmtree(Checkpoint.of(NAME, KEY).folder)
    return fit_stage.coverage_aim(attempt(None, **settings))


def test_months_that_covered_too_little_make_the_next_ranges_wider(store: Path, tmp_path: Path) -> None:
    """Same months, settings and search; only what the registry knows of earlier months differs."""
    table, requests, widths, aims = months(tmp_path), make_requests(200, seed=3), [], []
    for _ in range(2):
        with start_run(NAME, "r", KEY) as run:
            new = replace(attempt(run, max_trials=1), months=table)
            fitted = fit_stage.fit(new)
            fit_stage.log_search(new, fitted)
            answers = DurationModel.load(fitted.artefact).predict(requests)
        new.checkpoint.remove()
        widths.append([(answers[f"high_{p}_minutes"] - answers[f"low_{p}_minutes"]).mean() for p in (80, 95)])
        aims.append(Aim.parse(runs.parameters_of(run.run_id)))
        for month in ("2023-03", "2023-04", "2023-05"):
            covered(month, 0.70, 0.90)

    assert aims[0] == Aim()
    assert aims[1].coverage_80 > 0.84
    assert aims[1].coverage_95 > 0.97
    assert widths[1][0] > 1.05 * widths[0][0]
    assert widths[1][1] > 1.05 * widths[0][1]


def test_the_aim_follows_from_the_months_before_and_what_they_aimed_at(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    covered("2023-05", 0.785, 0.945, coverage_aim_80="0.81", coverage_aim_95="0.955")
    covered("2023-04", 0.775, 0.935)  # a run from before there was an aim; logged last
    covered("2023-06", 0.1, 0.1)  # not before this run's month
    with caplog.at_level(logging.INFO, logger="mlops"):
        aim = aim_of()

    past = (Covered("2023-04", 0.775, 0.935), Covered("2023-05", 0.785, 0.945, Aim(0.81, 0.955)))
    assert aim == next_aim(past) == Aim(0.8147, 0.9572)
    assert caplog.messages == [
        "ranges of 80 % and 95 % are calibrated to 81.47% and 95.72%; coverage in earlier months: "
        "2023-04 77.5% and 93.5%, 2023-05 78.5% and 94.5%"
    ]


def test_without_warm_start_the_aim_does_not_depend_on_other_runs(store: Path) -> None:
    covered("2023-05", 0.7, 0.9)

    assert aim_of() != Aim()
    assert aim_of(warm_start=False) == Aim()


def test_an_attempt_that_continues_keeps_the_aim_of_the_first(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    covered("2023-04", 0.76, 0.93)
    first = aim_of()
    covered("2023-05", 0.7, 0.9)
    with caplog.at_level(logging.INFO, logger="mlops"):
        again = fit_stage.coverage_aim(attempt(None))

    assert again == first != Aim()
    assert not caplog.messages


def test_runs_that_somebody_changed_do_not_move_the_aim(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    covered("2023-04", 0.76, 0.93)
    covered("2023-01", float("nan"), 0.9)
    covered("2023-02", 0.7, 95.0)
    covered("2023-03", 0.7, 0.9, coverage_aim_80="0.99")
    covered("2023-05", 0.7, 0.9, coverage_aim_95="wide")
    with caplog.at_level(logging.WARNING, logger="mlops"):
        assert aim_of() == next_aim([Covered("2023-04", 0.76, 0.93)])

    left_out = f"{NAME}: the run about 2023-%s is left out of the ranges: %s"
    shares = "two shares above 0 and below 1, that of the 80 % range below that of the 95 % range"
    assert caplog.messages == [
        left_out % ("01", "coverage_80 of 2023-01: expected 0 to 1; got nan"),
        left_out % ("02", "coverage_95 of 2023-02: expected 0 to 1; got 95.0"),
        left_out % ("03", f"coverage aim: expected {shares}; got 0.99 and 0.9525"),
        left_out % ("05", "coverage aim: expected numbers; got wide"),
    ]


def test_a_run_without_coverage_does_not_move_the_aim(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start_run(NAME, "old", KEY) as run:
        run.log_parameters({"month": "2023-05"})

    assert aim_of() == Aim()
    assert not caplog.messages


def test_an_attempt_has_a_unique_name_which_the_next_one_keeps(store: Path) -> None:
    one = origin_of(Checkpoint.of(NAME, KEY), Settings())

    assert origin_of(Checkpoint.of(NAME, KEY), Settings(force=True)) == one
    assert (one["run_key"], one["forced"]) == (KEY, "false")
    assert origin_of(Checkpoint.of(NAME, "cd" * 32), Settings())["attempt"] != one["attempt"]


def test_only_unusual_operational_settings_are_shown() -> None:
    unusual = Settings(on_busy="refuse", source="tlc", force=True)
    assert fit_stage._operational(unusual.describe()) == "on_busy refuse, force True"
    assert fit_stage._operational(Settings(source="tlc").describe()) == "the usual ones"


def test_everything_measured_before_the_test_is_there(tmp_path: Path) -> None:
    one = attempt(None)
    months = pd.DataFrame(
        {"rows": [10, 20], "kept": [9, 17], "rejected_duplicate": [1, 3], "month": ["a", "b"]}
    )
    one = replace(one, months=months)
    counts = {"cleaning_rows": 30.0, "cleaning_kept": 26.0, "cleaning_rejected_duplicate": 4.0}
    assert fit_stage.measured(one) == counts
    one.checkpoint.note("fitted", {"metrics": {"validation_rmse": 4.5}})
    assert fit_stage.measured(one) == {"validation_rmse": 4.5, **counts}
