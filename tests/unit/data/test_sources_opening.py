"""What the setting `source` may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.failures import closed_port
from support.month_site import NAME
from support.rights import ordinary_user

from mlops.config import TLC_SITE, Settings
from mlops.data import ingest, retries, sources
from mlops.errors import ConfigError, DownloadError


def opened(source: str) -> sources.Source:
    return ingest.open_source(Settings.parse({"source": source}))


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TLC", "Tlc", " tlc "])
def test_tlc_in_any_case(name: str) -> None:
    assert opened(name).url == TLC_SITE


@pytest.mark.parametrize("name", ["Sample", "SAMPLE"])
def test_the_sample_in_any_case(name: str) -> None:
    assert opened(name).url == "sample"


def test_a_misspelt_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no folder /.*/tcl\. Did you mean tlc\? Write sample"):
        opened("tcl")


# --- URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("HTTPS://example.org/Trips", "https://example.org/Trips"),
        ("https:/example.org/trips", "https://example.org/trips"),
        ("Http:example.org", "http://example.org"),
        ("MEMORY://Taxi", "memory://Taxi"),
        ("HTTPS://me:secret@example.org/trips/?sig=secret", "https://example.org/trips"),
    ],
)
def test_a_scheme_in_any_case(source: str, url: str) -> None:
    assert opened(source).url == url


@pytest.mark.parametrize(("source", "setting"), [("S3://Taxi/Trips", "s3://Taxi/Trips"), ("gs:/t", "gs://t")])
def test_a_bucket_s_scheme_in_any_case(source: str, setting: str) -> None:
    assert Settings.parse({"source": source}).source == setting


@pytest.mark.parametrize(
    "url",
    [
        "file://{}/trip data", "file://{}/trip%20data", "FILE://{}/trip%20data/", "file://localhost{}/trip%20data",
        "file:{}/trip%20data",
    ],
)  # fmt: skip
def test_a_file_url(tmp_path: Path, url: str) -> None:
    (tmp_path / "trip data").mkdir()
    assert opened(url.format(tmp_path)).url == f"{tmp_path}/trip data"


def test_a_file_url_whose_folder_has_a_percent_sign(tmp_path: Path) -> None:
    for name in ("trip%20data", "trip data"):
        (tmp_path / name).mkdir()
    assert opened(f"file://{tmp_path}/trip%20data").url == f"{tmp_path}/trip%20data"


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        (f"https://example.org/trips/{NAME}", "https://example.org/trips"),
        (f"https://me:secret@example.org/trips/{NAME}?sig=secret", "https://example.org/trips"),
        (f"s3://taxi/trips/{NAME}", "s3://taxi/trips"),
        (f"/srv/trips/{NAME}", "/srv/trips"),
        (f"file:///srv/trips/{NAME}", "/srv/trips"),
        ("/srv/trips/green_*.parquet", "/srv/trips"),
    ],
)
def test_one_file_as_source(source: str, folder: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(source)
    assert str(caught.value).endswith(
        f": expected a folder of months, got the name of one file. Write its folder: {folder}"
    )
    assert "secret" not in str(caught.value)


# --- folders -----------------------------------------------------------------------------------


def test_a_file_with_another_name_as_source(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").touch()
    with pytest.raises(ConfigError, match=f"got the name of one file. Write its folder: {tmp_path}$"):
        opened(f"{tmp_path}/trips.csv")


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "trips").mkdir()
    assert opened("~/trips").url == opened("file://~/trips").url == f"{tmp_path}/trips"


@pytest.mark.parametrize("source", ["~nobody-of-this-name/trips", "/dev/null", "trips\0", "a/" * 50 + "b"])
def test_other_folders_that_do_not_exist(source: str) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        opened(source)


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: File name too long\."):
        opened("a" * 300)


def test_a_folder_below_one_that_may_not_be_read(open_folder: Path) -> None:
    (open_folder / "private").mkdir(mode=0)
    with ordinary_user(), pytest.raises(ConfigError) as caught:
        opened(f"{open_folder}/private/trips")
    assert str(caught.value) == (
        f"source '{open_folder}/private/trips': {open_folder}/private/trips cannot be read: Permission denied. "
        "Give this user read access to it, or choose another --source."
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


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_folder_that_does_not_exist(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sources.open_source(f"{prefix}{tmp_path}/trips")
    assert str(caught.value) == (
        f"source '{prefix}{tmp_path}/trips': there is no folder {tmp_path}/trips. "
        "Write sample, tlc, a folder that exists, or an https://, s3:// or gs:// URL."
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nosuch://taxi", "source 'nosuch://taxi': Protocol not known: nosuch"),
        ("https:///trip-data", "expected https://host/folder, got no usable host"),
        ("http://host:port/x", "expected https://host/folder, got no usable host"),
        ("file://", "expected file:///folder, got no folder"),
        ("memory://", "expected a bucket or a folder, got none"),
    ],
)
def test_a_url_that_cannot_be_understood(source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sources.open_source(source)


def test_credentials_before_a_bucket() -> None:
    with pytest.raises(ConfigError) as caught:
        opened("s3://AKIA:secret@taxi/trips")
    assert str(caught.value) == (
        "source 's3://taxi/trips': expected a bucket, got a user or a key before it. Write s3://taxi/trips, and "
        "put the credentials into the environment, for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    )


def test_the_patience_covers_a_server_that_is_away_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.01)
    with closed_port() as port, pytest.raises(DownloadError) as caught:
        ingest.open_source(
            Settings.parse({"source": f"ftp://me:secret@127.0.0.1:{port}/trips", "source_patience": 0.05})
        )
    assert str(caught.value).startswith(f"ftp://127.0.0.1:{port}/trips: ConnectionRefusedError: ")
    assert "Next attempt in" in caplog.text
    assert "secret" not in caplog.text


def test_tlc_is_its_site() -> None:
    source = sources.open_source("tlc")
    assert source.url == TLC_SITE
    assert source.key.startswith("tlc-trip-data-")
    assert source.key == sources.open_source(TLC_SITE + "/").key
    assert source.key != sources.open_source("https://example.org/trip-data").key


def test_a_source_that_the_locale_cannot_decode_is_refused(tmp_path: Path) -> None:
    """In an ASCII locale, `Bogotá` arrives as bytes that Python keeps as surrogates."""
    path = str(tmp_path / "Bogotá".encode().decode("ascii", "surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        sources.open_source(path)
    assert str(caught.value) == (
        f"source {path!r}: expected a text in the locale's encoding; got other bytes. Set a UTF-8 locale, for "
        "example LC_ALL=C.UTF-8, or choose another --source."
    )
