"""What is expected of a version, and a process or server that does not answer."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.tracked import NAME
from support.verified import URI, refused, sign_again

from mlops.errors import ConfigError, TrackingDownError
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.registry import client, versions
from mlops.registry.verification import Expected, digest, verify, write_sample

SECRETS = (
    "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY",
    "SLACK_WEBHOOK_URL", "LOCK_URL", "MAGE_DATABASE_CONNECTION_URL", "JWT_SECRET", "ANY_OTHER",
)  # fmt: skip

# --- What is expected ---------------------------------------------------------------------------------------


def test_a_sample_is_evenly_spaced_each_request_beside_its_answer(tmp_path: Path) -> None:
    requests = make_requests(11).assign(unknown_to_the_model=1).set_axis(range(50, 61))
    predictions = pd.DataFrame({"duration_minutes": np.arange(11.0)}, index=requests.index)
    stored = pd.read_parquet(write_sample(tmp_path / "sample.parquet", requests, predictions, rows=3))

    assert stored["duration_minutes"].tolist() == [0, 5, 10]
    expected = requests[list(REQUEST_COLUMNS)].iloc[[0, 5, 10]].reset_index(drop=True)
    pd.testing.assert_frame_equal(stored[list(REQUEST_COLUMNS)], expected)
    assert list(stored.columns) == [*REQUEST_COLUMNS, "duration_minutes"]


def test_a_sample_of_fewer_trips_is_all_of_them(tmp_path: Path) -> None:
    requests = make_requests(5)
    write_sample(tmp_path / "sample.parquet", requests, pd.DataFrame({"duration_minutes": np.ones(5)}))

    assert len(pd.read_parquet(tmp_path / "sample.parquet")) == 5


def test_a_digest_is_about_names_and_bytes_and_not_about_where(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return digest(tmp_path / name)

    whole = folder("one", {"a": "1", "b": "2"})
    assert folder("two", {"b": "2", "a": "1"}) == whole
    others = [
        {"a": "1"},
        {"a": "12", "b": ""},
        {"a": "1", "c": "2"},
        {"a": "2", "b": "1"},
        {"a": "1", "f/b": "2"},
    ]
    assert len({whole, *(folder(f"other {i}", files) for i, files in enumerate(others))}) == 6


def test_a_months_file_goes_with_its_predictions(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^raw: expected predictions, service and month together with .* got pred"
    ):
        Expected(tmp_path, None, Path("raw"), "green", "2023-06")


# --- The verification process -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$",
         "the verification process died: SIGKILL; the system kills a process when memory runs out"),
        ("kill -SEGV $$", "the verification process died: SIGSEGV"),
        (
            "echo Traceback >&2; echo 'Error: postgresql://me:secret@db refused' >&2; exit 3",
            "the verification process died: exit status 3; Error: postgresql://db refused",
        ),
        ("exit 1", "the verification process died: exit status 1; no error output"),
        ("echo passed", "the verification process should answer in JSON; got 'passed\\n'"),
        ("echo '[true]'", "the verification process should answer in JSON; got '[true]\\n'"),
        (
            "echo '{\"passed\": true}'",
            "the verification process should answer in JSON; got '{\"passed\": true}\\n'",
        ),
        ("exec sleep 60", "the verification did not end within 0.5 s and was stopped"),
    ],
)  # fmt: skip
def test_a_process_that_does_not_answer_proves_nothing(
    script: str,
    said: str,
    version: Path,
    sample_only: Expected,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    assert refused(sample_only, tmp_path, timeout=0.5) == said


# --- The tracking server ------------------------------------------------------------------------------------


def test_a_server_that_is_away_says_nothing_about_a_version(
    version: Path, sample_only: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = versions.get(NAME, "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as bound:  # nobody listens here, and nobody else can start to
        bound.bind(("127.0.0.1", 0))
        uri = f"http://me:secret@127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setattr(client._Connection, "uri", uri)
        with pytest.raises(
            TrackingDownError, match=f"^fetching {URI}: MLflow failed: no answer from http"
        ) as away:
            verify(known, sample_only, tmp_path / "scratch")

    assert "secret" not in str(away.value)


# --- What the process is given ------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["verified", "scored"])
def test_a_version_that_is_asked_sees_no_password(
    asked: str, version: Path, sample_only: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "opensesame")
    seen = tmp_path / "environment"
    with next(version.glob("code/*/model/duration_model.py")).open("a") as code:
        code.write(f"\nimport os, pathlib\npathlib.Path({str(seen)!r}).write_text(repr(dict(os.environ)))\n")
    signed = sign_again(versions.get(NAME, "1"), version)
    if asked == "verified":
        assert verify(signed, sample_only, tmp_path / "scratch").passed
    else:
        assert len(versions.predict(signed, make_requests(3), tmp_path / "scored")) == 3

    assert "opensesame" not in seen.read_text()
    assert not [name for name in SECRETS if name in seen.read_text()]
    assert "'PATH'" in seen.read_text()
