"""Counts of a file, and the RMSE of the trips that the test of a version would take."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pyarrow as pa
from support.results import VALUES

from mlops.month import Month
from mlops.scoring.answering import LABELLED_SCHEMA, OUTPUT_SCHEMA, Answered, reject_lines
from mlops.scoring.counts import Counts

NONE_REJECTED = reject_lines([])


def batch(*rows: dict[str, Any], schema: pa.Schema = LABELLED_SCHEMA) -> Answered:
    return Answered(pa.Table.from_pylist([VALUES | row for row in rows], schema), NONE_REJECTED)


def test_rows_are_counted_over_batches() -> None:
    counts = Counts()
    counts.add(batch({"out_of_range": True}, {"distance": "missing", "duration_minutes": 20.25}))
    counts.add(Answered(batch({}).rows, reject_lines([4, 9])))
    counts.add_rejected(reject_lines([11]))
    found = counts.summary()
    reasons = {"the line has more or fewer fields than the header": 3}
    assert found["rows"] == found["answered"] + found["rejected"] == 6
    assert (found["rejected"], found["reasons"]) == (3, reasons)
    assert (found["out_of_range"], found["distance_missing"]) == (1, 1)
    assert math.isclose(found["mean_minutes"], (12.25 + 20.25 + 12.25) / 3)


def test_the_rmse_is_of_trips_of_1_to_60_minutes_of_the_month() -> None:
    rows = [
        {"duration_minutes": 10.0, "actual_minutes": 13.0}, {"duration_minutes": 10.0, "actual_minutes": 6.0},
        {"actual_minutes": 0.9}, {"actual_minutes": 60.1}, {"actual_minutes": None},
        {"pickup_at": datetime(2023, 11, 1), "duration_minutes": 10.0, "actual_minutes": 34.0},
    ]  # fmt: skip
    october, any_month = Counts(Month(2023, 10)), Counts()
    for counts in (october, any_month):
        counts.add(batch(*rows))
    assert (october.summary()["labelled"], any_month.summary()["labelled"]) == (2, 3)
    assert math.isclose(october.summary()["rmse_minutes"], math.sqrt((9 + 16) / 2))
    assert math.isclose(any_month.summary()["rmse_minutes"], math.sqrt((9 + 16 + 576) / 3))


def test_there_is_no_mean_of_nothing_and_no_rmse_without_labels() -> None:
    found = Counts()
    assert (found.summary()["mean_minutes"], found.summary()["rmse_minutes"]) == (None, None)
    found.add(batch({"out_of_range": None}, schema=OUTPUT_SCHEMA))
    assert (found.summary()["out_of_range"], found.summary()["rmse_minutes"]) == (0, None)
