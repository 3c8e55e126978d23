"""Compared months of a model stay, and confuse none of the commands that look at its runs and versions."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support import listed
from support.losses import delete_run
from support.monitored import record
from support.tracked import KEY, NAME, bare_version, mlflow_client, runs_of

from mlops.operations.doctor import history
from mlops.operations.retention import cleanup
from mlops.operations.retention.cleanup import Retention
from mlops.registry import monitoring_log, run_history, run_lifecycle, versions
from mlops.registry.monitoring_record import to_json

EXPERIMENT = monitoring_log.experiment_of(NAME)


@pytest.fixture
def run_id(store: Path, tmp_path: Path) -> str:
    """The run with a compared month of a model with one version."""
    made = str(mlflow_client().create_run(run_lifecycle.make_experiment(NAME)).info.run_id)
    mlflow_client().log_text(made, "month,sha256\n", "months.csv")
    bare_version(store, run_id=made, run_key=KEY, test_month="2023-06", outcome="challenger")
    report = tmp_path / "report.html"
    report.write_text("<p>report</p>")
    kept = record("2023-09")
    return monitoring_log.write(NAME, "2023-09", to_json(kept), {"rmse": 4.2}, [report])


def problems() -> list[str]:
    return [finding.text for finding in history.look_over(NAME)]


@pytest.mark.parametrize("status", ["FINISHED", "KILLED"])
def test_retention_never_deletes_them(run_id: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow_client().set_terminated(run_id, status)
    future = time.time() + 10_000 * 86_400.0
    monkeypatch.setattr(cleanup.time, "time", lambda: future)
    found = cleanup.find_leftovers(Retention(keep_days=1))
    assert run_id not in set(found["place"])
    cleanup.delete_leftovers(found, Retention(keep_days=1))
    assert list(monitoring_log.months(NAME)) == ["2023-09"]
    assert [each.path for each in mlflow_client().list_artifacts(run_id, "2023-09")] == [
        "2023-09/report.html"
    ]


def test_no_list_of_runs_or_versions_has_them(run_id: str) -> None:
    before = listed.listing(NAME)
    mlflow_client().delete_experiment(mlflow_client().get_run(run_id).info.experiment_id)
    assert listed.listing(NAME) == before and run_id not in before
    assert run_id not in [run.run_id for run in run_history.list_runs(NAME)]
    assert versions.lost_runs(NAME) == {} and versions.earlier_runs(NAME, "2024-01") == ()
    assert versions.model_names() == (NAME,)


def test_the_doctor_finds_nothing_wrong_with_them(run_id: str) -> None:
    assert problems() == []
    assert run_lifecycle.running_under(EXPERIMENT) == []
    assert [run.info.status for run in runs_of(EXPERIMENT)] == ["FINISHED"]


def test_the_doctor_names_a_record_that_cannot_be_read(run_id: str) -> None:
    mlflow_client().set_tag(run_id, "month.2023-09", "nonsense")
    assert problems() == [monitoring_log.explain_unreadable(NAME, "2023-09")]


def test_the_doctor_names_a_deleted_run_with_the_command_that_restores_it(run_id: str) -> None:
    delete_run(run_id)
    (found,) = problems()
    assert found.startswith(f"{NAME}: the run with its compared months was deleted in MLflow; restore it: `")
    assert found.endswith(f"runs restore --run-id {run_id}`")
    mlflow_client().restore_run(run_id)
    assert problems() == []


def test_the_doctor_names_a_deleted_experiment_with_the_command_that_restores_it(run_id: str) -> None:
    experiment = mlflow_client().get_run(run_id).info.experiment_id
    mlflow_client().delete_experiment(experiment)
    (found,) = problems()
    assert found.startswith(
        f"{NAME}: experiment {EXPERIMENT} was deleted in MLflow, with all its runs; restore it: "
    )
    assert found.endswith(f"experiments restore -x {experiment}`")
