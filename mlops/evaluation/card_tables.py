"""The tables of a model card, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mlops.config import OPERATIONAL, Settings
from mlops.evaluation import words
from mlops.evaluation.card import Card
from mlops.evaluation.card_format import interval
from mlops.evaluation.metrics import LEAST_ROWS, NOMINAL
from mlops.evaluation.metrics import worst_covered as furthest_covered

WORST = 8
TOLERANCE = 0.02  # a month's coverage further from nominal is pointed out
METRICS = {
    "test_mae": "mean absolute error (minutes)",
    "test_p90": "90th percentile of the absolute error (minutes)",
    "test_bias": "bias (minutes; positive: predictions are too long)",
    "test_r2": "R²",
}
SLICES = {
    "slice": "slice", "value": "value", "rows": "trips", "rmse": "RMSE", "champion_rmse": "champion's RMSE",
    "pair_median_rmse": "pair median's RMSE", "mae": "MAE", "bias": "bias", "coverage_80": "in 80 %",
    "coverage_95": "in 95 %",
}  # fmt: skip


def contenders(contenders: pd.DataFrame) -> pd.DataFrame:
    """RMSE of each contender with its 95 % interval."""
    ends = zip(contenders["low"], contenders["high"], strict=True)
    shown = contenders[["contender", "rmse"]].assign(interval=[interval(low, high) for low, high in ends])
    return shown.rename(columns={"rmse": "RMSE (minutes)", "interval": "95 % interval"})


def metrics(card: Card) -> dict[str, float]:
    """The metrics that were measured, by their description."""
    return {text: card.measured[name] for name, text in METRICS.items() if name in card.measured}


def ranges(ranges: pd.DataFrame) -> pd.DataFrame:
    """Interval score, coverage and mean width of each contender, by level."""
    level = [f"{level} %" for level in ranges["level"]]
    return ranges.assign(level=level).rename(
        columns={"level": "range", "contender": "of", "coverage": "trips inside", "width": "mean width"}
    )


def worst_covered(card: Card) -> pd.DataFrame:
    """The slices in which coverage is furthest from nominal, with and without a distance."""
    tables = {"given": card.by_slice, "not given": card.without_distance}
    rows = [
        (f"{name[-2:]} %", distance, f"{row['slice']} {row['value']}", row["rows"], row[name])
        for distance, table in tables.items()
        if table is not None
        for name, label in furthest_covered(table).items()
        for row in [table.loc[label]]
    ]
    return pd.DataFrame(rows, columns=["range", "distance", "slice", "trips", "trips inside"])


def missed(measured: Mapping[str, float]) -> list[str]:
    """A sentence for each kind of range whose coverage of the test month is not what its name says."""
    found = []
    for name, nominal in NOMINAL.items():
        share = measured.get(f"test_{name}", nominal)
        if abs(share - nominal) > TOLERANCE:
            found.append(
                f"The {100 * nominal:.0f} % ranges were too {'narrow' if share < nominal else 'wide'} for this "
                f"month: they contained {100 * share:.1f} % of its trips."
            )
    return found


def worst_slices(by_slice: pd.DataFrame) -> pd.DataFrame:
    """The `WORST` slices with the largest RMSE, and those with the worst coverage, the largest RMSE first.

    Only slices of at least `LEAST_ROWS` trips count.
    """
    large = by_slice[by_slice["rows"] >= LEAST_ROWS].sort_values("rmse", ascending=False, kind="stable")
    is_worst = large.index.isin(furthest_covered(by_slice).values())
    columns = [name for name in SLICES if name in large]
    return large.loc[is_worst | (np.arange(len(large)) < WORST), columns].rename(columns=SLICES)


def only_for_training(months: pd.DataFrame) -> int:
    """Trips of the test month that only rules for training reject: the test counts them."""
    tested = months[months["role"] == "test"]
    return int((tested["test_rows"] - tested["kept"]).sum())


def months(months: pd.DataFrame) -> pd.DataFrame:
    """Each month's role, its trips before and after cleaning, and the start of its file's sha256."""
    return months[["month", "role", "rows", "kept"]].assign(sha256=months["sha256"].astype(str).str[:12])


def rejected(months: pd.DataFrame) -> pd.DataFrame:
    """Trips rejected by each rule in the months of each role, without rules that rejected none."""
    counts = months.filter(like="rejected_").groupby(months["role"], sort=False).sum().T
    named = counts.rename(lambda rule: rule.removeprefix("rejected_").replace("_", " "))
    return named[named.sum(axis=1) > 0].rename_axis("rule").reset_index()


def unusual(months: pd.DataFrame) -> list[str]:
    """One line for each month that differs from the months before it, with the differences."""
    return [f"{m}: {note}" for m, note in zip(months["month"], months["unusual"], strict=True) if note]


def importance(features: pd.DataFrame) -> pd.DataFrame:
    """Each feature in words, its name, its share of the gain, and the minutes lost when it is shuffled."""
    return pd.DataFrame(
        {
            "feature": features["feature"].map(words.feature),
            "name": features["feature"],
            "share of the gain": features["gain"],
            "minutes lost": features["minutes_lost"],
        }
    )


def settings(described: Mapping[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The settings that change a result, each with its default where it differs; and the others."""
    default = Settings().describe()
    rows = [
        (name, value, default[name] if default.get(name, value) != value else "")
        for name, value in described.items()
        if name not in OPERATIONAL
    ]
    others = [(name, value) for name, value in described.items() if name in OPERATIONAL]
    return (
        pd.DataFrame(rows, columns=["setting", "value", "default, if it differs"]),
        pd.DataFrame(others, columns=["setting", "value"]),
    )
