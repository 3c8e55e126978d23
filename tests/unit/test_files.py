"""A file appears whole or not at all; private files are written through no link; nobody else enters the folder."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from mlops.errors import ConfigError
from mlops.files import atomic_write, close_state, create_private, make_key, read_key


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


# --- Who may enter the state folder ---------------------------------------------------------------------------


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o7777


def test_a_new_state_folder_is_closed_to_others(tmp_path: Path) -> None:
    close_state()
    assert mode(tmp_path / "state") == 0o700


@pytest.mark.parametrize("name", ["months", "told", "mlflow.db", "stack", "mage"])
@pytest.mark.parametrize("before", [0o755, 0o777, 0o750])
def test_a_state_folder_of_an_earlier_version_is_closed(name: str, before: int, tmp_path: Path) -> None:
    (tmp_path / "state" / name).mkdir(parents=True)
    (tmp_path / "state").chmod(before)
    close_state()
    assert mode(tmp_path / "state") == 0o700


@pytest.mark.parametrize("before", [0o755, 0o1777])
def test_a_folder_of_other_things_is_left_with_a_warning(
    before: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state" / ("months" if before == 0o1777 else "etc")).mkdir(parents=True)
    (tmp_path / "state").chmod(before)
    close_state()
    assert mode(tmp_path / "state") == before
    assert f"other users may enter this state folder (mode {before:o})" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to a group")
def test_the_group_of_postgresqls_user_may_pass_through_roots_state_folder(tmp_path: Path) -> None:
    data = tmp_path / "state" / "stack" / "postgres"
    data.mkdir(parents=True)
    os.chown(data, -1, 4711)
    close_state()
    about = (tmp_path / "state").stat()
    assert (about.st_mode & 0o777, about.st_gid) == (0o710, 4711)
    (tmp_path / "state").chmod(0o755)
    close_state()
    assert mode(tmp_path / "state") == 0o710


def test_a_folder_of_another_owner_is_left_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError

    (tmp_path / "state").mkdir(mode=0o755)
    monkeypatch.setattr(Path, "chmod", refuse)
    close_state()
    assert "expected a folder that only its owner may enter (mode 700); got mode 755" in caplog.text
