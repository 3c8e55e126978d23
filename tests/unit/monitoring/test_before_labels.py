"""The error to expect of a month that is not published, from the request log of the service."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tracked import NAME

from mlops import config
from mlops.data import request_log_files, schemas, trips
from mlops.data.synthetic.source import write_month
from mlops.errors import ConfigError, DataQualityError
from mlops.model.duration_model import DurationModel
from mlops.monitoring import before_labels
from mlops.monitoring.before_labels import Expected
from mlops.monitoring.estimates import Estimate, TrackRecord
from mlops.monitoring.settings import MonitoringSettings
from mlops.month import Month

JULY, AUGUST = Month(2023, 7), Month(2023, 8)
ROWS = 1200


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with July, the month on which the champion was tested, and the month before."""
    folder = tmp_path_factory.mktemp("months")
    for month in (JULY - 1, JULY):
        write_month(folder / f"green_tripdata_{month}.parquet", "green", month, rows=ROWS)
    return folder


@pytest.fixture(scope="module")
def asked(source: Path, sound_store: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """July's trips as the service would have logged them in August, without `share` and `version`."""
    clean = tmp_path_factory.mktemp("clean") / "july.parquet"
    trips.clean_file(source / f"green_tripdata_{JULY}.parquet", "green", JULY, clean)
    requests = schemas.read_requests(clean)
    answers = DurationModel.load(sound_store / "model").predict(requests)
    at = datetime(2023, 8, 1, 4, tzinfo=timezone.utc)  # midnight in New York
    rows = {name: requests[name].to_numpy() for name in request_log_files.REQUEST}
    rows |= {name: answers[name].to_numpy() for name in request_log_files.ANSWER if name in answers}
    return pd.DataFrame(rows).assign(at=at, service="sample", distance="given")


def log(rows: pd.DataFrame, version: str = "3", share: float = 0.5, name: str = "a") -> None:
    table = rows.assign(share=share, version=version, out_of_range=False)
    columns = [
        pa.array(table[field.name], from_pandas=True).cast(field.type) for field in request_log_files.schema()
    ]
    folder = config.state().serving / request_log_files.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_arrays(columns, schema=request_log_files.schema()), folder / f"{name}.parquet"
    )


def settings(source: Path, month: str = str(AUGUST)) -> MonitoringSettings:
    return MonitoringSettings.parse({"source": str(source), "month": month})


def test_the_same_rides_have_the_error_of_the_test_month(
    sound: Path, source: Path, asked: pd.DataFrame
) -> None:
    log(asked)
    found = before_labels.expect(settings(source))
    assert (found.name, found.month, found.champion, found.promised_month) == (
        NAME,
        "2023-08",
        "3",
        "2023-07",
    )
    assert found.requests == len(asked) > 0.8 * ROWS
    assert found.promised > 1
    expected = [found.estimate.rmse, found.estimate.from_widths, found.estimate.from_cells]
    assert expected == pytest.approx([found.promised] * 3, rel=1e-4)  # answers are kept as float32
    assert found.track_record.months == 0
    assert found.drift == ()  # their pickups are in July


def test_next_is_the_first_month_that_is_not_published(
    sound: Path, source: Path, asked: pd.DataFrame
) -> None:
    log(asked)
    assert before_labels.expect(settings(source, "next")).month == "2023-08"


def test_requests_are_compared_with_the_trips_of_the_months_before(
    sound: Path, source: Path, asked: pd.DataFrame
) -> None:
    """Four weeks later the same rides are as usual; ten times as far, they are not."""
    later = asked.assign(pickup_at=asked["pickup_at"] + pd.Timedelta(days=28))
    log(later)
    usual = {moved.feature: moved for moved in before_labels.expect(settings(source)).drift}
    assert set(usual) == {
        "distance", "passengers", "hour", "weekday", "pickup zone", "drop-off zone", "pair of zones"
    }  # fmt: skip
    assert not usual["distance"].is_large
    log(later.assign(distance_miles=10 * later["distance_miles"]))
    found = before_labels.expect(settings(source))
    assert (found.drift[0].feature, found.drift[0].is_large) == ("distance", True)
    assert "unlike the trips of the months before in distance (PSI " in str(found)
    assert found.as_json()["drift"][0]["is_large"] is True


def test_only_requests_of_the_month_that_the_champion_answered_count(
    sound: Path, source: Path, asked: pd.DataFrame
) -> None:
    log(asked)
    log(asked, version="2", name="b")
    early = asked.assign(at=asked["at"] - timedelta(milliseconds=1))
    late = asked.assign(at=datetime(2023, 9, 1, 4, tzinfo=timezone.utc))
    log(pd.concat([early, late, asked.assign(service="green")]), name="c")
    assert before_labels.expect(settings(source)).requests == len(asked)


def test_too_few_requests_say_nothing(sound: Path, source: Path, asked: pd.DataFrame) -> None:
    log(asked.head(499))
    log(asked.head(7), version="2", name="b")
    with pytest.raises(DataQualityError) as caught:
        before_labels.expect(settings(source))
    assert str(caught.value) == (
        f"{config.state().serving}/requests: expected at least 500 requests of 2023-08 that version 3 of {NAME} "
        "answered; got 499, and 7 of other versions. Choose a month in which the service was asked, or log a "
        "larger share of the requests (log_share)."
    )


def test_without_the_champion_s_test_month_nothing_can_be_estimated(
    sound: Path, tmp_path: Path, asked: pd.DataFrame
) -> None:
    log(asked)
    write_month(tmp_path / "green_tripdata_2023-06.parquet", "green", JULY - 1, rows=300)
    with pytest.raises(
        ConfigError, match=r"source: expected 2023-07, on which version 3 was tested, at .*not there"
    ):
        before_labels.expect(settings(tmp_path))


def expected(from_widths: float = 4.0) -> Expected:
    known = TrackRecord(2, 0.2, 0.25)
    return Expected(NAME, "2023-08", "3", "2023-07", 5.0, 1234, Estimate(4.5, from_widths, 5.0), known)


def test_people_read_the_estimate_beside_its_track_record() -> None:
    assert str(expected()) == (
        f"{NAME} 2023-08, before its durations are known: expect RMSE 4.50 minutes of version 3, 10% below its "
        "5.00 on 2023-07\n"
        "  from the widths of its ranges: 4.00\n"
        "  from the mix of rides: 5.00\n"
        "  requests: 1,234 in the service's log\n"
        "  in 2 earlier months the estimate was off by 0.20 minutes on average, "
        '"the same as in the month before" by 0.25'
    )


def test_programs_read_null_for_what_is_not_known() -> None:
    found = expected(from_widths=math.nan).as_json()
    assert found["rmse_from_widths"] is None
    assert "not known, because the version gives no ranges" in str(expected(from_widths=np.nan))
    assert (found["month"], found["champion_version"], found["rmse_estimated"]) == ("2023-08", "3", 4.5)
    assert found["track_record"] == {
        "months": 2, "mean_absolute_difference": 0.2, "same_as_month_before": 0.25
    }  # fmt: skip
