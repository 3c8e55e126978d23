"""Versions, aliases and their journal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from mlops.config import without_credentials
from mlops.tracking import (
    MLFLOW_PARENT_RUN_ID,
    MlflowException,
    end_dead_run,
    mlflow,
    tracking_errors,
    uninterrupted,
)

CHAMPION, CHALLENGER = "champion", "challenger"
WARM_TRIALS = 3  # of the newest run, best first; the best of them is what it chose


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


@dataclass(frozen=True)
class Start:
    """Hyperparameters that did well in a run about an earlier month, and where they are from."""

    parameters: dict[str, float]
    run_id: str
    month: str
    whose: str


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
def warm_starts(name: str, before: str, parameters: Collection[str]) -> tuple[Start, ...]:
    """Parameters to begin a search with: the champion's, and the best of the newest run, all about earlier months.

    Parameters
    ----------
    name : str
        The registered model, and its experiment.
    before : str
        The test month, YYYY-MM; a run about it, or about a later one, tells nothing here.
    parameters : collection of str
        Those that are searched.

    Raises
    ------
    TrackingError
        When the tracking server does not answer.
    """
    client = mlflow.MlflowClient()
    with tracking_errors(f"{name}: looking up earlier runs"):
        experiment = client.get_experiment_by_name(name)
        # Only parent runs know a month, so its presence tells them from trials.
        query = "attributes.status = 'FINISHED' and params.month LIKE '%-%'"
        runs = client.search_runs([experiment.experiment_id], query) if experiment else []
        earlier = sorted((run for run in runs if run.data.params["month"] < before), key=_month_and_start)
        reigning = _aliased(name, CHAMPION)
        chosen = [("champion", run) for run in earlier if reigning and run.info.run_id == reigning.run_id]
        if earlier:
            newest = earlier[-1]
            trials = client.search_runs(
                [newest.info.experiment_id],
                f"attributes.status = 'FINISHED' and tags.`{MLFLOW_PARENT_RUN_ID}` = '{newest.info.run_id}'",
                order_by=["metrics.rung DESC", "metrics.validation_rmse ASC"],
                max_results=WARM_TRIALS,
            )
            chosen += [(str(trial.info.run_name), trial) for trial in trials]
    starts: dict[tuple[float, ...], Start] = {}
    for whose, run in chosen:
        known = {name: float(run.data.params[name]) for name in parameters if name in run.data.params}
        month = run.data.params.get("month", newest.data.params["month"])
        starts.setdefault(tuple(known.values()), Start(known, run.info.run_id, month, whose))
    return tuple(starts.values())


def _month_and_start(run: Any) -> tuple[str, int]:
    return str(run.data.params["month"]), int(run.info.start_time)


@uninterrupted()
def predict(version: Version, frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Predictions of a registered version through its artefact, fetched into `folder`, as anyone loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    return pd.DataFrame(mlflow.pyfunc.load_model(version.uri, dst_path=str(folder)).predict(frame))


@uninterrupted()
def register(
    name: str,
    model_uri: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str = "",
    *,
    promotion: str | None = None,
) -> Version:
    """New version of the model with the alias `challenger`, and `champion` too if `promotion` says why.

    All of it or none: when an alias cannot be moved, the version is gone and the aliases are where they were.

    Raises
    ------
    TrackingError
        When the registry refuses.
    """
    client = mlflow.MlflowClient()
    with tracking_errors(f"registering {name}"):
        with contextlib.suppress(MlflowException):
            client.create_registered_model(name, description="Minutes that a requested taxi ride will take.")
        before = {alias: _aliased(name, alias) for alias in (CHALLENGER, CHAMPION)}
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
            if promotion is not None:
                _move_alias(CHAMPION, version, promotion)
        except BaseException:
            _withdraw(version, before)
            raise
    return version


def _withdraw(version: Version, before: Mapping[str, Version | None]) -> None:
    """Delete a version, its aliases back where they were, and the journal told so."""
    client = mlflow.MlflowClient()
    client.delete_model_version(version.name, version.number)  # takes its aliases along
    told = {entry["alias"] for entry in journal(version.name) if entry["to"] == version.number}
    for alias, previous in before.items():
        if previous is not None and alias in told:
            _move_alias(alias, previous, f"version {version.number} was withdrawn")


def settle(run_id: str) -> None:
    """End a run whose process is gone: FINISHED if its version has all its aliases, else KILLED, its version gone.

    What the guard does for a dead parent.
    """
    client, status = mlflow.MlflowClient(), "KILLED"
    for found in client.search_model_versions(f"run_id = '{run_id}'"):
        number, aliases = str(found.version), client.get_registered_model(found.name).aliases
        due = [CHALLENGER, *([CHAMPION] if found.tags.get("verdict") == "promote" else [])]
        if all(str(aliases.get(alias)) == number for alias in due):
            status = "FINISHED"
        else:
            client.delete_model_version(found.name, number)
    end_dead_run(run_id, status)


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
