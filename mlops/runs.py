"""Runs: a parent run per run key, its trials, and what each logs.

A parent run holds everything about a version: it is the version's ``run_id``,
and a later attempt at the same run key goes on with it. No run stays RUNNING:
an exception ends it; where a process ends without a word (SIGKILL, or SIGTERM
under `mage run`) a small guard process ends it; what even the guard could not
end, the next run of the model does, or the doctor.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Literal

from mlops.tracking import MlflowException, impatient, mlflow, patient  # first: it sets what mlflow reads

# isort: split
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID as MLFLOW_PARENT_RUN_ID
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from mlops import config, locks
from mlops.errors import BusyError, TrackingError
from mlops.intervals import INTERVAL_COLUMNS

logger = logging.getLogger(__name__)

RUN_KEY, ATTEMPT, LOCK_TAG, HEARTBEAT = "run_key", "attempt", "mlops.lock", "mlops.heartbeat"
OUTCOME = "outcome"  # tag that a version gets last: judged, proven, its aliases where they belong
WHOLE = ("FINISHED", "FAILED")  # how a trial ends that was logged to its end
HEARTBEAT_SECONDS, STALE_SECONDS = 30.0, 15 * 60.0
MODEL_MODULES = ("__init__", "errors", "features", "encoder", "forest", "intervals", "model")
MODEL_PACKAGES = ("mlflow-skinny", "numpy", "pandas", "pyarrow", "xgboost", "holidays", "python-dateutil")

# A passenger count is a whole number or null; pandas has several ways to say so, and MLflow's `long` refuses
# most of them. So the column is declared open and optional, and the model reads it.
SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.datetime, "pickup_at"),
            ColSpec(DataType.long, "pickup_zone"),
            ColSpec(DataType.long, "dropoff_zone"),
            ColSpec(DataType.double, "distance_miles"),
            ColSpec(AnyType(), "passenger_count", required=False),  # type: ignore[no-untyped-call]
        ]
    ),
    outputs=Schema([ColSpec(DataType.double, name) for name in ("duration_minutes", *INTERVAL_COLUMNS)]),
)


class Run:
    """A parent run that is under way; see `start_run`."""

    def __init__(self, run_id: str, experiment_id: str) -> None:
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.client = mlflow.MlflowClient()

    @patient("logging parameters")
    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Parameters of the run, as text."""
        self.client.log_batch(self.run_id, params=[Param(k, str(v)) for k, v in parameters.items()])

    @patient("logging metrics")
    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Numbers of the run."""
        self.client.log_batch(self.run_id, metrics=_metrics(metrics))

    @patient("setting tags")
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the run."""
        self.client.log_batch(self.run_id, tags=[RunTag(k, str(v)) for k, v in tags.items()])

    @patient("logging a text")
    def log_text(self, name: str, text: str) -> None:
        """A text as an artefact."""
        self.client.log_text(self.run_id, text, name)

    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """A table as a CSV artefact."""
        self.log_text(name, table.to_csv(index=False))

    @patient("logging files")
    def log_files(self, paths: Sequence[Path], folder: str) -> None:
        """Files as artefacts."""
        for path in paths:
            self.client.log_artifact(self.run_id, str(path), folder)

    def log_card(self, markdown: str, page: str) -> None:
        """The model card: two artefacts, and the run's description in the UI."""
        self.log_text("model_card.md", markdown)
        self.log_text("model_card.html", page)
        self.set_tags({MLFLOW_RUN_NOTE: markdown})

    @patient("logging source files")
    def log_months(self, months: pd.DataFrame) -> None:
        """Source files (``url``, ``sha256``, ``role``, ``month``, ``rows``) as the run's datasets."""
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

    @patient("deleting {1}")
    def delete_trial(self, name: str) -> None:
        """Delete the trials of this name, which are not what they were when they were logged."""
        for trial in _trials(self.experiment_id, self.run_id):
            if trial.info.run_name == name:
                self.client.delete_run(trial.info.run_id)

    @patient("looking up trials")
    def trials_logged(self) -> set[str]:
        """Names of the trials that are logged already, and whole."""
        trials = _trials(self.experiment_id, self.run_id)
        return {str(trial.info.run_name) for trial in trials if trial.info.status in WHOLE}

    def log_trial(
        self, name: str, parameters: Mapping[str, Any], metrics: Mapping[str, float], error: str
    ) -> None:
        """A finished trial as a nested run; only what is logged whole is ended, and the rest swept."""
        ended = int(time.time() * 1000)
        trial_id = self._begin_trial(name, ended - int(metrics.get("seconds", 0) * 1000))
        self._fill_trial(trial_id, name, parameters, metrics, error)
        self._end_trial(trial_id, name, "FAILED" if error else "FINISHED", ended)

    @patient("logging {1}")
    def _begin_trial(self, name: str, started: int) -> str:
        tags = {MLFLOW_PARENT_RUN_ID: self.run_id, LOCK_TAG: lock_place()}
        trial = self.client.create_run(self.experiment_id, start_time=started, tags=tags, run_name=name)
        return str(trial.info.run_id)

    @patient("logging {2}")
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
        )

    @patient("logging {2}")
    def _end_trial(self, trial_id: str, name: str, status: str, ended: int) -> None:
        self.client.set_terminated(trial_id, status, end_time=ended)

    @patient("logging the model")
    def log_model(self, artefact: Path, example: pd.DataFrame) -> str:
        """URI of the logged model: the artefact's files with signature, example, requirements and code.

        What an earlier attempt logged of it, whole or not, is deleted.
        """
        code = artefact.parent / "code" / "mlops"
        code.mkdir(parents=True, exist_ok=True)
        for module in MODEL_MODULES:
            shutil.copy(Path(__file__).parent / f"{module}.py", code)
        query = f"source_run_id = '{self.run_id}'"
        for earlier in self.client.search_logged_models([self.experiment_id], query):
            self.client.delete_logged_model(earlier.model_id)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Any type hint is inferred as AnyType")  # declared so
            info = mlflow.pyfunc.log_model(
                name="model",
                loader_module="mlops.model",
                data_path=str(artefact),
                code_paths=[str(code)],
                signature=SIGNATURE,
                input_example=example,
                pip_requirements=[f"{package}=={installed(package)}" for package in MODEL_PACKAGES],
            )
        return str(info.model_uri)


@contextlib.contextmanager
def start_run(experiment: str, run_name: str, key: str, attempt: str = "") -> Iterator[Run]:
    """The run of a run key, a new one or the one that `attempt`, as its work folder has it, did not finish.

    It ends with the block: FINISHED, FAILED on an error, KILLED on an interrupt. The caller holds the model's lock
    (`work_lock`): whoever held it before is gone, and what it left RUNNING is closed.
    """
    experiment_id = _experiment(experiment)
    close_orphans(experiment_id)
    run_id = _begin(experiment_id, run_name, key, attempt or key)
    guard, status, ended = _start_guard(experiment), "FINISHED", threading.Event()
    heart = threading.Thread(target=_beat, args=(run_id, ended), daemon=True)
    heart.start()
    try:
        yield Run(run_id, experiment_id)
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        with contextlib.suppress(AttributeError):  # for whoever tells of it
            error.run_id = run_id  # type: ignore[attr-defined]
        with contextlib.suppress(TrackingError), impatient():  # the error itself matters more than its tag
            _set_tag(run_id, "error", f"{type(error).__name__}: {error}"[:4000])
        raise
    finally:
        ended.set()
        heart.join()
        _finish(run_id, experiment_id, status)
        guard.communicate(b"ended")


@patient("logging a failure")
def log_failure(experiment: str, run_name: str, error: BaseException) -> str:
    """Id of the run that shows an error: its own, or a new one, FAILED, where it came before a run began."""
    known = getattr(error, "run_id", "")
    if known:
        return str(known)
    client = mlflow.MlflowClient()
    tags = {"error": f"{type(error).__name__}: {error}"[:4000]}
    run_id = str(client.create_run(_experiment(experiment), run_name=run_name, tags=tags).info.run_id)
    client.set_terminated(run_id, "FAILED")
    return run_id


def close_orphans(experiment_id: str) -> int:
    """How many RUNNING runs were ended as KILLED because whoever ran them is gone.

    The caller holds the model's lock. That proves the death of those who held the same one; of a run under another
    lock (of a host that shares only the tracking server) its last sign of life tells.
    """
    closed = 0
    for run in _running(experiment_id):
        cause = _cause_of_death(run.data.tags, run.info.start_time)
        if cause and _is_settled(run.info.run_id):
            mark_finished(run.info.run_id)
        elif cause:
            _end(run.info.run_id, "KILLED", cause)
            closed += 1
            if MLFLOW_PARENT_RUN_ID not in run.data.tags:
                logger.warning("run %s was left RUNNING: now KILLED, because %s", run.info.run_id, cause)
    return closed


def clear_up(experiment: str) -> int | None:
    """How many orphans of a model were closed; None if somebody is at work on it, who did it before starting."""
    found = _experiment_of(experiment)
    try:
        with work_lock(experiment, "refuse", "closing runs whose process is gone"):
            return close_orphans(found) if found else 0
    except BusyError:
        return None


def work_lock(
    name: str, on_busy: Literal["wait", "refuse"], about: str
) -> contextlib.AbstractContextManager[locks.Lock]:
    """One run of a registered model at a time."""
    return locks.hold(f"{name}.work", on_busy=on_busy, about=about)


def lock_place() -> str:
    """Where this process's locks are: two processes with the same place cannot hold a lock at once."""
    url = locks.lock_url()
    return config.without_credentials(url) if url else f"{socket.gethostname()}:{config.state_dir()}"


@patient("ending run {0}")
def mark_finished(run_id: str) -> None:
    """FINISHED, where a run was cut off between its last word and its end."""
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    if run.info.status != "FINISHED":
        if "error" in run.data.tags:
            client.delete_tag(run_id, "error")
        client.set_terminated(run_id, "FINISHED")


@patient("looking up a run")
def metrics_of(run_id: str) -> dict[str, float]:
    """Numbers that a run logged."""
    return dict(mlflow.MlflowClient().get_run(run_id).data.metrics)


@patient("looking up a run")
def parameters_of(run_id: str) -> dict[str, str]:
    """Parameters that a run logged."""
    return dict(mlflow.MlflowClient().get_run(run_id).data.params)


@patient("looking up a run")
def tags_of(run_id: str) -> dict[str, str]:
    """Tags of a run."""
    return dict(mlflow.MlflowClient().get_run(run_id).data.tags)


@patient("fetching {1}")
def fetch_artefact(run_id: str, name: str, folder: Path) -> Path:
    """A file that a run logged, fetched into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name, dst_path=str(folder)))


@patient("experiment {0}")
def _experiment(name: str) -> str:
    client = mlflow.MlflowClient()
    found = _experiment_of(name)
    if found:
        return found
    # A server chooses where artefacts go; a bare database would put them in the working directory.
    remote = str(mlflow.get_tracking_uri()).startswith("http")
    artifacts = None if remote else (config.state_dir() / "artifacts").as_uri()
    # So that the server shows the pages for training, not those for chat models.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return str(client.create_experiment(name, artifacts, tags=kind))
    except MlflowException:
        raced = _experiment_of(name)
        if raced is None:
            raise
        return raced


def _experiment_of(name: str) -> str | None:
    found = mlflow.MlflowClient().get_experiment_by_name(name)
    return str(found.experiment_id) if found and found.lifecycle_stage == "active" else None


@patient("starting a run")
def _begin(experiment_id: str, run_name: str, key: str, attempt: str) -> str:
    """The run of this attempt, RUNNING again if it was cut off before."""
    client = mlflow.MlflowClient()
    tags = {RUN_KEY: key, ATTEMPT: attempt, LOCK_TAG: lock_place(), HEARTBEAT: _now()}
    query = f"attributes.status != 'FINISHED' and tags.{ATTEMPT} = '{attempt}'"
    earlier = client.search_runs(
        [experiment_id], query, order_by=["attributes.start_time DESC"], max_results=1
    )
    if not earlier:
        return str(mlflow.start_run(experiment_id=experiment_id, run_name=run_name, tags=tags).info.run_id)
    run_id = str(earlier[0].info.run_id)
    logger.info("going on with run %s, which an earlier attempt did not finish", run_id)
    client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
    if "error" in earlier[0].data.tags:
        client.delete_tag(run_id, "error")
    _sweep(experiment_id, run_id)
    mlflow.start_run(run_id=run_id)  # last: a try that fails after it could not be made again in this process
    return run_id


def _finish(run_id: str, experiment_id: str, status: str) -> None:
    """End the run, half-logged trials first; a server that stays away leaves it to the next run."""
    try:
        with contextlib.nullcontext() if status == "FINISHED" else impatient():
            _tidy(run_id, experiment_id)
            _terminate(run_id, status)
    except TrackingError as error:
        logger.warning("run %s could not be ended, the next run does: %s", run_id, error)
    finally:
        with contextlib.suppress(Exception):  # here only so that MLflow forgets it in this process
            mlflow.end_run(status)


@patient("ending run {0}")
def _terminate(run_id: str, status: str) -> None:
    mlflow.MlflowClient().set_terminated(run_id, status)


@patient("ending run {0}")
def _end(run_id: str, status: str, cause: str) -> None:
    client = mlflow.MlflowClient()
    client.set_tag(run_id, "error", cause)
    client.set_terminated(run_id, status)


@patient("tagging run {0}")
def _set_tag(run_id: str, name: str, value: str) -> None:
    mlflow.MlflowClient().set_tag(run_id, name, value)


@patient("looking up trials")
def _tidy(run_id: str, experiment_id: str) -> None:
    _sweep(experiment_id, run_id)


def _sweep(experiment_id: str, run_id: str) -> None:
    """Delete trials of the run that were only half logged; their whole is in the journal."""
    client = mlflow.MlflowClient()
    for trial in _trials(experiment_id, run_id):
        if trial.info.status not in WHOLE:
            client.delete_run(trial.info.run_id)


def _trials(experiment_id: str, run_id: str) -> list[Any]:
    client, query = mlflow.MlflowClient(), f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}'"
    return list(client.search_runs([experiment_id], query, max_results=50_000))


@patient("looking up the version of run {0}")
def _is_settled(run_id: str) -> bool:
    found = mlflow.MlflowClient().search_model_versions(f"run_id = '{run_id}'")
    return any(OUTCOME in version.tags for version in found)


@patient("looking up runs")
def _running(experiment_id: str) -> list[Any]:
    return list(mlflow.MlflowClient().search_runs([experiment_id], "attributes.status = 'RUNNING'"))


def _cause_of_death(tags: Mapping[str, str], started: int) -> str:
    """Why whoever ran this is gone, in words; nothing if it may live."""
    place = tags.get(LOCK_TAG, "a host that is not known")
    if place == lock_place():
        return "its process ended without a word"
    last = tags.get(HEARTBEAT) or datetime.fromtimestamp(started / 1000, timezone.utc).isoformat(
        timespec="seconds"
    )
    if datetime.now(timezone.utc) - datetime.fromisoformat(last) > timedelta(seconds=STALE_SECONDS):
        return f"{place} has given no sign of life since {last}"
    return ""


def _beat(run_id: str, ended: threading.Event) -> None:
    """Say that the run is alive, for other hosts."""
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(Exception):  # a sign of life that fails is no reason to die
            mlflow.MlflowClient().set_tag(run_id, HEARTBEAT, _now())


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _start_guard(experiment: str) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, and closes its runs if this one ends without a word.

    It waits on a pipe, so it costs nothing and notices at once; it imports mlflow only when it has to act.
    """
    act = f"from mlops.runs import clear_up; clear_up({experiment!r})"
    code = f"import sys\nif sys.stdin.read() != 'ended':\n    {act}\n"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # The URI may hold a password: in the environment, not among the arguments that anyone can list.
        env={**os.environ, "MLFLOW_TRACKING_URI": str(mlflow.get_tracking_uri())},
        start_new_session=True,  # a Ctrl-C or a signal to the group must not take it along
    )


def _metrics(metrics: Mapping[str, float]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in metrics.items() if value == value]
