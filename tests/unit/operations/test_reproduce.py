"""What keeps a version from being trained again is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.losses import remove_run
from support.tracked import NAME, bare_version, mlflow_client

from mlops.errors import DataQualityError, TrackingError
from mlops.operations.reproduce import reproduce


@pytest.mark.parametrize(
    ("usual", "problem"),
    [
        ([True, False], "expected the project's cleaning rules; its run had others, which are not recorded"),
        ([True, True], "proof/tested.npy"),  # goes on to the next file that it needs
    ],
)
def test_a_version_with_cleaning_rules_of_its_own_is_refused(
    usual: list[bool], problem: str, store: Path
) -> None:
    run = mlflow_client().create_run(mlflow_client().create_experiment(NAME, (store / "artifacts").as_uri()))
    months = pd.DataFrame({"month": ["2023-05", "2023-06"], "usual_rules": usual})
    mlflow_client().log_text(run.info.run_id, months.to_csv(index=False), "months.csv")
    number = bare_version(store, run_id=run.info.run_id)

    with pytest.raises(Exception, match=problem) as refused:
        reproduce(NAME, number)

    assert isinstance(refused.value, DataQualityError) == (not all(usual))


def test_a_version_whose_run_is_gone_says_so_with_the_next_act(store: Path) -> None:
    run = mlflow_client().create_run(mlflow_client().create_experiment(NAME, (store / "artifacts").as_uri()))
    number = bare_version(store, run_id=run.info.run_id)
    remove_run(run.info.run_id)

    with pytest.raises(TrackingError) as refused:
        reproduce(NAME, number)

    assert str(refused.value) == (
        f"models:/{NAME}/1: months.csv cannot be read: its run {run.info.run_id} no longer exists in MLflow; "
        "restore a backup, or train the month again with --force and delete this version"
    )
