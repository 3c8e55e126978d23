"""One run key, one version: which attempts are found, continued, delivered, deleted or kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.losses import delete_experiment, remove_run
from support.tracked import NAME, bare_version, state_of

from mlops import locks
from mlops.config import Settings
from mlops.errors import DataQualityError, TrackingDownError, TrackingError, TuningError, command
from mlops.month import Month
from mlops.pipeline import checkpoint, run_once, schedule
from mlops.pipeline.checkpoint import PENDING, Checkpoint
from mlops.pipeline.leaderboard import as_text, check_leaderboard
from mlops.registry.run_lifecycle import start_run

KEY, OTHER_KEY = "ab" * 32, "cd" * 32
BOARD = pd.DataFrame(
    {
        "entry": ["models:/m/1", "pair median"],
        "about": ["champion: the first", "baseline"],
        "kind": ["version", "baseline"],
        "model": ["m", ""],
        "number": ["1", ""],
    }
)
NO_MONTHS = pd.DataFrame({"month": []})


def cut_off(store: Path, attempt: str = "one", *, judged: bool = True, key: str = KEY, **more: str) -> str:
    """Run of a version whose attempt was killed after its final tag, or before."""
    with pytest.raises(KeyboardInterrupt), start_run(NAME, "r", key, attempt) as run:
        run.log_table("leaderboard.csv", BOARD)
        raise KeyboardInterrupt
    tags = {"run_key": key, "attempt": attempt, **({"outcome": "champion"} if judged else {})}
    bare_version(store, run_id=run.run_id, **tags, **more)
    return str(run.run_id)


def left(attempt: str, *, key: str = KEY, month: str = "", forced: str = "false") -> Checkpoint:
    """A work folder; with a month, its result is pending."""
    kept = Checkpoint.of(NAME, key)
    kept.note("origin", {"attempt": attempt, "forced": forced})
    if month:
        kept.write("months.csv", "month\n")
        kept.note(PENDING, {"name": NAME, "month": month, "settings": {"month": month}})
    return kept


@pytest.fixture
def lock(store: Path) -> Any:
    with locks.hold("held") as held:
        yield held


def fails(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Make every run fail in the middle."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(run_once, "_train_and_judge", fail)


# --- Found --------------------------------------------------------------------------------------------------


def test_a_judged_run_is_reported_again_and_not_repeated(store: Path) -> None:
    cut_off(store)
    result = run_once.train_once(NAME, KEY, Settings(), NO_MONTHS)

    assert (result.outcome, result.is_repeat, result.is_nothing) == ("champion", True, False)
    assert result.version
    assert result.version.uri == f"models:/{NAME}/1"
    assert list(result.board["entry"]) == ["models:/m/1", "pair median"]
    assert list(result.board["about"]) == ["already registered as champion: the first", "baseline"]
    assert result.board[["kind", "model", "number"]].equals(BOARD[["kind", "model", "number"]])


def test_what_is_forced_or_another_or_not_judged_is_not_known(store: Path) -> None:
    cut_off(store)
    cut_off(store, judged=False, key=OTHER_KEY)

    assert run_once.find_result(NAME, KEY, Settings()) is not None
    assert run_once.find_result(NAME, KEY, Settings(force=True)) is None
    assert run_once.find_result(NAME, OTHER_KEY, Settings()) is None
    assert run_once.find_result(NAME, "ef" * 32, Settings()) is None


def test_an_attempt_killed_after_its_final_tag_is_finished_and_deleted(store: Path) -> None:
    run_id = cut_off(store, "one")
    kept = left("one", month="2023-04")
    assert state_of(run_id)[0] == "KILLED"
    result = run_once.train_once(NAME, KEY, Settings(), NO_MONTHS)

    assert result.is_repeat
    assert state_of(run_id) == ("FINISHED", None)
    assert not kept.folder.exists()


def test_a_forced_run_is_made_although_its_version_is_there(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(store)
    fails(monkeypatch, TuningError("it was made"))
    with pytest.raises(TuningError, match="it was made"):
        run_once.train_once(NAME, KEY, Settings(force=True), NO_MONTHS)


def test_what_another_attempt_at_the_key_left_is_kept(store: Path) -> None:
    """A forced run that is in progress or has a pending result is not the existing version."""
    cut_off(store, "one")
    kept = left("two", forced="true")
    run_once.train_once(NAME, KEY, Settings(), NO_MONTHS)

    assert kept.noted("origin") == {"attempt": "two", "forced": "true"}


@pytest.mark.parametrize(("force", "before", "taken_over"), [
    (False, "false", True), (False, "true", True), (True, "true", True), (True, "false", False),
])  # fmt: skip
def test_a_forced_run_takes_over_from_forced_ones_only(
    force: bool, before: str, taken_over: bool, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left("one", forced=before)
    found = []

    def attempt(kept: Checkpoint, *_: Any) -> pd.DataFrame:
        found.append(kept.noted("origin"))
        return BOARD

    monkeypatch.setattr(run_once, "finish", attempt)
    run_once.train_once(NAME, KEY, Settings(force=force), NO_MONTHS)

    assert found == [{"attempt": "one", "forced": before} if taken_over else None]


# --- Failures ----------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_never_resumed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, TuningError("all trials failed"))
    kept = left("one")
    with pytest.raises(TuningError):
        run_once.train_once(NAME, KEY, Settings(), NO_MONTHS)

    assert not kept.folder.exists()


def test_an_outage_before_the_fit_keeps_what_there_is(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, TrackingDownError("no answer"))
    kept = left("one")
    with pytest.raises(TrackingDownError, match=r"^no answer$"):
        run_once.train_once(NAME, KEY, Settings(), NO_MONTHS)

    assert kept.noted("origin") is not None


def test_an_outage_after_the_fit_says_where_everything_is(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, TrackingDownError("no answer"))
    kept = left("one", month="2023-04")
    with pytest.raises(TrackingDownError) as gone:
        run_once.train_once(NAME, KEY, Settings(), NO_MONTHS)

    assert str(gone.value) == (
        f"no answer. Nothing is lost: the fitted model and everything to log are stored in {kept.folder}. "
        f"The next run of this model delivers them. To deliver them now: {command('doctor --resume')}"
    )
    assert [found.key for found in checkpoint.pending(NAME)] == [KEY]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ValueError("torn"), True),
        (DataQualityError("replaced"), True),
        (TrackingError("wrong password"), False),
    ],
)
def test_a_result_that_cannot_be_delivered_does_not_block_others(
    error: Exception, advice: bool, lock: locks.Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, error)
    kept = [left("one", month="2023-04"), left("two", key=OTHER_KEY, month="2023-03")]
    delivered = run_once.deliver(NAME, lock)

    assert [(each.name, each.month) for each in delivered] == [(NAME, "2023-03"), (NAME, "2023-04")]
    assert not any(each.is_delivered for each in delivered)
    for folder, each in zip(kept[::-1], delivered, strict=True):
        text = f"pending result of {NAME}, tested on {each.month}, cannot be delivered: {error}."
        assert str(each) == text + (f" Delete {folder.folder} and train it again." if advice else "")
    assert len(checkpoint.pending(NAME)) == 2


def test_a_server_that_is_away_ends_the_delivery(lock: locks.Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, TrackingDownError("no answer"))
    left("one", month="2023-04")
    with pytest.raises(TrackingDownError, match="Nothing is lost"):
        run_once.deliver(NAME, lock)


def test_a_delivered_result_is_not_delivered_again(
    store: Path, lock: locks.Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, AssertionError("not again"))
    cut_off(store, "one")
    left("one", month="2023-04")

    assert run_once.deliver(NAME, lock) == []
    assert checkpoint.unfinished(NAME) == []


def test_a_file_that_was_replaced_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trips.parquet"
    path.write_text("trips")
    with pytest.raises(DataQualityError, match="another run has replaced"):
        run_once.require_unchanged(path, "ab" * 32)
    path.unlink()
    with pytest.raises(DataQualityError, match="another run has replaced"):
        run_once.require_unchanged(path, "ab" * 32)


# --- What people deleted --------------------------------------------------------------------------------------


def test_a_judged_run_that_is_gone_is_reported_from_its_version(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = cut_off(store, reason="it is better", test_rmse="4.412390")
    left("one", month="2023-04")
    remove_run(run_id)
    result = run_once.train_once(NAME, KEY, Settings(), NO_MONTHS)

    assert (result.outcome, result.is_repeat, result.reason) == ("champion", True, "it is better")
    (row,) = result.board.to_dict("records")
    assert (row["entry"], row["kind"], row["model"], row["number"]) == (
        f"models:/{NAME}/1", "version", NAME, "1",
    )  # fmt: skip
    assert row["about"] == "already registered as champion: it is better"
    assert row["test_rmse"] == 4.41239
    check_leaderboard(result.board)
    assert f"models:/{NAME}/1" in as_text(result)
    assert f"leaderboard.csv cannot be read: its run {run_id} no longer exists in MLflow" in caplog.text
    assert checkpoint.unfinished(NAME) == []


def test_a_changed_test_month_is_corrected_so_that_the_schedule_goes_on(store: Path) -> None:
    cut_off(store, test_month="soon")
    result = run_once.train_once(NAME, KEY, Settings(month="2023-05"), NO_MONTHS)

    assert result.month == "2023-05"
    assert [*schedule.judged(NAME)] == [Month(2023, 5)]


def test_a_pending_result_waits_until_its_experiment_is_restored(store: Path, lock: locks.Lock) -> None:
    cut_off(store, judged=False, key=OTHER_KEY)
    left("one", month="2023-04")
    reported = delete_experiment()
    (delivery,) = run_once.deliver(NAME, lock)

    assert not delivery.is_delivered
    assert delivery.problem == f"{reported}."
    assert len(checkpoint.pending(NAME)) == 1
