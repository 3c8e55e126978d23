"""What the `@test` functions of the monitoring blocks refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlops.errors import ConfigError, DataQualityError, MlopsError
from mlops.monitoring import blocks
from mlops.pipeline import months_table
from mlops.registry import monitoring_record
from mlops.registry.monitoring_record import Record

MEASURED = {"rmse": 4.2, "change": 0.3, "change_mix": 0.1, "change_within": 0.3 - 0.1}
RECORD = Record("2023-07", "2", "1", "2023-06", 900, MEASURED, False, ("mix",))
NOTHING = months_table.nothing_to_do("every published month was compared", "2023-08")


def months(folder: Path, **changed: list[Any]) -> pd.DataFrame:
    clean = folder / "clean.parquet"
    clean.touch()
    columns = {"role": ["compared", "promised", "before"], "month": ["2023-07", "2023-06", "2023-06"]}
    files = {"path": [str(clean)] * 3, "test_rows": [900, 800, 800]}
    return pd.DataFrame({**columns, **files, **changed})


def compared(folder: Path, **measured: float) -> pd.DataFrame:
    found = replace(RECORD, measured=MEASURED | measured)
    (folder / "record.json").write_text(monitoring_record.to_json(found), encoding="utf-8")
    return pd.DataFrame({"measure": ["rmse"], "folder": [str(folder)]})


def recorded(**changed: str) -> pd.DataFrame:
    row = {
        "month": "2023-07",
        "model": "m",
        "title": "no alarm",
        "text": "RMSE",
        "record": monitoring_record.to_json(RECORD),
    }
    return pd.DataFrame([row | changed])


def test_whole_tables_and_the_reason_why_there_is_nothing_to_do_pass(tmp_path: Path) -> None:
    for check, table in (
        (blocks.check_months, months(tmp_path)),
        (blocks.check_comparison, compared(tmp_path)),
        (blocks.check_record, recorded()),
    ):
        check(table)
        check(NOTHING)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"role": ["before"] * 3}, "expected one compared month"),
        ({"role": ["compared"] * 3}, "expected one compared month"),
        ({"role": ["compared", "promised", "promised"]}, "expected one compared month"),
        ({"role": ["compared", "test", "before"]}, "expected one compared month"),
        ({"test_rows": [900, 0, 800]}, r"empty \['2023-06'\]"),
        ({"path": ["/gone"] * 3}, r"missing \['/gone', '/gone', '/gone'\]"),
    ],
)
def test_months_that_cannot_be_compared_are_refused(
    changed: dict[str, list[Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataQualityError, match=message):
        blocks.check_months(months(tmp_path, **changed))


def test_a_change_that_does_not_add_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MlopsError, match="expected parts that add up to the change"):
        blocks.check_comparison(compared(tmp_path, change=0.3 + 2e-9))


def test_a_comparison_without_an_error_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MlopsError, match="expected the champion's RMSE"):
        blocks.check_comparison(compared(tmp_path, rmse=float("nan")))
    (tmp_path / "record.json").unlink()
    with pytest.raises(MlopsError, match="expected the champion's RMSE"):
        blocks.check_comparison(pd.DataFrame({"folder": [str(tmp_path)]}))


@pytest.mark.parametrize("changed", [{"record": "{}"}, {"month": "2023-06"}, {"title": ""}, {"text": ""}])
def test_a_month_without_its_record_or_message_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(MlopsError, match="expected the record of a month, and a message"):
        blocks.check_record(recorded(**changed))


def test_a_misspelt_variable_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'rolback'; did you mean 'rollback'"):
        blocks.from_mage({"service": "green", "rolback": True, "pipeline_uuid": "p"})
