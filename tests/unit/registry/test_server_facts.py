"""Facts about a tracking store and the installed MLflow."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy
from support.tracked import fails_at, mlflow_client

from mlops.errors import TrackingError
from mlops.registry import server_facts
from mlops.registry.client import MlflowException
from mlops.registry.server_facts import ArtefactPlace


def test_the_client_version_is_that_of_the_installed_package() -> None:
    assert server_facts.client_version() == importlib.metadata.version("mlflow-skinny")


def test_a_new_store_has_tables_of_the_expected_revision(store: Path) -> None:
    found = server_facts.table_revision(f"sqlite:///{store / 'mlflow.db'}")
    assert found == server_facts.expected_revision()
    assert found


def test_the_revision_is_read_from_the_database(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'cafe'")
    assert server_facts.table_revision(f"sqlite:///{store / 'mlflow.db'}") == "cafe"


def test_a_database_without_tables_has_no_revision(tmp_path: Path) -> None:
    assert server_facts.table_revision(f"sqlite:///{tmp_path / 'empty.db'}") is None


def test_a_file_that_is_not_a_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as one\n" * 100)
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
        server_facts.table_revision(f"sqlite:///{tmp_path / 'text.db'}")


def test_artefact_places_of_the_experiments_that_exist(store: Path) -> None:
    mlflow_client().create_experiment("trip-duration-green", "mlflow-artifacts:/3")
    names = ["trip-duration-yellow", "trip-duration-green"]
    assert server_facts.artefact_places(names) == (
        ArtefactPlace("trip-duration-green", "mlflow-artifacts:/3"),
    )
    assert server_facts.artefact_places([]) == ()


def test_the_default_experiment_has_a_place_until_it_is_deleted(store: Path) -> None:
    found = server_facts.default_artefact_place()
    assert found is not None
    assert (found.experiment, bool(found.uri)) == ("Default", True)
    mlflow_client().delete_experiment("0")
    assert server_facts.default_artefact_place() is None


@pytest.mark.parametrize("method", ["get_experiment_by_name", "search_experiments"])
def test_places_that_cannot_be_looked_up_are_not_missing(method: str, store: Path) -> None:
    with (
        pytest.raises(TrackingError) as refused,
        fails_at(method, MlflowException("permission denied")),
    ):
        server_facts.artefact_places(["a"])
        server_facts.default_artefact_place()
    assert str(refused.value) == "looking up where artefacts go: MLflow failed: permission denied"
