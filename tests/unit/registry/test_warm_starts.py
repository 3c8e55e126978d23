"""What earlier runs found, and a later search begins with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.tracked import NAME, bare_version, fails_at, mlflow_client, runs_of

from mlops.errors import TrackingError
from mlops.registry import metric_names, versions
from mlops.registry.client import MlflowException
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import Run

SEARCHED = ("max_depth", "subsample")


def trained(
    month: str, *trials: tuple[int, float, int], best: int = 1, error: type[Exception] | None = None
) -> Run:
    """A run about a month, with trials of so deep trees: rung, validation RMSE (NaN: failed) and depth of each."""
    key = f"{len(runs_of()):064x}"
    with contextlib.suppress(ValueError), start_run(NAME, f"green {month}", key) as run:
        run.log_parameters({"month": month, "seed": 42})
        for number, (rung, rmse, depth) in enumerate(trials, 1):
            parameters = {"max_depth": depth, "subsample": depth / 10, "learning_rate": 0.1}
            measured = {"validation_rmse": rmse, "rung": rung}
            run.log_trial(f"trial {number}", parameters, measured, "boom" if rmse != rmse else "")
        chosen = trials[best - 1][2]
        run.log_parameters({"max_depth": chosen, "subsample": chosen / 10, "best_trial": best})
        if error:
            raise error("no trips")
    return run


def crown(run: Run, store: Path) -> None:
    """Make a version of the run the champion, without a model behind it."""
    mlflow_client().set_registered_model_alias(NAME, "champion", bare_version(store, run_id=run.run_id))


def depths(before: str) -> list[int]:
    return [int(start.parameters["max_depth"]) for start in versions.warm_starts(NAME, before, SEARCHED)]


def test_without_earlier_runs_there_is_nothing_to_begin_with(store: Path) -> None:
    assert versions.warm_starts(NAME, "2023-06", SEARCHED) == ()
    trained("2023-06", (1, 4.5, 6))
    assert versions.warm_starts(NAME, "2023-06", SEARCHED) == ()
    assert versions.warm_starts("trip-duration-yellow", "2024-01", SEARCHED) == ()


def test_a_start_says_what_and_where_it_is_from(store: Path) -> None:
    run = trained("2023-05", (1, 4.5, 6))
    (start,) = versions.warm_starts(NAME, "2023-06", (*SEARCHED, "reg_gamma"))  # one of which it knew nothing
    (trial,) = (found for found in runs_of() if found.info.run_id != run.run_id)

    assert start == versions.Start(
        {"max_depth": 6.0, "subsample": 0.6}, trial.info.run_id, "2023-05", "trial 1"
    )


def test_only_runs_about_earlier_months_give_points(store: Path) -> None:
    for depth, month in ((5, "2022-12"), (7, "2023-02"), (9, "2023-03"), (8, "2023-01")):
        trained(month, (1, 4.5, depth))

    assert depths("2022-12") == []
    assert depths("2023-01") == [5]
    assert depths("2023-03") == [7]  # of the newest month, though 2023-01 was run later
    assert depths("2024-01") == [9]


def test_of_two_runs_about_one_month_the_later_is_newest(store: Path) -> None:
    trained("2023-05", (1, 4.0, 6))
    time.sleep(0.01)
    trained("2023-05", (1, 4.9, 7))

    assert depths("2023-06") == [7]


def test_the_best_trials_of_the_highest_rung_come_first(store: Path) -> None:
    trials = ((1, 4.0, 3), (1, 4.1, 4), (1, 4.2, 5), (2, 4.9, 6), (2, 4.7, 7), (3, 5.0, 8))
    trained("2023-05", *trials, best=6)

    assert depths("2023-06") == [8, 7, 6]
    assert versions.WARM_TRIALS == 3


def test_trials_that_have_only_plain_names_are_sorted_too(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release before 2026-12 logged them, and the release after it logs only names in groups."""
    trials = ((1, 4.0, 3), (2, 4.9, 6), (2, 4.7, 7), (3, 5.0, 8))
    with monkeypatch.context() as patch:
        patch.setattr(metric_names, "grouped", str)
        trained("2023-04", *trials, best=4)
    monkeypatch.setattr(metric_names, "PLAIN_NAMES_TOO", False)
    before = runs_of()
    assert depths("2023-05") == [8, 7, 6]
    trained("2023-05", *trials, best=4)
    assert depths("2023-06") == [8, 7, 6]
    names = [set(run.data.metrics) for run in (*before, *runs_of()[len(before) :]) if run.data.metrics]
    assert names == 4 * [{"rung", "validation_rmse"}] + 4 * [{"tuning/rung", "validation/rmse"}]


def test_the_champions_parameters_come_before_those_of_the_newest_run(store: Path) -> None:
    crown(trained("2023-03", (1, 4.5, 6), (2, 4.4, 7), best=2), store)
    newest = trained("2023-05", (1, 4.5, 8), (2, 4.4, 9), best=2)
    starts = versions.warm_starts(NAME, "2023-06", SEARCHED)

    assert [(s.whose, s.month, s.parameters["max_depth"]) for s in starts] == [
        ("champion", "2023-03", 7.0),
        ("trial 2", "2023-05", 9.0),
        ("trial 1", "2023-05", 8.0),
    ]
    assert newest.run_id not in {start.run_id for start in starts}  # its trials' own runs are named


def test_what_was_found_twice_is_tried_once(store: Path) -> None:
    crown(trained("2023-05", (1, 4.5, 7), (1, 4.6, 8), (2, 4.4, 7), best=3), store)
    starts = versions.warm_starts(NAME, "2023-06", SEARCHED)

    assert [(start.whose, start.parameters["max_depth"]) for start in starts] == [
        ("champion", 7.0),
        ("trial 2", 8.0),
    ]


@pytest.mark.parametrize("month", ["2023-06", "2023-07"])
def test_a_champion_about_the_same_or_a_later_month_gives_no_points(month: str, store: Path) -> None:
    trained("2023-05", (1, 4.5, 6))
    crown(trained(month, (1, 4.0, 9)), store)

    assert depths("2023-06") == [6]


def test_a_failed_run_and_a_failed_trial_give_no_points(store: Path) -> None:
    trained("2023-04", (1, 4.5, 6), (2, float("nan"), 7), best=1)
    trained("2023-05", (1, 4.0, 9), error=ValueError)

    assert depths("2023-06") == [6]


def test_the_newest_finished_run_about_each_earlier_month_is_found(store: Path) -> None:
    for month, rounds in (("2023-05", 1), ("2022-12", 2), ("2023-05", 3), ("2023-06", 4)):
        run = trained(month, (1, 4.5, 6))
        run.log_parameters({"rounds": rounds})
        run.log_metrics({"test_coverage_80": rounds / 10})
        time.sleep(0.01)
    trained("2023-05", (1, 4.5, 6), error=ValueError)

    assert versions.earlier_runs(NAME, "2022-12") == ()
    assert versions.earlier_runs("trip-duration-yellow", "2024-01") == ()
    found = versions.earlier_runs(NAME, "2023-06")
    assert [(run.month, run.metrics, run.parameters["rounds"]) for run in found] == [
        ("2022-12", {"test_coverage_80": 0.2}, "2"),
        ("2023-05", {"test_coverage_80": 0.3}, "3"),
    ]


@pytest.mark.parametrize(
    "look_up",
    [lambda: versions.warm_starts(NAME, "2023-06", SEARCHED), lambda: versions.earlier_runs(NAME, "2023-06")],
)
def test_earlier_runs_that_cannot_be_looked_up_are_not_missing(
    look_up: Callable[[], object], store: Path
) -> None:
    with (
        pytest.raises(TrackingError) as refused,
        fails_at("get_experiment_by_name", MlflowException("permission denied")),
    ):
        look_up()

    assert str(refused.value) == f"{NAME}: looking up earlier runs: MLflow failed: permission denied"


@pytest.mark.parametrize("depth", ["deep", "inf"])
def test_a_parameter_that_somebody_wrote_and_that_is_no_number_gives_no_point(
    depth: str, store: Path
) -> None:
    run = trained("2023-05", (1, 4.2, 6))
    own = mlflow_client()
    trial = own.create_run(run.experiment_id, tags={"mlflow.parentRunId": run.run_id}, run_name="trial 9")
    own.log_param(trial.info.run_id, "max_depth", depth)
    own.log_metric(trial.info.run_id, "validation_rmse", 1.0)
    own.log_metric(trial.info.run_id, "rung", 3)
    own.set_terminated(trial.info.run_id)

    assert depths("2023-06") == [6]
