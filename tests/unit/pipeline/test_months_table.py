"""Each step's table is refused when it does not hold what the next step needs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mlops.errors import DataQualityError, MlopsError
from mlops.pipeline import months_table


@pytest.fixture
def months(tmp_path: Path) -> pd.DataFrame:
    """Three months, as `steps.load_trips` describes them."""
    path = tmp_path / "month.parquet"
    path.touch()
    roles = ["test", "validation", "training"]
    names = ["2023-03", "2023-02", "2023-01"]
    return pd.DataFrame({"month": names, "role": roles, "rows": [10, 10, 10], "path": [str(path)] * 3})


def test_months_that_make_a_run_pass(months: pd.DataFrame) -> None:
    months_table.check_months(months)


def test_a_run_needs_a_training_month(months: pd.DataFrame) -> None:
    with pytest.raises(DataQualityError, match="expected training months, one validation and one test month"):
        months_table.check_months(months[months["role"] != "training"])


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("rows", 0, r"got empty \['2023-03'\]"),
        ("path", "/nowhere.parquet", r"files gone \['/nowhere.parquet'\]"),
        ("month", "2023-02", "expected distinct months"),
    ],
)
def test_a_month_that_is_none_is_refused(months: pd.DataFrame, column: str, value: object, told: str) -> None:
    months.loc[0, column] = value
    with pytest.raises(DataQualityError, match=told):
        months_table.check_months(months)


def test_lost_rows_are_counted_by_month(months: pd.DataFrame) -> None:
    cleaned = months.assign(kept=[8, 8, 7], rejected_outside_month=[2, 2, 2])
    with pytest.raises(DataQualityError, match=r"expected kept \+ rejected = rows") as caught:
        months_table.check_cleaned(cleaned)
    assert caught.value.counts == {"2023-03": 0, "2023-02": 0, "2023-01": 1}


def test_only_passengers_may_be_missing_throughout() -> None:
    summary = pd.DataFrame(
        {"feature": ["weekday", "passenger_count"], "rows": [5, 5], "missing_share": [0.0, 1.0]}
    )
    months_table.check_features(summary)
    with pytest.raises(DataQualityError, match=r"nothing in \['weekday'\]"):
        months_table.check_features(summary.assign(missing_share=1.0))
    with pytest.raises(DataQualityError, match=r"nothing in \['weekday', 'passenger_count'\]"):
        months_table.check_features(summary.assign(rows=0))


@pytest.mark.parametrize(("entry", "rmse"), [("trial 1", 4.0), ("models:/m/1", float("nan"))])
def test_a_leaderboard_starts_with_a_tested_version(entry: str, rmse: float) -> None:
    months_table.check_leaderboard(
        pd.DataFrame({"entry": ["models:/m/1", "pair median"], "test_rmse": [4.0, 6.0]})
    )
    with pytest.raises(MlopsError, match="expected a version with its test RMSE"):
        months_table.check_leaderboard(
            pd.DataFrame({"entry": [entry, "pair median"], "test_rmse": [rmse, 6.0]})
        )
