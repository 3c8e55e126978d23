"""The request log: a fair sample, files of bounded size, nothing personal, and no failed request."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops.config import PROJECT
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.serving import request_log
from mlops.serving.request_log import RequestLog, read
from mlops.serving.served import ANSWER_COLUMNS

REQUEST: dict[str, Any] = {
    "pickup_at": datetime(2023, 7, 3, 8, 30), "pickup_zone": 74, "dropoff_zone": None, "distance_miles": 2.5,
    "passenger_count": 1,
}  # fmt: skip
ANSWER: dict[str, Any] = {
    "duration_minutes": 12.5, "low_80_minutes": 9.0, "high_80_minutes": 16.0, "low_95_minutes": 7.0,
    "high_95_minutes": 21.0, "out_of_range": False,
}  # fmt: skip


def add(log: RequestLog, count: int = 1, service: str = "green", **changed: Any) -> None:
    request = {name: changed.pop(name, value) for name, value in REQUEST.items()}
    log.add(service, "7", columns([request] * count), columns([{**ANSWER, **changed}] * count))


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def counted(folder: Path, **options: Any) -> tuple[RequestLog, Counter[str]]:
    """A log of all rows, and what it counts."""
    rows: Counter[str] = Counter()
    return RequestLog(folder, 1, count=lambda outcome, more: rows.update({outcome: more}), **options), rows


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


# --- What is in it --------------------------------------------------------------------------------------------


def test_a_row_is_read_as_it_was_answered(tmp_path: Path) -> None:
    log, before = RequestLog(tmp_path, share=1), datetime.now(timezone.utc) - timedelta(milliseconds=1)
    add(log)
    add(log, distance_miles=None, passenger_count=None, out_of_range=True, service="sample")
    log.close()
    found = read(tmp_path)
    assert before <= found["at"].iloc[0] <= datetime.now(timezone.utc)
    assert found.drop(columns="at").astype(object).where(found.notna(), None).to_dict("records") == [
        {"service": "green", "version": "7", "share": 1.0, **REQUEST, **ANSWER, "distance": "given"},
        {
            "service": "sample", "version": "7", "share": 1.0, **REQUEST, "distance_miles": None,
            "passenger_count": None, **ANSWER, "out_of_range": True, "distance": "missing",
        },
    ]  # fmt: skip


def test_values_of_numpy_and_versions_that_say_less_are_logged(tmp_path: Path) -> None:
    """As `predict` gives them for a list; and an answer without ``out_of_range``."""
    log, at = RequestLog(tmp_path, share=1), pd.Timestamp("2023-07-03T08:30")
    says_more = {name: np.float64(value) for name, value in ANSWER.items()} | {"out_of_range": np.bool_(True)}
    requests = [{**REQUEST, "pickup_at": at, "distance_miles": float("nan")}, REQUEST]
    log.add("green", "7", columns(requests), columns([says_more, {**ANSWER, "out_of_range": None}]))
    log.close()
    found = read(tmp_path)
    assert found["out_of_range"].tolist() == [True, pd.NA]
    assert found["distance"].tolist() == ["missing", "given"]
    assert found["pickup_at"].tolist() == [at, at]


def test_nothing_else_of_a_request_is_kept(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, share=1)
    request = {**REQUEST, "name": "J. Doe", "address": "10.0.0.1"}
    log.add("green", "7", columns([request]), columns([ANSWER]))
    log.close()
    (path,) = files(tmp_path)
    assert pq.read_schema(path).names == [
        "at", "service", "version", "share", "pickup_at", "pickup_zone", "dropoff_zone", "distance_miles",
        "passenger_count", "duration_minutes", "low_80_minutes", "high_80_minutes", "low_95_minutes",
        "high_95_minutes", "out_of_range", "distance",
    ]  # fmt: skip
    assert not any(word in path.read_bytes() for word in (b"Doe", b"10.0.0.1"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_columns_are_those_of_a_request_and_an_answer() -> None:
    assert request_log.REQUEST == REQUEST_COLUMNS
    assert (*ANSWER_COLUMNS, "out_of_range") == request_log.ANSWER


def test_a_part_of_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = RequestLog(tmp_path, share=1)
    for day, service in ((3, "green"), (1, "green"), (2, "yellow")):
        moment = datetime(2026, 11, day, tzinfo=timezone.utc)
        monkeypatch.setattr(request_log.time, "time", moment.timestamp)
        add(log, service=service)
    log.close()
    second = datetime(2026, 11, 2, tzinfo=timezone.utc)
    assert read(tmp_path)["at"].dt.day.tolist() == [1, 2, 3]
    assert read(tmp_path, since=second)["at"].dt.day.tolist() == [2, 3]
    assert read(tmp_path, until=second)["at"].dt.day.tolist() == [1]
    assert read(tmp_path, service="green")["at"].dt.day.tolist() == [1, 3]
    assert read(tmp_path, since=second, until=second + timedelta(days=9), service="sample").empty
    empty = read(tmp_path / "none")
    assert empty.dtypes.astype(str).to_dict() == read(tmp_path).dtypes.astype(str).to_dict()


# --- The sample -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_each_row_is_taken_with_the_same_probability(rows: int, tmp_path: Path) -> None:
    log, offered = RequestLog(tmp_path, share=0.05, seed=rows), 42_000
    requests = columns([{**REQUEST, "pickup_zone": position} for position in range(rows)])
    answers = columns([ANSWER] * rows)
    for _ in range(offered // rows):
        log.add("green", "7", requests, answers)
    log.close()
    found = read(tmp_path)
    assert len(found) == pytest.approx(0.05 * offered, abs=5 * np.sqrt(0.05 * 0.95 * offered))
    assert (1 / found["share"]).sum() == pytest.approx(offered, rel=0.12)
    if rows > 1:  # places in a list are alike: the mean of 0 .. rows - 1
        assert found["pickup_zone"].mean() == pytest.approx((rows - 1) / 2, rel=0.1)


def test_a_share_of_zero_writes_nothing(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log", share=0)
    log.start()
    add(log, count=10_000)
    log.close()
    assert not (tmp_path / "log").exists()


# --- Files ----------------------------------------------------------------------------------------------------


def test_a_file_grows_until_it_is_full_and_then_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "FILE_ROWS", 100)
    log, rows = counted(tmp_path)
    for _ in range(5):
        add(log, count=40)
        log._write()
    assert sorted(pq.read_metadata(path).num_rows for path in files(tmp_path)) == [80, 120]
    assert len(read(tmp_path)) == rows["written"] == 200


def test_the_oldest_files_are_deleted_and_the_newest_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "FILE_ROWS", 1)
    old = [tmp_path / f"2026-01-0{day}T00-00-00-abcdabcd.parquet" for day in (1, 2, 3)]
    for path in old:
        path.write_bytes(b"x" * 10_000)
    log = RequestLog(tmp_path, share=1, most_megabytes=0.030)
    add(log)
    log._write()  # at most 30 kB
    assert [path for path in old if path.exists()] == old[1:]
    small = RequestLog(tmp_path, share=1, most_megabytes=0.001)
    add(small)
    small._write()
    (left,) = files(tmp_path)
    assert len(read(tmp_path)) == pq.read_metadata(left).num_rows == 1


def test_many_rows_stay_below_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "FILE_ROWS", 500)
    log, most = RequestLog(tmp_path, share=1, most_megabytes=0.2), 0
    for _ in range(40):
        add(log, count=250)
        log._write()
        most = max(most, sum(path.stat().st_size for path in files(tmp_path)))
    assert 100_000 < most <= 200_000 or len(files(tmp_path)) <= 200_000 // 4096
    assert 500 <= len(read(tmp_path)) <= 10_000


def test_a_damaged_file_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = RequestLog(tmp_path, share=1)
    add(log)
    log.close()
    (tmp_path / "2026-01-01T00-00-00-abcdabcd.parquet").write_bytes(b"")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "2026-01-02T00-00-00-abcdabcd.parquet")
    assert len(read(tmp_path)) == 1
    assert [message.partition(":")[2].partition(":")[0] for message in caplog.messages] == [
        " this file of the request log is left out"
    ] * 2


# --- What goes wrong ------------------------------------------------------------------------------------------


def test_a_disk_that_fails_loses_rows_and_no_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    log, rows = counted(blocked / "log")
    add(log, count=3)
    log._write()
    assert rows == {"lost": 3}
    assert "3 rows of the request log are lost: " in caplog.text
    blocked.unlink()
    add(log)
    log.close()
    assert len(read(blocked / "log")) == rows["written"] == 1


def test_rows_that_wait_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "BUFFER_ROWS", 10)
    log, rows = counted(tmp_path)
    for zone in range(100):
        add(log, pickup_zone=zone)
    assert (len(log._rows), rows) == (40, {"lost": 60})
    log.close()
    assert read(tmp_path)["pickup_zone"].tolist() == list(range(60, 100)), "the newest are kept"


def test_the_thread_writes_a_full_buffer_at_once_and_the_rest_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(request_log, "BUFFER_ROWS", 10)
    log, rows = counted(tmp_path)
    log.start()
    add(log, count=10)
    until = time.monotonic() + 30
    while not rows["written"] and time.monotonic() < until:
        time.sleep(0.01)
    assert len(read(tmp_path)) == 10
    add(log, count=5)
    assert rows["written"] == 10
    log.close()
    assert (len(read(tmp_path)), rows) == (15, {"written": 15})
    assert caplog.records == []


WRITING = """
import sys
from pathlib import Path
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.serving import request_log
from unit.serving.test_request_log import add, counted
request_log.FLUSH_SECONDS = 0.001
log, rows = counted(Path(sys.argv[1]))
log.start()
while not rows["written"]:
    add(log)
print(rows["written"], flush=True)
while True:
    add(log)
"""


def test_a_killed_process_leaves_complete_files(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(tmp_path)],
        cwd=PROJECT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "tests:."},
    )  # fmt: skip
    assert process.stdout
    written = int(process.stdout.readline())
    process.kill()  # while it writes
    process.communicate()
    assert len(read(tmp_path)) >= written > 0
