"""The synthetic city as a source: Parquet months in TLC's format, without a network.

The city has 263 zones with two airports, rush hours, weekends, seasons and
traffic that slowly gets slower; it needs only numpy. Its files have TLC's names,
columns and types, and TLC's faults at TLC's rates, so all code that reads real
months can be tested on them. Each file contains `SAMPLE_MARKER`, so it is
recognised as a sample in any folder.

A month depends only on its service, its date, the number of rows and the seed,
not on other months or on the clock.
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

GENERATOR = 1  # increase it when the same arguments give other trips: cached months are then fetched again


@dataclass(frozen=True)
class SampleSource:
    """The synthetic city as a source of months (`mlops.data.sources.Source`).

    Parameters
    ----------
    rows : int
        Trips a month; seasons change them by a few percent.
    seed : int
        Another seed gives other trips in the same city.

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
        """Name for log lines and messages."""
        return "sample"

    @property
    def key(self) -> str:
        """Folder name in the cache; contains every argument that changes the trips."""
        return f"sample-{GENERATOR}-{self.rows}-{self.seed}"

    def version(self, name: str) -> str | None:
        """Fingerprint of the file's content; None when the city has no such file."""
        return self.key if name in _published() else None

    def size(self, name: str) -> int | None:
        """None: the size is unknown before a month is generated."""
        return None

    def download(self, name: str, target: BinaryIO, progress: Callable[[int, int | None], None]) -> None:
        """Write the file's bytes to `target`; `write_month` writes the same bytes.

        Raises
        ------
        MonthNotPublishedError
            When the city has no such file.
        """
        if name not in _published():
            raise MonthNotPublishedError(
                f"sample: there is no file {name!r}; {_PUBLISHES}, for example {file_name('green', FIRST_MONTH)}."
            )
        service, month = _published()[name]
        content = _parquet(make_month(service, month, rows=self.rows, seed=self.seed))
        target.write(content)
        progress(len(content), len(content))


def write_month(path: Path, service: str, month: Month, *, rows: int = 20_000, seed: int = 7) -> Path:
    """Write a month of the synthetic city to `path`, atomically; the path.

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
        Trips in an average month of the first year; seasons and growth change them by a few percent.
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
    # All options are set, so that a changed default of pyarrow does not change the bytes.
    pq.write_table(
        table, sink, version="2.6", data_page_version="1.0", compression="zstd", compression_level=3,
        use_dictionary=True, write_statistics=True, store_schema=True, row_group_size=1_048_576,
    )  # fmt: skip
    return bytes(sink.getvalue())
