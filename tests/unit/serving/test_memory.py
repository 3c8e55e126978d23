"""What is remembered survives a restart, and nothing that somebody changed is believed."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.tracked import NAME

from mlops import config
from mlops.registry.signed_version import Version
from mlops.serving import memory

AT = datetime(2026, 11, 27, 20, 4, 7, 475000, timezone.utc)
SEVEN = Version(NAME, "7", "run", {"signature": "{}", "test_month": "2023-06"}, AT)


def remembered() -> Path:
    return config.state().serving / "models" / f"{NAME}.json"


def test_a_version_is_remembered_whole() -> None:
    assert memory.recall(NAME) is None
    assert memory.names() == ()
    memory.remember(Version(NAME, "6", "", {}))
    assert memory.recall(NAME) == Version(NAME, "6", "", {})
    memory.remember(SEVEN)
    found = memory.recall(NAME)
    assert found == SEVEN
    assert found
    assert found.registered_at == AT
    assert memory.names() == (NAME,)


def test_only_models_of_services_count() -> None:
    memory.remember(SEVEN)
    for name in ("other", "trip-duration-blue", ".trip-duration-green"):
        remembered().with_name(f"{name}.json").write_text("{}")
    assert memory.names() == (NAME,)


@pytest.mark.parametrize(
    "change",
    [
        {"number": "../../7"}, {"number": None}, {"tags": []}, {"name": "trip-duration-green"},
        {"registered_at": "yesterday"}, {"registered_at": 5},
    ],
)  # fmt: skip
def test_a_file_that_somebody_changed_counts_as_none(
    change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    memory.remember(SEVEN)
    remembered().write_text(json.dumps({**json.loads(remembered().read_text()), **change}))
    assert memory.recall(NAME) is None
    (line,) = caplog.messages
    assert line.startswith(f"{remembered()}: this file does not say which version was served last (")


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"name": 1}', b"[" * 100_000])
def test_a_file_that_is_none(content: bytes) -> None:
    memory.remember(SEVEN)
    remembered().write_bytes(content)
    assert memory.recall(NAME) is None


def test_old_copies_are_deleted() -> None:
    folder, now = config.state().versions / NAME, time.time()
    ages = {"1": 9000, "2": 8000, "3": 7000, "4": 6000, "5": 5000, "6": 60, "7": 10_000}
    for number, seconds in ages.items():
        (folder / number / "data").mkdir(parents=True)
        os.utime(folder / number, (now - seconds, now - seconds))
    (folder / ".8.tmp").mkdir()
    memory.delete_old_copies(SEVEN)
    assert sorted(path.name for path in folder.iterdir()) == [".8.tmp", "5", "6", "7"]


def test_copies_that_were_used_just_now_are_kept() -> None:
    folder = config.state().versions / NAME
    for number in "123456":
        (folder / number).mkdir(parents=True)
    memory.delete_old_copies(SEVEN)
    assert sorted(path.name for path in folder.iterdir()) == [*"123456"]
    memory.delete_old_copies(Version("trip-duration-green", "1", "", {}))
