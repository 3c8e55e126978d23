"""Months arrive whole or not at all, once, and every failure says what to do."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mlops.config import TLC_SITE
from mlops.data import cache, retries, sources
from mlops.errors import ConfigError, DownloadError, MonthNotPublishedError, TripSchemaError
from mlops.month import Month

OCTOBER = Month(2023, 10)
NAME = "green_tripdata_2023-10.parquet"


def parquet(rows: int = 10) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"trip": list(range(rows))}), buffer)
    return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server says; `sent` below the body's length breaks the connection off there."""

    body: bytes = b""
    etag: str | None = '"one"'
    status: int = 200
    sent: int | None = None
    slow_seconds: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()


class Server:
    """A loopback web server that plays its scripts; the last answer of a script repeats."""

    def __init__(self) -> None:
        self.head: list[Answer] = []
        self.get: list[Answer] = []
        self.requests: list[tuple[str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/trip-data"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def holds(self, body: bytes, etag: str | None = '"one"', **more: Any) -> None:
        self.head = [Answer(body, etag)]
        self.get = [Answer(body, etag, **more)]

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.requests)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._play(server.head, with_body=False)

            def do_GET(self) -> None:
                self._play(server.get, with_body=True)

            def _play(self, script: list[Answer], with_body: bool) -> None:
                server.requests.append((self.command, self.path))
                answer = script.pop(0) if len(script) > 1 else script[0]
                time.sleep(answer.slow_seconds)
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                if answer.etag:
                    self.send_header("ETag", answer.etag)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(answer.body[: answer.sent])

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _quick_and_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BACKOFF_SECONDS", 0.01)
    for proxy in ("NO_PROXY", "no_proxy"):  # a developer's proxy does not reach this loopback
        monkeypatch.setenv(proxy, "127.0.0.1")


@pytest.fixture
def bucket() -> Iterator[Callable[[str, bytes], None]]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield lambda path, body: filesystem.pipe_file(path, body)
    filesystem.store.clear()


def fetch(source: str, folder: Path, month: Month = OCTOBER) -> cache.MonthFile:
    return cache.fetch(sources.open_source(source), "green", month, folder)


def folder_with(path: Path, body: bytes) -> str:
    path.mkdir(parents=True, exist_ok=True)
    (path / NAME).write_bytes(body)
    return str(path)


def kept(cache: Path) -> set[str]:
    """Names of all files in the cache, but for locks."""
    return {path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}


# --- a web server ------------------------------------------------------------------------------


def test_a_month_is_fetched_with_a_manifest_beside_it(server: Server, tmp_path: Path) -> None:
    server.holds(parquet())
    file = fetch(server.url, tmp_path)
    assert file.path.read_bytes() == parquet()
    assert file.path.parent.parent == tmp_path
    assert (file.service, file.month, file.bytes) == ("green", OCTOBER, len(parquet()))
    assert (file.url, file.version) == (f"{server.url}/{NAME}", '"one"')
    manifest = json.loads((file.path.parent / f"{NAME}.json").read_text())
    assert manifest.pop("fetched_at").endswith("+00:00")
    told = {"url": file.url, "version": '"one"', "sha256": file.sha256, "bytes": file.bytes, "replaced": []}
    assert manifest == told
    assert kept(tmp_path) == {NAME, f"{NAME}.json"}


def test_a_copy_that_still_matches_is_not_fetched_again(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.holds(parquet())
    first = fetch(server.url, tmp_path)
    os.utime(first.path, (0, 0))  # times mean nothing
    with caplog.at_level(logging.INFO, "mlops"):
        assert fetch(server.url + "/", tmp_path) == first  # a closing slash is the same source
    assert server.count("GET") == 1
    assert f"{NAME}: the cached copy still matches {server.url}" in caplog.text


def test_a_new_etag_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.holds(parquet(10))
    old = fetch(server.url, tmp_path)
    server.holds(parquet(11), etag='"two"')
    with old.path.open("rb") as reader:
        new = fetch(server.url, tmp_path)
        assert reader.read() == parquet(10)  # whoever is reading the old copy keeps it whole
    assert new.path == old.path
    assert new.path.read_bytes() == parquet(11)
    assert (new.version, new.sha256 != old.sha256) == ('"two"', True)


def test_without_an_etag_nothing_is_trusted(server: Server, tmp_path: Path) -> None:
    server.holds(parquet(), etag=None)
    assert fetch(server.url, tmp_path).version == f"bytes:{len(parquet())}"
    fetch(server.url, tmp_path)
    assert server.count("GET") == 2


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


def test_a_failed_renewal_keeps_the_old_copy(server: Server, tmp_path: Path) -> None:
    server.holds(parquet(10))
    old = fetch(server.url, tmp_path)
    server.holds(b"<html>maintenance</html>", etag='"two"')
    with pytest.raises(TripSchemaError):
        fetch(server.url, tmp_path)
    server.holds(parquet(10))
    assert fetch(server.url, tmp_path) == old
    assert kept(tmp_path) == {NAME, f"{NAME}.json"}


def test_a_month_to_come(server: Server, tmp_path: Path) -> None:
    server.head = [Answer(status=404)]
    with pytest.raises(MonthNotPublishedError) as caught:
        fetch(server.url, tmp_path, Month(2031, 1))
    assert str(caught.value) == (
        f"green 2031-01: not published at {server.url}/green_tripdata_2031-01.parquet; TLC publishes a "
        "month some seven weeks after its end. Choose an earlier month or another --source."
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


def test_no_secret_of_a_url_is_told(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.holds(parquet(), sent=10)
    address = server.url.replace("//", "//me:pa@ss-secret@") + "/?sig=query-secret"
    source = sources.open_source(address)
    with caplog.at_level(logging.INFO), pytest.raises(DownloadError) as caught:
        cache.fetch(source, "green", OCTOBER, tmp_path)
    server.close()
    with pytest.raises(DownloadError) as unreachable:
        source.version(NAME)
    told = [repr(source), source.url, source.key, caplog.text]
    told += [
        str(caught.value),
        str(caught.value.__cause__),
        str(unreachable.value),
        str(unreachable.value.__cause__),
    ]
    assert "secret" not in "\n".join(told)
    assert source.url == server.url
    assert server.requests[0] == ("HEAD", f"/trip-data/{NAME}?sig=query-secret")  # but it is sent


def test_months_available_keeps_the_order_asked_for(server: Server) -> None:
    server.head = [Answer(status=404), Answer(parquet()), Answer(parquet()), Answer(status=404)]
    months = Month.range(Month(2023, 1), Month(2023, 4))
    assert sources.months_available(sources.open_source(server.url), "green", months) == months[1:3]
    assert server.count("GET") == 0


def test_a_long_download_says_how_far_it_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "PROGRESS_SECONDS", 0.0)
    body = parquet(1_000_000)
    server.holds(body)
    with caplog.at_level(logging.INFO, "mlops"):
        fetch(server.url, tmp_path)
    assert f"{NAME}: 1 of {len(body) / 1e6:.0f} MB" in caplog.text


def test_a_short_download_says_nothing_between(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.holds(parquet(1_000_000))
    with caplog.at_level(logging.INFO, "mlops"):
        fetch(server.url, tmp_path)
    assert [record.getMessage() for record in caplog.records] == [f"{NAME}: fetching from {server.url}"]


# --- the cache ---------------------------------------------------------------------------------


def test_a_corrupt_copy_is_fetched_again(server: Server, tmp_path: Path) -> None:
    server.holds(parquet())
    file = fetch(server.url, tmp_path)
    changed = bytearray(parquet())
    changed[len(changed) // 2] ^= 1
    file.path.write_bytes(changed)
    assert fetch(server.url, tmp_path) == file
    assert file.path.read_bytes() == parquet()


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", '{"version": "\\"one\\""}'])
def test_a_copy_without_a_whole_manifest_is_fetched_again(
    server: Server, tmp_path: Path, manifest: str | None
) -> None:
    server.holds(parquet())
    beside = fetch(server.url, tmp_path).path.parent / f"{NAME}.json"
    if manifest is None:
        beside.unlink()
    else:
        beside.write_text(manifest)
    fetch(server.url, tmp_path)
    assert server.count("GET") == 2


def test_killed_between_the_file_and_its_manifest(server: Server, tmp_path: Path) -> None:
    server.holds(parquet(10))
    file = fetch(server.url, tmp_path)
    file.path.write_bytes(parquet(11))  # the next version's file beside the old version's manifest
    assert fetch(server.url, tmp_path).path.read_bytes() == parquet(10)


def test_what_a_killed_process_left_is_swept_up(server: Server, tmp_path: Path) -> None:
    server.holds(parquet())
    folder = tmp_path / sources.open_source(server.url).key
    folder.mkdir()
    (folder / f".{NAME}.1234-abcd.part").write_bytes(b"half")
    fetch(server.url, tmp_path)
    assert kept(tmp_path) == {NAME, f"{NAME}.json"}


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted:
        url, key = "nowhere", "nowhere"

        def version(self, name: str) -> str:
            return "one"

        def download(self, name: str, target: BinaryIO, progress: sources.Progress) -> None:
            target.write(b"PAR1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.fetch(Interrupted(), "green", OCTOBER, tmp_path)
    assert kept(tmp_path) == set()


def test_two_at_once_fetch_once(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.holds(parquet(), slow_seconds=0.3)
    with caplog.at_level(logging.INFO, "mlops"), ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch, server.url, tmp_path) for _ in range(2)]
        first, second = (future.result(timeout=10) for future in both)
    assert first == second
    assert server.count("GET") == 1
    assert f"{NAME}: another process is fetching it; waiting" in caplog.text


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", parquet())
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DownloadError, match=r"cannot be kept in .*cache.*MLOPS_STATE_DIR"):
        fetch(source, tmp_path / "cache")


# --- not Parquet -------------------------------------------------------------------------------


def test_a_text_named_parquet(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", b"<html>Sign in</html>")
    with pytest.raises(TripSchemaError) as caught:
        fetch(source, tmp_path / "cache")
    assert str(caught.value) == (
        f"{source}/{NAME}: not a Parquet file; expected b'PAR1' at its start, got b'<html>Sign in</html>' "
        "(20 bytes). Is it a web page or a text saved under this name? Put the real file there."
    )
    assert kept(tmp_path / "cache") == set()


def test_an_empty_file(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", b"")
    with pytest.raises(TripSchemaError, match=r"not a Parquet file; .* got b'' \(0 bytes\)"):
        fetch(source, tmp_path / "cache")


@pytest.mark.parametrize("length", [4, 200, -1])
def test_a_truncated_parquet_file(tmp_path: Path, length: int) -> None:
    body = parquet()[:length]
    source = folder_with(tmp_path / "source", body)
    with pytest.raises(TripSchemaError) as caught:
        fetch(source, tmp_path / "cache")
    assert str(caught.value) == (
        f"{source}/{NAME}: a truncated Parquet file; it starts with b'PAR1', but expected a footer at its "
        f"end, got none that can be read ({len(body)} bytes). Put a whole copy there."
    )
    assert kept(tmp_path / "cache") == set()


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


def test_a_changed_file_in_a_folder_is_copied_anew(tmp_path: Path) -> None:
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
