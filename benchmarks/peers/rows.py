"""Input and output of every peer. Runs in the peers' environment, beside the script that imports it.

A peer is called as ``script FOLDER OUT --threads N --seed N --budget SECONDS``.
FOLDER has the same rows and raw columns for all: ``training.parquet``,
``validation.parquet`` and ``test.parquet`` (without durations). OUT gets
``predictions.parquet`` for the test rows, in their order, and ``about.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TARGET = "duration_minutes"
ZONES = pd.CategoricalDtype(list(range(266)))


@dataclass
class Task:
    """One call of a peer."""

    folder: Path
    out: Path
    budget: float
    threads: int
    seed: int
    options: dict[str, Any] = field(default_factory=dict)

    def read(self, part: str) -> tuple[pd.DataFrame, pd.Series]:
        """Features and durations in minutes of one part of the rows."""
        trips = pd.read_parquet(self.folder / f"{part}.parquet")
        return features(trips), trips[TARGET]

    def ready(self, **about: Any) -> None:
        """Stop the clock: the model can predict."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "about.json").write_text(json.dumps({"ready_at": time.time(), **about}), encoding="utf-8")

    def answer(self, predict: Any) -> None:
        """Write the predictions for the test rows, clipped to the 1 to 60 minutes of all test trips."""
        requests = features(pd.read_parquet(self.folder / "test.parquet"))
        minutes = np.clip(np.asarray(predict(requests), dtype=float), 1.0, 60.0)
        pd.DataFrame({TARGET: minutes}).to_parquet(self.out / "predictions.parquet")


def task(**options: Any) -> Task:
    """The task from the command line; `options` are the script's own switches with their help texts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", type=float, default=0.0)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    for name, meaning in options.items():
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    given = vars(parser.parse_args())
    own = {name: given.pop(name) for name in options}
    return Task(**given, options=own)


def features(trips: pd.DataFrame) -> pd.DataFrame:
    """Features of a request: zones as categories, distance, passengers, time of day, weekday, month."""
    at = trips["pickup_at"].dt
    return pd.DataFrame(
        {
            "pickup_zone": trips["pickup_zone"].astype(ZONES),
            "dropoff_zone": trips["dropoff_zone"].astype(ZONES),
            "distance_miles": trips["distance_miles"],
            "passenger_count": trips["passenger_count"].astype(float),
            "minute_of_day": at.hour * 60 + at.minute,
            "weekday": at.weekday,
            "month": at.month,
        }
    )
