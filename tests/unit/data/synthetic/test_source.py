"""The synthetic city as a source: the same arguments give the same bytes."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.sample_months import MAY, SERVICES

from mlops import config
from mlops.data.cache import fetch
from mlops.data.sources import Source, months_available
from mlops.data.synthetic import city
from mlops.data.synthetic.city import FIRST_MONTH, LAST_MONTH
from mlops.data.synthetic.source import SampleSource, make_month, write_month
from mlops.errors import ConfigError, MonthNotPublishedError
from mlops.month import Month


def bytes_of(path: Path, service: str, month: Month, *, rows: int = 2000, seed: int = 7) -> bytes:
    return write_month(path / "month.parquet", service, month, rows=rows, seed=seed).read_bytes()


# --- the same arguments, the same bytes --------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_a_month_is_the_same_whatever_was_made_before_it(tmp_path: Path, service: str) -> None:
    first = bytes_of(tmp_path, service, MAY)
    bytes_of(tmp_path, service, MAY + 1)
    bytes_of(tmp_path, "green", FIRST_MONTH, seed=8)
    city.city.cache_clear()
    assert bytes_of(tmp_path, service, MAY) == first


def test_a_month_is_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        "import hashlib, pathlib; from mlops.month import Month; "
        "from mlops.data.synthetic.source import write_month; "
        "path = write_month(pathlib.Path('other.parquet'), 'green', Month(2023, 5), rows=2000); "
        "print(hashlib.sha256(path.read_bytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(config.PROJECT)}
    other = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == hashlib.sha256(bytes_of(tmp_path, "green", MAY)).hexdigest()


def test_seed_service_and_month_each_make_other_trips() -> None:
    def zones(service: str, month: Month, seed: int) -> tuple[int, ...]:
        return tuple(make_month(service, month, rows=1000, seed=seed)["PULocationID"].to_pylist()[:500])

    others = [zones("green", MAY, 8), zones("green", MAY + 1, 7), zones("yellow", MAY, 7)]
    assert len({zones("green", MAY, 7), *others}) == 4


def test_every_month_has_draws_of_its_own() -> None:
    # With 4 rows no month is longer than another, so equal draws would show as equal zones.
    months = Month.range(FIRST_MONTH, LAST_MONTH)
    zones = [make_month("green", month, rows=4)["DOLocationID"].to_pylist() for month in months]
    assert {len(row) for row in zones} == {4}
    assert len({tuple(row) for row in zones}) == len(months)


def test_the_source_name_has_all_that_changes_the_trips() -> None:
    sources = SampleSource(), SampleSource(rows=100), SampleSource(seed=8)
    assert len({source.key for source in sources}) == 3
    assert len({source.version("green_tripdata_2023-05.parquet") for source in sources}) == 3


def test_a_month_has_about_the_rows_asked_for() -> None:
    rows = [make_month("green", month, rows=1000).num_rows for month in Month.range(FIRST_MONTH, LAST_MONTH)]
    assert min(rows) >= 940 and max(rows) <= 1110
    assert len(set(rows)) > 6  # seasons
    assert np.mean(rows[12:]) > np.mean(rows[:12])  # growth
    assert make_month("yellow", MAY, rows=1).num_rows == 1


# --- a source ----------------------------------------------------------------------------------


def test_the_source_delivers_what_write_month_writes(tmp_path: Path) -> None:
    target, seen = io.BytesIO(), []
    source = SampleSource(rows=2000)
    source.download("fhvhv_tripdata_2023-05.parquet", target, lambda done, total: seen.append((done, total)))
    assert target.getvalue() == bytes_of(tmp_path, "fhvhv", MAY)
    assert seen == [(len(target.getvalue()), len(target.getvalue()))]


def test_the_cache_fetches_from_it_like_from_any_source(tmp_path: Path) -> None:
    source: Source = SampleSource(rows=2000)
    file = fetch(source, "green", MAY, tmp_path)
    assert file.path == tmp_path / source.key / "green_tripdata_2023-05.parquet"
    assert file.path.read_bytes() == bytes_of(tmp_path, "green", MAY)
    assert file.url == "sample/green_tripdata_2023-05.parquet"


def test_the_city_has_a_first_and_a_last_month() -> None:
    around = (FIRST_MONTH - 1, FIRST_MONTH, LAST_MONTH, LAST_MONTH + 1)
    assert (str(FIRST_MONTH), str(LAST_MONTH)) == ("2023-01", "2024-12")
    for service in SERVICES:
        assert months_available(SampleSource(), service, around) == (FIRST_MONTH, LAST_MONTH)


@pytest.mark.parametrize(
    "name",
    ["fhv_tripdata_2023-05.parquet", "green_tripdata_2023-13.parquet", "green_tripdata_2023-05.csv", ""],
)
def test_other_names_are_not_there(name: str) -> None:
    assert SampleSource().version(name) is None
    with pytest.raises(MonthNotPublishedError) as caught:
        SampleSource().download(name, io.BytesIO(), lambda done, total: None)
    assert str(caught.value) == (
        f"sample: there is no file {name!r}; the synthetic city publishes green, yellow, fhvhv "
        "from 2023-01 to 2024-12, for example green_tripdata_2023-01.parquet."
    )


@pytest.mark.parametrize("month", [FIRST_MONTH - 1, LAST_MONTH + 1], ids=str)
def test_months_before_and_after_the_city_are_refused(month: Month) -> None:
    with pytest.raises(MonthNotPublishedError) as caught:
        make_month("green", month)
    assert str(caught.value) == (
        f"sample green {month}: not published; the synthetic city publishes green, yellow, fhvhv "
        "from 2023-01 to 2024-12. Choose a month among these."
    )
    assert (caught.value.service, caught.value.month) == ("green", str(month))


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^sample: expected a service of green, yellow, fhvhv; got 'fhv'$"):
        make_month("fhv", MAY)
    with pytest.raises(ConfigError, match=r"^sample: expected at least 1 row a month; got 0$"):
        make_month("green", MAY, rows=0)
    with pytest.raises(ConfigError, match=r"^sample: expected a seed of 0 or more; got -1$"):
        make_month("green", MAY, seed=-1)


def test_a_new_file_takes_the_place_of_the_old_under_an_open_reader(tmp_path: Path) -> None:
    path = write_month(tmp_path / "month.parquet", "green", MAY, rows=100)
    before = path.read_bytes()
    with path.open("rb") as reader:
        write_month(path, "green", MAY + 1, rows=100)
        assert reader.read() == before
    assert path.read_bytes() != before


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_month(tmp_path / "new" / "month.parquet", "green", MAY, rows=100)
    before = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        write_month(path, "green", MAY + 1, rows=100)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
