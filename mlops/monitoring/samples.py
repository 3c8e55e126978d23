"""Trips of a month to compare inputs with: at most 200,000 of them, chosen by a hash, kept on disk.

The hash is of what the trip is: minute of the day, and the two zones. So a file gives the same sample each time,
copies of a trip are in the sample together or not at all, and months are compared on the same kinds of trips.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlops import config
from mlops.data.raw_trips import BATCH_ROWS, TLC_COLUMNS, Columns, opened, read_trips
from mlops.data.trips import TRIP_SCHEMA, Quality, clean
from mlops.errors import TripSchemaError
from mlops.files import atomic_write
from mlops.monitoring.months import Prepared

logger = logging.getLogger(__name__)

MOST_TRIPS = 200_000
_LAYOUT = 2  # changes with the columns or the choice of trips, so that older files are not read
_VENDORS, _SURCHARGE = ("vendorid", "hvfhs_license_num"), "extra"  # TLC's columns, lower case
_MINUTE, _DAY = 60_000_000, 86_400_000_000  # microseconds
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sample:
    """Trips of a published month.

    Parameters
    ----------
    month : str
        YYYY-MM.
    quality : Quality
        Counts of all trips of the file.
    rows : DataFrame
        A sample of the trips as published, before cleaning: columns as from `raw_trips.read_trips`, and ``vendor``
        (int64, -1 if unknown), ``surcharge`` (dollars for rush hours and nights, NaN if unknown), ``is_clean`` and
        ``for_training`` (bool).
    share : float
        Share of the file's trips that are in `rows`.
    """

    month: str
    quality: Quality
    rows: pd.DataFrame
    share: float

    @property
    def clean(self) -> pd.DataFrame:
        """The clean trips, with the columns of `rows`."""
        return self.rows[self.rows["is_clean"]]


_UNKNOWN = {"vendor": -1, "surcharge": np.nan}  # where the file does not say it


def sample(prepared: Prepared) -> pd.DataFrame:
    """At most 200,000 clean trips of a month, with the columns of `data.trips.TRIP_SCHEMA`.

    Raises
    ------
    TripSchemaError
        When the published file cannot be read.
    """
    return pd.DataFrame(read(prepared).clean[TRIP_SCHEMA.names].reset_index(drop=True))


def read(prepared: Prepared) -> Sample:
    """The sample of a month, made once and then read from the disk.

    Raises
    ------
    TripSchemaError
        When the published file cannot be read.
    """
    path = config.state().monitoring / "samples" / f"{prepared.sha256[:32]}-{_LAYOUT}.parquet"
    rows = _stored(path)
    if rows is None:
        rows = choose(prepared)
        with atomic_write(path) as temporary:
            pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), temporary, compression="zstd")
        logger.info("%s: a sample of %s trips is kept in %s", prepared.month, f"{len(rows):,}", path)
    return _of(prepared, rows)


def take(prepared: Prepared) -> Sample:
    """The sample of a month, made now and not kept.

    Raises
    ------
    TripSchemaError
        When the published file cannot be read.
    """
    return _of(prepared, choose(prepared))


def _of(prepared: Prepared, rows: pd.DataFrame) -> Sample:
    share = min(1.0, len(rows) / max(prepared.quality.rows, 1))
    return Sample(str(prepared.month), prepared.quality, rows, share)


def _stored(path: Path) -> pd.DataFrame | None:
    """A kept sample; None if there is none that can be read."""
    try:
        return pd.DataFrame(pq.read_table(path).to_pandas())
    except (OSError, pa.ArrowException):
        return None


def choose(prepared: Prepared, most: int = MOST_TRIPS) -> pd.DataFrame:
    """At most about `most` trips of a published file, in its order; columns as `Sample.rows`."""
    limit = most / max(prepared.quality.rows, 1)
    parts = [batch[_is_chosen(batch, limit)] for batch in _published(prepared)]
    rows = pd.concat(parts, ignore_index=True).iloc[:most]
    columns: Columns = {str(name): rows[name].to_numpy() for name in rows}
    kept, _ = clean({**columns, "place": np.arange(len(rows))}, prepared.month)
    is_clean, for_training = np.zeros((2, len(rows)), bool)
    is_clean[kept["place"]] = True
    for_training[kept["place"]] = kept["for_training"]
    return rows.assign(is_clean=is_clean, for_training=for_training)


def _published(prepared: Prepared) -> Iterator[pd.DataFrame]:
    """The trips of the published file, with vendor and surcharge, in batches."""
    others = _other_columns(prepared)
    for trips in read_trips(prepared.raw, _service_of(prepared), prepared.label):
        yield pd.DataFrame({**trips, **_UNKNOWN, **next(others, {})})


def _service_of(prepared: Prepared) -> str:
    """The service whose columns the published file has."""
    with opened(prepared.raw, prepared.label) as file:
        names = {name.lower() for name in file.schema_arrow.names}
    for service, columns in TLC_COLUMNS.items():
        if columns["pickup_at"].lower() in names:
            return service
    raise TripSchemaError(
        f"{prepared.label}: expected the columns of green, yellow or fhvhv trips; got {sorted(names)}. "
        "Is this a file of TLC trips?"
    )


def _other_columns(prepared: Prepared) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Vendor and surcharge in batches like those of `read_trips`, as far as the file has them."""
    with opened(prepared.raw, prepared.label) as file:
        spelt = {name.lower(): name for name in file.schema_arrow.names}
        vendor = next((spelt[name] for name in _VENDORS if name in spelt), None)
        surcharge = spelt.get(_SURCHARGE)
        columns = {name: column for name, column in (("vendor", vendor), ("surcharge", surcharge)) if column}
        if not columns:  # without a column, Arrow makes other batches
            return
        for batch in file.iter_batches(BATCH_ROWS, columns=[*columns.values()], use_threads=False):
            frame = batch.to_pandas()
            found = {name: _numbers(frame[column]) for name, column in columns.items()}
            yield {
                name: numbers.fillna(_UNKNOWN[name]).astype(type(_UNKNOWN[name])).to_numpy()
                for name, numbers in found.items()
            }


def _numbers(values: pd.Series) -> pd.Series:
    """Numbers, also those in texts as HV0003; NaN where there is none."""
    if not pd.api.types.is_numeric_dtype(values):
        values = values.astype(str).str.extract(r"(\d+)", expand=False)
    return pd.to_numeric(values, errors="coerce")


def _is_chosen(trips: pd.DataFrame, limit: float) -> npt.NDArray[np.bool_]:
    """Which trips are in a sample that takes this share of all kinds of trips."""
    if limit >= 1:
        return np.ones(len(trips), bool)
    minute = trips["pickup_at"].to_numpy("datetime64[us]").astype(np.int64) % _DAY // _MINUTE
    kind = (minute * 1000 + trips["pickup_zone"]) * 1000 + trips["dropoff_zone"]
    mixed = kind.to_numpy(np.uint64) * _FACTOR
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _FACTOR
    return np.asarray((mixed >> np.uint64(11)) < np.uint64(limit * 0.98 * 2**53))
