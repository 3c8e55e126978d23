"""Experiments in MLflow: runs that are compared with a champion and never registered.

Each has an experiment of MLflow of its own, ``<model>.experiment.<name>``. No search of the model's own runs meets
these: they are no start of a later search, and no version is missing for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from mlops.registry import metric_names, run_lifecycle
from mlops.registry.client import mlflow_client, with_retry
from mlops.registry.runs import MLFLOW_PARENT_RUN_ID, RUN_KEY
from mlops.registry.signed_version import PREFIX
from mlops.registry.versions import Version

# isort: split
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

INFIX = ".experiment."
NAME, NOTE = "experiment", "experiment_note"  # tags of a run
VERDICT, REASON = "verdict", "reason"
CHAMPION, CHAMPION_RUN = (
    "champion",
    "champion_run",
)  # the version that it was compared with, and that one's run
DIFFERS = "differs"  # what differs from the champion's run, in a few words
NONE = "none"
MAX_TAG = 4900  # characters that every server takes
MAX_RUNS = 50_000  # MLflow's limit for one answer


@dataclass(frozen=True)
class Tried:
    """A run of an experiment.

    Parameters
    ----------
    model, name, note : str
        The registered model that it was compared with; name and note of the experiment.
    run_id, run_key, status : str
        Of the run; the status as in `run_history.PastRun`.
    month : str
        The test month, YYYY-MM; empty if the run ended before it logged its settings.
    champion, champion_run : str
        Number and run of the version that it was compared with, or `NONE`; empty if it ended before.
    verdict, reason, differs : str
        For people; empty if it ended before.
    rmse, champion_rmse : float or None
        Minutes, both on the same trips.
    at : datetime
        When it started, UTC.
    page : str
        Place of the run among MLflow's pages, for `server_facts.page`.
    """

    model: str
    name: str
    note: str
    run_id: str
    run_key: str
    status: str
    month: str
    champion: str
    champion_run: str
    verdict: str
    reason: str
    differs: str
    rmse: float | None
    champion_rmse: float | None
    at: datetime
    page: str

    @property
    def is_judged(self) -> bool:
        """Whether it has a verdict."""
        return self.status == "FINISHED" and bool(self.verdict)


def place_of(model: str, name: str) -> str:
    """Name of the experiment of MLflow, also of its lock and its checkpoints.

    Examples
    --------
    >>> place_of("trip-duration-green", "short trips")
    'trip-duration-green.experiment.short trips'
    """
    return f"{model}{INFIX}{name}"


def is_place(name: str) -> bool:
    """Whether this is the name of an experiment, not of a registered model.

    Examples
    --------
    >>> is_place("trip-duration-green.experiment.short trips"), is_place("trip-duration-green")
    (True, False)
    """
    return INFIX in name


@with_retry("looking up experiments")
def places() -> tuple[str, ...]:
    """Names of all experiments of this project's models, without those that were deleted in MLflow.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    found = mlflow_client().search_experiments(
        filter_string=f"name LIKE '{PREFIX}%{INFIX}%'", max_results=1000
    )
    return tuple(sorted(str(each.name) for each in found))


@with_retry("describing an experiment")
def describe(experiment_id: str, note: str) -> None:
    """Show the note as the experiment's description in MLflow's pages; an empty note changes nothing.

    Raises
    ------
    TrackingError
        When the server refuses or does not answer.
    """
    if note:
        mlflow_client().set_experiment_tag(experiment_id, MLFLOW_RUN_NOTE, note)  # the same name


def named(name: str, note: str) -> dict[str, str]:
    """Tags that say which experiment a run belongs to."""
    return {NAME: name, NOTE: note}


def tags_of(champion: Version | None) -> dict[str, str]:
    """Tags that say which champion a run was compared with."""
    return {
        CHAMPION: champion.number if champion else NONE,
        CHAMPION_RUN: champion.run_id if champion else NONE,
    }


def verdict_tags(outcome: str, why: str, differs: str) -> dict[str, str]:
    """Tags of the verdict, in the order in which they are set; with the last one, the run counts as judged."""
    return {DIFFERS: differs[:MAX_TAG], REASON: why[:MAX_TAG], VERDICT: outcome}


def find(place: str, key: str, champion: Version | None) -> Tried | None:
    """The newest judged run of a run key that was compared with this champion, or None.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    same = tags_of(champion)
    for tried in runs_of(place):
        against = {CHAMPION: tried.champion, CHAMPION_RUN: tried.champion_run}
        if tried.is_judged and tried.run_key == key and against == same:
            return tried
    return None


def list_all(model: str = "") -> tuple[Tried, ...]:
    """All runs of all experiments, of one model or of all, newest first.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    start = place_of(model, "") if model else ""
    chosen = [place for place in places() if place.startswith(start)]
    found = [tried for place in chosen for tried in runs_of(place)]
    return tuple(sorted(found, key=lambda tried: tried.at, reverse=True))


@with_retry("{0}: looking up its runs")
def runs_of(place: str) -> tuple[Tried, ...]:
    """Runs of one experiment, newest first; none if there is no such experiment.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    experiment_id = run_lifecycle.find_experiment(place)
    if experiment_id is None:
        return ()
    newest_first = ["attributes.start_time DESC"]
    found = mlflow_client().search_runs(
        [experiment_id], f"tags.{RUN_KEY} LIKE '%'", max_results=MAX_RUNS, order_by=newest_first
    )
    return tuple(_tried(place, run) for run in found if MLFLOW_PARENT_RUN_ID not in run.data.tags)


def page_of(experiment_id: str, run_id: str) -> str:
    """Place of a run among MLflow's pages, for `server_facts.page`."""
    return f"experiments/{experiment_id}/runs/{run_id}"


def _tried(place: str, run: Any) -> Tried:
    tags, measured = run.data.tags, metric_names.read(run.data.metrics)
    model, _, name = place.partition(INFIX)
    return Tried(
        model=model,
        name=name,
        note=tags.get(NOTE, ""),
        run_id=str(run.info.run_id),
        run_key=tags.get(RUN_KEY, ""),
        status=str(run.info.status),
        month=run.data.params.get("month", ""),
        **{field: tags.get(field, "") for field in (CHAMPION, CHAMPION_RUN, VERDICT, REASON, DIFFERS)},
        rmse=measured.get("test_rmse"),
        champion_rmse=measured.get("test_rmse_champion"),
        at=datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc),
        page=page_of(str(run.info.experiment_id), str(run.info.run_id)),
    )
