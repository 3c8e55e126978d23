"""Answers to batches: equal to those of single requests; rejected rows with their reasons."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from support.builders import make_requests
from support.version_folders import BEFORE
from support.version_folders import load as load_before

from mlops.registry.loading import Loaded
from mlops.registry.local_copy import limit_threads
from mlops.scoring.answering import (
    LABELLED_SCHEMA,
    MINUTES,
    OUTPUT_SCHEMA,
    REASONS,
    REJECTED_SCHEMA,
    Answered,
    answer,
    reject_lines,
)

RIDE: dict[str, Any] = {
    "pickup_at": "2023-05-10T08:30", "pickup_zone": "74", "dropoff_zone": "75", "distance_miles": "2.0",
    "passenger_count": "1",
}  # fmt: skip


def answered(loaded: Loaded, *rides: dict[str, Any]) -> Answered:
    """Answers to texts, as of a CSV file: `RIDE` with changes."""
    return answer(pa.Table.from_pylist([RIDE | ride for ride in rides]), loaded)


def test_answers_are_those_of_single_requests(loaded: Loaded) -> None:
    requests = make_requests(60).assign(pickup_zone=range(210, 270))  # some that the model has not seen
    requests.loc[::3, "distance_miles"] = np.nan
    found = answer(pa.Table.from_pandas(requests, preserve_index=False), loaded)
    assert found.rows.schema == OUTPUT_SCHEMA
    assert found.rejected.num_rows == 0
    given = found.rows.select(["pickup_zone", "dropoff_zone"]).to_pydict()
    assert given == requests[["pickup_zone", "dropoff_zone"]].to_dict("list")
    assert found.rows["distance"].to_pylist() == [*["missing", "given", "given"] * 20]
    assert set(found.rows["model_version"].to_pylist()) == {"1"}
    assert set(found.rows["run_key"].to_pylist()) == {loaded.run_key}
    singles = [loaded.model.predict_one(ride) for ride in requests.to_dict("records")]
    for name in (*MINUTES, "out_of_range"):
        assert found.rows[name].to_pylist() == [single[name] for single in singles]


def test_each_reason_rejects_its_row_and_no_other(loaded: Loaded) -> None:
    bad = [
        {"pickup_at": None}, {"pickup_at": "noon"}, {"pickup_at": "2008-12-31T23:59"}, {"pickup_zone": "JFK"},
        {"dropoff_zone": "74.5"}, {"distance_miles": "far"}, {"passenger_count": "inf"},
    ]  # fmt: skip
    rides = [each for pair in zip([{}] * len(bad), bad, strict=True) for each in pair]
    found = answered(loaded, *rides)
    assert found.rows.num_rows == len(bad)
    assert found.rejected.schema == REJECTED_SCHEMA
    assert found.rejected["row"].to_pylist() == [2 * number for number in range(1, len(bad) + 1)]
    assert found.rejected["reason"].to_pylist() == [*REASONS[:-1]]
    assert found.rejected["pickup_zone"].to_pylist()[3] == "JFK"


def test_a_row_with_several_reasons_has_the_first(loaded: Loaded) -> None:
    found = answered(
        loaded, {"pickup_at": "2100-01-01", "pickup_zone": "JFK"}, {"pickup_zone": "x", "distance_miles": "y"}
    )
    assert found.rows.num_rows == 0
    reasons = ["pickup_at is not in the years 2009 to 2099", "pickup_zone is not a whole number"]
    assert found.rejected["reason"].to_pylist() == reasons


def test_unusual_values_that_the_model_knows_are_answered(loaded: Loaded) -> None:
    odd = {"pickup_zone": "0", "dropoff_zone": "-1", "distance_miles": "-3"}
    found = answered(loaded, {}, {"pickup_zone": None}, odd, {"distance_miles": "2000000"}).rows.to_pylist()
    assert [row["pickup_zone"] for row in found] == [74, None, 0, 74]
    assert [row["distance"] for row in found] == ["given", "given", "given", "missing"]
    assert [row["out_of_range"] for row in found][1:3] == [True, True]


def test_a_labelled_batch_says_how_long_trips_took(loaded: Loaded) -> None:
    ends = [datetime(2023, 5, 10, 8, 45, 30), None]
    batch = pa.Table.from_pylist([{**RIDE, "dropoff_at": end} for end in ends])
    found = answer(batch, loaded).rows
    assert found.schema == LABELLED_SCHEMA
    assert found["actual_minutes"].to_pylist() == [15.5, None]


def test_rows_are_counted_on_from_batch_to_batch(loaded: Loaded) -> None:
    batch = pa.Table.from_pylist([RIDE, {**RIDE, "pickup_at": None}])
    assert answer(batch, loaded, before=100).rejected["row"].to_pylist() == [102]


def test_bad_lines_are_rejected_rows() -> None:
    found = reject_lines([3, 8])
    assert found.schema == REJECTED_SCHEMA
    assert found["row"].to_pylist() == [3, 8]
    assert found["reason"].to_pylist() == ["the line has more or fewer fields than the header"] * 2


def test_a_version_of_an_older_release_answers(loaded: Loaded) -> None:
    old = dataclasses.replace(loaded, model=load_before(BEFORE))
    limit_threads(old.model, 1)
    requests = make_requests(20)
    found = answer(pa.Table.from_pandas(requests, preserve_index=False), old).rows
    expected = old.model.predict(requests)
    for name in MINUTES:
        assert found[name].to_pylist() == expected[name].tolist()
    assert found["out_of_range"].to_pylist() == [None] * 20


@pytest.mark.parametrize("threads", [1, 2])
def test_answers_do_not_depend_on_threads(loaded: Loaded, threads: int) -> None:
    requests = make_requests(2000)
    expected = loaded.model.predict(requests)
    limit_threads(loaded.model, threads)
    found = answer(pa.Table.from_pandas(requests, preserve_index=False), loaded).rows.to_pandas()
    limit_threads(loaded.model, 1)
    pd.testing.assert_frame_equal(found[[*MINUTES, "out_of_range"]], expected)
