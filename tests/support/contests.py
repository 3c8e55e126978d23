"""A challenger and a champion on the days of one month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from support.builders import make_requests

from mlops.evaluation.comparison import Evidence, Incumbent, gather

CHAMPION = Incumbent("3", test_month="2023-04", last_month_learnt="2023-03")


DAYS = pd.date_range("2023-05-01", periods=30).strftime("%Y-%m-%d").tolist()


def judged(
    challenger: float, champion: float | None = None, incumbent: Incumbent | None = None, **changes: Any
) -> Evidence:
    """Thirty days of 1,000 trips, each with these RMSE; the pair median's is 8."""
    rmse = {"challenger": challenger, "champion": champion, "pair_median": 8.0}
    sums = {name: 1000.0 * value**2 for name, value in rmse.items() if value is not None}
    days = pd.DataFrame({"day": DAYS, "trips": 1000, **sums})
    table = slices_of((5000, challenger, champion)) if champion else pd.DataFrame()
    known = incumbent or (CHAMPION if champion else None)
    return replace(Evidence("2023-05", days, table, known, True, 1.0, 60.0, 8_000_000, 0.002), **changes)


def slices_of(*rows: tuple[int, float, float]) -> pd.DataFrame:
    """Slices of so many trips with RMSE of challenger and champion."""
    table = pd.DataFrame(rows, columns=["trips", "challenger", "champion"])
    table[["challenger", "champion"]] = table[["challenger", "champion"]].pow(2).mul(table["trips"], axis=0)
    return table.assign(slice="pair", value=[f"{number} -> 1" for number in range(len(table))])


def with_days(evidence: Evidence, **columns: Any) -> Evidence:
    return replace(evidence, days=evidence.days.assign(**columns))


USUAL = {
    "coverage_80": 0.8, "width_80": 10.0, "interval_score_80": 14.0,
    "coverage_95": 0.95, "width_95": 18.0, "interval_score_95": 22.0,
}  # fmt: skip


def with_intervals(evidence: Evidence, **contenders: Mapping[str, Any]) -> Evidence:
    """The evidence with intervals of these contenders; of each, the mean of a measure on every day, or by day."""
    tables = [
        evidence.days[["day", "trips"]].assign(
            contender=name,
            **{measure: mean * evidence.days["trips"] for measure, mean in {**USUAL, **means}.items()},
        )
        for name, means in contenders.items()
    ]
    return replace(evidence, intervals=pd.concat(tables, ignore_index=True))


REQUESTS = make_requests(6000)


ACTUAL = np.random.default_rng(1).uniform(25, 40, 6000)


NOISE = np.random.default_rng(2).normal(0, 1, 6000).clip(-3, 3)


def gathered(challenger: float | np.ndarray, champion: float | None = None) -> Evidence:
    """Evidence of 6,000 trips; everyone's error is the same noise, so many times."""
    scales = {"challenger": challenger, "pair_median": 8.0} | ({"champion": champion} if champion else {})
    predicted = {name: ACTUAL + scale * NOISE for name, scale in scales.items()}
    return gather(REQUESTS, ACTUAL, predicted, test_month="2023-05", champion=CHAMPION if champion else None)
