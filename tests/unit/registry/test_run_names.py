"""A parent run's name says what it is about, and which attempt it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tracked import KEY, NAME, OTHER_KEY, mlflow_client, runs_of, state_of

from mlops.registry import run_lifecycle
from mlops.registry.run_lifecycle import start_run

JUNE = "green 2023-06"


def names() -> list[str]:
    return [run.info.run_name for run in runs_of()]


def test_attempts_at_a_month_are_numbered(store: Path) -> None:
    with pytest.raises(ValueError, match="no trips"), start_run(NAME, JUNE, KEY, "one"):
        raise ValueError("no trips")
    run_lifecycle.log_failure(NAME, JUNE, ValueError("no answer"))
    with start_run(NAME, JUNE, KEY, "two", forced=True) as run:
        run.log_trial("trial 1", {}, {}, "")
    with start_run(NAME, "green 2023-07", OTHER_KEY):
        pass
    parents = [name for name in names() if name != "trial 1"]
    assert parents == [
        f"{JUNE}, attempt 1",
        f"{JUNE}, failed before training",
        f"{JUNE}, attempt 2 (forced)",
        "green 2023-07, attempt 1",
    ]


def test_an_interrupted_attempt_keeps_its_name(store: Path) -> None:
    for attempt in ("one", "two", "one"):
        with pytest.raises(KeyboardInterrupt), start_run(NAME, JUNE, KEY, attempt):
            raise KeyboardInterrupt
    assert names() == [f"{JUNE}, attempt 1", f"{JUNE}, attempt 2"]


def test_a_run_from_before_counts_and_is_continued(store: Path) -> None:
    """Such a run is named by service and month alone, and has no number."""
    with pytest.raises(KeyboardInterrupt), start_run(NAME, JUNE, KEY, "one") as run:
        raise KeyboardInterrupt
    mlflow_client().update_run(run.run_id, name=JUNE)
    for tag in (run_lifecycle.ABOUT, run_lifecycle.NUMBER):
        mlflow_client().delete_tag(run.run_id, tag)
    run_lifecycle.log_failure(NAME, JUNE, ValueError("no answer"))
    with start_run(NAME, JUNE, OTHER_KEY, "two"):
        pass
    with start_run(NAME, JUNE, KEY, "one") as again:
        pass
    assert again.run_id == run.run_id
    with start_run(NAME, JUNE, OTHER_KEY, "three"):
        pass
    assert names() == [JUNE, f"{JUNE}, failed before training", f"{JUNE}, attempt 2", f"{JUNE}, attempt 3"]


def test_a_deleted_run_s_number_is_not_given_again(store: Path) -> None:
    with start_run(NAME, JUNE, KEY, "one") as first:
        pass
    mlflow_client().delete_run(first.run_id)
    with start_run(NAME, JUNE, KEY, "two") as second:
        pass
    assert names() == [f"{JUNE}, attempt 2"]
    assert state_of(second.run_id) == ("FINISHED", None)


def test_attempts_are_counted_whatever_their_names_are(store: Path) -> None:
    with start_run(NAME, JUNE, KEY, "one") as first:
        first.rename("2023-06 promoted: green v1, RMSE 4.33")
    mlflow_client().update_run(first.run_id, name="my best run")
    with start_run(NAME, f"{JUNE}, of somebody", OTHER_KEY, "two"):
        pass
    with start_run(NAME, JUNE, KEY, "three"):
        pass
    assert names() == ["my best run", f"{JUNE}, of somebody, attempt 1", f"{JUNE}, attempt 2"]
