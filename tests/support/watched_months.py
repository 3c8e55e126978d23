"""Small months of the synthetic city in a folder, and months of hand-made trips as monitoring passes them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from support.builders import MAY, make_trips

from mlops.data.synthetic.source import write_month
from mlops.data.trips import Quality, as_table
from mlops.monitoring.months import Prepared
from mlops.monitoring.settings import MonitoringSettings
from mlops.month import Month

ROWS = 600
PUBLISHED = Month.range(Month(2023, 3), Month(2023, 9))


def publish(folder: Path, *months: Month, service: str = "green") -> Path:
    """Publish small months of the city in a folder."""
    for month in months:
        write_month(folder / f"{service}_tripdata_{month}.parquet", service, month, rows=ROWS)
    return folder


def settings_of(source: Path, month: str = "2023-08", **others: Any) -> MonitoringSettings:
    """Settings that compare a month of a folder."""
    return MonitoringSettings.parse({"month": month, "source": str(source), **others})


def prepared(folder: Path, n: int = 400, seed: int = 0, *, month: Month = MAY, **changed: Any) -> Prepared:
    """A month of a small town's trips, with the given columns instead of its own."""
    trips = make_trips(n, seed, month=month) | changed
    trips |= {"for_training": trips["duration_minutes"] < 1000}
    clean = folder / f"town_{month}_{seed}.parquet"
    pq.write_table(as_table(trips), clean)
    return Prepared(month, clean, clean, f"{seed:064d}", f"town {month}", Quality(n, n, n))
