"""What the service asks the registry for. This imports MLflow, which takes seconds: `models` imports it late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mlops import config
from mlops.config import Settings
from mlops.errors import ConfigError, TrackingError, command
from mlops.registry import client, loading, monitoring_history, status_reading, versions
from mlops.registry.monitoring_record import History
from mlops.registry.signed_version import Version, service_of
from mlops.registry.status_records import ModelStatus
from mlops.serving.served import Served

CONNECT_SECONDS = 5.0  # for the registry's first answer


def connect() -> None:
    """Connect to the registry; calls that fail later are not repeated, because the next look comes soon.

    Raises
    ------
    TrackingError
        When it does not answer, or there is none yet: the service only reads, so it makes none.
    """
    uri = config.tracking_uri()
    file = config.sqlite_file(uri)
    if file and not file.exists():
        raise TrackingError(f"{file}: there is no registry yet. Train a model: {command('train --help')}")
    client.connect(uri, config.state_dir(), CONNECT_SECONDS)


def names() -> tuple[str, ...]:
    """Names of the registered models of all services.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    return tuple(name for name in versions.model_names() if _is_of_a_service(name))


def champion(name: str) -> Version | None:
    """The version of a model that answers, or None if it has no champion.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    return versions.champion(name)


def load(version: Version) -> Served:
    """A version, ready to answer: fetched if there is no copy, checked, loaded and tried.

    Raises
    ------
    UntrustedError, MlopsError, TrackingDownError, OSError
        As `loading.load` and `Served.of`.
    """
    return Served.of(loading.load(version, config.state().versions))


def histories(names: Sequence[str]) -> tuple[History, ...]:
    """The compared months of these models.

    Raises
    ------
    TrackingDownError
        When the registry does not answer.
    """
    return monitoring_history.collect(names)


def statuses(now: datetime) -> tuple[ModelStatus, ...]:
    """What an operator must know of the models of all services; `now` is in UTC.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    return status_reading.read(now, Settings().max_champion_age_months)


def _is_of_a_service(name: str) -> bool:
    try:
        service_of(name)
    except ConfigError:
        return False
    return True
