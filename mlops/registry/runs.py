"""Runs: a parent run per run key, its trials, and what each logs.

A parent run holds everything about a version: its id is the version's
``run_id``, and a later attempt at the same run key continues it. No run stays
RUNNING: an exception ends it; if the process dies unexpectedly (SIGKILL, or
SIGTERM under `mage run`), a small guard process ends it; if the guard cannot,
the next run of the model or the doctor does.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops import config, locks
from mlops.registry import metric_names
from mlops.registry.client import (
    mlflow_client,
    require_own_server,
    with_retry,
)  # first: it sets what mlflow reads
from mlops.registry.signed_version import OUTCOME as OUTCOME
from mlops.registry.signed_version import RUN_KEY as RUN_KEY

# isort: split
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking.context.registry import resolve_tags
from mlflow.tracking.context.system_environment_context import SystemEnvironmentContext
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID as MLFLOW_PARENT_RUN_ID
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

LOCK_TAG = "mlops.lock"
MAX_DESCRIPTION = 4800  # characters: every server takes a tag of 5,000
WHOLE = ("FINISHED", "FAILED")  # statuses of a trial that was logged completely


class Run:
    """A parent run in progress; see `start_run`."""

    def __init__(self, run_id: str, experiment_id: str) -> None:
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.client = mlflow_client()

    @with_retry("logging parameters")
    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log parameters of the run, as text."""
        self._log(params=[Param(k, str(v)) for k, v in parameters.items()])

    @with_retry("logging metrics")
    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics of the run, given by their plain names (`metric_names`)."""
        self._log(metrics=_metrics(metrics))

    @with_retry("setting tags")
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        self._log(tags=[RunTag(k, str(v)) for k, v in tags.items()])

    def _log(self, **entries: Sequence[Any]) -> None:
        """Log now, also where MLflow is set to log later (``MLFLOW_ENABLE_ASYNC_LOGGING``)."""
        self.client.log_batch(self.run_id, **entries, synchronous=True)

    @with_retry("naming the run")
    def rename(self, name: str) -> None:
        """Give the run another name: a list of runs then says what became of it. No code reads names."""
        self.client.update_run(self.run_id, name=name)

    @with_retry("logging a text")
    def log_text(self, name: str, text: str) -> None:
        """Log a text as an artefact."""
        self.client.log_text(self.run_id, text, name)

    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """Log a table as a CSV artefact."""
        self.log_text(name, table.to_csv(index=False))

    @with_retry("logging files")
    def log_files(self, paths: Sequence[Path], folder: str) -> None:
        """Log files as artefacts."""
        for path in paths:
            self.client.log_artifact(self.run_id, str(path), folder)

    def log_card(self, markdown: str, page: str) -> None:
        """Log the model card: two artefacts, and its first sections as the run's description in MLflow's pages."""
        self.log_text("model_card.md", markdown)
        self.log_text("model_card.html", page)
        self.set_tags({MLFLOW_RUN_NOTE: _description(markdown)})

    @with_retry("logging source files")
    def log_months(self, months: pd.DataFrame) -> None:
        """Log source files (``url``, ``sha256``, ``role``, ``month``, ``rows``) as the run's datasets."""
        inputs = [
            DatasetInput(
                Dataset(
                    name=Path(row["url"]).name,
                    digest=str(row["sha256"])[:36],
                    source_type="url",
                    source=json.dumps({"url": row["url"]}),
                    profile=json.dumps({"num_rows": int(row["rows"])}),
                ),
                [InputTag("mlflow.data.context", str(row["role"]))],
            )
            for row in months.to_dict("records")
        ]
        self.client.log_inputs(self.run_id, inputs)

    @with_retry("deleting {1}")
    def delete_trial(self, name: str) -> None:
        """Delete the trials of this name: their result has changed since they were logged."""
        for trial in trials_of(self.experiment_id, self.run_id):
            if trial.info.run_name == name:
                self.client.delete_run(trial.info.run_id)

    @with_retry("looking up trials")
    def trials_logged(self) -> set[str]:
        """Names of the trials that are already logged completely."""
        trials = trials_of(self.experiment_id, self.run_id)
        return {str(trial.info.run_name) for trial in trials if trial.info.status in WHOLE}

    def log_trial(
        self, name: str, parameters: Mapping[str, Any], metrics: Mapping[str, float], error: str
    ) -> None:
        """Log a finished trial as a nested run; it ends only when complete, so incomplete ones can be deleted."""
        ended = int(time.time() * 1000)
        trial_id = self._begin_trial(name, ended - int(metrics.get("seconds", 0) * 1000))
        self._fill_trial(trial_id, name, parameters, metrics, error)
        self._end_trial(trial_id, name, "FAILED" if error else "FINISHED", ended)

    @with_retry("logging {1}")
    def _begin_trial(self, name: str, started: int) -> str:
        tags = {MLFLOW_PARENT_RUN_ID: self.run_id, LOCK_TAG: lock_place()}
        trial = self.client.create_run(self.experiment_id, start_time=started, tags=tags, run_name=name)
        return str(trial.info.run_id)

    @with_retry("logging {2}")
    def _fill_trial(
        self,
        trial_id: str,
        name: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        error: str,
    ) -> None:
        self.client.log_batch(
            trial_id,
            metrics=_metrics(metrics),
            params=[Param(k, str(v)) for k, v in parameters.items()],
            tags=[RunTag("error", error[:4000])] if error else [],
            synchronous=True,
        )

    @with_retry("logging {2}")
    def _end_trial(self, trial_id: str, name: str, status: str, ended: int) -> None:
        self.client.set_terminated(trial_id, status, end_time=ended)


def origin_tags() -> dict[str, str]:
    """MLflow's tags for where a run or model comes from: user, program, git commit; none of MLFLOW_RUN_CONTEXT."""
    return dict(resolve_tags(ignore=[SystemEnvironmentContext]))  # type: ignore[list-item]


def lock_place() -> str:
    """Where this process's locks are: of two processes with the same place, only one can hold a lock."""
    url = locks.lock_url()
    return config.without_credentials(url) if url else f"{socket.gethostname()}:{config.state_dir()}"


@with_retry("looking up a run")
def metrics_of(run_id: str) -> dict[str, float]:
    """Metrics that a run logged, by their plain names (`metric_names`)."""
    return metric_names.read(mlflow_client().get_run(run_id).data.metrics)


@with_retry("looking up a run")
def parameters_of(run_id: str) -> dict[str, str]:
    """Parameters that a run logged."""
    return dict(mlflow_client().get_run(run_id).data.params)


@with_retry("looking up a run")
def tags_of(run_id: str) -> dict[str, str]:
    """Tags of a run."""
    return dict(mlflow_client().get_run(run_id).data.tags)


@with_retry("fetching {1}")
def fetch_artefact(run_id: str, name: str, folder: Path) -> Path:
    """Path of a file that a run logged, downloaded into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    require_own_server(str(mlflow_client().get_run(run_id).info.artifact_uri))
    return Path(mlflow_client().download_artifacts(run_id, name, str(folder)))


def trials_of(experiment_id: str, run_id: str) -> list[Any]:
    """The trials of a run, as MLflow's runs."""
    client, query = mlflow_client(), f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}'"
    return list(client.search_runs([experiment_id], query, max_results=50_000))


def _description(card: str) -> str:
    """The first sections of a card, as many as fit, and where the rest is.

    Headings are two levels lower: MLflow's page uses a line height of 18 pixels, so the lines of a larger heading
    would overlap. No other line of a card begins with "#": text from outside is escaped.
    """
    sections = re.split("^(?=#)", re.sub("^#", "###", card, flags=re.MULTILINE), flags=re.MULTILINE)
    ends = itertools.accumulate(map(len, sections))
    kept = max(2, sum(end <= MAX_DESCRIPTION for end in ends))  # at least: nothing, and the card's title
    rest = "The whole card is in `model_card.md` and `model_card.html`.\n" if kept < len(sections) else ""
    return "".join(sections[:kept]) + rest


def _metrics(metrics: Mapping[str, float]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, value, now, 0) for name, value in metric_names.to_log(metrics).items()]
