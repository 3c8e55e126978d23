"""Facts about a tracking store and the installed MLflow."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from support.tracked import fails_at, mlflow_client

from mlops.errors import TrackingError
from mlops.registry import server_facts
from mlops.registry.client import MlflowException
from mlops.registry.server_facts import ArtefactPlace


def test_the_client_version_is_that_of_the_installed_package() -> None:
    assert server_facts.client_version() == importlib.metadata.version("mlflow-skinny")


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


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://owner:secret@localhost:5092/", "http://127.0.0.1:5092"),
        ("postgresql://me:secret@db:5433/mlflow?sslmode=require", "postgresql://db:5433/mlflow"),
    ],
)
def test_the_identity_of_a_store_has_no_secret(uri: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        get_experiment_by_name = staticmethod(lambda name: None)

    monkeypatch.setattr(server_facts, "tracking_uri", lambda: uri)
    monkeypatch.setattr(server_facts, "mlflow_client", Empty)

    assert server_facts.identity("trip-duration-green") == {"address": shown, "experiment": None}
