"""The first check of a tracking store without a server: an SQLite file or a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest
from support.refusals import refusal

from mlops.errors import ConfigError, TrackingDownError, TrackingError
from mlops.registry.client import probe


def test_a_local_store_is_fine_and_its_folder_made(tmp_path: Path) -> None:
    probe(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", 1.0)

    assert list((tmp_path / "new").iterdir()) == []


def test_a_local_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError) as refused:
        probe(f"sqlite:///{tmp_path / 'file' / 'state' / 'mlflow.db'}", 1.0)

    assert str(refused.value) == (
        f"{tmp_path / 'file' / 'state'}: this folder for the tracking store cannot be created (Not a directory). "
        "Set MLOPS_STATE_DIR to another folder."
    )


def test_a_dead_database_is_refused_at_once(dead_port: int) -> None:
    reported = refusal(
        f"postgresql+psycopg2://me:secret@127.0.0.1:{dead_port}/mlflow", kind=TrackingDownError
    )

    assert reported.startswith("no answer within 1 s (")
    assert "Connection refused" in reported


@pytest.mark.parametrize(
    "said",
    [
        'connection to server failed: FATAL:  password authentication failed for user "me"',
        'connection to server failed: FATAL:  database "mlflow" does not exist',
    ],
)
def test_a_database_that_refuses_is_not_called_dead(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psycopg2.OperationalError(said)

    monkeypatch.setattr(psycopg2, "connect", refuse)
    reported = refusal("postgresql+psycopg2://me:secret@127.0.0.1:5432/mlflow")
    assert reported == f"it refuses: {' '.join(said.split())}. Correct MLFLOW_TRACKING_URI."


def test_what_is_no_address_of_a_database() -> None:
    assert refusal("postgresql+nodriver://me:secret@127.0.0.1/mlflow") == (
        "not an address of a database. Expected postgresql+psycopg2://USER:PASSWORD@HOST:PORT/NAME."
    )


def test_an_address_that_can_be_read_in_two_ways() -> None:
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_URI: expected an address such as ") as raised:
        refusal("postgresql+psycopg2://me:secret@127.0.0.1:no-port/mlflow")
    assert "secret" not in str(raised.value)
