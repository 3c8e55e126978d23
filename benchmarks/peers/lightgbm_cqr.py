"""LightGBM's quantile objective, untuned, with conformal calibration on the validation month (CQR).

Source: Y. Romano, E. Patterson, E. Candès, "Conformalized Quantile Regression", NeurIPS 2019.
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
from encoded import SHARES, answer, conformal_quantile, minutes, table, zones
from rows import task

ROUNDS, LEAVES = 250, 127

job = task()
training, held_out, asked = (table(job, part) for part in ("training", "validation", "test"))
matrix = lgb.Dataset(training, minutes(job, "training"), categorical_feature=zones(job))
common = {
    "objective": "quantile",
    "num_leaves": LEAVES,
    "num_threads": job.threads,
    "seed": job.seed,
    "verbosity": -1,
}


def quantile(level: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantile of the duration of validation and test trips."""
    booster = lgb.train({**common, "alpha": level}, matrix, ROUNDS)
    return booster.predict(held_out), booster.predict(asked)


ranges = []
for outside in SHARES.values():
    (low, low_asked), (high, high_asked) = quantile(outside / 2), quantile(1 - outside / 2)
    actual = minutes(job, "validation")
    margin = conformal_quantile(np.maximum(low - actual, actual - high), outside)
    ranges.append(np.column_stack([low_asked - margin, high_asked + margin]))
answer(job, ranges)
