"""Faults put into a month of the synthetic city are found and named; months without one are not suspected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks import faults as benchmark
from benchmarks import faulty_months
from mlops.config import PROJECT
from mlops.data.synthetic.source import write_month
from mlops.data.trips import Quality, clean_file
from mlops.monitoring import causes, samples
from mlops.monitoring.faults import Finding, counts, find_in
from mlops.monitoring.faults.profile import Profile
from mlops.monitoring.faults.search import ORDER, ordered
from mlops.monitoring.months import Prepared
from mlops.monitoring.samples import Sample
from mlops.month import Month

MAY = Month(2023, 5)
KINDS = {kind.name: kind for kind in (*benchmark.LISTED, *benchmark.OTHERS)}
# The synthetic city has no surcharge by the hour, and few rides to each zone.
WEAKEST = {
    "kilometres": 0.3, "clock": 1, "new_zone": 0.01, "missing": 0.5, "twice": 0.1, "no_weekends": 0.5,
    "slow_airports": 0.3, "swapped_zones": 1, "no_afternoon": 1, "whole_minutes": 0.3, "repeated_day": 1,
    "one_passenger": 1, "no_passengers": 0.3, "zero_distance": 0.3, "whole_miles": 0.3, "capped": 30,
    "ends_first": 0.1, "no_vendor": 1, "no_days": 1, "renumbered": 1, "other_year": 0.3, "stale": 1,
    "shuffled_distances": 0.3, "shuffled_durations": 0.5,
}  # fmt: skip


def prepared(raw: Path, month: Month = MAY) -> Prepared:
    clean = raw.with_name(f"clean_{raw.name}")
    return Prepared(month, raw, clean, raw.stem, raw.name, clean_file(raw, "green", month, clean))


def sample_of(raw: Path, month: Month = MAY) -> Sample:
    return samples.take(prepared(raw, month))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("months")


@pytest.fixture(scope="module")
def before(folder: Path) -> list[Sample]:
    return [sample_of(raw_month(folder, month), month) for month in MAY.before(4)]


def raw_month(folder: Path, month: Month) -> Path:
    path = folder / f"green_tripdata_{month}.parquet"
    if not path.exists():
        write_month(path, "green", month, rows=20_000)
    return path


@pytest.fixture(scope="module")
def found_with(folder: Path, before: list[Sample]) -> Callable[[str, float], tuple[Finding, ...]]:
    def find_fault(name: str, strength: float) -> tuple[Finding, ...]:
        faulty_months.NEW_ZONE = 300  # the synthetic city has rides in all of TLC's zones
        target = folder / "faulty.parquet"
        getattr(faulty_months, name)(raw_month(folder, MAY), MAY, strength, target)
        return find_in(sample_of(target), before)

    return find_fault


@pytest.mark.parametrize("name", WEAKEST)
def test_a_fault_is_found_and_named_first(
    name: str, found_with: Callable[[str, float], tuple[Finding, ...]]
) -> None:
    first = found_with(name, WEAKEST[name])[0]
    assert (first.cause, first.is_fault) == (KINDS[name].cause, True), first.text


def test_a_month_without_a_fault_is_not_suspected(folder: Path, before: list[Sample]) -> None:
    assert not [each for each in find_in(sample_of(raw_month(folder, MAY)), before) if each.is_fault]


def finding(cause: str, is_fault: bool = True, strength: float = 2.0) -> Finding:
    return Finding(cause, "", 0.1, is_fault, strength)


@pytest.mark.parametrize("months", [1, 2])
def test_a_month_without_a_fault_is_not_suspected_beside_few_months(
    folder: Path, before: list[Sample], months: int
) -> None:
    now = sample_of(raw_month(folder, MAY))
    assert [found.cause for found in find_in(now, before[-months:]) if found.is_fault] == []


def test_a_part_of_the_rides_is_no_fault_beside_few_months(folder: Path, before: list[Sample]) -> None:
    raw = folder / "slow.parquet"
    faulty_months.slow_airports(raw_month(folder, MAY), MAY, 0.3, raw)
    found = {len(others): find_in(sample_of(raw), others) for others in (before[-2:], before)}
    assert [{each.cause: each.is_fault for each in found[count]}.get("slower_rides") for count in (2, 4)] == [
        False,
        True,
    ]


def test_the_hour_that_the_clocks_skip_is_not_missing() -> None:
    march, november = (
        Profile(Sample(month, Quality(0, 0, 0), pd.DataFrame(), 1.0)) for month in ("2023-03", "2023-11")
    )
    assert counts._exists(november).all()
    assert [tuple(place) for place in np.argwhere(~counts._exists(march))] == [(11, 2)]  # the 12th, 2 h


def test_what_follows_from_a_fault_is_not_reported_beside_it() -> None:
    found = ordered([finding("missing_trips", strength=9), finding("clock_shift"), finding("drift", False)])
    assert [each.cause for each in found] == ["clock_shift"]


def test_causes_come_before_consequences_and_faults_before_differences() -> None:
    given = [finding("slower_rides", False, 5), finding("new_zone", strength=1), finding("duplicated_trips")]
    found = ordered(given)
    assert [each.cause for each in found] == ["duplicated_trips", "new_zone", "slower_rides"]


def test_a_cause_is_at_least_as_strong_as_what_comes_after_it() -> None:
    found = ordered([finding("new_zone", strength=7), finding("duplicated_trips", strength=2)])
    assert [each.strength for each in found] == [7, 7]


def test_of_one_cause_the_strongest_finding_is_reported() -> None:
    found = ordered([finding("missing_trips", strength=2), finding("missing_trips", strength=3)])
    assert [each.strength for each in found] == [3]


def test_without_months_before_only_the_month_itself_is_judged(folder: Path) -> None:
    target = faulty_months.twice(raw_month(folder, MAY), MAY, 1, folder / "twice.parquet")
    assert [each.cause for each in find_in(sample_of(target), [])] == ["duplicated_trips"]
    assert not find_in(sample_of(raw_month(folder, MAY)), [])


def test_a_month_without_trips_inside_it_is_named_and_nothing_fails(
    folder: Path, before: list[Sample]
) -> None:
    target = faulty_months.other_year(raw_month(folder, MAY), MAY, 1, folder / "other.parquet")
    assert [each.cause for each in find_in(sample_of(target), before)] == ["outside_month"]


def test_every_cause_is_explained_on_the_page_about_monitoring() -> None:
    page = (PROJECT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    others = (
        causes.WORSE_THAN_PREDECESSOR,
        causes.WORSE_THAN_BASELINE,
        causes.GREW,
        causes.MIX,
        causes.SEASON,
    )
    assert [cause for cause in (*ORDER, *others) if f"`{cause}`" not in page] == []


def test_a_month_of_one_trip_has_missing_trips(folder: Path, before: list[Sample]) -> None:
    whole, target = pq.read_table(raw_month(folder, MAY)), folder / "one_trip.parquet"
    pq.write_table(whole.slice(9_000, 1), target)
    assert [(found.cause, found.is_fault) for found in find_in(sample_of(target), before)] == [
        ("missing_trips", True)
    ]
