"""Which month `month: next` means for scoring."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.month_site import parquet

from mlops.config import Settings
from mlops.data import sources
from mlops.data.synthetic.source import SampleSource
from mlops.errors import MonthNotPublishedError
from mlops.month import Month
from mlops.scoring.newest import newest_month

NOW = datetime(2023, 12, 31, 23, tzinfo=timezone.utc)
NEXT = Settings.parse({"month": "next"})


def newest(folder: Path, *months: str, service: str = "green") -> Month:
    folder.mkdir()
    for month in months:
        (folder / f"{service}_tripdata_{month}.parquet").write_bytes(parquet())
    return newest_month(NEXT, sources.open_source(str(folder)), NOW)


@pytest.mark.parametrize(
    ("months", "expected"),
    [
        (("2023-08", "2023-10", "2023-09"), "2023-10"),
        (("2023-10", "2023-12"), "2023-10"),  # December is not over yet
        (("2010-05", "2011-06"), "2011-06"),
        (("2009-01",), "2009-01"),
        (("2022-12", "2022-11"), "2022-12"),
    ],
)
def test_the_newest_complete_month(tmp_path: Path, months: tuple[str, ...], expected: str) -> None:
    assert newest(tmp_path / "months", *months) == Month.parse(expected)


def test_a_source_without_a_month_of_the_service(tmp_path: Path) -> None:
    with pytest.raises(MonthNotPublishedError) as refused:
        newest(tmp_path / "months", "2023-10", service="yellow")
    assert str(refused.value) == (
        f"green: {tmp_path / 'months'} has no month from 2009-01 to 2023-11. Check --service and --source, or "
        "name a month."
    )
    assert refused.value.service == "green"


def test_the_sample_s_newest_month() -> None:
    assert newest_month(NEXT, SampleSource(), NOW) == Month(2023, 11)
