"""A file appears whole or not at all."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from mlops.files import atomic_write


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "made" / "trips.parquet"
    with pytest.raises(RuntimeError, match="boom"), atomic_write(target) as passing:
        passing.write_text("half")
        raise RuntimeError("boom")
    assert list(target.parent.iterdir()) == []
    passing.write_text("of a process that was killed")
    with atomic_write(target) as passing:
        passing.write_text("all of it")
        assert not target.exists()

    assert [(path.name, path.read_text()) for path in target.parent.iterdir()] == [
        ("trips.parquet", "all of it")
    ]


def test_two_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    target, order = tmp_path / "trips.parquet", []

    def make(text: str) -> None:
        with atomic_write(target) as passing:
            order.append(f"{text} begins")
            time.sleep(0.1)
            passing.write_text(text)
            order.append(f"{text} ends")

    both = [threading.Thread(target=make, args=(text,)) for text in ("one", "two")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()

    assert [said.split()[1] for said in order] == ["begins", "ends"] * 2
    assert target.read_text() == order[-1].split()[0]
