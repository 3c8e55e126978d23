"""Inputs at a URL and in a bucket."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from support.month_site import Answer, Server

from mlops import config
from mlops.errors import ConfigError, DownloadError
from mlops.scoring import fetching
from mlops.scoring.inputs import ENDINGS, find_inputs
from mlops.scoring.settings import ScoringSettings

LINES = b"pickup_at,pickup_zone,dropoff_zone\n2023-07-03,1,2\n"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def bucket() -> str:
    """A folder with files in a bucket that is in memory."""
    address = f"memory://{uuid.uuid4()}/rides"
    for name in ("b.csv", "a.CSV", ".hidden.csv", "notes.txt", "deeper/c.csv"):
        with fsspec.open(f"{address}/{name}", "wb") as file:
            file.write(LINES)
    return address


def test_the_file_at_a_url_is_an_input_with_an_address_without_secrets(server: Server) -> None:
    server.holds(LINES)
    address = f"{server.url}/rides.csv?signature=geheim123"
    (found,) = find_inputs(ScoringSettings.parse({"input": address}))
    assert (found.label, found.stem, found.is_csv) == (f"{server.url}/rides.csv", "rides", True)
    assert found.path.read_bytes() == LINES
    assert [*config.state().months.glob("*/inputs/*")] == [found.path]  # beside the cached months
    assert ("GET", "/trip-data/rides.csv?signature=geheim123") in server.requests


def test_a_broken_download_is_repeated_and_leaves_nothing_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops.data.retries.BACKOFF_SECONDS", 0.0)
    server.holds(LINES)
    server.get = [Answer(LINES, sent=10), Answer(LINES)]
    (found,) = fetching.fetch(f"{server.url}/rides.csv", ENDINGS, 0.0)
    assert found.path.read_bytes() == LINES
    server.get = [Answer(LINES, sent=10)]
    with pytest.raises(DownloadError, match=r"other\.csv: the connection broke off; .* another --input\."):
        fetching.fetch(f"{server.url}/other.csv", ENDINGS, 0.0)
    assert [path.name for path in found.path.parent.iterdir()] == ["rides.csv"]


def test_a_url_without_a_file_is_refused(server: Server) -> None:
    server.head = server.get = [Answer(status=404)]
    with pytest.raises(ConfigError) as refused:
        fetching.fetch(f"{server.url}/rides.csv?signature=geheim123", ENDINGS, 0.0)
    assert str(refused.value) == f"input: there is no file {server.url}/rides.csv. Correct the address."


@pytest.mark.parametrize("path", ["/", "", "/trips/.."])
def test_a_url_must_name_a_file(server: Server, path: str) -> None:
    address = server.url.removesuffix("/trip-data")
    with pytest.raises(ConfigError) as refused:
        fetching.fetch(f"{address}{path}", ENDINGS, 0.0)
    problem = "expected the address of a file, got no name at its end. Correct the address."
    assert str(refused.value) == f"input: {address}{path.rstrip('/')}: {problem}"
    assert not config.state().months.exists()


def test_a_file_that_cannot_be_stored(server: Server) -> None:
    server.holds(LINES)
    name = f"{'long' * 70}.csv"
    with pytest.raises(
        DownloadError, match=rf"{name}: cannot be stored in .*inputs: File name too long\. Free"
    ):
        fetching.fetch(f"{server.url}/{name}", ENDINGS, 0.0)


def test_a_folder_of_a_bucket_is_all_its_files(bucket: str) -> None:
    found = fetching.fetch(bucket, ENDINGS, 0.0)
    assert [each.label for each in found] == [f"{bucket}/a.CSV", f"{bucket}/b.csv"]
    assert [each.path.read_bytes() for each in found] == [LINES] * 2


def test_one_file_of_a_bucket_is_an_input(bucket: str) -> None:
    (found,) = fetching.fetch(f"{bucket}/deeper/c.csv", ENDINGS, 0.0)
    assert (found.path.name, found.label) == ("c.csv", f"{bucket}/deeper/c.csv")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://{}/none", "memory://{}/none: no such file, folder or bucket. Check the address"),
        ("sftp3://host/a.csv", "input 'sftp3://host': Protocol not known: sftp3. Write sample"),
        (
            "s3://me:secret@bucket/a.csv",
            "input 's3://bucket': expected a bucket, got a user or a key before it.",
        ),
    ],
)
def test_an_address_that_cannot_be_read_is_refused(address: str, message: str) -> None:
    folder = str(uuid.uuid4())
    with pytest.raises((ConfigError, DownloadError)) as refused:
        fetching.fetch(address.format(folder), ENDINGS, 0.0)
    assert str(refused.value).startswith(message.format(folder))


def test_a_folder_without_inputs_is_refused(tmp_path: Path) -> None:
    address = f"memory://{uuid.uuid4()}"
    with fsspec.open(f"{address}/rides/notes.txt", "wb") as file:
        file.write(b"no input")
    with pytest.raises(ConfigError) as refused:
        fetching.fetch(f"{address}/rides", ENDINGS, 0.0)
    assert str(refused.value) == (
        f"input: {address}/rides: expected files ending in .parquet, .csv, .csv.gz; got none. Write the folder "
        "that has them."
    )
