"""The table of drift, and the finding for what no other detector names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import make_trips

from mlops.data.trips import Quality
from mlops.monitoring import drift, samples
from mlops.monitoring.faults import inputs
from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.profile import Profile
from mlops.monitoring.months import Prepared
from mlops.monitoring.samples import Sample
from mlops.month import Month

MAY = Month(2023, 5)


def taken(month: Month, seed: int, rows: int = 6000) -> Sample:
    trips = pd.DataFrame(make_trips(rows, seed, month=month))
    more = {"vendor": 1, "surcharge": np.nan, "is_clean": True, "for_training": True}
    return Sample(str(month), Quality(rows, rows, rows), trips.assign(**more), 1.0)


@pytest.fixture
def months(monkeypatch: pytest.MonkeyPatch) -> dict[Month, Sample]:
    """Samples of months, which stand for those of files."""
    found = {month: taken(month, seed) for seed, month in enumerate(Month.range(Month(2023, 1), MAY))}
    monkeypatch.setattr(samples, "read", lambda prepared: found[prepared.month])
    return found


def of(month: Month) -> Prepared:
    return Prepared(month, Path(), Path(), "", "", Quality(0, 0, 0))


def table() -> pd.DataFrame:
    return drift.table(of(MAY), [of(month) for month in MAY.before(4)])


def test_in_months_of_the_same_town_nothing_is_large(months: dict[Month, Sample]) -> None:
    found = table()
    assert tuple(found.columns) == drift.COLUMNS
    assert set(found["feature"]) == {each.name for each in inputs.INPUTS}
    assert not found["is_large"].any()
    assert (found["psi"] < found["threshold"]).all()


def test_inputs_that_moved_come_first_with_their_distance(months: dict[Month, Sample]) -> None:
    now = months[MAY]
    months[MAY] = replace(now, rows=now.rows.assign(distance_miles=now.rows["distance_miles"] + 1.5))
    found = table()
    assert set(found["feature"][:2]) == {"distance", "speed"}
    assert found["is_large"].tolist() == [True] * 2 + [False] * (len(found) - 2)
    assert found.set_index("feature")["wasserstein"]["distance"] == pytest.approx(1.5, abs=0.1)


def test_codes_have_no_wasserstein_distance(months: dict[Month, Sample]) -> None:
    by_name = table().set_index("feature")["wasserstein"]
    assert by_name[["pickup zone", "hour", "weekday"]].isna().all()
    assert by_name[["distance", "passengers", "speed", "duration"]].notna().all()


def test_without_months_before_the_table_is_empty() -> None:
    assert list(drift.table(of(MAY), []).columns) == list(drift.COLUMNS)


def findings(months: dict[Month, Sample]) -> list[tuple[str, bool]]:
    profiles = [Profile(months[month]) for month in sorted(months)]
    found = inputs.find(Compared(profiles[-1], tuple(profiles[:-1])))
    return [(each.text.partition(" differs")[0], each.is_fault) for each in found]


def test_an_input_that_moved_far_is_a_fault_but_for_what_drivers_enter(months: dict[Month, Sample]) -> None:
    assert not findings(months)
    now = months[MAY]
    months[MAY] = replace(now, rows=now.rows.assign(passenger_count=5.0))
    assert findings(months) == [("passengers", False)]
    zones = now.rows["pickup_zone"].where(now.rows["pickup_zone"] > 6, 3)
    months[MAY] = replace(now, rows=now.rows.assign(pickup_zone=zones, dropoff_zone=5))
    assert [is_fault for _, is_fault in findings(months)] == [True]
