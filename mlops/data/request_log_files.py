"""The files of the service's request log: their columns, and how they are read.

`mlops.serving.request_log` writes them. They are Parquet files of bounded size, each complete at any moment. The
columns are those of a request and of an answer of `mlops.model`; a test compares the two.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.errors import one_line

if TYPE_CHECKING:  # late at run time, so that the service starts quickly
    import pandas as pd
    import pyarrow as pa

logger = logging.getLogger(__name__)

FOLDER = "requests"  # below `config.state().serving`
REQUEST = ("pickup_at", "pickup_zone", "dropoff_zone", "distance_miles", "passenger_count")
OUT_OF_RANGE = "out_of_range"
ANSWER = (
    "duration_minutes", "low_80_minutes", "high_80_minutes", "low_95_minutes", "high_95_minutes", OUT_OF_RANGE,
)  # fmt: skip


def schema() -> pa.Schema:
    """The log's columns.

    ``at`` is UTC; ``pickup_at`` is New York's wall clock, as in a request. ``share`` is the probability with which
    the row was taken: so a row stands for ``1 / share`` rows. ``out_of_range`` is null for versions that do not
    say so.
    """
    import pyarrow as pa

    word, minutes = pa.dictionary(pa.int32(), pa.string()), pa.float64()
    answers = [pa.field(name, pa.bool_() if name == OUT_OF_RANGE else minutes) for name in ANSWER]
    return pa.schema(
        [
            pa.field("at", pa.timestamp("ms", tz="UTC")), pa.field("service", word), pa.field("version", word),
            pa.field("share", pa.float64()), pa.field("pickup_at", pa.timestamp("us")),
            pa.field("pickup_zone", pa.int64()), pa.field("dropoff_zone", pa.int64()),
            pa.field("distance_miles", pa.float64()), pa.field("passenger_count", pa.float64()),
            *answers, pa.field("distance", word),
        ]
    )  # fmt: skip


def read(
    folder: Path, since: datetime | None = None, until: datetime | None = None, service: str | None = None
) -> pd.DataFrame:
    """The logged rows, oldest first.

    Parameters
    ----------
    folder : Path
        ``config.state().serving / FOLDER``; one that does not exist has no rows.
    since, until : datetime, optional
        Only rows that were answered at or after, and before, these moments, which have a time zone.
    service : str, optional
        Only rows of this service.

    Returns
    -------
    DataFrame
        The columns of `schema`. A file that is damaged, for example by a full disk, is left out with a warning.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pc.scalar(True)
    if since:
        wanted &= pc.field("at") >= pa.scalar(since, pa.timestamp("ms", tz="UTC"))
    if until:
        wanted &= pc.field("at") < pa.scalar(until, pa.timestamp("ms", tz="UTC"))
    if service:
        wanted &= pc.field("service") == service
    tables = [table.filter(wanted) for table in _tables(folder)]
    together = pa.concat_tables([schema().empty_table(), *tables]).unify_dictionaries()
    nullable = {
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }  # the same types with and without nulls
    found: pd.DataFrame = together.sort_by("at").to_pandas(types_mapper=nullable.get)
    return found


def _tables(folder: Path) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("*.parquet")):
        try:
            yield pq.read_table(path, partitioning=None).cast(schema())
        except FileNotFoundError:  # the service has deleted it just now
            continue
        except (OSError, pa.ArrowInvalid, ValueError) as error:
            logger.warning("%s: this file of the request log is left out: %s", path, one_line(error, 200))
