"""Feature files: the features of a month's trips, written once and read batch by batch, any number of times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops.model.features import BATCH_ROWS, REQUEST_FEATURES, request_features
from mlops.model.own_feature_values import usable_ones
from mlops.model.own_features import OWN_FEATURES
from mlops.model.request_columns import REQUEST_COLUMNS, read_requests
from mlops.training.own_feature_checks import require_row_by_row

if TYPE_CHECKING:
    import pandas as pd  # functions import it: it takes a third of the memory of a process that streams trips


Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FeatureFiles:
    """Trips of several months, read batch by batch, any number of times. Memory does not grow with the months.

    Parameters
    ----------
    paths : tuple of Path
        Feature files, oldest first.
    for_training : bool
        Skip the trips that a training rule rejects. False for a validation or test month.
    share : float
        Share of the trips, drawn at random. With the same seed, a smaller share is a subset of a larger one.
    seed : int
        Seed of that draw.
    half_life_months : float, optional
        A month that is this many months older than the newest has half the weight.
    """

    paths: tuple[Path, ...]
    for_training: bool
    share: float = 1.0
    seed: int = 0
    half_life_months: float | None = None

    def __iter__(self) -> Iterator[Batch]:
        number = 0
        for age, path in zip(reversed(range(len(self.paths))), self.paths, strict=True):
            with pq.ParquetFile(path) as file:
                for table in file.iter_batches(BATCH_ROWS):
                    number += 1
                    batch = self._batch(table, number, age)
                    if len(batch.minutes):
                        yield batch

    def _batch(self, table: pa.RecordBatch, number: int, age: int) -> Batch:
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.schema.names}
        learnable, minutes = columns.pop("for_training"), columns.pop("duration_minutes")
        chosen = learnable if self.for_training else np.ones(len(minutes), bool)
        if self.share < 1:
            chosen = chosen & (np.random.default_rng((self.seed, number)).random(len(minutes)) < self.share)
        weight = None
        if self.half_life_months is not None:
            weight = np.full(int(chosen.sum()), 0.5 ** (age / self.half_life_months), np.float32)
        return Batch({name: values[chosen] for name, values in columns.items()}, minutes[chosen], weight)


def count_rows(paths: Sequence[Path], *, for_training: bool) -> int:
    """Number of trips that `FeatureFiles` yields."""
    if not for_training:
        return sum(int(pq.read_metadata(path).num_rows) for path in paths)
    marks = (pq.read_table(path, columns=["for_training"])["for_training"] for path in paths)
    return sum(int(pc.sum(mark).as_py() or 0) for mark in marks)


def pairs_and_minutes(paths: Sequence[Path], *, for_training: bool) -> tuple[dict[str, Array], Array]:
    """Zones and minutes of the months' trips, which a baseline needs: arrays of shape (n,), minutes float64."""
    names = ["pickup_zone", "dropoff_zone", "duration_minutes", "for_training"]
    table = pa.concat_tables([pq.read_table(path, columns=names) for path in paths])
    if for_training:
        table = table.filter(table["for_training"])
    zones = {name: table[name].to_numpy() for name in names[:2]}
    return zones, np.asarray(table["duration_minutes"].to_numpy(), np.float64)


@dataclass(frozen=True)
class Batch:
    """A batch of n trips, for training or scoring.

    Parameters
    ----------
    features : dict of str to array of shape (n,)
        As `request_features` returns them.
    minutes : float64 array of shape (n,)
        Actual durations.
    weight : float32 array of shape (n,), or None
        Weight of each trip in the loss; None gives all trips the same weight.
    """

    features: dict[str, Array]
    minutes: Array
    weight: Array | None = None


def write_features(clean: Path, target: Path, code: str = "") -> pd.DataFrame:
    """Write a month's feature table as Parquet, and return statistics of each feature.

    The file is complete or it does not exist. It holds `REQUEST_FEATURES`, ``duration_minutes`` (float64) and
    ``for_training`` (bool), with the rows of `clean` in the same order.

    Parameters
    ----------
    clean, target : Path
    code : str
        Hash of the code that computes the features, which `code_of` reads back.

    Returns
    -------
    DataFrame, one row per feature
        ``feature``, ``rows``, ``missing``, ``min``, ``total``, ``max``; `summarise` combines the months.

    Raises
    ------
    ConfigError
        When a feature of one's own has an impossible value, or depends on other requests.
    MlopsError
        When its function fails.
    """
    import pandas as pd

    from mlops.files import (
        atomic_write,  # imported here: a registered model contains this module but not `mlops.files`
    )

    statistics: list[pd.DataFrame] = []
    schema = FEATURE_SCHEMA.with_metadata({_CODE: code})
    with (
        pq.ParquetFile(clean) as file,
        atomic_write(target) as passing,
        pq.ParquetWriter(passing, schema, compression="zstd") as writer,
    ):
        for batch in file.iter_batches(BATCH_ROWS, columns=[*REQUEST_COLUMNS, *TARGET_COLUMNS]):
            requests = read_requests(_request_arrays(batch))
            if not statistics:  # the first batch is enough: the functions are the same for all
                require_row_by_row(requests)
            columns = request_features(requests, strict=True)
            statistics.append(_statistics(columns))
            columns |= {name: batch[name].to_numpy(zero_copy_only=False) for name in TARGET_COLUMNS}
            writer.write_table(pa.table(columns).cast(schema))
    return pd.concat(statistics, ignore_index=True)


def code_of(path: Path) -> str:
    """Hash of the code that computed a file's features; empty if it is not known, or the file is not readable."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError):  # the check of its hash says what is wrong
        return ""
    return str(metadata.get(_CODE.encode(), b"").decode())


def summarise(statistics: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Statistics of each feature over all months: meaning, rows, missing share, least, mean and most."""
    import pandas as pd

    by_feature = pd.concat(statistics).groupby("feature", sort=False)
    summary = by_feature.agg({"rows": "sum", "missing": "sum", "min": "min", "total": "sum", "max": "max"})
    present = (summary["rows"] - summary["missing"]).replace(0, np.nan)
    meanings = {feature.name: feature.meaning for feature in REQUEST_FEATURES}
    table = {
        "feature": summary.index,
        "meaning": [meanings[name] for name in summary.index],
        "rows": summary["rows"].to_numpy(),
        "missing_share": (summary["missing"] / summary["rows"]).round(4).to_numpy(),
        "least": summary["min"].to_numpy(),
        "mean": (summary["total"] / present).round(3).to_numpy(),
        "most": summary["max"].to_numpy(),
    }
    return pd.DataFrame(table)


TARGET_COLUMNS = ("duration_minutes", "for_training")
_CODE = "code"  # name in the file's metadata


FEATURE_SCHEMA = pa.schema(
    [
        ("pickup_zone", pa.int16()),
        ("dropoff_zone", pa.int16()),
        ("distance_miles", pa.float32()),
        ("passenger_count", pa.float32()),
        ("minute_of_day", pa.int16()),
        ("weekday", pa.int8()),
        ("month", pa.int8()),
        ("is_holiday", pa.int8()),
        ("is_school_day", pa.int8()),
        *((feature.name, pa.float32()) for feature in usable_ones(OWN_FEATURES)),
        ("duration_minutes", pa.float64()),
        ("for_training", pa.bool_()),
    ]
)


def _request_arrays(batch: pa.RecordBatch) -> dict[str, Array]:
    return {name: batch[name].to_numpy(zero_copy_only=False) for name in REQUEST_COLUMNS}


def _statistics(columns: Mapping[str, Array]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name, values in columns.items():
        present = values[~np.isnan(values.astype(np.float32))].astype(np.float64)
        extent = (present.min(), present.sum(), present.max()) if len(present) else (np.nan, 0.0, np.nan)
        rows.append((name, len(values), len(values) - len(present), *extent))
    return pd.DataFrame(rows, columns=["feature", "rows", "missing", "min", "total", "max"])
