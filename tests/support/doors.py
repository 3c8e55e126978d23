"""The ways to start a run, as people use them: whole processes, with a separate machine for each test.

A `Machine` is an empty folder. All that its processes write goes there. Its methods return what they left behind
(runs, versions, aliases, files).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.warm import WarmProcess, warm_python

from mlops.data.synthetic.source import write_month
from mlops.month import Month
from mlops.registry import model_months
from mlops.registry.client import mlflow

# imported there, with a warning of pydantic's kept quiet

PROJECT = Path(__file__).resolve().parents[2]
PIPELINE = "trip_duration_training"
BLOCKS = {
    "load_trips": "data_loaders",
    "clean_trips": "transformers",
    "build_features": "transformers",
    "train_and_register": "data_exporters",
}
"""The blocks in order, with the folder of each."""
MAINTENANCE = "maintenance"
MAINTENANCE_BLOCKS = {
    "find_leftovers": "data_loaders",
    "delete_leftovers": "data_exporters",
    "delete_old_outputs": "data_exporters",
}
SCORING = "trip_duration_scoring"
SCORING_BLOCKS = {
    "load_requests": "data_loaders",
    "predict_durations": "transformers",
    "export_predictions": "data_exporters",
}
MONITORING = "trip_duration_monitoring"
MONITORING_BLOCKS = {
    "load_month": "data_loaders",
    "compare_month": "transformers",
    "react_and_report": "data_exporters",
}
SAMPLE_MODEL = "trip-duration-sample"
BIN = Path(sys.executable).parent
_OWN = ("MLOPS_", "MLFLOW_", "MAGE_", "AWS_", "LOCK_URL")  # settings of the person who runs the tests


@dataclass(frozen=True)
class Ended:
    """A finished process."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def message(self) -> str:
        """The error that ended `mage run`, which is all after `error:`; empty if nothing is."""
        return self.output.partition("\nerror: ")[2].strip()


@dataclass(frozen=True)
class Process:
    """A process that may still run; its output goes into files."""

    popen: subprocess.Popen[bytes] | WarmProcess
    folder: Path

    @property
    def output(self) -> str:
        return self._read("stdout") + self._read("stderr")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.popen.pid, number)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Return once the output holds `text`."""

        def said() -> bool:
            assert self.popen.poll() is None, self.output
            return text in self.output

        wait_until(said, seconds, lambda: f"{text!r} in {self.output}")

    def end(self, seconds: float = 120) -> Ended:
        status = self.popen.wait(seconds)
        return Ended(status, self._read("stdout"), self._read("stderr"))

    def _read(self, stream: str) -> str:
        return (self.folder / stream).read_text(errors="replace")


@dataclass(frozen=True)
class Machine:
    """A folder that holds all state of the processes started on it.

    Parameters
    ----------
    folder : Path
    source : Path
        Folder of months, the setting `source` of its runs.
    variables : dict
        Environment variables in addition to the machine's own.
    cold : bool
        Start each process by the operating system alone, with all its imports; else as `support.warm` does.
    spares : int
        How many of the processes that each process starts itself are warm too.
    """

    folder: Path
    source: Path
    variables: dict[str, str] = field(default_factory=dict)
    cold: bool = False
    spares: int = 3

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        own = {
            "HOME": str(self.folder / "home"),
            "MLOPS_STATE_DIR": str(self.state),
            "MAGE_DATA_DIR": str(self.folder / "mage"),
            "MLOPS_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
        }
        return inherited | own | self.variables

    def settings(self, **changed: Any) -> dict[str, Any]:
        """Settings of the smallest run (one training month, two trials, few test trips), with changes."""
        small = {"month": "2023-03", "max_trials": 2, "min_test_rows": 500}
        return {"source": str(self.source), **small, **changed}

    def mage_run(self, *options: str, cwd: Path | None = None, **changed: Any) -> Ended:
        """`mage run` with `options`; by default from a folder other than the project."""
        return self.run(*self.mage_command(*options, **changed), cwd=cwd)

    def mage_command(self, *options: str, project: str = str(PROJECT), **changed: Any) -> list[str]:
        variables = json.dumps(self.settings(**changed))
        return [str(BIN / "mage"), "run", project, PIPELINE, "--runtime-vars", variables, *options]

    def train(self, *options: str, **changed: Any) -> Ended:
        """`python -m mlops train`."""
        return self.run(*self.train_command(*options, **changed))

    def train_command(self, *options: str, **changed: Any) -> list[str]:
        settings = self.settings(**changed).items()
        given = [f"--{name.replace('_', '-')}={value}" for name, value in settings]
        return [sys.executable, "-m", "mlops", "train", *given, *options]

    def mlops(self, *arguments: str) -> Ended:
        """`python -m mlops` with a command and its options."""
        return self.run(sys.executable, "-m", "mlops", *arguments)

    def run(self, *command: str, cwd: Path | None = None) -> Ended:
        with self.start(*command, cwd=cwd) as process:
            return process.end()

    @contextlib.contextmanager
    def start(self, *command: str, cwd: Path | None = None) -> Iterator[Process]:
        """Start the command as a process group, which is ended with the block."""
        for folder in (self.folder, self.folder / "home"):
            folder.mkdir(parents=True, exist_ok=True)
        said = self.folder / f"said-{time.monotonic_ns()}"
        said.mkdir()
        popen = self._popen(list(command), cwd or self.folder, said)
        try:
            yield Process(popen, said)
        finally:
            end_group(popen)

    def _popen(self, command: list[str], cwd: Path, streams: Path) -> subprocess.Popen[bytes] | WarmProcess:
        warm = {sys.executable: command[1:], str(BIN / "mage"): command}
        if not self.cold and command[0] in warm:
            return warm_python().start(warm[command[0]], cwd, self.environment, streams, self.spares)
        with (streams / "stdout").open("wb") as stdout, (streams / "stderr").open("wb") as stderr:
            return subprocess.Popen(
                command,
                cwd=cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=heed_ctrl_c,
            )

    def runs(self) -> list[Any]:
        """Every run of the store, oldest first; creates no store."""
        if not self._has_store:
            return []
        everywhere = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(everywhere, order_by=["attributes.start_time ASC"]))

    def parents(self) -> list[Any]:
        """The runs that train, oldest first: no trials, and not the run with a model's errors by month."""
        others = {"mlflow.parentRunId", model_months.MODEL}
        return [run for run in self.runs() if not others & run.data.tags.keys()]

    def trials(self, run: Any) -> list[Any]:
        return [r for r in self.runs() if r.data.tags.get("mlflow.parentRunId") == run.info.run_id]

    def statuses(self) -> list[str]:
        """Final statuses of the runs that are not trials, oldest first; then every RUNNING run, trial or not."""
        running = [run.info.status for run in self.runs() if run.info.status == "RUNNING"]
        return [run.info.status for run in self.parents() if run.info.status != "RUNNING"] + running

    def versions(self) -> list[Any]:
        """Every registered version of every model, oldest first."""
        if not self._has_store:
            return []
        return sorted(self.client.search_model_versions(), key=lambda version: int(version.version))

    def numbers(self) -> list[str]:
        """Numbers of the registered versions, oldest first."""
        return [str(version.version) for version in self.versions()]

    def alias(self, alias: str, name: str = SAMPLE_MODEL) -> str:
        """Number of the version that the alias points at."""
        return str(self.client.get_model_version_by_alias(name, alias).version)

    def half_written(self) -> list[Path]:
        """Files that no process may leave in the state folder: temporary files and those in a scratch folder."""
        patterns = ("*.part", "*.tmp", "work/*/*/scratch/*", "work/**/*.new")
        return [path for pattern in patterns for path in self.state.rglob(pattern)]

    def unfinished(self) -> list[Path]:
        """Folders that interrupted attempts leave on purpose, so that the next one continues."""
        return [path for path in self.state.glob("work/*/*") if path.is_dir()]

    def processes(self) -> list[str]:
        """Command lines of all processes that use this machine's state, whoever started them."""
        found = [
            " ".join(process.args)
            for process in warm_python().alive()
            if process.environment.get("MLOPS_STATE_DIR") == str(self.state)
        ]
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("MLOPS_STATE_DIR") == str(self.state):
                    found.append(" ".join(process.cmdline()))
        return found

    @property
    def client(self) -> Any:
        """MLflow's client for the machine's store: its own, unless `variables` name a server."""
        own = f"sqlite:///{self.state / 'mlflow.db'}"
        return mlflow.MlflowClient(self.variables.get("MLFLOW_TRACKING_URI", own))

    @property
    def _has_store(self) -> bool:
        return "MLFLOW_TRACKING_URI" in self.variables or (self.state / "mlflow.db").exists()


def with_store(machine: Machine, migrated_store: Path) -> Machine:
    """The machine, with an empty tracking store as MLflow's migrations leave it: they take seconds."""
    machine.state.mkdir(parents=True)
    shutil.copy(migrated_store, machine.state / "mlflow.db")
    return machine


@contextlib.contextmanager
def kept_state(machine: Machine) -> Iterator[Callable[[], Machine]]:
    """A function that restores the machine's state to what it is now."""
    copy = shutil.copytree(machine.state, machine.folder.with_name("copy"))

    def restore() -> Machine:
        shutil.rmtree(machine.state)
        shutil.copytree(copy, machine.state)
        return machine

    with pytest.MonkeyPatch.context() as patch:
        # An open connection would still show the store of the previous test.
        patch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
        yield restore


def heed_ctrl_c() -> None:
    """Restore SIGINT: a shell ignores it in background jobs, and the tests may run in one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def write_months(folder: Path) -> Path:
    """Write small green months 2023-01 to 2023-04 of the synthetic city to the folder."""
    for month in Month.range(Month(2023, 1), Month(2023, 4)):
        write_month(folder / f"green_tripdata_{month}.parquet", "green", month, rows=1500)
    return folder


def wait_until(true: Callable[[], bool], seconds: float, about: Callable[[], object] = lambda: "") -> None:
    """Return as soon as `true()` holds; fail after `seconds` with the text of `about`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds:g} s: {about()}"
        time.sleep(0.1)


def end_group(popen: subprocess.Popen[bytes] | WarmProcess, seconds: float = 20) -> None:
    """End a process and all that it started in its session: SIGTERM first, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(popen.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and group_lives(popen.pid):
            popen.poll()
            time.sleep(0.05)
    popen.wait(seconds)


def group_lives(group: int) -> bool:
    """Whether a process of this group runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
