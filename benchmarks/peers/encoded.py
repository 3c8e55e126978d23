"""Input and output of the peers that make ranges. Runs in the peers' environment, beside their script.

Such a peer is called as ``script FOLDER OUT --threads N --seed N``. FOLDER has the
same encoded columns for all, as float32 matrices with NaN for missing values:
``training.npy``, ``validation.npy`` and ``test.npy``, their names in
``columns.txt``, the minutes of training and validation trips, and our model's
predictions for validation and test trips. OUT gets ``ranges.npy``, shape (test
trips, 4), and ``about.json``.
"""

from __future__ import annotations

import json
import math
import time

import numpy as np
from rows import Task

SHARES = {80: 0.2, 95: 0.05}
"""Share of the trips that may lie outside, by nominal percent."""


def table(job: Task, part: str) -> np.ndarray:
    """Columns of one part of the trips."""
    return np.load(job.folder / f"{part}.npy")


def minutes(job: Task, part: str) -> np.ndarray:
    """Actual durations of training or validation trips."""
    return np.load(job.folder / f"{part}_minutes.npy")


def predicted(job: Task, part: str) -> np.ndarray:
    """Minutes that our model predicts for validation or test trips; it was not trained on them."""
    return np.load(job.folder / f"{part}_predicted.npy")


def zones(job: Task) -> list[int]:
    """Positions of the columns that are categories."""
    names = (job.folder / "columns.txt").read_text(encoding="utf-8").split()
    return [names.index("pickup_zone"), names.index("dropoff_zone")]


def with_predicted(job: Task, part: str) -> np.ndarray:
    """The columns, and as the last one our model's predictions."""
    return np.column_stack([table(job, part), predicted(job, part)])


def conformal_quantile(scores: np.ndarray, outside: float) -> float:
    """The score that a new trip exceeds with probability `outside`, at most: rank (n + 1)(1 - outside) of n."""
    rank = math.ceil(round((len(scores) + 1) * (1 - outside), 9))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def answer(job: Task, ranges: list[np.ndarray], **about: object) -> None:
    """Write the ranges, shape (n, 2) each, in the order of `SHARES`, clipped to the 1 to 60 minutes of a trip."""
    job.out.mkdir(parents=True, exist_ok=True)
    np.save(job.out / "ranges.npy", np.clip(np.column_stack(ranges), 1.0, 60.0))
    spent = {"ranges_cpu_seconds": time.process_time(), **about}
    (job.out / "about.json").write_text(json.dumps(spent), encoding="utf-8")
