"""Reports of long steps reach who listens, and end whatever happens."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from mlops import progress
from mlops.data import cache
from mlops.errors import DownloadError
from mlops.month import Month
from mlops.progress import BYTES, TRIALS, Report
from mlops.training.boosting import Fit
from mlops.training.search import ladder, run_search


def test_nobody_listens() -> None:
    with progress.step("search", 3, TRIALS) as report:
        report(1, 3)
    assert not progress.is_shown()


def test_a_step_that_fails_is_over_where_it_was() -> None:
    found: list[Report] = []
    with pytest.raises(KeyboardInterrupt), progress.listening(found.append):  # noqa: SIM117
        with progress.step("search", 3, TRIALS) as report:
            report(1, 3)
            raise KeyboardInterrupt
    assert found[-1] == Report("search", 1, 3, TRIALS, is_over=True)
    assert not progress.is_shown()


class Source:
    """A source with one file of four bytes."""

    url, key, control = "https://example.org", "test", None

    def version(self, name: str) -> str:
        return "1"

    def size(self, name: str) -> int:
        return 4

    def download(self, name: str, target: BinaryIO, report: cache.Progress) -> None:
        report(target.write(b"PA"), 4)
        report(2 + target.write(b"R1"), 4)


def test_a_download_reports_its_bytes(tmp_path: Path) -> None:
    found: list[Report] = []
    with progress.listening(found.append), pytest.raises(DownloadError):  # it is no month
        cache.fetch(Source(), "green", Month(2023, 1), tmp_path)
    name = "green_tripdata_2023-01.parquet"
    assert found[:4] == [
        Report(name, 0, None, BYTES),
        Report(name, 2, 4, BYTES),
        Report(name, 4, 4, BYTES),
        Report(name, 4, 4, BYTES, is_over=True),
    ]


def test_a_search_reports_its_trials() -> None:
    found: list[Report] = []
    with progress.listening(found.append):
        run_search(lambda parameters, rung: Fit(None, 1, 2.0), ladder(2, 1000), seed=1)
    assert [report.done for report in found if not report.is_over] == [0, 1, 2]
    assert {(report.what, report.total, report.unit) for report in found} == {("search", 2, TRIALS)}
    assert [report.is_over for report in found] == [False] * 3 + [True]


def test_a_log_line_begins_with_date_and_time_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        handler = progress.to_stderr("%(levelname)s: %(message)s")
        stream = io.StringIO()
        handler.setStream(stream)  # type: ignore[attr-defined]
        handler.handle(
            logging.makeLogRecord({"msg": "tuning", "created": 1_795_000_000.9, "levelname": "INFO"})
        )
    finally:
        monkeypatch.undo()
        time.tzset()
    assert stream.getvalue() == "2026-11-18 11:06:40 UTC INFO: tuning\n"
