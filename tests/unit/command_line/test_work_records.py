"""What runs, the doctor and `tidy` print: for people, and as JSON with the same values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from mlops.__main__ import main
from mlops.command_line.work_records import TrainedMonth
from mlops.month import Month
from mlops.operations import backfill, checks
from mlops.operations.doctor import checkup
from mlops.operations.doctor.checkup import Finding
from mlops.operations.retention import cleanup
from mlops.pipeline import months_table
from mlops.pipeline.run_result import RunResult
from mlops.registry.versions import Version

TAGS = {"outcome": "champion", "test_month": "2023-06", "verdict": "promote"}


def result(rmse: float = 4.5) -> RunResult:
    version = Version("trip-duration-sample", "1", "run", TAGS)
    board = pd.DataFrame(
        [{"entry": version.uri, "test_rmse": rmse, "about": "it is better", "kind": "version"}]
    )
    return RunResult.of_version(version, board, "it is better")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield


def printed(words: list[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> object:
    """The JSON that a command prints; nothing else is on its standard output."""
    assert main(words) == status
    return json.loads(capsys.readouterr().out)


def test_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(checks, "train", lambda settings: result())
    assert printed(["train", "--json"], capsys) == {
        "outcome": "champion",
        "model": "trip-duration-sample",
        "version": "1",
        "is_repeat": False,
        "month": "2023-06",
        "verdict": "promote",
        "reason": "it is better",
        "test_rmse_minutes": 4.5,
    }


def test_a_run_without_a_result() -> None:
    assert TrainedMonth.of(result(float("nan"))).test_rmse_minutes is None
    nothing = TrainedMonth.of(
        RunResult(
            "nothing to do",
            None,
            False,
            "",
            "too early",
            pd.DataFrame([{months_table.NOTHING_TO_DO: "too early"}]),
        )
    )
    assert nothing.model_dump(exclude_none=True) == {
        "outcome": "nothing to do", "is_repeat": False, "reason": "too early",
    }  # fmt: skip


def test_a_backfill_is_a_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(backfill, "backfill", lambda settings, first, last: iter([result(), result(4.0)]))
    found = printed(["backfill", "--from", "2023-05", "--to", "2023-06", "--json"], capsys)
    assert isinstance(found, list) and [each["test_rmse_minutes"] for each in found] == [4.5, 4.0]


def test_a_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for month in Month.range(Month(2023, 1), Month(2023, 4)):
        (tmp_path / f"green_tripdata_{month}.parquet").write_bytes(b"PAR1" * 250_000)
    words = ["train", "--dry-run", "--json", "--month", "2023-04", "--source", str(tmp_path)]
    found = printed(words, capsys)
    assert isinstance(found, dict)
    assert (found["service"], found["source"], found["test_month"]) == ("green", str(tmp_path), "2023-04")
    assert [(each["role"], each["month"]) for each in found["files"]] == [
        ("training", "2023-01"), ("training", "2023-02"), ("validation", "2023-03"), ("test", "2023-04"),
    ]  # fmt: skip
    assert (found["bytes"], found["files"][0]["bytes"], found["trials"]) == (4_000_000, 1_000_000, 18)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("found", "status"), [([], 0), ([Finding("a", is_checked=False)], 3), ([Finding("a", is_open=True)], 1)]
)
def test_the_doctor(
    found: list[Finding], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkup, "check_up", lambda resume: iter([Finding("b"), *found]))
    assert main(["doctor"]) == status
    lines = capsys.readouterr().out.splitlines()
    listed = printed(["doctor", "--json"], capsys, status)
    assert isinstance(listed, list)
    assert lines == [f"{each['label']}\t{each['text']}" for each in listed]
    assert listed[0] == {"label": "ok", "text": "b"}


LEFTOVERS = pd.DataFrame(
    {
        "kind": ["cached month", "cached month"],
        "place": ["/state/months/a.parquet", "/state/months/b.parquet"],
        "days": [1200.25, 91.0],
        "megabytes": [1234.5, 0.25],
    }
)


@pytest.fixture
def _leftovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "find_leftovers", lambda limits: LEFTOVERS)


@pytest.mark.usefixtures("_leftovers")
def test_what_would_be_tidied_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tidy", "--dry-run"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["kind", "place", "days", "megabytes"],
        ["cached", "month", "/state/months/a.parquet", "1,200.2", "1,234.5"],
        ["cached", "month", "/state/months/b.parquet", "91.0", "0.2"],
        [],
        ["kind", "found", "deleted", "megabytes", "oldest", "days"],
        ["cached", "month", "2", "0", "0.0", "1,200.2"],
    ]


@pytest.mark.usefixtures("_leftovers")
def test_what_would_be_tidied_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(["tidy", "--dry-run", "--json", "--keep-days", "30"], capsys)
    assert isinstance(found, dict)
    assert (found["is_dry_run"], found["keep_days"]) == (True, 30)
    assert found["leftovers"] == LEFTOVERS.to_dict("records")
    assert found["kinds"] == [
        {"kind": "cached month", "found": 2, "deleted": 0, "megabytes": 0.0, "oldest_days": 1200.25}
    ]
