"""The metrics of a model over its test months: one run, complete after every write, and no point twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tracked import NAME, Killed, bare_version, fails_at, mlflow_client, runs_of, state_of

from mlops.errors import TrackingError
from mlops.registry import model_months, run_history, versions
from mlops.registry.client import MlflowException
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import OUTCOME
from mlops.registry.server_facts import MODE

EXPERIMENT = model_months.experiment_of(NAME)


def trained(store: Path, month: str, rmse: float, **tags: str) -> str:
    """Id of a run with a complete version that was tested on a month."""
    with start_run(NAME, f"green {month}", f"{len(runs_of()):064x}") as run:
        run.log_parameters({"month": month})
        run.log_metrics({"test_rmse": rmse, "test_coverage_80": 0.8, "test_rows": 9})
    bare_version(store, run_id=run.run_id, **{"test_month": month, OUTCOME: "champion", **tags})
    return run.run_id


def points(name: str = "test/rmse") -> list[tuple[int, float]]:
    """Steps and values of the one series that there is."""
    (run,) = runs_of(EXPERIMENT)
    assert state_of(run.info.run_id) == ("FINISHED", None)
    return [(each.step, each.value) for each in mlflow_client().get_metric_history(run.info.run_id, name)]


def test_each_month_is_a_point_at_its_start(store: Path) -> None:
    trained(store, "2023-12", 4.5)
    trained(store, "2024-01", 4.25)
    curves = model_months.write(NAME)
    (run,) = runs_of(EXPERIMENT)

    assert points() == [(202312, 4.5), (202401, 4.25)]
    assert points("test_ranges/coverage_80") == [(202312, 0.8), (202401, 0.8)]
    assert set(run.data.metrics) == {"test/rmse", "test_ranges/coverage_80"}
    assert run.info.run_name == f"{NAME} by test month"
    first, _ = mlflow_client().get_metric_history(run.info.run_id, "test/rmse")
    assert first.timestamp == 1_701_388_800_000  # 2023-12-01T00:00 UTC
    assert curves.endswith(
        f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/model-metrics?{MODE}"
    )
    assert model_months.write(NAME) == curves


def test_a_write_adds_what_is_missing_and_repeating_it_changes_nothing(store: Path) -> None:
    trained(store, "2023-05", 4.5)
    model_months.write(NAME)
    (before,) = runs_of(EXPERIMENT)
    trained(store, "2023-06", 4.25)
    trained(store, "2023-04", 4.75)
    model_months.write(NAME)
    model_months.write(NAME)
    (after,) = runs_of(EXPERIMENT)

    assert sorted(points()) == [(202304, 4.75), (202305, 4.5), (202306, 4.25)]
    assert after.info.run_id == before.info.run_id


def test_a_repeated_training_of_a_month_takes_the_place_of_its_point(store: Path) -> None:
    trained(store, "2023-05", 4.5)
    trained(store, "2023-06", 4.25)
    model_months.write(NAME)
    trained(store, "2023-05", 4.0)
    model_months.write(NAME)

    assert points() == [(202305, 4.0), (202306, 4.25)]


def test_only_complete_versions_of_a_month_count(store: Path) -> None:
    trained(store, "2023-05", 4.5)
    trained(store, "somebody wrote this", 4.0)
    with start_run(NAME, "green 2023-05", "a" * 64) as run:
        run.log_metrics({"test_rmse": 3.0})
    bare_version(store, run_id=run.run_id, test_month="2023-05")
    model_months.write(NAME)

    assert points() == [(202305, 4.5)]


def test_a_version_whose_run_is_gone_has_no_point_and_stops_nothing(store: Path) -> None:
    bare_version(store, run_id="0" * 32, test_month="2023-04", **{OUTCOME: "champion"})
    trained(store, "2023-05", 4.5)
    model_months.write(NAME)
    model_months.write(NAME)

    assert points() == [(202305, 4.5)]


@pytest.mark.parametrize("call", ["create_run", "log_batch", "set_terminated", "delete_run"])
@pytest.mark.parametrize("after", [False, True])
def test_after_a_killed_write_the_next_one_completes_the_series(store: Path, call: str, after: bool) -> None:
    trained(store, "2023-05", 4.5)
    if call == "delete_run":
        model_months.write(NAME)
        trained(store, "2023-05", 4.0)
    with pytest.raises(Killed), fails_at(call, Killed(), after=after):
        model_months.write(NAME)
    trained(store, "2023-06", 4.25)
    model_months.write(NAME)

    assert points() == [(202305, 4.0 if call == "delete_run" else 4.5), (202306, 4.25)]


def test_without_a_version_there_is_no_series(store: Path) -> None:
    assert model_months.write(NAME) == ""
    assert runs_of(EXPERIMENT) == []


def test_the_series_is_no_run_of_the_model(store: Path) -> None:
    run_id = trained(store, "2023-05", 4.5)
    model_months.write(NAME)
    assert [run.run_id for run in run_history.list_runs(NAME)] == [run_id]
    assert versions.lost_runs(NAME) == {}
    assert [run.month for run in versions.earlier_runs(NAME, "2024-01")] == ["2023-05"]


def test_an_error_is_named(store: Path) -> None:
    trained(store, "2023-05", 4.5)
    expected = f"^{NAME}: writing its metrics by month: MLflow failed: permission denied$"
    with (
        pytest.raises(TrackingError, match=expected),
        fails_at("log_batch", MlflowException("permission denied")),
    ):
        model_months.write(NAME)


def test_a_deleted_experiment_is_an_error_that_says_how_to_restore_it(store: Path) -> None:
    trained(store, "2023-05", 4.5)
    model_months.write(NAME)
    (run,) = runs_of(EXPERIMENT)
    mlflow_client().delete_experiment(run.info.experiment_id)
    expected = f"^experiment {EXPERIMENT} was deleted in MLflow, .*restore -x {run.info.experiment_id}`$"
    with pytest.raises(TrackingError, match=expected):
        model_months.write(NAME)
