"""Tables as the steps of a run return them, without the work."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from mlops.data.trips import Quality
from mlops.month import Month
from mlops.pipeline import months_table

SHA = "ab" * 32
RULES = ("outside_month", "zone_unknown")
FILE = Path(__file__)  # any existing file


def make_months(path: Path = FILE, training: int = 1) -> pd.DataFrame:
    """Months up to 2023-03 of ten trips each, as `steps.load_trips` describes them, newest first."""
    names = [str(Month(2023, 3) - back) for back in range(training + 2)]
    return pd.DataFrame(
        {
            "month": names,
            "role": ["test", "validation", *["training"] * training],
            "rows": 10,
            "megabytes": 0.02,
            "sample": True,
            "drift": "",
            "republished": "",
            "sha256": SHA,
            "url": "https://example.org/trips.parquet",
            "path": str(path),
            "prepared": "/prepared",
            "service": "green",
            "source": "sample",
            "train_months": 12,
            "test_month": "2023-03",
        }
    )


def make_cleaned(
    path: Path = FILE, training: int = 1, kept: int = 7, rejected: tuple[int, ...] = (1, 2)
) -> pd.DataFrame:
    """The same months, cleaned by two rules."""
    months = make_months(path, training)
    every = [Month.parse(name) for name in months["month"]]
    counts = Quality(kept + sum(rejected), kept, kept, dict(zip(RULES, rejected, strict=True)))
    return months_table.with_cleaning(
        months.assign(rows=counts.rows),
        dict.fromkeys(every, counts),
        dict.fromkeys(every, path),
        {},
        SHA,
        SHA,
    )


def make_summary() -> pd.DataFrame:
    """Two features, as `steps.build_features` describes them; every passenger count is missing."""
    return pd.DataFrame(
        {
            "feature": ["weekday", "passenger_count"],
            "meaning": ["day of the week", "passengers"],
            "rows": [5, 5],
            "missing_share": [0.0, 1.0],
            "least": [0.0, float("nan")],
            "mean": [3.0, float("nan")],
            "most": [6.0, float("nan")],
            "months": "/prepared/months.csv",
        }
    )


def through_mage(table: pd.DataFrame) -> pd.DataFrame:
    """The table as the next block gets it: Mage stores it as Parquet between blocks."""
    with tempfile.TemporaryDirectory() as folder:
        table.to_parquet(Path(folder) / "data.parquet")
        return pd.read_parquet(Path(folder) / "data.parquet")
