"""What comes beside the steps: the settings from Mage's variables, and the tests of what a step returned.

The Mage blocks of `trip_duration_monitoring` use both; the command line runs the same tests.
If there is nothing to do, the steps return the reason as a table, and every test passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mlops import mage
from mlops.errors import DataQualityError, MlopsError
from mlops.monitoring.judging import FOLDER
from mlops.monitoring.months import EARLIER, NOW, PROMISED
from mlops.monitoring.settings import MonitoringSettings
from mlops.pipeline import months_table
from mlops.registry import monitoring_record
from mlops.registry.monitoring_record import Record

TITLES_OF_MONTHS = {
    "month": "month", "role": "role", "rows": "trips", "kept": "kept", "test_rows": "compared", "model": "model",
    "champion": "champion", "predecessor": "predecessor",
}  # fmt: skip
TITLES_OF_MEASURES = {
    name: name
    for name in ("measure", "champion", "promised", "predecessor", "pair median", "month", "alarm", "causes")
}
TITLES_OF_RECORD = {
    "month": "month", "model": "model", "champion": "champion", "rmse": "RMSE (min)", "alarm": "alarm",
    "action": "action", "causes": "causes",
}  # fmt: skip
"""What the blocks show of the tables of the three steps."""
SMALLEST = 1e-9  # minutes: the parts of a change add up to it within this


def from_mage(variables: Mapping[str, Any]) -> MonitoringSettings:
    """Settings from the keyword arguments that Mage gives to a block, like `mage.from_mage` for training."""
    return MonitoringSettings.parse(mage.own_variables(variables))


def check_months(table: pd.DataFrame) -> None:
    """Raise `DataQualityError` unless one month is compared, at most one was promised, and all files are there."""
    if months_table.is_nothing(table):
        return
    roles = table["role"].tolist()
    if roles.count(NOW) != 1 or roles.count(PROMISED) > 1 or set(roles) - {NOW, PROMISED, EARLIER}:
        raise DataQualityError(
            f"load_month: expected one compared month, perhaps the promised one, and months before; got {roles}"
        )
    gone = [path for path in table["path"] if not Path(path).is_file()]
    empty = table.loc[table["test_rows"] <= 0, "month"].tolist()
    if gone or empty:
        raise DataQualityError(
            f"load_month: expected clean trips of each month; missing {gone}, empty {empty}"
        )


def check_comparison(table: pd.DataFrame) -> None:
    """Raise `MlopsError` unless the champion's error is known and the parts of its change add up to it."""
    if months_table.is_nothing(table):
        return
    path = Path(table[FOLDER].iloc[0]) / "record.json"
    found = monitoring_record.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found is None or not math.isfinite(found.value("rmse")):
        raise MlopsError(f"compare_month: expected the champion's RMSE in {path}; got {found}")
    parts = found.value("change_mix") + found.value("change_within")
    difference = abs(parts - found.value("change"))
    if difference > SMALLEST:
        raise MlopsError(
            f"compare_month: expected parts that add up to the change; they differ by {difference} minutes"
        )


def check_record(table: pd.DataFrame) -> None:
    """Raise `MlopsError` unless the month has a record and a message."""
    if months_table.is_nothing(table):
        return
    found = record_of(table)
    first = table.iloc[0]
    if found is None or found.month != first["month"] or not (first["title"] and first["text"]):
        raise MlopsError(
            f"react_and_report: expected the record of a month, and a message; got {first.to_dict()}"
        )


def record_of(table: pd.DataFrame) -> Record | None:
    """The record in the table of the last step; None if there is none that can be read."""
    is_there = len(table) == 1 and "record" in table
    return monitoring_record.from_json(str(table["record"].iloc[0])) if is_there else None
