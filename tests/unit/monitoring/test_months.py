"""Which month is compared with which others; each obstacle is a sentence, and leaves no half result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.builders import MAY, trip, write_month
from support.sound_versions import crown
from support.tracked import AWAY, NAME, fails_at, mlflow_client
from support.watched_months import PUBLISHED, publish, settings_of

from mlops import config
from mlops.data import trips
from mlops.errors import (
    ConfigError,
    DataQualityError,
    MonthNotPublishedError,
    PromotionError,
    TrackingDownError,
    TripSchemaError,
)
from mlops.monitoring import months, steps
from mlops.monitoring.months import NothingToDo, Watched
from mlops.monitoring.settings import MonitoringSettings
from mlops.month import Month
from mlops.pipeline import months_table
from mlops.pipeline import steps as pipeline
from mlops.registry import alias_log, monitoring_log
from mlops.registry.monitoring_record import Finding, Record, to_json

AUGUST = "2023-08"


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with months 2023-03 to 2023-09."""
    return publish(tmp_path_factory.mktemp("city"), *PUBLISHED)


@pytest.fixture
def folder(city: Path, tmp_path: Path) -> Path:
    """A copy of it that the test may change."""
    return Path(shutil.copytree(city, tmp_path / "city"))


def find(source: Path, month: str = AUGUST, **others: object) -> Watched:
    found = months.find(settings_of(source, month, **others))
    assert isinstance(found, Watched)
    return found


def record(month: str, *findings: Finding) -> None:
    """Keep a record of a compared month."""
    kept = Record(month, "3", "2", "2023-07", 1, {"rmse": 4.0}, bool(findings), (), findings)
    monitoring_log.write(NAME, month, to_json(kept), {"rmse": 4.0})


FAULT = Finding("clock_shift", "the clock is wrong", 1.0, True, 2.0)


def test_a_month_its_versions_and_the_months_before(sound: Path, city: Path) -> None:
    found = find(city)
    assert (found.name, found.service, str(found.month)) == (NAME, "green", AUGUST)
    assert [str(each.month) for each in found.before] == [
        "2023-03",
        "2023-04",
        "2023-05",
        "2023-06",
        "2023-07",
    ]
    assert found.promised == found.before[-1]
    assert (found.champion.number, found.predecessor and found.predecessor.number) == ("3", "2")
    assert (found.no_predecessor, found.notes) == ("", ())
    for each in (found.now, *found.before):
        assert each.quality.test_rows == pq.read_metadata(each.clean).num_rows > 400
        assert each.quality.rows == pq.read_metadata(each.raw).num_rows
        assert sum(each.quality.by_day) == each.quality.test_rows


def test_at_most_six_months_before(sound: Path, folder: Path) -> None:
    publish(folder, Month(2023, 1), Month(2023, 2))
    assert [str(each.month) for each in find(folder).before] == [f"2023-0{number}" for number in range(2, 8)]


def test_the_table_says_all_of_it(sound: Path, city: Path) -> None:
    found = find(city)
    table = months.as_table(found)
    assert months.from_table(table) == found
    assert (
        months.from_table(pd.DataFrame(json.loads(table.to_json(orient="records")))) == found
    )  # as a scheduler may keep it
    assert table["role"].tolist() == ["compared", "promised", *["before"] * 5]
    Path(table["path"].iloc[0]).unlink()
    with pytest.raises(
        TripSchemaError, match=r"expected its clean trips in .*Start from the first step again"
    ):
        months.from_table(table)


def test_trips_are_cleaned_where_training_keeps_them(sound: Path, city: Path) -> None:
    cleaned = pipeline.clean_trips(
        pipeline.load_trips(settings_of(city, "2023-07").of_months()),
        settings_of(city, "2023-07").of_months(),
    )
    assert {str(each.clean) for each in find(city).before} <= set(cleaned["path"])


def test_a_month_is_cleaned_once(sound: Path, city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = find(city)
    monkeypatch.setattr(trips, "clean_file", None)
    assert find(city) == first


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"rows": 1, "kept": 1, "test_rows": 1, "more": 1}'])
def test_counts_that_somebody_changed_are_counted_again(text: str, sound: Path, city: Path) -> None:
    first = find(city)
    for path in (config.state().monitoring / "counts").iterdir():
        path.write_text(text)
    assert find(city) == first


def test_next_is_the_oldest_month_that_was_not_compared(sound: Path, folder: Path) -> None:
    found = find(folder, "next")
    assert (str(found.month), found.champion.number) == ("2023-07", "2")  # training judged it first
    record("2023-07")
    assert str(find(folder, "next").month) == AUGUST
    record(AUGUST)
    assert str(find(folder, "next").month) == "2023-09"
    record("2023-09")
    found = months.find(settings_of(folder, "next"))
    assert isinstance(found, NothingToDo)
    assert found.month == "2023-10"
    assert found.reason == (
        f"{NAME}: every published month was compared; green 2023-10 is not published yet at {folder}"
    )
    table = steps.load_month(settings_of(folder, "next"))
    assert months_table.is_nothing(table)
    assert table["month"].tolist() == ["2023-10"]


def test_next_passes_over_a_month_that_is_missing(sound: Path, folder: Path) -> None:
    (folder / "green_tripdata_2023-08.parquet").unlink()
    record("2023-07")
    assert str(find(folder, "next").month) == "2023-09"


def test_next_does_not_go_back_before_the_first_champion(sound: Path, folder: Path) -> None:
    """Every champion knows the first test month."""
    crown("1", verdict=alias_log.BY_OPERATOR)
    for number in ("2", "3"):
        mlflow_client().delete_model_version(NAME, number)
    assert str(find(folder, "next").month) == "2023-06"


def test_next_does_not_go_back_after_a_rollback_to_an_older_champion(sound: Path, folder: Path) -> None:
    record("2023-08")
    crown("1", by=alias_log.by_monitoring(Month(2023, 8)), verdict=alias_log.ROLLBACK)
    assert str(find(folder, "next").month) == "2023-09"


def test_next_is_the_month_whose_rollback_was_interrupted(sound: Path, folder: Path) -> None:
    crown("1", by=alias_log.by_monitoring(Month(2023, 8)), verdict=alias_log.ROLLBACK)
    found = find(folder, "next")
    assert (str(found.month), found.champion.number) == (AUGUST, "3")


def test_the_first_month(sound: Path, tmp_path: Path) -> None:
    found = find(publish(tmp_path / "one", Month(2023, 8)))
    assert (found.before, found.promised) == ((), None)
    assert found.notes == (
        "no earlier month is there to compare the trips of 2023-08 with: nothing is said of drift",
        f"2023-07, on which version 3 was tested, is no longer at {tmp_path / 'one'}, so the change of the "
        "error is not explained",
    )


def test_a_month_before_whose_data_had_a_fault_is_no_example(sound: Path, folder: Path) -> None:
    record("2023-05", FAULT)
    record("2023-06", Finding("season", "another season", 1.0, False, 2.0))
    record("2023-07", Finding("slower_rides", "rides take more time", 1.0, True, 2.0))  # may last
    found = find(folder)
    assert [str(each.month) for each in found.before] == ["2023-03", "2023-04", "2023-06", "2023-07"]
    assert found.notes == ("2023-05 is no example of usual trips: its trips were wrong",)


def test_a_promised_month_whose_data_had_a_fault_is_only_the_promise(sound: Path, city: Path) -> None:
    record("2023-07", FAULT)
    found = find(city)
    assert found.promised is not None
    assert str(found.promised.month) == "2023-07"
    assert [str(each.month) for each in found.before] == ["2023-03", "2023-04", "2023-05", "2023-06"]
    assert found.notes == ("2023-07 is no example of usual trips: its trips were wrong",)


def test_a_file_that_changes_meanwhile(sound: Path, city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run fetches a republished month."""

    def change(path: Path, *about: object) -> None:
        path.write_bytes(path.read_bytes()[:-1])

    monkeypatch.setattr(months.raw_trips, "check_columns", change)
    monkeypatch.setattr(months, "_model_of", lambda file: NAME)
    with pytest.raises(DataQualityError, match=r"another run has replaced this file. Start this run again"):
        find(city)


def test_a_damaged_month_before_is_left_out(sound: Path, folder: Path) -> None:
    damaged = folder / "green_tripdata_2023-04.parquet"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    found = find(folder)
    assert [str(each.month) for each in found.before] == ["2023-03", "2023-05", "2023-06", "2023-07"]
    assert found.notes[0].startswith("2023-04 is left out, because it cannot be read: ")


def test_a_damaged_month(sound: Path, folder: Path) -> None:
    damaged = folder / "green_tripdata_2023-08.parquet"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    with pytest.raises(TripSchemaError, match=r"a truncated Parquet file.*Put a complete copy there"):
        find(folder)
    assert not (config.state().monitoring / "counts").exists()


def test_a_month_that_is_not_published(sound: Path, city: Path) -> None:
    with pytest.raises(
        MonthNotPublishedError, match=r"green 2024-01: not published.*Choose an earlier month"
    ):
        find(city, "2024-01")


def test_a_month_without_a_trip_to_compare(sound: Path, folder: Path) -> None:
    table = pq.read_table(folder / "green_tripdata_2023-08.parquet")
    column = table.column_names.index("lpep_dropoff_datetime")
    changed = table.set_column(column, "lpep_dropoff_datetime", table["lpep_pickup_datetime"])
    pq.write_table(changed, folder / "green_tripdata_2023-08.parquet")
    with pytest.raises(
        DataQualityError, match=r"none of its \d+ trips can be compared.*\d+ as under_1_minute"
    ):
        find(folder)


def test_no_champion_yet(store: Path, city: Path) -> None:
    for month in (AUGUST, "next"):
        with pytest.raises(PromotionError, match="there is no champion yet"):
            find(city, month)


def test_the_registry_is_away(sound: Path, city: Path) -> None:
    with fails_at("get_registered_model", AWAY), pytest.raises(TrackingDownError):
        find(city, tracking_patience=0.0)


def test_the_model_of_other_trips(sound: Path, city: Path, tmp_path: Path) -> None:
    mlflow_client().create_registered_model("trip-duration-green")
    with pytest.raises(
        ConfigError, match=rf"expected {NAME}, because its trips are in .*; got trip-duration-green"
    ):
        find(city, model="trip-duration-green")
    assert find(city, model=NAME).name == NAME
    with pytest.raises(ConfigError, match="expected the name of a registered model; got 'trip-duration-x'"):
        find(city, model="trip-duration-x")


def test_the_files_say_whose_months_they_are(sound: Path, city: Path) -> None:
    """A folder may have months of the sample, although there are versions of the service, too."""
    mlflow_client().create_registered_model("trip-duration-green")
    mlflow_client().create_model_version("trip-duration-green", city.as_uri())
    assert find(city).name == NAME


def test_real_months_have_the_model_of_their_service(store: Path, tmp_path: Path) -> None:
    source = tmp_path / "real"
    source.mkdir()
    write_month(source / f"green_tripdata_{MAY}.parquet", "green", trip(), trip("2023-05-11 09:00"))
    with pytest.raises(PromotionError, match="trip-duration-green: there is no champion yet"):
        find(source, str(MAY))


def test_the_settings_of_the_machine_are_checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_THREADS", "none")
    with pytest.raises(ConfigError, match="MLOPS_THREADS"):
        steps.load_month(MonitoringSettings())
    assert np.isnan(Record("2023-01", "", "", "", 0, {}, False, ()).value("rmse"))
