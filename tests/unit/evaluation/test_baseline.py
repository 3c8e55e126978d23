"""The pair median against SQL, and the intervals of past trips against their quantiles."""

from __future__ import annotations

import sqlite3

import numpy as np
import pandas as pd
from support.builders import make_features, make_trips

from mlops.evaluation.baseline import SMOOTHING, PairMedian
from mlops.evaluation.metrics import interval_metrics
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.month import Month

MEDIANS_IN_SQL = """
with ranked as (
    select pu, do, minutes, row_number() over (partition by pu, do order by minutes) as place,
        count(*) over (partition by pu, do) as n from trips)
select pu, do, avg(minutes) from ranked where place in ((n + 1) / 2, (n + 2) / 2) group by pu, do
"""


def test_sql_finds_the_same_medians_of_pairs() -> None:
    known, took = make_features(700)
    frame = pd.DataFrame({"pu": known["pickup_zone"], "do": known["dropoff_zone"], "minutes": took})
    database = sqlite3.connect(":memory:")
    try:
        frame.to_sql("trips", database, index=False)
        expected = pd.DataFrame(database.execute(MEDIANS_IN_SQL).fetchall(), columns=["pu", "do", "minutes"])
    finally:
        database.close()
    asked = pd.DataFrame({"pickup_zone": expected["pu"], "dropoff_zone": expected["do"]})

    assert len(expected) > 100
    np.testing.assert_allclose(PairMedian(known, took).predict(asked), expected["minutes"])


def test_a_pair_that_no_trip_drove_gets_the_median_of_all() -> None:
    known, took = make_features(300)
    asked = pd.DataFrame({"pickup_zone": [200, 1, 0], "dropoff_zone": [201, 265, 0]}, index=[7, 7, 7])

    assert PairMedian(known, took).predict(asked).tolist() == [np.median(took)] * 3


def test_the_way_back_is_another_pair() -> None:
    baseline = PairMedian(
        {"pickup_zone": np.array([1, 2]), "dropoff_zone": np.array([2, 1])}, np.array([5.0, 9.0])
    )

    assert baseline.predict({"pickup_zone": [1, 2], "dropoff_zone": [2, 1]}).tolist() == [5.0, 9.0]


def test_an_invalid_zone_does_not_match_another_pair() -> None:
    baseline = PairMedian(
        {"pickup_zone": np.array([2, 7]), "dropoff_zone": np.array([5, 7])}, np.array([5.0, 9.0])
    )

    assert baseline.predict({"pickup_zone": [1], "dropoff_zone": [1005]}).tolist() == [7.0]


def test_the_intervals_of_a_pair_are_the_quantiles_of_its_past_trips() -> None:
    """One pair has 300 trips, one has two, and one none."""
    rng = np.random.default_rng(0)
    often, rare = rng.uniform(10, 20, 300), np.array([50.0, 52.0])
    known = {"pickup_zone": np.repeat([7, 8], [300, 2]), "dropoff_zone": np.repeat([9, 9], [300, 2])}
    found = PairMedian(known, np.concatenate([often, rare])).intervals(
        pd.DataFrame({"pickup_zone": [7, 8, 5], "dropoff_zone": [9, 9, 9]}, index=[4, 4, 4])
    )

    levels = {
        "low_80_minutes": 0.1,
        "high_80_minutes": 0.9,
        "low_95_minutes": 0.025,
        "high_95_minutes": 0.975,
    }
    assert tuple(found.columns) == INTERVAL_COLUMNS == tuple(levels)
    overall = np.quantile(np.concatenate([often, rare]), list(levels.values()))
    for row, own in enumerate((often, rare)):
        mixed = np.quantile(own, list(levels.values())) * len(own) + overall * SMOOTHING
        np.testing.assert_allclose(found.iloc[row], mixed / (len(own) + SMOOTHING))
    np.testing.assert_allclose(found.iloc[2], overall)


def test_the_intervals_of_past_trips_cover_the_next_month() -> None:
    past, month = make_trips(30_000, month=Month(2023, 4)), make_trips(10_000, seed=1)
    found = interval_metrics(
        month["duration_minutes"], PairMedian(past, past["duration_minutes"]).intervals(month)
    )

    assert abs(found["coverage_80"] - 0.8) < 0.05
    assert abs(found["coverage_95"] - 0.95) < 0.05
