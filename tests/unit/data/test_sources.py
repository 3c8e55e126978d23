"""The months of a source, and every failure with its fix."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.month_site import NAME, OCTOBER, Answer, Server, fetch, folder_with, kept, parquet

from mlops.config import TLC_SITE
from mlops.data import cache, retries, sources
from mlops.errors import ConfigError, DownloadError, MonthNotPublishedError
from mlops.month import Month

pytestmark = pytest.mark.usefixtures("_quick_and_local")


@pytest.fixture
def bucket() -> Iterator[Callable[[str, bytes], None]]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield lambda path, body: filesystem.pipe_file(path, body)
    filesystem.store.clear()


# --- a web server ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    server.head = [Answer(status=status), Answer(parquet())]
    server.get = [Answer(status=status, headers=(("Retry-After", "0"),)), Answer(parquet())]
    assert fetch(server.url, tmp_path).path.read_bytes() == parquet()
    assert (server.count("HEAD"), server.count("GET")) == (2, 2)


def test_a_server_that_stays_busy(server: Server, tmp_path: Path) -> None:
    server.head = [Answer(status=503)]
    with pytest.raises(
        DownloadError, match=r"expected HTTP 200, got 503 Service Unavailable\. Try again later"
    ):
        fetch(server.url, tmp_path)
    assert server.count("HEAD") == retries.ATTEMPTS


def test_a_body_cut_short_is_fetched_from_the_start(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = parquet(1_000_000)
    assert len(body) > 2 * sources.CHUNK_BYTES  # so that the broken attempt has written something
    server.head = [Answer(body)]
    server.get = [Answer(body, sent=0), Answer(body, sent=len(body) - 1), Answer(body)]
    file = fetch(server.url, tmp_path)
    assert file.path.read_bytes() == body
    assert file == fetch(server.url, tmp_path)  # the sha256 is that of the whole body alone
    assert server.count("GET") == 3
    assert f"{NAME}: the connection broke off; attempt 2 of 4" in caplog.text


def test_a_body_always_cut_short_leaves_nothing(server: Server, tmp_path: Path) -> None:
    body = parquet(1000)
    server.holds(body, sent=100)
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, tmp_path)
    assert str(caught.value) == (
        f"{server.url}/{NAME}: the connection broke off; expected {len(body)} bytes, got 100 bytes. "
        "Try again later, or choose another --source."
    )
    assert server.count("GET") == retries.ATTEMPTS
    assert kept(tmp_path) == set()


def test_a_month_to_come(server: Server, tmp_path: Path) -> None:
    server.head = [Answer(status=404)]
    with pytest.raises(MonthNotPublishedError) as caught:
        fetch(server.url, tmp_path, Month(2031, 1))
    assert str(caught.value) == (
        f"green 2031-01: not published at {server.url}/green_tripdata_2031-01.parquet; TLC publishes a "
        "month about seven weeks after its end. Choose an earlier month or another --source."
    )
    assert (caught.value.service, caught.value.month) == ("green", "2031-01")
    assert list(tmp_path.iterdir()) == []


def test_refused_after_it_was_found_is_not_called_unpublished(server: Server, tmp_path: Path) -> None:
    server.head, server.get = [Answer(parquet())], [Answer(status=403)]
    with pytest.raises(DownloadError, match="expected HTTP 200, got 403 Forbidden"):
        fetch(server.url, tmp_path)
    assert kept(tmp_path) == set()


def test_a_dead_host_fails_soon(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening: nobody else gets this port, and nobody answers
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DownloadError) as caught:
            fetch(url, tmp_path)
    assert str(caught.value) == (
        f"{url}/{NAME}: no answer after 4 attempts: Connection refused. "
        "Check the address and the network, or choose another --source."
    )
    assert caught.value.__cause__ is not None
    assert caplog.text.count("Connection refused; attempt") == 3
    connect_seconds, _ = sources.TIMEOUT_SECONDS
    assert retries.ATTEMPTS * connect_seconds < 15


def test_no_secret_of_a_url_is_shown(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.holds(parquet(), sent=10)
    address = server.url.replace("//", "//me:pa@ss-secret@") + "/?sig=query-secret"
    source = sources.open_source(address)
    with caplog.at_level(logging.INFO), pytest.raises(DownloadError) as caught:
        cache.fetch(source, "green", OCTOBER, tmp_path)
    server.close()
    with pytest.raises(DownloadError) as unreachable:
        source.version(NAME)
    reported = [repr(source), source.url, source.key, caplog.text]
    reported += [
        str(caught.value),
        str(caught.value.__cause__),
        str(unreachable.value),
        str(unreachable.value.__cause__),
    ]
    assert "secret" not in "\n".join(reported)
    assert source.url == server.url
    assert server.requests[0] == ("HEAD", f"/trip-data/{NAME}?sig=query-secret")  # but it is sent


def test_months_available_keeps_the_order_asked_for(server: Server) -> None:
    server.head = [Answer(status=404), Answer(parquet()), Answer(parquet()), Answer(status=404)]
    months = Month.range(Month(2023, 1), Month(2023, 4))
    assert sources.months_available(sources.open_source(server.url), "green", months) == months[1:3]
    assert server.count("GET") == 0


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
    (tmp_path / NAME).symlink_to(tmp_path / "gone")  # neither does a dangling link hold it
    with pytest.raises(MonthNotPublishedError, match=f"not published at {tmp_path}/{NAME}"):
        fetch(str(tmp_path), tmp_path / "cache")


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_folder_that_does_not_exist(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sources.open_source(f"{prefix}{tmp_path}/trips")
    assert str(caught.value) == (
        f"source '{prefix}{tmp_path}/trips': there is no folder {tmp_path}/trips. "
        "Write sample, tlc, a folder that exists, or an https://, s3:// or gs:// URL."
    )


def test_one_folder_under_many_names_is_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Trip Data"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    names = [f"{folder}", f"{folder}/", "Trip Data", "./link", f"file://{folder}"]
    keys = {sources.open_source(name).key for name in names}
    assert len(keys) == 1
    assert keys.pop().startswith("folder-trip-data-")


# --- buckets and names -------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nosuch://taxi", "source 'nosuch://taxi': Protocol not known: nosuch"),
        ("https:///trip-data", "expected https://host/folder, got no usable host"),
        ("http://host:port/x", "expected https://host/folder, got no usable host"),
    ],
)
def test_a_url_that_cannot_be_understood(source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sources.open_source(source)


def test_tlc_is_its_site() -> None:
    source = sources.open_source("tlc")
    assert source.url == TLC_SITE
    assert source.key.startswith("tlc-trip-data-")
    assert source.key == sources.open_source(TLC_SITE + "/").key
    assert source.key != sources.open_source("https://example.org/trip-data").key
