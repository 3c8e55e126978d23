"""Versions: register one per run key, sign it, look versions up, find the champion."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from mlops.errors import PromotionError
from mlops.registry import alias_log, metric_names, server_facts, signature
from mlops.registry.alias_log import CHAMPION
from mlops.registry.artifact import Logged
from mlops.registry.client import MlflowException, mlflow_client, tracking_uri, with_retry
from mlops.registry.runs import OUTCOME as OUTCOME
from mlops.registry.runs import RUN_KEY, trials_of
from mlops.registry.signed_version import PREFIX as PREFIX
from mlops.registry.signed_version import Version as Version
from mlops.registry.signed_version import signature_of, signed_files
from mlops.registry.version_files import predict as predict

logger = logging.getLogger(__name__)

WARM_TRIALS = 3  # from the newest run, best first; the first is the one that the run chose


@dataclass(frozen=True)
class Start:
    """Hyperparameters that did well in a run about an earlier month, and where they come from."""

    parameters: dict[str, float]
    run_id: str
    month: str
    whose: str


@dataclass(frozen=True)
class Earlier:
    """What a finished run about an earlier test month logged; metrics by their plain names (`metric_names`)."""

    month: str
    metrics: dict[str, float]
    parameters: dict[str, str]


def model_name(service: str, *, sample: bool) -> str:
    """Name of the registered model; sample data has its own, so it can never become a service's champion.

    Examples
    --------
    >>> model_name("green", sample=False), model_name("green", sample=True)
    ('trip-duration-green', 'trip-duration-sample')
    """
    return f"{PREFIX}sample" if sample else f"{PREFIX}{service}"


@with_retry("{0}: looking up the champion")
def champion(name: str) -> Version | None:
    """The version that the alias `champion` points at, or None when there is none.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    return _champion(name)


def _champion(name: str) -> Version | None:
    try:
        return _version(mlflow_client().get_model_version_by_alias(name, CHAMPION))
    except MlflowException as error:
        if error.error_code in server_facts.ABSENT:  # no model, no alias, or one whose version was deleted
            return None
        raise


def require_signed_champion(name: str) -> None:
    """Raise if the champion is a version of this project that cannot be loaded, because it is not signed.

    Raises
    ------
    UntrustedError
        As `signed_version.signed_files`.
    """
    reigning = champion(name)
    if reigning and reigning.is_ours:
        signed_files(reigning)


def _version(found: Any) -> Version:
    at = found.creation_timestamp and datetime.fromtimestamp(found.creation_timestamp / 1000, timezone.utc)
    return Version(str(found.name), str(found.version), str(found.run_id or ""), dict(found.tags), at or None)


@with_retry("{0}: looking up version {1}")
def get(name: str, number: str) -> Version:
    """A version by its number.

    Raises
    ------
    PromotionError
        When it does not exist; the message lists the existing ones.
    """
    try:
        return _version(mlflow_client().get_model_version(name, number))
    except MlflowException as error:
        if error.error_code not in server_facts.ABSENT:
            raise
    existing = ", ".join(found.number for found in _versions(name)) or "none"
    raise PromotionError(f"{name}: there is no version {number}; existing versions: {existing}")


@with_retry("{0}: looking up versions")
def list_all(name: str) -> tuple[Version, ...]:
    """All versions of a registered model, oldest first."""
    return _versions(name)


def _versions(name: str, and_also: str = "") -> tuple[Version, ...]:
    found = mlflow_client().search_model_versions(f"name = '{name}'{and_also}", max_results=10_000)
    return tuple(sorted(map(_version, found), key=lambda version: int(version.number)))


@with_retry("looking up registered models")
def model_names() -> tuple[str, ...]:
    """Names of this project's registered models; the server may also hold models of other projects."""
    found = mlflow_client().search_registered_models(f"name LIKE '{PREFIX}%'", max_results=1000)
    return tuple(str(model.name) for model in found)


@with_retry("{0}: looking up a run key")
def find(name: str, key: str) -> Version | None:
    """The newest version of a run key, or None."""
    found = _versions(name, f" and tags.{RUN_KEY} = '{key}'")
    return found[-1] if found else None


@with_retry("{0}: looking for lost versions")
def lost_runs(name: str) -> dict[str, bool]:
    """Finished runs whose version is missing: a run gets FINISHED only after it registered a version.

    Returns
    -------
    dict of str to bool
        By run id, whether the journal names the run: then the registry had its version, and somebody deleted it.
        Else the registry is older than the run, for example restored from a backup.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    tracking = mlflow_client()
    experiment = tracking.get_experiment_by_name(name)
    if experiment is None:
        return {}
    query = f"attributes.status = 'FINISHED' and tags.{RUN_KEY} LIKE '%'"
    finished = tracking.search_runs([experiment.experiment_id], query, max_results=10_000)
    registered = {version.run_id for version in _versions(name)}
    movers = [entry.by for entry in alias_log.read_all(name)]
    return {
        run_id: any(run_id in by for by in movers)
        for run_id in (str(run.info.run_id) for run in finished)
        if run_id not in registered
    }


@with_retry("looking up the months of {0.uri}")
def trips_learnt_from(version: Version) -> int | None:
    """Trips of a version's training and validation months; None if its run is gone, or logged no months.

    Raises
    ------
    TrackingError
        When the tracking server does not answer.
    """
    try:
        inputs = mlflow_client().get_run(version.run_id).inputs
    except MlflowException as error:
        if error.error_code in server_facts.ABSENT:
            return None
        raise
    rows = [
        int(json.loads(given.dataset.profile or "{}").get("num_rows", 0))
        for given in (inputs.dataset_inputs if inputs else [])
        if "test" not in [tag.value for tag in given.tags]
    ]
    return sum(rows) if rows else None


@with_retry("{0}: looking up earlier runs")
def warm_starts(name: str, before: str, parameters: Collection[str]) -> tuple[Start, ...]:
    """Hyperparameters to start a search with: the champion's and the newest run's best, from earlier months.

    Parameters
    ----------
    name : str
        The registered model, and its experiment.
    before : str
        The test month, YYYY-MM; runs about this month or later ones are not used.
    parameters : collection of str
        Names of the hyperparameters in the search.

    Raises
    ------
    TrackingError
        When the tracking server does not answer.
    """
    earlier, reigning = _finished_runs(name, before), _champion(name)
    chosen = [("champion", run) for run in earlier if reigning and run.info.run_id == reigning.run_id]
    if earlier:
        newest = earlier[-1]
        chosen += [(str(trial.info.run_name), trial) for trial in _best_trials(newest)]
    starts: dict[tuple[float, ...], Start] = {}
    for whose, run in chosen:
        known = {name: _number(run.data.params[name]) for name in parameters if name in run.data.params}
        month = run.data.params.get("month", newest.data.params["month"])
        if all(map(math.isfinite, known.values())):  # else somebody changed the run
            starts.setdefault(tuple(known.values()), Start(known, run.info.run_id, month, whose))
    return tuple(starts.values())


@with_retry("{0}: looking up earlier runs")
def earlier_runs(name: str, before: str) -> tuple[Earlier, ...]:
    """The newest finished run about each test month before the month `before` (YYYY-MM), oldest month first.

    Raises
    ------
    TrackingError
        When the tracking server does not answer.
    """
    newest = {str(run.data.params["month"]): run.data for run in _finished_runs(name, before)}
    return tuple(
        Earlier(month, metric_names.read(data.metrics), dict(data.params)) for month, data in newest.items()
    )


def _best_trials(run: Any) -> list[Any]:
    """The best trials of a run, best first: of the highest rung, then with the lowest error.

    They are sorted here: older trials have only the plain names of metrics, and a server sorts by one name.
    """

    def rank(trial: Any) -> tuple[float, float]:
        measured = metric_names.read(trial.data.metrics)
        return -measured.get("rung", 0.0), measured.get("validation_rmse", math.inf)

    finished = [t for t in trials_of(run.info.experiment_id, run.info.run_id) if t.info.status == "FINISHED"]
    return sorted(finished, key=rank)[:WARM_TRIALS]


def _finished_runs(name: str, before: str) -> list[Any]:
    """Finished runs about test months before a month, sorted by test month, then by start."""
    client = mlflow_client()
    experiment = client.get_experiment_by_name(name)
    # Only parent runs log a month; trials do not.
    query = "attributes.status = 'FINISHED' and params.month LIKE '%-%'"
    runs = client.search_runs([experiment.experiment_id], query) if experiment else []
    earlier = [run for run in runs if run.data.params["month"] < before]
    return sorted(earlier, key=lambda run: (run.data.params["month"], run.info.start_time))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@with_retry("registering {0}")
def register(
    name: str, logged: Logged, run_id: str, key: str, tags: Mapping[str, str], description: str = ""
) -> Version:
    """Register and sign the version of a run key; returns the existing one if an earlier try registered it.

    Raises
    ------
    TrackingError
        When the registry refuses.
    """
    client = mlflow_client()
    for other in _versions(name, f" and tags.{RUN_KEY} = '{key}'"):
        if other.run_id == run_id:
            return other
    with contextlib.suppress(MlflowException):
        client.create_registered_model(name)  # `descriptions` says what it is
    source, model_id = logged.uri, logged.uri.removeprefix("models:/")
    # With its address, MLflow would look the model up in the store that the process is set to.
    if not tracking_uri().startswith("http"):
        source = str(client.get_logged_model(model_id).artifact_location)
    own = {RUN_KEY: key, signature.TAG: signature_of(name, run_id, logged.files)}
    created = client.create_model_version(
        name, source, run_id=run_id, tags={**tags, **own}, description=description, model_id=model_id
    )
    return _version(created)


@with_retry("{0.name}: removing what an unfinished run left")
def remove_unfinished(version: Version) -> None:
    """Delete other versions of its run key, never a champion.

    Attempts left them whose work folder is lost. Or the server handled late what this run had sent once more.
    """
    for other in _versions(version.name, f" and tags.{RUN_KEY} = '{version.tags[RUN_KEY]}'"):
        if other.number != version.number and not other.is_complete and _champion(version.name) != other:
            logger.warning("%s: removing version %s, which an unfinished run left", other.name, other.number)
            mlflow_client().delete_model_version(other.name, other.number)


@with_retry("tagging {0.uri}")
def tag(version: Version, tags: Mapping[str, str]) -> Version:
    """Add these tags to the version, in their order; returns the version with all its tags."""
    for key, value in tags.items():
        mlflow_client().set_model_version_tag(version.name, version.number, key, value[:4900])
    return replace(version, tags={**version.tags, **tags})


@with_retry("describing {0.uri}")
def describe(version: Version, text: str) -> None:
    """Set the version's description: one line, shown in the registry's list."""
    mlflow_client().update_model_version(version.name, version.number, description=text)


def link(version: Version) -> str:
    """Where to see the version: a page of the server, or for a local store the command that opens one."""
    return server_facts.shown_at(page_of(version))


def page_of(version: Version) -> str:
    """Place of a version among MLflow's pages, for `server_facts.page`."""
    return f"models/{version.name}/versions/{version.number}"


def page_of_model(name: str) -> str:
    """Place of a registered model among MLflow's pages, for `server_facts.page`."""
    return f"models/{name}"
