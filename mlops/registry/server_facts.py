"""Facts about the tracking server and the installed MLflow: versions, commands, where artefacts go."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.config import sqlite_file, without_credentials
from mlops.registry.client import mlflow, mlflow_client, tracking_uri, with_retry

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # codes for what is not there, or has no id
# MLflow 3.17 shows its pages in the mode for chat models, whose menu has no registry, unless the address says so.
MODE = "workflowType=machine_learning"


@dataclass(frozen=True)
class ArtefactPlace:
    """Where the artefacts of an experiment go.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    uri : str
        The place that the server chose when the experiment was created; it may contain a password.
    """

    experiment: str
    uri: str


def client_version() -> str:
    """Version of the installed MLflow, such as ``3.1.0``."""
    return str(mlflow.__version__)


def command(arguments: str) -> str:
    """A command of MLflow's own command line for the connected tracking server, for people to copy."""
    uri = shlex.quote(without_credentials(tracking_uri()))
    return f"MLFLOW_TRACKING_URI={uri} .venv/bin/mlflow {arguments}"


def page(place: str) -> str:
    """Address of a page of MLflow: of the server, or of the one that ``make mlflow`` starts for a local store.

    Parameters
    ----------
    place : str
        As ``models/trip-duration-green``, without a query.
    """
    uri, port = tracking_uri(), os.environ.get("MLFLOW_PORT") or "5000"  # as in the Makefile
    start = without_credentials(uri).rstrip("/") if is_server() else f"http://127.0.0.1:{port}"
    return f"{start}/#/{place}?{MODE}"


def shown_at(place: str) -> str:
    """Where a person sees a page of MLflow: its address, or for a local store the command that opens it."""
    return page(place) if is_server() else f"`make mlflow` shows it at {page(place)}"


def is_server() -> bool:
    """Whether the tracking store is a server, which serves MLflow's pages; else it is a local file."""
    return tracking_uri().startswith("http")


@with_retry("experiment {0}")
def identity(experiment: str) -> dict[str, Any]:
    """What tells this process's tracking store from others, as JSON: its address, and the named experiment.

    The address has no credentials. The experiment's id and time of creation (ms) stay the same when the server
    gets another address, or when the store is restored from a backup; None where there is no such experiment.
    """
    uri = tracking_uri()
    file = sqlite_file(uri)
    address = f"sqlite:///{file.resolve()}" if file else without_credentials(uri)
    # MLflow would create a missing SQLite file.
    found = mlflow_client().get_experiment_by_name(experiment) if file is None or file.exists() else None
    made = [str(found.experiment_id), found.creation_time] if found and found.creation_time else None
    return {"address": address.replace("//localhost:", "//127.0.0.1:"), "experiment": made}


def is_same_store(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two results of `identity`, noted at different times, are about one tracking store.

    A server's address decides only where nothing else is known: `make mlflow` and `make stack` use the same port.

    Examples
    --------
    >>> noted = {"address": "http://127.0.0.1:5000", "experiment": ["1", 1795763463123]}
    >>> is_same_store(noted, {**noted, "address": "http://127.0.0.1:5092"})
    True
    >>> is_same_store(noted, {**noted, "experiment": None})
    False
    """
    if one["experiment"] and one["experiment"] == other["experiment"]:
        return True
    is_server = one["address"].startswith("http")
    return one["address"] == other["address"] and not (is_server and one["experiment"])


@with_retry("looking up where artefacts go")
def artefact_places(experiments: Iterable[str]) -> tuple[ArtefactPlace, ...]:
    """Artefact places of the experiments with these names; names that do not exist are skipped.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    tracking = mlflow_client()
    found = [tracking.get_experiment_by_name(name) for name in experiments]
    return tuple(ArtefactPlace(str(e.name), str(e.artifact_location)) for e in found if e is not None)


@with_retry("looking up where artefacts go")
def default_artefact_place() -> ArtefactPlace | None:
    """Artefact place of MLflow's own first experiment, or None where it was deleted or may not be read.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    found = mlflow_client().search_experiments(filter_string="name = 'Default'")
    return ArtefactPlace(str(found[0].name), str(found[0].artifact_location)) if found else None
