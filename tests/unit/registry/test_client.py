"""A server must be there and answer; a clear error says which one is not."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import sqlalchemy
from support.scripted_mlflow import BROKEN_OFF, Serve

from mlops.errors import TrackingDownError, TrackingError
from mlops.registry import client
from mlops.registry.client import MlflowException, mlflow, probe, tracking_errors


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of this machine at which nobody listens, and nobody else can start to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


# --- Whether it is there ------------------------------------------------------------------------------------


def refusal(uri: str, timeout: float = 1.0, kind: type[TrackingError] = TrackingDownError) -> str:
    started = time.monotonic()
    with pytest.raises(TrackingError) as refused:
        probe(uri, timeout)
    assert time.monotonic() - started < timeout + 2
    assert type(refused.value) is kind
    return str(refused.value)


def test_a_dead_server_is_refused_at_once(dead_port: int) -> None:
    text = refusal(f"http://127.0.0.1:{dead_port}")

    assert text.startswith(f"tracking server http://127.0.0.1:{dead_port}: no answer within 1 s (")
    assert "Connection refused" in text
    assert text.endswith("). Start it (`make mlflow`), or set MLFLOW_TRACKING_URI to one that runs.")


def test_a_silent_server_is_refused_in_time(silent_port: int) -> None:
    text = refusal(f"http://127.0.0.1:{silent_port}", timeout=0.5)

    assert text.startswith(f"tracking server http://127.0.0.1:{silent_port}: no answer within 0.5 s (")


@pytest.mark.parametrize("status", [500, 404, 403])
def test_a_server_other_than_mlflow_is_refused(status: int, serve: Serve) -> None:
    uri = serve(status).uri

    kind = TrackingDownError if status >= 500 else TrackingError  # a proxy says that nobody is behind it
    assert refusal(f"{uri}/", kind=kind) == (
        f"tracking server {uri}: /health answered {status}; expected 200. "
        "Is MLFLOW_TRACKING_URI the address of an MLflow server?"
    )


def test_a_server_that_answers_is_fine(serve: Serve) -> None:
    probe(serve(200).uri, 1.0)


def test_a_local_store_is_fine_and_its_folder_made(tmp_path: Path) -> None:
    probe(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", 1.0)

    assert list((tmp_path / "new").iterdir()) == []


def test_a_local_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = refusal(f"sqlite:///{tmp_path / 'file' / 'state' / 'mlflow.db'}", kind=TrackingError)

    assert text == (
        f"{tmp_path / 'file' / 'state'}: this folder for the tracking store cannot be created (Not a directory). "
        "Set MLOPS_STATE_DIR to another folder."
    )


def test_a_dead_database_is_refused_at_once(dead_port: int) -> None:
    text = refusal(f"postgresql+psycopg2://me:secret@127.0.0.1:{dead_port}/mlflow")

    assert text.startswith(
        f"tracking server postgresql+psycopg2://127.0.0.1:{dead_port}/mlflow: no answer within 1 s ("
    )
    assert "secret" not in text


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:secret@127.0.0.1:{port}",
        "http://me:se@secret@127.0.0.1:{port}",
        "http://me:secret@127.0.0.1:no-port",
        "http://me:secret@",
        "postgresql+psycopg2://me:secret@127.0.0.1:no-port/mlflow",
        "postgresql+nodriver://me:secret@127.0.0.1:{port}/mlflow",
    ],
)
def test_no_password_is_shown(uri: str, dead_port: int) -> None:
    assert "secret" not in refusal(uri.format(port=dead_port))


@pytest.mark.usefixtures("patience")
def test_no_password_is_shown_when_mlflow_itself_fails(serve: Serve, tmp_path: Path) -> None:
    server = serve(200, BROKEN_OFF)
    with pytest.raises(TrackingDownError) as refused:
        client.connect(server.uri.replace("//", "//me:secret@"), tmp_path, 1.0)

    assert str(refused.value).startswith(f"tracking server {server.uri}: MLflow failed: ")
    assert "secret" not in str(refused.value)


def test_connecting_says_for_how_long_to_keep_trying(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client._Patience, "seconds", 0.0)  # and back, whatever is made of it
    client.connect(f"sqlite:///{store / 'mlflow.db'}", store, 5.0, patience=7.0)

    assert client._Patience.seconds == 7.0
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 1
    assert mlflow.get_tracking_uri() == f"sqlite:///{store / 'mlflow.db'}"


# --- Away, or refusing --------------------------------------------------------------------------------------


def answered(status: int) -> requests.HTTPError:
    answer = requests.Response()
    answer.status_code = status
    return requests.HTTPError(f"status {status}", response=answer)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MlflowException("no database", error_code=2), TrackingDownError),
        (MlflowException("no such run", error_code=1000), TrackingError),
        (sqlalchemy.exc.OperationalError("select", {}, Exception("gone")), TrackingDownError),
        (sqlalchemy.exc.IntegrityError("insert", {}, Exception("twice")), TrackingError),
        (requests.ConnectionError("refused"), TrackingDownError),
        (requests.Timeout("silent"), TrackingDownError),
        (answered(502), TrackingDownError),
        (answered(404), TrackingError),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_outage_is_distinguished_from_a_refusal(error: Exception, kind: type[TrackingError]) -> None:
    with pytest.raises(TrackingError) as reported, tracking_errors("asking"):
        raise error

    assert type(reported.value) is kind
    assert str(reported.value).startswith("asking: MLflow failed: ")
    assert reported.value.__cause__ is error


def test_an_error_without_words_is_named_and_a_long_one_cut() -> None:
    with (
        pytest.raises(TrackingError, match=r"^asking: MLflow failed: ConnectionError$"),
        tracking_errors("asking"),
    ):
        raise requests.ConnectionError
    with pytest.raises(TrackingError) as reported, tracking_errors("asking"):
        raise MlflowException("x" * 1000 + "\nmore")

    assert str(reported.value) == f"asking: MLflow failed: {'x' * 300}"


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), tracking_errors("dividing"):
        _ = 1 / 0
