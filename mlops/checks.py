"""What each step's table must hold: called by the blocks' `@test` functions, in Mage and outside."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from mlops import contract
from mlops.errors import DataQualityError, MlopsError

NOTHING_TO_DO = "nothing_to_do"  # column of a table that stands for one without work in it


def is_nothing(table: pd.DataFrame) -> bool:
    """Whether a step's table says that there is nothing to do."""
    return NOTHING_TO_DO in table


def check_months(months: pd.DataFrame) -> None:
    """Nothing, if the months make a run: something to learn from, one to tune on, one to test on, none empty.

    Raises
    ------
    DataQualityError
    """
    if is_nothing(months):
        return
    roles = months["role"].value_counts().to_dict()
    if roles.get("validation") != 1 or roles.get("test") != 1 or roles.get("training", 0) < 1:
        raise DataQualityError(
            f"load_trips: expected training months, one validation and one test month; got {roles}"
        )
    empty = months.loc[months["rows"] < 1, "month"].tolist()
    gone = [path for path in months["path"] if not Path(path).is_file()]
    if empty or gone or months["month"].duplicated().any():
        raise DataQualityError(
            f"load_trips: expected distinct months with trips; got empty {empty}, files gone {gone}, "
            f"months {months['month'].tolist()}"
        )


def check_cleaned(months: pd.DataFrame) -> None:
    """Nothing, if every row of every month is kept or rejected by a rule, and clean trips keep their contract.

    Raises
    ------
    DataQualityError, TripSchemaError
    """
    if is_nothing(months):
        return
    rejected = months[[column for column in months.columns if column.startswith("rejected_")]].sum(axis=1)
    lost = months["rows"] - months["kept"] - rejected
    if lost.any():
        counts = dict(zip(months["month"], lost, strict=True))
        raise DataQualityError(
            f"clean_trips: expected kept + rejected = rows; rows lost: {counts}", counts=counts
        )
    for path in months["path"]:
        contract.check_trips(Path(path))


def check_features(summary: pd.DataFrame) -> None:
    """Nothing, if every feature has rows, is not missing throughout, and has finite extremes.

    Raises
    ------
    DataQualityError
    """
    if is_nothing(summary):
        return
    # fhvhv counts no passengers at all, so that feature alone may be missing throughout.
    absent = (summary["missing_share"] == 1) & (summary["feature"] != "passenger_count")
    odd = (summary["rows"] < 1) | absent
    if odd.any():
        raise DataQualityError(f"build_features: nothing in {summary.loc[odd, 'feature'].tolist()}")


def check_leaderboard(board: pd.DataFrame) -> None:
    """Nothing, if the first entry is a registered version with a finite test RMSE beside its baseline's.

    Raises
    ------
    MlopsError
    """
    if is_nothing(board):
        return
    first, baseline = board.iloc[0], board.iloc[1]
    finite = math.isfinite(first["test_rmse"]) and math.isfinite(baseline["test_rmse"])
    if not str(first["entry"]).startswith("models:/") or not finite:
        raise MlopsError(f"train_and_register: expected a version with its test RMSE; got {first.to_dict()}")
