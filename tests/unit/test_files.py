"""A file appears whole or not at all; a private file and a key are written through no link."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from mlops.errors import ConfigError
from mlops.files import atomic_write, create_private, make_key, read_key


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


def test_nothing_is_written_through_a_link_that_was_laid(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for laid in (".trips.parquet.tmp", ".backup.key.part", "new"):
        (tmp_path / laid).symlink_to(victim)
    (tmp_path / "nowhere").symlink_to(tmp_path / "made")
    with atomic_write(tmp_path / "trips.parquet") as passing:
        passing.write_text("trips")
    for name in ("new", "nowhere", "victim"):
        with pytest.raises(FileExistsError):
            create_private(tmp_path / name)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "trips.parquet").is_symlink()
    assert not (tmp_path / "made").exists()


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = tmp_path / "backup.key"
    assert read_key(key, "") is None
    first = make_key(key, "")
    assert len(first) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    assert make_key(key, "") == read_key(key, "") == first
    assert list(tmp_path.iterdir()) == [key]


def test_a_key_that_others_can_read_a_link_and_no_key_are_refused(tmp_path: Path) -> None:
    key, link, damaged = (tmp_path / name for name in ("a.key", "b.key", "c.key"))
    make_key(key, "")
    link.symlink_to(key)
    damaged.touch(0o600)
    with pytest.raises(ConfigError, match=r"b\.key: this key cannot be read \(.*\)\. Do that"):
        read_key(link, "Do that")
    with pytest.raises(ConfigError, match=r"c\.key: expected a key of 64 .* got something else\. Do that"):
        read_key(damaged, "Do that")
    key.chmod(0o640)
    with pytest.raises(ConfigError, match=r"a\.key: expected .* \(mode 600\); got mode 640\. .*chmod 600"):
        read_key(key, "Do that")
