"""Runs: a parent run per pipeline run, its trials, and what each logs.

A parent run holds everything about a version: it is the version's ``run_id``.
No run stays RUNNING: an exception ends it, and where a process ends without a
word (SIGKILL, or SIGTERM under `mage run`) a small guard process ends it; what
even the guard could not end, the next run on the same host does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from types import FrameType
from typing import Any

# Before the import, which reads them.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

with warnings.catch_warnings():
    # Of pydantic about a field name inside MLflow; Mage's pins keep pydantic at the version that warns.
    warnings.filterwarnings("ignore", message='Field "model_name"', category=UserWarning)
    import mlflow as mlflow
import pandas as pd
import psutil
import requests
import sqlalchemy
from filelock import FileLock
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException as MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID as MLFLOW_PARENT_RUN_ID
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from mlops.config import without_credentials
from mlops.errors import TrackingError
from mlops.intervals import INTERVAL_COLUMNS

logger = logging.getLogger(__name__)

HOST_TAG, PROCESS_TAG = "mlops.host", "mlops.process"
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


def probe(uri: str, timeout: float) -> None:
    """Nothing, if the tracking server or store at `uri` answers within `timeout` seconds.

    MLflow's own client needs about four minutes to give up on a dead server.

    Raises
    ------
    TrackingError
        Saying what was tried.
    """
    try:
        if uri.startswith(("http://", "https://")):
            answer = requests.get(f"{uri.rstrip('/')}/health", timeout=timeout)
            if answer.status_code != 200:
                raise TrackingError(
                    f"tracking server {without_credentials(uri)}: "
                    f"/health answered {answer.status_code}; expected 200. "
                    "Is MLFLOW_TRACKING_URI the address of an MLflow server?"
                )
        elif uri.startswith("sqlite:///"):
            _make_folder(Path(uri.removeprefix("sqlite:///")).parent)
        elif uri.startswith("postgresql"):
            arguments = {"connect_timeout": max(1, int(timeout))}
            engine = sqlalchemy.create_engine(uri, connect_args=arguments, poolclass=sqlalchemy.NullPool)
            engine.connect().close()
    except (requests.RequestException, sqlalchemy.exc.SQLAlchemyError, OSError, ValueError) as error:
        raise TrackingError(
            f"tracking server {without_credentials(uri)}: no answer within {timeout:g} s ({_short(error)}). "
            "Start it (`make mlflow`), or set MLFLOW_TRACKING_URI to one that runs."
        ) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(
            f"{folder}: this folder for the tracking store cannot be made ({error.strerror or error}). "
            "Let MLOPS_STATE_DIR name another."
        ) from error


def connect(uri: str, state: Path, timeout: float) -> None:
    """The tracking store made ready for this process.

    Raises
    ------
    TrackingError
        When it does not answer.
    """
    probe(uri, timeout)
    mlflow.set_tracking_uri(uri)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # dozens of lines about a new database's tables
    state.mkdir(parents=True, exist_ok=True)
    # A new database is migrated on first use, and two first uses at once would collide.
    with FileLock(state / "mlflow.lock"), tracking_errors(f"tracking server {without_credentials(uri)}"):
        mlflow.MlflowClient().search_experiments(max_results=1)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until MLflow is done; the second one comes through at once.

    Cut off amid a query, MLflow leaves SQLite locked for as long as this process lives, and the run could not be
    closed. Off the main thread (`mage run`) neither raises anything: the process is gone, and the guard acts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((number, frame))
        if len(held) > 1:
            _handle(before[number], number, frame)

    before: dict[int, Any] = {
        number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in held[:1]:  # also when the block raised: the signal must not be lost
            _handle(before[number], number, frame)


def _handle(handler: Any, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.raise_signal(number)


class Run:
    """A parent run that is under way; see `start_run`."""

    def __init__(self, run_id: str, experiment_id: str, scratch: Path) -> None:
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.scratch = scratch  # a folder that is gone when the run is over, however it ended
        self.client = mlflow.MlflowClient()

    @uninterrupted()
    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Parameters of the run, as text."""
        self.client.log_batch(self.run_id, params=[Param(k, str(v)) for k, v in parameters.items()])

    @uninterrupted()
    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Numbers of the run."""
        self.client.log_batch(self.run_id, metrics=_metrics(metrics))

    @uninterrupted()
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the run."""
        self.client.log_batch(self.run_id, tags=[RunTag(k, str(v)) for k, v in tags.items()])

    @uninterrupted()
    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """A table as a CSV artefact."""
        self.client.log_text(self.run_id, table.to_csv(index=False), name)

    @uninterrupted()
    def log_files(self, paths: Sequence[Path], folder: str) -> None:
        """Files as artefacts."""
        for path in paths:
            self.client.log_artifact(self.run_id, str(path), folder)

    @uninterrupted()
    def log_card(self, markdown: str) -> None:
        """The model card: an artefact, and the run's description in the UI."""
        self.client.log_text(self.run_id, markdown, "model_card.md")
        self.set_tags({MLFLOW_RUN_NOTE: markdown})

    @uninterrupted()
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

    @uninterrupted()
    def log_trial(
        self, name: str, parameters: Mapping[str, Any], metrics: Mapping[str, float], error: str
    ) -> None:
        """A finished trial as a nested run."""
        tags = {MLFLOW_PARENT_RUN_ID: self.run_id, **_process_tags()}
        ended = int(time.time() * 1000)
        started = ended - int(metrics.get("seconds", 0) * 1000)
        trial = self.client.create_run(self.experiment_id, start_time=started, tags=tags, run_name=name)
        trial_id = trial.info.run_id
        status = "FAILED" if error else "FINISHED"
        try:
            self.client.log_batch(
                trial_id,
                metrics=_metrics(metrics),
                params=[Param(k, str(v)) for k, v in parameters.items()],
                tags=[RunTag("error", error[:4000])] if error else [],
            )
        finally:
            self.client.set_terminated(trial_id, status, end_time=ended)

    @uninterrupted()
    def log_model(self, artefact: Path, example: pd.DataFrame) -> str:
        """URI of the logged model: the artefact's files with signature, example, requirements and code."""
        code = artefact.parent / "code" / "mlops"
        code.mkdir(parents=True, exist_ok=True)
        for module in MODEL_MODULES:
            shutil.copy(Path(__file__).parent / f"{module}.py", code)
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
def start_run(experiment: str, run_name: str, state: Path) -> Iterator[Run]:
    """A parent run that ends with the block: FINISHED, FAILED on an error, KILLED on an interrupt.

    Raises
    ------
    TrackingError
        When MLflow fails inside the block.
    """
    with tracking_errors(f"experiment {experiment}"):
        experiment_id = _experiment(experiment, state)
        close_orphans(experiment_id)
        guard: subprocess.Popen[bytes] | None = None
        scratch, status = Path(tempfile.mkdtemp(prefix="run-", dir=state)), "FINISHED"
        active = mlflow.start_run(experiment_id=experiment_id, run_name=run_name, tags=_process_tags())
        run_id = active.info.run_id
        try:
            guard = _start_guard(run_id, scratch)
            yield Run(run_id, experiment_id, scratch)
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            with contextlib.suppress(MlflowException):  # the error itself matters more than its tag
                mlflow.MlflowClient().set_tag(run_id, "error", f"{type(error).__name__}: {error}"[:4000])
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            mlflow.end_run(status)
            if guard is not None:
                guard.communicate(b"ended")  # not reached when MLflow fails: then the guard tries, later


def close_orphans(experiment_id: str) -> int:
    """How many RUNNING runs of this host were ended as KILLED because their process is gone."""
    client = mlflow.MlflowClient()
    query = f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{socket.gethostname()}'"
    closed = 0
    for run in client.search_runs([experiment_id], query):
        if not _alive(run.data.tags.get(PROCESS_TAG, "")):
            client.set_tag(run.info.run_id, "error", "its process is gone; ended by a later run")
            client.set_terminated(run.info.run_id, "KILLED")
            logger.warning("run %s was left RUNNING by a process that is gone: now KILLED", run.info.run_id)
            closed += 1
    return closed


def end_dead_run(run_id: str, status: str) -> None:
    """End a run whose process is gone, with this status, and its trials that are still RUNNING as KILLED."""
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    trials = client.search_runs([run.info.experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}'")
    for unfinished in (r for r in (run, *trials) if r.info.status == "RUNNING"):
        ended_as = status if unfinished.info.run_id == run_id else "KILLED"
        if ended_as != "FINISHED":
            client.set_tag(unfinished.info.run_id, "error", "its process ended without a word")
        client.set_terminated(unfinished.info.run_id, ended_as)


def run_metrics(run_id: str) -> dict[str, float]:
    """Numbers that a run logged."""
    return dict(mlflow.MlflowClient().get_run(run_id).data.metrics)


def _experiment(name: str, state: Path) -> str:
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(name)
    if found and found.lifecycle_stage == "active":
        return str(found.experiment_id)
    # A server chooses where artefacts go; a bare database would put them in the working directory.
    remote = str(mlflow.get_tracking_uri()).startswith("http")
    artifacts = None if remote else (state / "artifacts").as_uri()
    # So that the server shows the pages for training, not those for chat models.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return str(client.create_experiment(name, artifacts, tags=kind))
    except MlflowException:
        raced = client.get_experiment_by_name(name)
        if raced is None or raced.lifecycle_stage != "active":
            raise
        return str(raced.experiment_id)


@contextlib.contextmanager
def tracking_errors(doing: str) -> Iterator[None]:
    """Whatever MLflow raises inside, as a `TrackingError` that says what was being done."""
    try:
        yield
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError) as error:
        raise TrackingError(f"{doing}: MLflow failed: {_short(error)}") from error


def _start_guard(run_id: str, scratch: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, and ends the run as KILLED if this one ends without a word.

    What the run had not yet handed to the registry, in `scratch`, goes too.

    It waits on a pipe, so it costs nothing and notices at once; it imports mlflow only when it has to act.
    """
    tidy = f"import shutil; shutil.rmtree({str(scratch)!r}, ignore_errors=True)"
    act = f"{tidy}; from mlops.registry import settle; settle({run_id!r})"
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


def _process_tags() -> dict[str, str]:
    process = psutil.Process()
    return {HOST_TAG: socket.gethostname(), PROCESS_TAG: f"{process.pid}:{process.create_time():.0f}"}


def _alive(process: str) -> bool:
    pid, _, started = process.partition(":")
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) < 5)
    except (psutil.NoSuchProcess, ValueError):
        return False


def _metrics(metrics: Mapping[str, float]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in metrics.items() if value == value]


def _short(error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"//\S*@", "//", first)[:300]  # no user and no password of any URL in it
