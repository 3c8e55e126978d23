"""The next month, whatever months were judged in whatever order; and versions made from other bytes."""

from __future__ import annotations

import secrets
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.losses import delete_experiment, remove_run
from support.tracked import AWAY, NAME, bare_version, fails_at, mlflow_client

from mlops.config import Settings
from mlops.errors import ConfigError, TrackingDownError, TrackingError
from mlops.month import Month
from mlops.pipeline import schedule, steps
from mlops.pipeline.schedule import waiting_for
from mlops.registry.client import tracking_uri
from mlops.registry.run_lifecycle import start_run

APRIL, MAY, JUNE, JULY = Month.range(Month(2023, 4), Month(2023, 7))
some_months = st.sets(st.integers(0, 24).map(lambda n: Month(2023, 1) + n))


@given(some_months, some_months)
def test_months_follow_one_another_however_often_a_check_runs(judged: set[Month], more: set[Month]) -> None:
    """A week of downtime skips nothing: the next month stays the same until it is judged."""
    start = Month(2023, 1)
    waited = waiting_for(judged, start, None)
    assert waited not in judged
    assert waited == (max(judged) + 1 if judged else start)
    assert waiting_for({*judged, waited}, start, None) == waited + 1
    assert waiting_for(judged | {m for m in more if m < waited}, start, None) in (waited, start + 0, waited)


@given(some_months, st.integers(0, 24), st.integers(0, 24))
def test_a_range_is_filled_without_gaps_and_never_left(judged: set[Month], first: int, length: int) -> None:
    start = Month(2023, 1) + first
    wanted = Month.range(start, start + length)
    taken = []
    while (month := waiting_for({*judged, *taken}, start, start + length)) is not None:
        taken.append(month)
    assert taken == [month for month in wanted if month not in judged]


def test_an_empty_registry_needs_a_start_month() -> None:
    with pytest.raises(
        ConfigError, match="start_month: no month is judged yet; expected the first test month"
    ):
        waiting_for(set(), None, None)
    assert waiting_for({MAY}, None, None) == JUNE


def version(
    store: Path, month: Month, files: dict[str, str], *, name: str = NAME, judged: bool = True
) -> str:
    """Register a version whose run used these files; return its number."""
    with start_run(name, "r", secrets.token_hex(32)) as run:
        run.log_table("months.csv", pd.DataFrame({"month": list(files), "sha256": list(files.values())}))
    tags = {"test_month": str(month), **({"outcome": "challenger"} if judged else {})}
    return bare_version(store, name=name, run_id=run.run_id, **tags)


def test_only_complete_versions_count(store: Path) -> None:
    version(store, APRIL, {})
    version(store, MAY, {}, judged=False)
    again = version(store, APRIL, {"2023-03": "aa"})
    assert {month: [v.number for v in found] for month, found in schedule.judged(NAME).items()} == {
        APRIL: ["1", again]
    }
    assert schedule.next_month(NAME, Settings(month="next")) == MAY
    assert (
        schedule.next_month(NAME, Settings(month="next", start_month="2023-04", end_month="2023-04")) is None
    )


def test_a_month_is_current_if_one_of_its_versions_is_of_these_bytes(store: Path) -> None:
    version(store, MAY, {"2023-04": "a1", "2023-05": "b1"})
    versions = schedule.judged(NAME)[MAY]
    now = {"2023-03": "z1", "2023-04": "a2", "2023-05": "b1"}
    assert schedule.is_current(versions, {**now, "2023-04": "a1"})
    assert schedule.is_current(versions, {"2023-05": "b1"})  # with a shorter window
    assert not schedule.is_current(versions, now)
    version(store, MAY, {"2023-04": "a2", "2023-05": "b1"})
    both = schedule.judged(NAME)[MAY]
    assert schedule.is_current(both, now)
    assert schedule.is_current(both, {**now, "2023-04": "a1"})  # it changed back: nothing to do


def test_versions_of_other_bytes_are_marked_once_and_for_good(store: Path) -> None:
    version(store, APRIL, {"2023-04": "a1"})
    version(store, MAY, {"2023-04": "a1", "2023-05": "b1"})
    version(store, JUNE, {"2023-04": "a2", "2023-05": "b1", "2023-06": "c1"})
    version(store, JUNE, {"2023-04": "a1"}, judged=False)
    now, reported = {"2023-04": "a2", "2023-05": "b1", "2023-06": "c1"}, {"2023-04": "3 rows added"}
    marked = schedule.tag_republished(NAME, now, reported)
    assert [v.number for v in marked] == ["1", "2"]
    assert mlflow_client().get_model_version(NAME, "2").tags["republished"] == "2023-04: 3 rows added"
    assert schedule.tag_republished(NAME, now, reported) == []
    again = schedule.tag_republished(
        NAME, {**now, "2023-05": "b2"}, {"2023-04": "3 rows added", "2023-05": "x"}
    )
    assert [(v.number, v.tags["republished"]) for v in again] == [
        ("2", "2023-04: 3 rows added; 2023-05: x"),
        ("3", "2023-05: x"),
    ]


def test_the_model_is_guessed_from_what_is_registered(store: Path) -> None:
    green = Settings(source="https://example.org/trips")
    assert schedule.guess_model_name(green) == "trip-duration-green"
    version(store, MAY, {})
    assert schedule.guess_model_name(green) == NAME  # apparently a site with the sample's months
    version(store, MAY, {}, name="trip-duration-green")
    assert schedule.guess_model_name(green) == "trip-duration-green"
    assert schedule.guess_model_name(Settings()) == NAME


# --- What people deleted --------------------------------------------------------------------------------------


def lose(number: str) -> None:
    remove_run(str(mlflow_client().get_model_version(NAME, number).run_id))


def test_a_month_whose_bytes_are_unknown_counts_as_current_and_says_so_once(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version(store, MAY, {"2023-05": "b1"})
    lose("1")
    found = schedule.judged(NAME)[MAY]
    for _ in range(2):
        assert schedule.is_current(found, {"2023-05": "b2"})
    assert schedule.tag_republished(NAME, {"2023-05": "b2"}, {"2023-05": "3 rows added"}) == []
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"models:/{NAME}/1: months.csv cannot be read: its run ")
    assert warning.endswith("Whether its months were republished is unknown, so they count as unchanged")


def test_of_two_versions_of_a_month_the_known_one_decides(store: Path) -> None:
    for files in ({"2023-05": "b1"}, {"2023-05": "b2"}):
        version(store, MAY, files)
    lose("1")
    found = schedule.judged(NAME)[MAY]
    assert schedule.is_current(found, {"2023-05": "b2"})
    assert not schedule.is_current(found, {"2023-05": "b3"})


def test_a_server_that_is_away_makes_no_month_current(store: Path) -> None:
    version(store, MAY, {"2023-05": "b1"})
    found = schedule.judged(NAME)[MAY]
    with pytest.raises(TrackingDownError), fails_at("download_artifacts", AWAY):
        schedule.is_current(found, {"2023-05": "b2"})


@pytest.mark.parametrize("text", ["", "soon", "2023-13", "2023-5"])
def test_a_test_month_that_is_none_is_not_judged(text: str, store: Path) -> None:
    version(store, APRIL, {})
    bare_version(store, test_month=text, outcome="champion")
    assert [*schedule.judged(NAME)] == [APRIL]


@pytest.mark.parametrize("month", ["next", "2023-06"])
def test_nothing_is_fetched_for_a_run_whose_experiment_was_deleted(
    month: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    version(store, MAY, {"2023-05": "b1"}, name="trip-duration-green")
    reported = delete_experiment("trip-duration-green")
    with pytest.raises(TrackingError) as refused:
        steps.load_trips(Settings(source="http://127.0.0.1:9/never", month=month))
    assert str(refused.value) == reported
