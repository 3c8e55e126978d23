"""What is missing of a model's history is named, with the next act."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.losses import delete_experiment, delete_run, leave_alias, remove_run
from support.tracked import KEY, NAME, bare_version, mlflow_client

from mlops.operations.doctor import checkup, history
from mlops.operations.doctor.finding import Finding
from mlops.registry import alias_log, run_history, run_lifecycle
from mlops.registry.runs import RUN_KEY

WHOLE = {RUN_KEY: KEY, "test_month": "2023-06", "outcome": "challenger"}


def register(store: Path, months: str = "month,sha256\n", **tags: str) -> str:
    """Id of the run of a new, complete version."""
    run_id = str(mlflow_client().create_run(run_lifecycle.make_experiment(NAME)).info.run_id)
    if months:
        mlflow_client().log_text(run_id, months, "months.csv")
    bare_version(store, run_id=run_id, **{**WHOLE, **tags})
    return run_id


def opened() -> list[str]:
    found = list(history.look_over(NAME))
    assert all(finding.is_open for finding in found)
    return [finding.text for finding in found]


def test_a_whole_history_is_no_finding(store: Path) -> None:
    register(store)
    register(store)
    assert opened() == []


@pytest.mark.parametrize("loss", [delete_run, remove_run])
def test_a_run_that_was_deleted_is_named_with_its_version(loss: Callable[[str], object], store: Path) -> None:
    register(store)
    run_id = register(store)
    loss(run_id)
    assert opened() == [f"models:/{NAME}/2: {run_history.explain_loss(run_id)}"]


def test_months_that_are_missing_are_named(store: Path) -> None:
    run_id = register(store, months="")
    assert opened() == [
        f"models:/{NAME}/1: months.csv is missing: its run {run_id} has lost this file; restore a backup, or "
        "train the month again with --force and delete this version"
    ]


def test_a_deleted_experiment_is_one_finding(store: Path) -> None:
    register(store)
    register(store)
    reported = delete_experiment()
    assert opened() == [f"{NAME}: {reported}"]
    assert Finding(f"{NAME}: {reported}", is_open=True) in list(checkup._models(resume=False))


def test_an_experiment_that_was_deleted_before_its_first_version_is_found(store: Path) -> None:
    run_lifecycle.make_experiment(NAME)
    reported = delete_experiment()
    assert Finding(f"{NAME}: {reported}", is_open=True) in list(checkup._models(resume=False))


def test_a_version_of_another_program_and_a_changed_tag_are_named(store: Path) -> None:
    bare_version(store)
    register(store, test_month="soon")
    assert opened() == [
        f"models:/{NAME}/1: another program or a person registered it, so it can never be promoted; "
        "delete it in MLflow, or register it under another name",
        f"models:/{NAME}/2: its tag test_month is 'soon'; set it to the month that it was tested on, YYYY-MM",
    ]
    assert [finding.text for finding in checkup._left(NAME)] == []


def test_an_alias_that_serves_nothing_of_this_project_is_named(store: Path) -> None:
    register(store)
    bare_version(store)
    mlflow_client().set_registered_model_alias(NAME, "champion", "2")
    leave_alias("challenger", 7)
    leave_alias("blue", 8)
    assert opened()[1:] == [
        f"{NAME}: blue is version 8, but that version was deleted; remove the alias in MLflow",
        f"{NAME}: challenger is version 7, but that version was deleted; train its month again with --force",
        f"{NAME}: champion is version 2, but no run of this project judged it; "
        "promote or roll back to another version",
    ]


def test_a_champion_without_its_files_is_named(store: Path) -> None:
    register(store)
    mlflow_client().set_registered_model_alias(NAME, "champion", "1")
    (text,) = opened()
    assert text.startswith(f"{NAME}: champion is version 1, but its files are gone or changed (")
    assert text.endswith("; promote or roll back to another version")


def test_a_champion_that_was_deleted_is_named_and_so_is_a_spoilt_journal(store: Path) -> None:
    register(store)
    alias_log.move(NAME, "champion", "1", by="me", verdict="promote", reason="the first")
    mlflow_client().delete_registered_model_alias(NAME, "champion")
    alias_log.reconcile(NAME)
    mlflow_client().set_registered_model_tag(NAME, "journal.000009", "a note")
    since = alias_log.read(NAME)[-1].at
    assert opened() == [
        f"{NAME}: no version is champion since {since}; promote one",
        f"{NAME}: its tag journal.000009 is no entry of the journal; delete it in MLflow, or restore a backup",
    ]
