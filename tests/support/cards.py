"""An example of a model card: version 7, which is better than version 3."""

from __future__ import annotations

import functools
import math
import re

import numpy as np
import pandas as pd
from support.builders import make_requests

from mlops.config import Settings
from mlops.evaluation.explanation import Example, Explanation
from mlops.evaluation.metrics import slices, worst_coverage
from mlops.evaluation.model_card import Card
from mlops.evaluation.plots import Drawn

SHA = "0123456789abcdef" * 4
IMPORTANCE = pd.DataFrame(
    {
        "feature": ["pace_minutes", "weekday", "month"],
        "gain": [0.75, 0.25, 0.0],
        "minutes_lost": [1.5, 0.125, 0.0],
    }
)
MEASURED = {
    "test_rows": 61_234, "test_rmse": 4.41239, "test_mae": 2.9, "test_p90": 6.5, "test_r2": 0.8,
    "test_bias": -0.1, "test_coverage_80": 0.803, "test_coverage_95": 0.951,
    "test_without_distance_rmse": 5.5, "test_without_distance_mae": 3.75,
}  # fmt: skip
PASSED = {"passed": True, "reason": "", "rows": 61_234, "one_by_one": 300, "largest_difference": 2e-14}


@functools.cache
def by_slice() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Slices of errors that are largest at five o'clock, the actual minutes and the predictions."""
    requests = make_requests(30_000)
    rng = np.random.default_rng(0)
    actual = rng.uniform(1, 60, len(requests))
    predicted = actual + rng.normal(0, np.where(requests["pickup_at"].dt.hour == 17, 9, 3))
    bounds = {
        f"{end}_{level}_minutes": predicted + sign * width
        for level, width in ((80, 4), (95, 6))
        for end, sign in (("low", -1), ("high", 1))
    }
    return (
        slices(requests, actual, pd.DataFrame({"duration_minutes": predicted, **bounds})),
        actual,
        predicted,
    )


def example() -> Example:
    """A ride of 23 minutes: ten more than the mean because it is far, one less because of the weekday."""
    request = {"pickup_at": pd.Timestamp("2023-06-13 17:40"), "pickup_zone": 74, "dropoff_zone": 132}
    added = {"pace_minutes": 10.0, "weekday": -1.0, "month": 0.0}
    values = {"pace_minutes": 24.26, "weekday": 1.0, "month": 6.0}
    return Example({**request, "distance_miles": 8.25}, 21.4, 23.0, 14.0, added, values)


def drawn() -> Drawn:
    """What the figures of the example show."""
    table, actual, predicted = by_slice()
    trials = pd.DataFrame(
        [
            (1, 1, 5.2, "deep", False), (2, 1, 5.4, "flat", False), (3, 1, math.nan, "odd", False),
            (4, 2, 4.8, "deep", True),
        ],
        columns=["number", "rung", "validation_rmse", "parameters", "is_chosen"],
    )  # fmt: skip
    parts = pd.DataFrame({"part": ["distance", "passengers"], "minutes_lost": [7.5, 0.04]})
    rivals = table.assign(champion_rmse=1.1 * table["rmse"], pair_median_rmse=1.4 * table["rmse"])
    return Drawn(actual, predicted, rivals, Explanation(IMPORTANCE, parts, 5000, example()), trials)


def make_card(**settings: object) -> Card:
    """The card of version 7, better than version 3."""
    months = pd.DataFrame(
        {
            "month": ["2023-06", "2023-05", "2023-04", "2023-03"],
            "role": ["test", "validation", "training", "training"],
            "rows": [65_000, 60_000, 61_000, 62_000],
            "kept": [61_000, 58_000, 59_000, 60_500],
            "test_rows": [61_234, 58_000, 59_500, 61_000],
            "rejected_over_60_minutes": [3766, 2000, 1500, 1000],
            "rejected_zone_unknown": [234, 0, 500, 500],
            "rejected_time_missing": [0, 0, 0, 0],
            "unusual": ["", "", "", "twice the rows"],
            "sha256": [SHA, SHA[::-1], SHA, SHA],
            "path": ["/secret/place"] * 4,
            "sample": settings.get("source") == "sample",
        }
    )
    contenders = pd.DataFrame(
        {
            "contender": ["challenger", "champion (version 3)", "pair median", "course"],
            "rmse": [4.41239, 4.5, 5.6, 5.1],
            "low": [4.3, 4.4, 5.5, math.nan],
            "high": [4.5, 4.6, 5.7, math.nan],
        }
    )
    ranges = pd.DataFrame(
        [
            ("80", "version 7", 14.53, 0.803, 10.25),
            ("80", "champion (version 3)", 14.75, 0.78, 9.5),
            ("80", "past trips", 20.4, 0.76, 15.5),
            ("80", "version 7, no distance given", 18.5, 0.81, 13.5),
            ("95", "version 7", 22.9, 0.951, 17.5),
            ("95", "champion (version 3)", 23.0, 0.95, 17.75),
            ("95", "past trips", 31.5, 0.92, 25.0),
            ("95", "version 7, no distance given", 28.5, 0.955, 22.5),
        ],
        columns=["level", "contender", "interval_score", "coverage", "width"],
    )
    table = by_slice()[0]
    return Card(
        name="trip-duration-green",
        version="7",
        settings=Settings(**settings).describe(),
        origin={"run_key": "f" * 12, "run_id": "a" * 32, "git_commit": "c" * 40, "code_sha256": SHA},
        measured={**MEASURED, **{f"test_{name}": share for name, share in worst_coverage(table).items()}},
        outcome="promote",
        reasons=("RMSE improves by 1.9 %", "no slice gets worse by more than 5 %"),
        contenders=contenders,
        gain=(0.08761, 0.0512, 0.1234),
        by_slice=table,
        ranges=ranges,
        without_distance=table.assign(coverage_80=table["coverage_80"] / 2),
        importance=IMPORTANCE,
        months=months,
        verification=PASSED,
        half_within=2.04,
    )


CARD = make_card()


def section(text: str, title: str) -> str:
    """What stands under a heading."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Cells of the Markdown tables in a text, without heads and rules."""
    lines = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in text.splitlines() if line.startswith("| ")]
    ruled = [number for number, line in enumerate(lines) if set("".join(line)) <= set("-:")]
    return [line for number, line in enumerate(lines) if number not in ruled and number + 1 not in ruled]
