"""Past runs of a model as values, and the deletion of what they left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.losses import delete_run, remove_run
from support.tracked import AWAY, NAME, fails_at, mlflow_client

from mlops.errors import TrackingDownError, TrackingError
from mlops.registry import run_history, run_lifecycle, runs
from mlops.registry.client import MlflowException
from mlops.registry.run_history import PastRun
from mlops.registry.versions import Version

SHA = "0123456789ab" + "c" * 52


def start(started: int, **tags: str) -> str:
    """Id of a new run that started so many milliseconds after 1970."""
    experiment = run_lifecycle.make_experiment(NAME)
    return str(mlflow_client().create_run(experiment, start_time=started, tags=tags).info.run_id)


def end(run_id: str, ended: int, status: str = "FINISHED") -> None:
    mlflow_client().set_terminated(run_id, status, end_time=ended)


def log_logged_model(run_id: str, text: str) -> Any:
    """A logged model of the run with one file."""
    experiment = run_lifecycle.make_experiment(NAME)
    model = mlflow_client().create_logged_model(experiment, source_run_id=run_id)
    folder = Path(model.artifact_location.removeprefix("file://"))
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "model.json").write_text(text)
    return model


def test_a_model_without_an_experiment_has_no_runs(store: Path) -> None:
    assert run_history.list_runs(NAME) == ()


def test_a_run_is_described_with_all_that_was_logged(store: Path) -> None:
    run_id = start(1_500, **{runs.RUN_KEY: "cafe"})
    mlflow_client().log_param(run_id, "month", "2023-06")
    months = [{"url": "u", "sha256": SHA, "role": "training", "rows": 1}]
    runs.Run(run_id, "").log_months(pd.DataFrame(months))
    trial = start(1_600, **{runs.MLFLOW_PARENT_RUN_ID: run_id})
    end(trial, 1_700)
    end(run_id, 2_500)

    assert run_history.list_runs(NAME) == (
        PastRun(
            run_id=run_id,
            status="FINISHED",
            started_at=1.5,
            ended_at=2.5,
            run_key="cafe",
            test_month="2023-06",
            month_digests=frozenset([SHA[:36]]),
            has_trials=True,
        ),
    )


def test_what_a_run_has_not_logged_is_unknown(store: Path) -> None:
    run_id = start(1_500)
    (found,) = run_history.list_runs(NAME)
    assert found == PastRun(run_id, "RUNNING", 1.5, None, None, None, frozenset(), False)


def test_trials_belong_to_their_own_run_alone(store: Path) -> None:
    first, second = start(1_000), start(2_000)
    start(3_000, **{runs.MLFLOW_PARENT_RUN_ID: first})
    assert {run.run_id: run.has_trials for run in run_history.list_runs(NAME)} == {first: True, second: False}


def test_deleted_trials_are_gone_and_the_run_and_others_trials_stay(store: Path) -> None:
    first, second = start(1_000), start(2_000)
    for parent in (first, first, second):
        start(3_000, **{runs.MLFLOW_PARENT_RUN_ID: parent})
    run_history.delete_trials(first)
    assert {run.run_id: run.has_trials for run in run_history.list_runs(NAME)} == {first: False, second: True}
    run_history.delete_trials(first)  # a second time changes nothing


def test_artefacts_are_those_of_the_run_and_of_its_models(store: Path) -> None:
    run_id, other = start(1_000), start(2_000)
    assert run_history.artefact_bytes(run_id) is None
    mlflow_client().log_text(run_id, "four", "deep/er/verdict.json")
    assert run_history.artefact_bytes(run_id) == 4
    log_logged_model(run_id, "sixsix")
    assert run_history.artefact_bytes(run_id) == 10
    assert run_history.artefact_bytes(other) is None


def test_an_empty_artefact_is_an_artefact(store: Path) -> None:
    run_id = start(1_000)
    mlflow_client().log_text(run_id, "", "empty.txt")
    assert run_history.artefact_bytes(run_id) == 0


def test_a_run_with_only_a_logged_model_has_artefacts(store: Path) -> None:
    run_id = start(1_000)
    log_logged_model(run_id, "six678")
    assert run_history.artefact_bytes(run_id) == 6


def test_deleted_artefacts_are_gone_with_the_models_and_others_stay(store: Path) -> None:
    run_id, other = start(1_000), start(2_000)
    for each in (run_id, other):
        mlflow_client().log_text(each, "four", "deep/verdict.json")
    mine, theirs = log_logged_model(run_id, "six678"), log_logged_model(other, "six678")
    run_history.delete_artefacts(run_id)

    assert run_history.artefact_bytes(run_id) is None
    assert run_history.artefact_bytes(other) == 10
    assert list(Path(mine.artifact_location.removeprefix("file://")).rglob("*.json")) == []
    assert mlflow_client().get_logged_model(theirs.model_id).model_id == theirs.model_id
    assert {run.run_id for run in run_history.list_runs(NAME)} == {run_id, other}
    run_history.delete_artefacts(run_id)  # a second time changes nothing


@pytest.mark.parametrize(
    ("method", "ask", "doing"),
    [
        ("get_experiment_by_name", run_history.list_runs, "{0}: looking for old runs"),
        ("get_run", run_history.artefact_bytes, "run {0}: looking for artefacts"),
        ("get_run", run_history.delete_trials, "run {0}: deleting its trials"),
        ("get_run", run_history.delete_artefacts, "run {0}: deleting its artefacts"),
    ],
)
def test_a_question_that_fails_says_which(method: str, ask: Any, doing: str, store: Path) -> None:
    with pytest.raises(TrackingError) as refused, fails_at(method, MlflowException("permission denied")):
        ask("abc")
    assert str(refused.value) == f"{doing.format('abc')}: MLflow failed: permission denied"
    with pytest.raises(TrackingDownError), fails_at(method, AWAY):
        ask("abc")


# --- Runs that people delete ---------------------------------------------------------------------------------


def version_of(run_id: str) -> Version:
    return Version(NAME, "7", run_id, {})


def test_a_deleted_run_is_listed_as_deleted_and_its_trials_do_not_count(store: Path) -> None:
    run_id = start(1_000)
    trial = start(2_000, **{runs.MLFLOW_PARENT_RUN_ID: run_id})
    for each in (trial, run_id):
        delete_run(each)
    (found,) = run_history.list_runs(NAME)
    assert (found.run_id, found.is_deleted, found.has_trials) == (run_id, True, False)
    remove_run(start(3_000))
    assert len(run_history.list_runs(NAME)) == 1


def test_what_happened_to_a_run_is_explained_with_the_next_act(store: Path) -> None:
    active, deleted, gone = start(1_000), start(2_000), start(3_000)
    restore = delete_run(deleted)
    remove_run(gone)
    instead = "restore a backup, or train the month again with --force and delete this version"

    assert [*map(run_history.stage_of, (active, deleted, gone, ""))] == ["active", "deleted", "gone", "gone"]
    assert [*map(run_history.explain_loss, (active, deleted, gone, ""))] == [
        f"its run {active} has lost this file; {instead}",
        f"its run {deleted} was deleted in MLflow; restore it: `{restore}`",
        f"its run {gone} no longer exists in MLflow; {instead}",
        "it has no run, because another program or a person registered it",
    ]


def test_a_file_can_be_read_until_its_run_is_gone(store: Path, tmp_path: Path) -> None:
    run_id = start(1_000)
    mlflow_client().log_text(run_id, "month,sha256\n2023-06,ab\n", "months.csv")
    assert run_history.has_file(run_id, "months.csv")
    assert not run_history.has_file(run_id, "leaderboard.csv")
    delete_run(run_id)
    assert run_history.months_of(version_of(run_id)).to_dict("records") == [
        {"month": "2023-06", "sha256": "ab"}
    ]

    mlflow_client().restore_run(run_id)
    remove_run(run_id)
    with pytest.raises(TrackingError) as gone:
        run_history.fetch(version_of(run_id), "months.csv", tmp_path / "new")
    assert str(gone.value) == (
        f"models:/{NAME}/7: months.csv cannot be read: {run_history.explain_loss(run_id)}"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is damaged (No columns to parse from file)"),
        ("month,sha256\n1,2\n1,2,3\n", "is damaged (Error tokenizing data."),
        ("month,rows\n2023-06,1\n", "expected the columns month and sha256; got ['month', 'rows']"),
        (None, "months.csv cannot be read: its run"),
    ],
)
def test_months_that_cannot_be_read_are_one_error(text: str | None, problem: str, store: Path) -> None:
    run_id = start(1_000)
    if text is not None:
        mlflow_client().log_text(run_id, text, "months.csv")
    with pytest.raises(TrackingError) as refused:
        run_history.months_of(version_of(run_id))
    assert problem in str(refused.value)
    assert "train the month again with --force" in str(refused.value)


def test_a_server_that_is_away_is_not_a_lost_run(store: Path, tmp_path: Path) -> None:
    for ask in (run_history.stage_of, run_history.explain_loss):
        with pytest.raises(TrackingDownError), fails_at("get_run", AWAY):
            ask("0123")
    run_id = start(1_000)
    for method in ("get_run", "download_artifacts"):
        with pytest.raises(TrackingDownError), fails_at(method, AWAY):
            run_history.fetch(version_of(run_id), "months.csv", tmp_path)
