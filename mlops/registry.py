"""Versions, aliases and their journal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pandas as pd

from mlops.config import without_credentials
from mlops.tracking import MlflowException, mlflow, tracking_errors, uninterrupted

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Version:
    """A registered version of a model."""

    name: str
    number: str
    run_id: str
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """What MLflow loads."""
        return f"models:/{self.name}/{self.number}"


def model_name(service: str, *, sample: bool) -> str:
    """Registered name: sample data can never become a real service's champion.

    Examples
    --------
    >>> model_name("green", sample=False), model_name("green", sample=True)
    ('trip-duration-green', 'trip-duration-sample')
    """
    return "trip-duration-sample" if sample else f"trip-duration-{service}"


@uninterrupted()
def champion(name: str) -> Version | None:
    """The version that the alias `champion` points at, or None when there is none.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    with tracking_errors(f"{name}: looking up the champion"):
        return _aliased(name, CHAMPION)


def _aliased(name: str, alias: str) -> Version | None:
    try:
        found = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model, no alias
            return None
        raise
    return Version(name, str(found.version), str(found.run_id), dict(found.tags))


@uninterrupted()
def predict(version: Version, frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions of a registered version, through its artefact as anyone would load it."""
    return pd.DataFrame(mlflow.pyfunc.load_model(version.uri).predict(frame))


@uninterrupted()
def register(
    name: str, model_uri: str, run_id: str, tags: Mapping[str, str], description: str = ""
) -> Version:
    """New version of the model, with the alias `challenger`; all of it or none.

    Raises
    ------
    TrackingError
        When the registry refuses.
    """
    client = mlflow.MlflowClient()
    with tracking_errors(f"registering {name}"):
        with contextlib.suppress(MlflowException):
            client.create_registered_model(name, description="Minutes that a requested taxi ride will take.")
        made = client.create_model_version(
            name,
            model_uri,
            run_id=run_id,
            tags=dict(tags),
            description=description,
            model_id=model_uri.removeprefix("models:/"),
        )
        version = Version(name, str(made.version), run_id, dict(tags))
        try:
            _move_alias(CHALLENGER, version, "newly registered")
        except BaseException:
            client.delete_model_version(name, made.version)
            raise
    return version


@uninterrupted()
def promote(version: Version, reason: str) -> None:
    """Move the alias `champion` to this version, journalled first.

    Raises
    ------
    TrackingError
        When the registry refuses.
    """
    with tracking_errors(f"promoting {version.uri}"):
        _move_alias(CHAMPION, version, reason)


def _move_alias(alias: str, version: Version, reason: str) -> None:
    client = mlflow.MlflowClient()
    before = _aliased(version.name, alias)
    entry = {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "alias": alias,
        "from": before.number if before else None,
        "to": version.number,
        "reason": reason,
    }
    number = len(journal(version.name)) + 1
    client.set_registered_model_tag(version.name, f"journal.{number:06d}", json.dumps(entry))
    client.set_registered_model_alias(version.name, alias, version.number)


def journal(name: str) -> tuple[dict[str, Any], ...]:
    """Every move of an alias of the model, oldest first."""
    tags = mlflow.MlflowClient().get_registered_model(name).tags
    return tuple(json.loads(tags[key]) for key in sorted(tags) if key.startswith("journal."))


def link(version: Version) -> str:
    """Where a person looks at the version: a page of the server, or how to get one for a local store."""
    uri = str(mlflow.get_tracking_uri())
    if uri.startswith("http"):
        return f"{without_credentials(uri).rstrip('/')}/#/models/{version.name}/versions/{version.number}"
    return (
        f"`make mlflow` shows it at http://127.0.0.1:5000/#/models/{version.name}/versions/{version.number}"
    )
