"""The evidence about two models adds up to their metrics, day by day and slice by slice."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from support.contests import ACTUAL, NOISE, REQUESTS, gathered

from mlops.evaluation.comparison import gather
from mlops.evaluation.metrics import GATED, error_metrics, slices


def test_the_evidence_adds_up_to_the_metrics() -> None:
    evidence = gathered(4.0, 5.0)

    assert evidence.rows == 6000
    for name, scale in (("challenger", 4.0), ("champion", 5.0), ("pair_median", 8.0)):
        assert evidence.rmse(name) == pytest.approx(error_metrics(ACTUAL, ACTUAL + scale * NOISE)["rmse"])
    assert math.isnan(evidence.rmse("course"))
    assert evidence.least_minutes == (ACTUAL + 4 * NOISE).min()
    assert evidence.most_minutes == (ACTUAL + 4 * NOISE).max()


def test_a_day_is_that_of_the_pickup() -> None:
    days = gathered(4.0).days.set_index("day")
    own = (REQUESTS["pickup_at"].dt.strftime("%Y-%m-%d") == "2023-05-31").to_numpy()

    assert list(days.index) == [f"2023-05-{day:02d}" for day in range(1, 32)]
    assert days.loc["2023-05-31", "trips"] == own.sum()
    assert days.loc["2023-05-31", "challenger"] == pytest.approx((16 * NOISE[own] ** 2).sum())


def test_the_gate_looks_at_the_slices_of_the_report() -> None:
    found = gathered(4.0, 5.0).slices
    ends = ("low_80_minutes", "high_80_minutes", "low_95_minutes", "high_95_minutes")
    predictions = pd.DataFrame({"duration_minutes": ACTUAL + 4 * NOISE, **dict.fromkeys(ends, 30.0)})
    report = slices(REQUESTS, ACTUAL, predictions, {"champion": ACTUAL + 5 * NOISE})
    report = report[report["slice"].isin(GATED)].reset_index(drop=True)

    assert set(found["slice"]) == {"distance", "pair", "hour band", "week", "from airport", "to airport"}
    assert found[["slice", "value", "trips"]].to_numpy().tolist() == report.iloc[:, :3].to_numpy().tolist()
    np.testing.assert_allclose(np.sqrt(found["challenger"] / found["trips"]), report["rmse"])
    np.testing.assert_allclose(np.sqrt(found["champion"] / found["trips"]), report["champion_rmse"])


def test_the_requests_index_does_not_matter() -> None:
    predicted = {"challenger": ACTUAL, "pair_median": ACTUAL + NOISE}
    shuffled = REQUESTS.set_index(np.arange(6000)[::-1] * 3)
    pd.testing.assert_frame_equal(
        gather(shuffled, ACTUAL, predicted, test_month="2023-05").days,
        gather(REQUESTS, ACTUAL, predicted, test_month="2023-05").days,
    )
