"""Results in a bucket. fsspec's file system in memory stands for one; no server of S3 is started here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from support.failures import closed_port
from support.results import MONTH, deliver, write

from mlops.errors import ConfigError, ExportError
from mlops.scoring.exports import open_export

TO = "memory://bucket/scores"


@pytest.fixture(autouse=True)
def bucket() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    filesystem.mkdir("/bucket")
    yield filesystem
    filesystem.store.clear()


def names(bucket: Any) -> list[str]:
    return sorted(path.removeprefix("/bucket/scores/") for path in bucket.store)


def refusal(to: str, **named: Any) -> str:
    with pytest.raises((ConfigError, ExportError)) as refused:
        open_export(to, **named)
    return str(refused.value)


def test_a_result_is_found_by_the_input_s_content(bucket: Any) -> None:
    export = open_export(f"{TO}/")
    assert export.find(MONTH, "aa") is None
    summary = deliver(export, rejected=2)
    assert export.where(MONTH) == f"{TO}/{MONTH}.parquet"
    assert names(bucket) == [f"{MONTH}.parquet", f"{MONTH}.rejected.parquet"]
    assert (open_export(TO).find(MONTH, "aa"), export.find(MONTH, "bb")) == (summary, None)


def test_a_result_replaces_an_earlier_one_with_its_rejected_rows(bucket: Any) -> None:
    export = open_export(TO)
    deliver(export, rejected=2)
    again = deliver(export, sha256="bb")
    assert names(bucket) == [f"{MONTH}.parquet"]
    assert (export.find(MONTH, "aa"), export.find(MONTH, "bb")) == (None, again)


def test_a_result_with_a_missing_or_damaged_object_is_none(bucket: Any) -> None:
    export = open_export(TO)
    deliver(export, rejected=1)
    bucket.rm_file(f"/bucket/scores/{MONTH}.rejected.parquet")
    assert export.find(MONTH, "aa") is None
    bucket.pipe_file(f"/bucket/scores/{MONTH}.parquet", b"PAR1 and no more")
    assert export.find(MONTH, "aa") is None


def test_the_answered_rows_come_last(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    export, upload = open_export(TO), type(bucket).put_file

    def fail_once(self: Any, path: str, target: str) -> None:
        if not target.endswith(".rejected.parquet"):
            raise OSError("the connection broke")
        upload(self, path, target)

    deliver(export, sha256="bb")
    with export.drafts(MONTH) as drafts:
        write(drafts, rejected=1)
        with monkeypatch.context() as patch, pytest.raises(ExportError) as refused:
            patch.setattr(type(bucket), "put_file", fail_once)
            export.put(drafts)
        assert str(refused.value) == (
            f"{TO}: OSError: the connection broke. Check the address, the credentials and the network, or choose "
            "another --to."
        )
        assert (names(bucket), export.find(MONTH, "aa")) == ([f"{MONTH}.rejected.parquet"], None)
        export.put(drafts)
    assert export.find(MONTH, "aa") is not None


def test_a_bucket_that_does_not_exist() -> None:
    assert refusal("memory://gone/scores") == (
        "memory://gone/scores: no such bucket. Check the address, the credentials and the network, or choose "
        "another --to."
    )


@pytest.mark.parametrize(
    ("to", "text"),
    [
        ("s3://", "to: expected a bucket, such as s3://bucket/folder; got 's3:'"),
        (
            "s3://AKIA123:secret-key-99@bucket/x",
            "to: expected a bucket, got a user or a key before it. Write s3://bucket/x, and put the credentials "
            "into the environment, for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
    ],
)
def test_an_address_without_a_bucket_or_with_a_key(to: str, text: str) -> None:
    assert refusal(to) == text


def test_an_s3_that_is_away_is_reported_within_seconds_and_without_keys() -> None:
    began = time.monotonic()
    with closed_port() as port:
        profile = {"AWS_ENDPOINT": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1"}
        keys = {"AWS_ACCESS_KEY_ID": "AKIA123", "AWS_SECRET_ACCESS_KEY": "secret-key-99"}
        text = refusal("s3://bucket/x", connect_timeout=1.0, profile=profile | keys)
    assert time.monotonic() - began < 30
    assert text.startswith("s3://bucket/x: ")
    assert f"127.0.0.1:{port}" in text
    assert not any(key in text for key in keys.values())
