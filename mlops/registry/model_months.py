"""One metric series for each registered model: its errors over the test months, which MLflow draws as curves.

It is one finished run in an experiment of its own, so nothing that lists the runs of a model meets it. The step
of a metric is the month, 202306, and its time is the month's start. The run has a tag ``month.2023-06`` for each
month, the number of the version that was tested: the newest complete one.

All of it comes from versions and their runs, so it can be made again: the next `write` adds a missing month. After
a repeated training of a month a new run takes the place of the old one, because MLflow never forgets a value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from mlops.month import Month, MonthError
from mlops.registry import metric_names, run_lifecycle, runs, server_facts, versions
from mlops.registry.client import (  # first: it sets what mlflow reads
    MlflowException,
    mlflow_client,
    with_retry,
)
from mlops.registry.versions import Version

# isort: split
from mlflow.entities import Metric, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

MODEL: Final = "mlops.model_by_month"  # tag of the run
MEASURES: Final = (
    "test_rmse", "test_mae", "test_rmse_pair_median", "test_rmse_champion", "test_coverage_80", "test_coverage_95",
)  # fmt: skip  # plain names
_PREFIX: Final = "month."
_NOTE: Final = (
    "Each point is a test month of {name}, and the newest version that was tested on it. The curves are in the "
    "tab **Model metrics**; with **Time (wall)** as X axis they are drawn over the calendar. `test/rmse_champion` "
    "is the error of the champion of that time, `test/rmse_pair_median` that of the baseline, on the same trips."
)


def experiment_of(name: str) -> str:
    """Name of the experiment with the series of a registered model.

    Examples
    --------
    >>> experiment_of("trip-duration-green")
    'trip-duration-green-by-month'
    """
    return f"{name}-by-month"


@with_retry("{0}: writing its metrics by month")
def write(name: str) -> str:
    """Add the test months that the series of a registered model lacks; repeating it changes nothing.

    The caller holds the model's lock, so that only one process writes.

    Returns
    -------
    str
        Where a person sees the curves: a page of the server, or the command that opens one; empty without a month.

    Raises
    ------
    TrackingError
        When the server refuses or does not answer, or the experiment was deleted in MLflow.
    """
    newest, found = _newest(name), _runs(name)
    known = _months(found[0]) if found else {}
    missing = {month: version for month, version in newest.items() if known.get(month) != version.number}
    if not (found or missing):
        return ""
    is_repeated = bool(missing.keys() & known.keys())
    kept = _make(name) if is_repeated or not found else found[0]
    if missing:
        _fill(kept.info.run_id, newest if is_repeated else missing)
    for old in found:
        if old.info.run_id != kept.info.run_id:
            mlflow_client().delete_run(old.info.run_id)
    return _shown_at(kept)


def _newest(name: str) -> dict[str, Version]:
    """The newest complete version that was tested on each month, without a month that somebody made no month."""
    found: dict[str, Version] = {}
    for version in versions.list_all(name):
        with contextlib.suppress(MonthError):
            month = str(Month.parse(version.tags.get("test_month", "")))
            found |= {month: version} if version.is_complete else {}
    return found


def _runs(name: str) -> list[Any]:
    """MLflow's runs with the series, newest first: only the first counts, the others wait to be deleted."""
    experiment_id = run_lifecycle.find_experiment(experiment_of(name))
    if experiment_id is None:
        return []
    return list(mlflow_client().search_runs([experiment_id], f"tags.`{MODEL}` = '{name}'"))


def _make(name: str) -> Any:
    """A new run for the series."""
    experiment_id = run_lifecycle.make_experiment(experiment_of(name))
    tags = {**runs.origin_tags(), MODEL: name, MLFLOW_RUN_NOTE: _NOTE.format(name=name)}
    return mlflow_client().create_run(experiment_id, tags=tags, run_name=f"{name} by test month")


def _fill(run_id: str, months: Mapping[str, Version]) -> None:
    """Log points and tags of these months in one request, so that a month has both or neither; end the run."""
    points = [point for month, version in sorted(months.items()) for point in _points(month, version)]
    tags = [RunTag(f"{_PREFIX}{month}", version.number) for month, version in months.items()]
    mlflow_client().log_batch(run_id, metrics=points, tags=tags, synchronous=True)
    mlflow_client().set_terminated(run_id)  # also if the process that made it was killed


def _points(month: str, version: Version) -> list[Metric]:
    """What the run of a version measured on its test month; none if the run is gone."""
    try:
        measured = metric_names.read(mlflow_client().get_run(version.run_id).data.metrics)
    except MlflowException as error:
        if error.error_code in server_facts.ABSENT:
            return []
        raise
    first = Month.parse(month)
    at = int(datetime(first.year, first.number, 1, tzinfo=timezone.utc).timestamp() * 1000)
    return [
        Metric(metric_names.grouped(each), measured[each], at, 100 * first.year + first.number)
        for each in MEASURES
        if each in measured
    ]


def _shown_at(run: Any) -> str:
    return server_facts.shown_at(f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}/model-metrics")


def _months(run: Any) -> dict[str, str]:
    """Version number of each month in the series."""
    return {
        key.removeprefix(_PREFIX): value for key, value in run.data.tags.items() if key.startswith(_PREFIX)
    }
