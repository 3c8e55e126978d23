"""What each step's table must hold: called by the blocks' `@test` functions, in Mage and outside."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mlops.config import Settings
from mlops.data import ingest, schemas, split
from mlops.errors import (
    ConfigError,
    DataQualityError,
    MlopsError,
)
from mlops.month import Month

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
        schemas.check_trips(Path(path))


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


def nothing_to_do(reason: str, month: str = "") -> pd.DataFrame:
    """What a step hands on when there is nothing to do: why, and the month that is waited for."""
    return pd.DataFrame({NOTHING_TO_DO: [reason], "month": [month]})


def worst_rules_first(cleaned: pd.DataFrame) -> pd.DataFrame:
    """The table with the rules that reject most on the left, where the editor shows them."""
    rules = [name for name in cleaned.columns if name.startswith("rejected_")]
    rules.sort(key=lambda name: -int(cleaned[name].sum()))
    first = ["month", "role", "rows", "kept", "test_rows", *rules]
    return cleaned[[*first, *(name for name in cleaned.columns if name not in first)]]


HANDED_ON = ("sample", "drift", "republished", "sha256", "url", "prepared", *ingest.SELECTION_FIELDS)


def require_same_run(months: pd.DataFrame, settings: Settings) -> None:
    """Refuse a table made for other settings: in the editor one block may run again after they changed."""
    for name, now in ingest.selection(settings).items():
        then = months[name].iloc[0]
        if str(then) != str(now):
            raise ConfigError(
                f"{name}: the months were loaded for {then}, the settings now say {now}. "
                "Run load_trips again, and the blocks after it."
            )


def prepared_path(row: dict[Any, Any], step: str, rules: Sequence[str]) -> Path:
    """Where a step keeps what it makes of a month; source's and rules' hashes keep republished months apart."""
    made_by = hashlib.sha256(" ".join(sorted(rules)).encode()).hexdigest()[:6]
    name = f"{row['service']}_{row['month']}_{row['sha256'][:12]}_{made_by}.parquet"
    return Path(row["prepared"]) / step / name


def split_of(months: pd.DataFrame) -> split.Split:
    """The split that a table of months describes by its roles."""
    by_role = {role: sorted(Month.parse(m) for m in part["month"]) for role, part in months.groupby("role")}
    return split.Split(tuple(by_role["training"]), by_role["validation"][0], by_role["test"][0])
