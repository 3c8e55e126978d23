"""The synthetic city: TLC-shaped Parquet months without a network.

A city of 263 zones with two airports, rush hours, weekends, seasons and slowly
thickening traffic, from numpy alone. Its files have TLC's names, columns and
types, and the dirt of TLC's files at TLC's rates, so that everything that
reads real months can be tried on these. Each file carries `SAMPLE_MARKER`,
by which it is known for a sample from whatever folder it comes.

A month depends on its service, its number, the rows asked for and the seed,
and on nothing else: not on the months made before it, nor on the clock.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops.config import SERVICES
from mlops.data.sources import file_name
from mlops.data.synthetic.city import FIRST_MONTH, LAST_MONTH, drive, rows_of, soil
from mlops.data.synthetic.columns import app_columns, table_of, taxi_columns
from mlops.errors import ConfigError, MonthNotPublishedError
from mlops.month import Month

GENERATOR = 1  # raise it when the same arguments give other trips: cached months are then fetched anew


@dataclass(frozen=True)
class SampleSource:
    """The synthetic city as a source of months (`mlops.data.sources.Source`).

    Parameters
    ----------
    rows : int
        Trips a month, give or take the seasons' few percent.
    seed : int
        Another seed makes other trips in the same city.

    Examples
    --------
    >>> SampleSource().version("green_tripdata_2022-12.parquet") is None
    True
    """

    rows: int = 20_000
    seed: int = 7
    control = None

    @property
    def url(self) -> str:
        """What a person reads."""
        return "sample"

    @property
    def key(self) -> str:
        """Name of this source's part of the cache; every argument that changes a trip is in it."""
        return f"sample-{GENERATOR}-{self.rows}-{self.seed}"

    def version(self, name: str) -> str | None:
        """What the file's content depends on; None when the city does not publish such a file."""
        return self.key if name in _published() else None

    def size(self, name: str) -> int | None:
        """Not known before a month is made."""
        return None

    def download(self, name: str, target: BinaryIO, progress: Callable[[int, int | None], None]) -> None:
        """Write the file's bytes to `target`, the same ones that `write_month` writes.

        Raises
        ------
        MonthNotPublishedError
            When the city does not publish such a file.
        """
        if name not in _published():
            raise MonthNotPublishedError(
                f"sample: there is no file {name!r}; {_PUBLISHES}, as {file_name('green', FIRST_MONTH)}."
            )
        service, month = _published()[name]
        content = _parquet(make_month(service, month, rows=self.rows, seed=self.seed))
        target.write(content)
        progress(len(content), len(content))


def write_month(path: Path, service: str, month: Month, *, rows: int = 20_000, seed: int = 7) -> Path:
    """Path of a month of the synthetic city, which exists whole or not at all.

    Raises
    ------
    ConfigError, MonthNotPublishedError
        As `make_month`.
    """
    content = _parquet(make_month(service, month, rows=rows, seed=seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def make_month(service: str, month: Month, *, rows: int = 20_000, seed: int = 7) -> pa.Table:
    """Trips of one month of the synthetic city, with TLC's columns and types for that service.

    Parameters
    ----------
    service : str
        green, yellow or fhvhv.
    month : Month
        From `FIRST_MONTH` to `LAST_MONTH`.
    rows : int
        Trips in a mean month of the first year; seasons and growth change them by a few percent.
    seed : int
        0 or more.

    Raises
    ------
    ConfigError
        For another service, no rows or a negative seed.
    MonthNotPublishedError
        For a month outside the city's years.

    Examples
    --------
    >>> make_month("green", Month(2023, 1), rows=1000).num_rows
    960
    """
    _check(service, month, rows, seed)
    rng = np.random.default_rng([seed, int.from_bytes(service.encode(), "big"), month.year, month.number])
    trips = soil(rng, month, drive(rng, month, rows_of(month, rows)))
    columns = app_columns(rng, trips) if service == "fhvhv" else taxi_columns(rng, service, trips)
    return table_of(service, month, columns)


_PUBLISHES = f"the synthetic city publishes {', '.join(SERVICES)} from {FIRST_MONTH} to {LAST_MONTH}"


@cache
def _published() -> dict[str, tuple[str, Month]]:
    months = Month.range(FIRST_MONTH, LAST_MONTH)
    return {file_name(service, month): (service, month) for service in SERVICES for month in months}


def _check(service: str, month: Month, rows: int, seed: int) -> None:
    if service not in SERVICES:
        raise ConfigError(f"sample: expected a service of {', '.join(SERVICES)}; got {service!r}")
    if rows < 1:
        raise ConfigError(f"sample: expected at least 1 row a month; got {rows}")
    if seed < 0:
        raise ConfigError(f"sample: expected a seed of 0 or more; got {seed}")
    if not FIRST_MONTH <= month <= LAST_MONTH:
        raise MonthNotPublishedError(
            f"sample {service} {month}: not published; {_PUBLISHES}. Choose a month among these.",
            service=service,
            month=str(month),
        )


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Said in full: a default of pyarrow's that moves must not move the bytes.
    pq.write_table(
        table, sink, version="2.6", data_page_version="1.0", compression="zstd", compression_level=3,
        use_dictionary=True, write_statistics=True, store_schema=True, row_group_size=1_048_576,
    )  # fmt: skip
    return bytes(sink.getvalue())
