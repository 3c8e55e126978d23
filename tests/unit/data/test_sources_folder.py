"""Folders on this machine and in buckets, and what has a month's name there."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.month_site import NAME, OCTOBER, fetch, folder_with, kept, parquet
from support.rights import ordinary_user

from mlops.data import sources
from mlops.errors import ConfigError, DownloadError, MonthNotPublishedError, TripSchemaError
from mlops.month import Month

pytestmark = pytest.mark.usefixtures("_quick_and_local")


@pytest.fixture
def bucket() -> Iterator[Callable[[str, bytes], None]]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield lambda path, body: filesystem.pipe_file(path, body)
    filesystem.store.clear()


# --- folders -----------------------------------------------------------------------------------


def test_a_folder_and_its_files_may_be_symlinks(tmp_path: Path) -> None:
    real = Path(folder_with(tmp_path / "real", parquet()))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / NAME).symlink_to(real / NAME)
    (tmp_path / "link").symlink_to(tmp_path / "links")
    file = fetch(str(tmp_path / "link"), tmp_path / "cache")
    assert file.path.read_bytes() == parquet()
    assert not file.path.is_symlink()
    assert file.version == f"sha256:{file.sha256}"


def test_a_changed_file_in_a_folder_is_copied_again(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", parquet(10))
    first = fetch(source, tmp_path / "cache")
    before = first.path.stat().st_ino
    assert fetch(source, tmp_path / "cache").path.stat().st_ino == before  # the very file, not a new copy
    folder_with(tmp_path / "source", parquet(11))
    assert fetch(source, tmp_path / "cache").path.read_bytes() == parquet(11)


def test_a_month_that_a_folder_lacks(tmp_path: Path) -> None:
    with pytest.raises(MonthNotPublishedError, match=f"not published at {tmp_path}/{NAME}"):
        fetch(str(tmp_path), tmp_path / "cache")


# --- what is not a file ------------------------------------------------------------------------


def spark_folder(path: Path) -> None:
    path.mkdir()
    (path / "part-00000.snappy.parquet").write_bytes(parquet())
    (path / "_SUCCESS").touch()


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unused:
        unused.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [(spark_folder, "a folder"), (os.mkfifo, "a named pipe"), (bound_socket, "a socket")],
)
def test_what_is_not_a_file_is_not_a_missing_month(
    open_folder: Path, make: Callable[[Path], None], kind: str
) -> None:
    make(open_folder / NAME)
    with pytest.raises(TripSchemaError) as caught:
        sources.months_available(sources.open_source(str(open_folder)), "green", [OCTOBER, OCTOBER + 1])
    assert str(caught.value) == (
        f"{open_folder}/{NAME}: expected a file, got {kind}. Put one Parquet file under this name (Spark writes a "
        "folder of parts: write them into one file)."
    )


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to("/annex/objects/absent")
    with pytest.raises(DownloadError) as caught:
        sources.months_available(sources.open_source(str(tmp_path)), "green", [OCTOBER])
    assert str(caught.value) == (
        f"{tmp_path}/{NAME}: a link to /annex/objects/absent, which does not exist. Put the file there, or remove "
        "the link."
    )


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(NAME)
    with pytest.raises(DownloadError, match=f"{NAME}: OSError: .*Too many levels of symbolic links"):
        fetch(str(tmp_path), tmp_path / "cache")


@pytest.mark.parametrize("denied", [NAME, "."])
def test_a_file_that_may_not_be_read(open_folder: Path, denied: str) -> None:
    source = sources.open_source(folder_with(open_folder, parquet()))
    (open_folder / denied).chmod(0)
    with ordinary_user(), pytest.raises(DownloadError) as caught:
        sources.months_available(source, "green", [OCTOBER])
    open_folder.chmod(0o755)
    assert str(caught.value) == (
        f"{open_folder}/{NAME}: permission denied. Give this user read access, or choose another --source."
    )


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (b"", "The file is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "run `git lfs pull`"),
        (b"/annex/objects/SHA256E-s45--1.parquet", "run `git annex get`"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip"),
        (b"PK\x03\x04", "a zip archive"),
        (b"PAREabc", "an encrypted Parquet file"),
        (b"VendorID,lpep_pickup_datetime", "Is it a web page or a text"),
    ],
)
def test_a_file_that_is_not_parquet_is_described(tmp_path: Path, body: bytes, advice: str) -> None:
    source = folder_with(tmp_path / "source", body)
    with pytest.raises(TripSchemaError, match=f"not a Parquet file; .* got .*{len(body)} bytes.*{advice}"):
        fetch(source, tmp_path / "cache")


# --- buckets -----------------------------------------------------------------------------------


def test_a_folder_in_a_bucket(bucket: Callable[[str, bytes], None]) -> None:
    bucket(f"/taxi/{NAME}/part-00000.snappy.parquet", parquet())
    with pytest.raises(TripSchemaError, match=f"memory://taxi/{NAME}: expected a file, got a folder"):
        sources.months_available(sources.open_source("memory://taxi"), "green", [OCTOBER])


def test_a_bucket_s_file_as_source(bucket: Callable[[str, bytes], None]) -> None:
    bucket("/taxi/trips", parquet())
    with pytest.raises(
        ConfigError, match="source memory://taxi/trips: expected a folder of months, got a file"
    ):
        sources.months_available(sources.open_source("memory://taxi/trips"), "green", [OCTOBER])


def test_a_file_system_without_sizes(
    bucket: Callable[[str, bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket(f"/taxi/{NAME}", parquet())
    monkeypatch.setattr(MemoryFileSystem, "size", lambda *_: None)
    assert sources.open_source("memory://taxi").size(NAME) is None
    assert fetch("memory://taxi", tmp_path).path.read_bytes() == parquet()


def test_no_secret_of_an_error_is_shown(
    bucket: Callable[[str, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError('Invalid bucket name "AKIA:secret@taxi", see https://me:secret@example.org')

    monkeypatch.setattr(MemoryFileSystem, "info", refuse)
    with pytest.raises(DownloadError) as caught:
        sources.open_source("memory://taxi").version(NAME)
    assert f'{NAME}: ValueError: Invalid bucket name "taxi", see https://example.org.' in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_source_without_any_month_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = sources.open_source(str(tmp_path))
    assert sources.months_available(source, "green", [OCTOBER, OCTOBER + 1]) == ()
    assert caplog.messages == [
        f"{tmp_path} has no green month from 2023-10 to 2023-11; is it the right address?"
    ]


def test_a_bucket(bucket: Callable[[str, bytes], None], tmp_path: Path) -> None:
    bucket(f"/taxi/trips/{NAME}", parquet(10))
    file = fetch("memory://taxi/trips/", tmp_path)
    assert file.path.read_bytes() == parquet(10)
    assert file.url == f"memory://taxi/trips/{NAME}"
    assert file.path.parent.name.startswith("memory-trips-")
    before = file.path.stat().st_ino
    assert fetch("memory://taxi/trips", tmp_path).path.stat().st_ino == before
    bucket(f"/taxi/trips/{NAME}", parquet(11))
    assert fetch("memory://taxi/trips", tmp_path).path.read_bytes() == parquet(11)


def test_a_month_that_a_bucket_lacks(bucket: Callable[[str, bytes], None], tmp_path: Path) -> None:
    bucket(f"/taxi/trips/{NAME}", parquet())
    with pytest.raises(MonthNotPublishedError, match="green 2031-01: not published at memory://taxi/trips/"):
        fetch("memory://taxi/trips", tmp_path, Month(2031, 1))


@pytest.mark.usefixtures("bucket")
def test_a_misspelt_bucket_is_no_missing_month(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"no such file, folder or bucket\. Check the address"):
        fetch("memory://taxy/trips", tmp_path)


def test_a_bucket_that_delivers_too_little(
    bucket: Callable[[str, bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket(f"/taxi/{NAME}", parquet())
    monkeypatch.setattr(MemoryFileSystem, "size", lambda *_: 10_000)
    with pytest.raises(DownloadError, match=f"expected 10000 bytes, got {len(parquet())} bytes"):
        fetch("memory://taxi", tmp_path)
    assert kept(tmp_path) == set()


@pytest.mark.parametrize("moment", ["info", "size", "open"])
def test_whatever_a_file_system_raises_is_a_download_error(
    bucket: Callable[[str, bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class NoCredentialsError(Exception):
        pass

    def refuse(*_: Any, **__: Any) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    bucket(f"/taxi/{NAME}", parquet())
    monkeypatch.setattr(MemoryFileSystem, moment, refuse)
    with pytest.raises(DownloadError) as caught:
        fetch("memory://taxi", tmp_path)
    assert str(caught.value) == (
        f"memory://taxi/{NAME}: NoCredentialsError: Unable to locate credentials. "
        "Check the address, the credentials and the network, or choose another --source."
    )
    assert isinstance(caught.value.__cause__, NoCredentialsError)
    assert kept(tmp_path) == set()
