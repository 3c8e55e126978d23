"""What a version answers for each clean trip of a month: computed once, kept on disk, read in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlops import config
from mlops.errors import MlopsError, one_line
from mlops.files import atomic_write
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.monitoring.months import Prepared
from mlops.registry import loading
from mlops.registry.local_copy import Loaded, limit_threads, predict_columns
from mlops.registry.signed_version import Version

logger = logging.getLogger(__name__)
Array = npt.NDArray[Any]

BATCH_ROWS = 200_000
MINUTES = "duration_minutes"
COLUMNS = (MINUTES, *INTERVAL_COLUMNS, OUT_OF_RANGE)
"""What versions answer; older ones lack ranges, or do not say which requests are outside of what they learnt."""


def answer(version: Version, prepared: Prepared, threads: int) -> Path:
    """File of a version's answers to the clean trips of a month, in their order.

    Parameters
    ----------
    version : Version
    prepared : Prepared
    threads : int
        Threads that the model may use; its answers do not depend on them.

    Returns
    -------
    Path
        Parquet with those of `COLUMNS` that the version answers, float32: minutes, and 1 or 0 for
        ``out_of_range``.

    Raises
    ------
    UntrustedError
        When the version is not signed.
    MlopsError
        When it cannot be loaded or does not answer with minutes.
    TrackingDownError
        When the registry does not answer.
    """
    path = _place_of(version, prepared)
    if not _is_complete(path, prepared):
        loaded = loading.load(version, config.state().versions)
        limit_threads(loaded.model, threads)
        _write(loaded, prepared.clean, path)
        logger.info("%s answered the trips of %s", version.uri, prepared.month)
    return path


def read(path: Path) -> Iterator[dict[str, Array]]:
    """Answers in batches of at most `BATCH_ROWS` trips, as float64 arrays by column."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            yield {name: batch[name].to_numpy().astype(np.float64) for name in batch.schema.names}


def requests(clean: Path, *others: str) -> Iterator[dict[str, Array]]:
    """Requests of the clean trips in the same batches, with these other columns; null numbers are NaN."""
    with pq.ParquetFile(clean) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=[*REQUEST_COLUMNS, *others]):
            yield {name: batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names}


def _place_of(version: Version, prepared: Prepared) -> Path:
    """The names say what the answers depend on: file, cleaning rules, version and its run key."""
    key = version.tags.get("run_key", "")[:12]
    name = f"{prepared.clean.stem}_{prepared.sha256[:12]}.{version.name}-v{version.number}_{key}.parquet"
    return config.state().monitoring / "answers" / name


def _is_complete(path: Path, prepared: Prepared) -> bool:
    try:
        return int(pq.read_metadata(path).num_rows) == prepared.quality.test_rows
    except (OSError, pa.ArrowException):
        return False


def _write(loaded: Loaded, clean: Path, target: Path) -> None:
    with atomic_write(target) as passing:
        writer = None
        try:
            for batch in requests(clean):
                table = _answered(loaded, batch)
                writer = writer or pq.ParquetWriter(passing, table.schema, compression="zstd")
                writer.write_table(table)
        finally:
            if writer:
                writer.close()


def _answered(loaded: Loaded, batch: Mapping[str, Array]) -> pa.Table:
    try:
        found = predict_columns(loaded.model, batch)
        columns = {name: np.asarray(found[name], np.float32) for name in COLUMNS if name in found}
    except Exception as error:  # whatever the version's code raises
        raise MlopsError(
            f"{loaded.version.uri}: it cannot answer ({one_line(error, 300)}). Make another version champion, or "
            "train it again with --force."
        ) from error
    minutes, rows = columns.get(MINUTES), len(batch["pickup_at"])
    if minutes is None or len(minutes) != rows or not np.isfinite(minutes).all():
        got = "others" if minutes is not None else f"the columns {sorted(map(str, found))[:6]}"
        raise MlopsError(
            f"{loaded.version.uri}: expected finite numbers in a column {MINUTES} for each of {rows:,} trips; got "
            f"{got}. Make another version champion, or train it again with --force."
        )
    return pa.table(columns)
