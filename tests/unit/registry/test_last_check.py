"""What the last check found: kept as a tag of the model, for training and for monitoring."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.tracked import AWAY, NAME, bare_version, fails_at, mlflow_client

from mlops.errors import TrackingDownError
from mlops.registry import last_check
from mlops.registry.last_check import TAGS, LastCheck

AT = datetime(2026, 11, 28, 0, 3, 12, tzinfo=timezone.utc)
WAITS = LastCheck(AT, "2026-10", "not_published", "green 2026-10 is not published yet at https://tlc.example")


@pytest.fixture(autouse=True)
def _a_model(store: Path) -> None:
    bare_version(store)


def test_the_last_check_replaces_the_one_before_and_is_read_as_it_was_written() -> None:
    assert last_check.read(NAME) is None
    assert last_check.record(NAME, LastCheck(AT - timedelta(days=1), "", "nothing_to_do", "all is judged"))
    assert last_check.record(NAME, WAITS)
    assert last_check.read(NAME) == WAITS
    tags = mlflow_client().get_registered_model(NAME).tags
    assert [name for name in tags if not name.startswith("mlflow.")] == []


def test_a_check_of_monitoring_does_not_hide_that_of_training() -> None:
    last_check.record(NAME, WAITS)
    compared = LastCheck(AT + timedelta(hours=23), "2026-09", "judged", "no alarm")
    last_check.record(NAME, compared, "monitoring")
    assert (last_check.read(NAME), last_check.read(NAME, "monitoring")) == (WAITS, compared)


def test_a_time_with_another_offset_is_kept_in_utc_and_a_long_text_on_one_line() -> None:
    here = AT.astimezone(timezone(timedelta(hours=-5)))
    last_check.record(NAME, LastCheck(here, "", "failed", "disk\n full\x1b " + '"' * 9000))
    found = last_check.read(NAME)
    assert found
    assert (found.at, found.at.utcoffset()) == (AT, timedelta())
    assert found.text.startswith(r"disk full\x1b")
    assert len(found.text) == last_check.MOST_TEXT


def test_a_model_that_does_not_exist_has_no_last_check_and_none_is_made() -> None:
    assert not last_check.record("trip-duration-yellow", WAITS)
    assert last_check.read("trip-duration-yellow") is None
    assert [model.name for model in mlflow_client().search_registered_models()] == [NAME]


@pytest.mark.parametrize(
    "changed",
    ["", "[]", "null", "{}", '{"at": 5}', "[" * 5000]
    + [
        json.dumps({"at": AT.isoformat(), "month": "", "outcome": "judged", "text": "t", **wrong})
        for wrong in (
            {"at": "2026-11-28"},
            {"outcome": "well"},
            {"outcome": []},
            {"month": 7},
            {"text": None},
        )
    ],
)
def test_a_tag_that_somebody_changed_counts_for_nothing(changed: str) -> None:
    assert last_check.of_tags({TAGS["training"]: changed}) is None


def test_a_registry_that_is_away_is_an_error_with_a_sentence() -> None:
    with fails_at("set_registered_model_tag", AWAY), pytest.raises(TrackingDownError, match="the last check"):
        last_check.record(NAME, WAITS)
    with fails_at("get_registered_model", AWAY), pytest.raises(TrackingDownError, match="the last check"):
        last_check.read(NAME)
