"""Months are fetched completely or not at all, and only once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, ClassVar

import pytest
from support.month_site import NAME, OCTOBER, Server, fetch, folder_with, kept, parquet

from mlops.data import cache, retries, sources
from mlops.errors import DownloadError, TripSchemaError

pytestmark = pytest.mark.usefixtures("_quick_and_local")

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
    reported = {
        "url": file.url,
        "version": '"one"',
        "sha256": file.sha256,
        "bytes": file.bytes,
        "replaced": [],
    }
    assert manifest == reported
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


def test_a_file_with_a_new_etag_is_fetched_again(server: Server, tmp_path: Path) -> None:
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


def test_a_failed_renewal_keeps_the_old_copy(server: Server, tmp_path: Path) -> None:
    server.holds(parquet(10))
    old = fetch(server.url, tmp_path)
    server.holds(b"<html>maintenance</html>", etag='"two"')
    with pytest.raises(TripSchemaError):
        fetch(server.url, tmp_path)
    server.holds(parquet(10))
    assert fetch(server.url, tmp_path) == old
    assert kept(tmp_path) == {NAME, f"{NAME}.json"}


def test_a_long_download_says_how_far_it_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "PROGRESS_SECONDS", 0.0)
    body = parquet(1_000_000)
    server.holds(body)
    with caplog.at_level(logging.INFO, "mlops"):
        fetch(server.url, tmp_path)
    assert f" of {len(body) / 1e6:.0f} MB" in caplog.text


def test_a_short_download_says_nothing_between(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.holds(parquet(1_000_000))
    with caplog.at_level(logging.INFO, "mlops"):
        fetch(server.url, tmp_path)
    assert [record.getMessage() for record in caplog.records] == [f"{NAME}: fetching from {server.url}"]


class Slow:
    """A source that delivers 64 bytes a second, and a clock that shows these seconds."""

    url, key, control = "slow", "slow", None

    def __init__(self, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
        self.body, self.now, self.downloads = body, 0.0, 0
        monkeypatch.setattr(cache.time, "monotonic", lambda: self.now)

    def version(self, name: str) -> str:
        return "one"

    def download(self, name: str, target: BinaryIO, progress: sources.Progress) -> None:
        self.downloads += 1
        for start in range(0, len(self.body), 64):
            self.now += 1
            done = start + target.write(self.body[start : start + 64])
            progress(done, len(self.body))


def test_a_trickle_is_logged_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = Slow(monkeypatch, parquet(5000))
    total = f"{len(source.body) / 1e3:.1f} kB"
    with caplog.at_level(logging.INFO, "mlops"), pytest.raises(sources.BrokenOffError) as caught:
        cache.fetch(source, "green", OCTOBER, tmp_path)
    assert str(caught.value) == (
        f"slow/{NAME}: the bytes arrive too slowly; expected at least 1000 bytes a second, got 64. "
        "Try again later, or choose another --source."
    )
    lines = caplog.messages[1:9]
    assert lines[:2] == [f"{NAME}: 0.3 of {total}", f"{NAME}: 0.6 of {total}"]  # after 5 and 10 seconds
    assert lines[6] == f"{NAME}: the bytes arrive too slowly; attempt 1 of 4, the next in 0.0 s"
    assert source.downloads == retries.ATTEMPTS
    assert kept(tmp_path) == set()


def test_a_slow_start_is_forgiven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Slow(monkeypatch, parquet(10))
    source.body = parquet(10)
    assert len(source.body) < 64 * cache.RATE_SECONDS
    assert cache.fetch(source, "green", OCTOBER, tmp_path).path.read_bytes() == source.body


def test_a_file_that_is_still_growing_is_fetched_again(tmp_path: Path) -> None:
    class Growing:
        url, key = "growing", "growing"
        lengths: ClassVar = [100, 4, 0, -1]

        def version(self, name: str) -> str:
            return f"sha256:{hashlib.sha256(parquet()[:50]).hexdigest()}"

        def download(self, name: str, target: BinaryIO, progress: sources.Progress) -> None:
            length = self.lengths.pop(0)
            target.write(parquet() if length < 0 else parquet()[:length])

    assert cache.fetch(Growing(), "green", OCTOBER, tmp_path).path.read_bytes() == parquet()


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
    assert f"{NAME}: another process is fetching this file; waiting" in caplog.text


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", parquet())
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DownloadError, match=r"cannot be stored in .*cache.*MLOPS_STATE_DIR"):
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
    with pytest.raises(
        TripSchemaError, match=r"not a Parquet file; .* got b'' \(0 bytes\)\. The file is empty"
    ):
        fetch(source, tmp_path / "cache")


@pytest.mark.parametrize("length", [4, 200, -1])
def test_a_truncated_parquet_file(tmp_path: Path, length: int) -> None:
    body = parquet()[:length]
    source = folder_with(tmp_path / "source", body)
    with pytest.raises(TripSchemaError) as caught:
        fetch(source, tmp_path / "cache")
    assert str(caught.value) == (
        f"{source}/{NAME}: a truncated Parquet file; it starts with b'PAR1', but expected a footer at its "
        f"end, got none that can be read ({len(body)} bytes). Put a complete copy there."
    )
    assert kept(tmp_path / "cache") == set()


def test_a_parquet_file_with_a_damaged_footer(server: Server, tmp_path: Path) -> None:
    body = parquet()
    server.holds(body[:-8] + b"\xff\xff\xff\x7fPAR1")  # all bytes arrived: another attempt would get the same
    with pytest.raises(TripSchemaError, match="a damaged Parquet file; it starts with b'PAR1'"):
        fetch(server.url, tmp_path)
    assert server.count("GET") == 1
