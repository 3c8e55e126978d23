"""Months of hand-written rows, cleaned through real files as the pipeline does it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from support.builders import MAY

from mlops.data.trips import clean_file
from mlops.training.feature_files import write_features


def features_of(folder: Path, raw: Path, service: str = "green") -> pd.DataFrame:
    """A raw month's feature table, through the files of the pipeline."""
    clean_file(raw, service, MAY, folder / "clean.parquet")
    write_features(folder / "clean.parquet", folder / "features.parquet")
    return pd.read_parquet(folder / "features.parquet")
