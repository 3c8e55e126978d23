"""The pipeline as an MLflow Project: `MLproject` calls this file for its entry points train and backfill.

`mlflow run` opens a run around ours. That one gets the links to the versions, or the error; ours is as always.
`run` is `make mlflow-run`, and `shell` prints what a shell needs for `mlflow run`.
"""

# ruff: noqa: T201 - its errors and variables are read in a terminal

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlops import config, files, masking
from mlops.config import PROJECT, Settings
from mlops.errors import ConfigError, MlopsError, TrackingError, one_line
from mlops.month import Month
from mlops.operations import backfill
from mlops.pipeline import steps
from mlops.pipeline.run_result import RunResult
from mlops.registry import client, project_runs
from mlops.registry.versions import Version

RUN, TRACKING, EXPERIMENT = "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"


def main(words: Sequence[str]) -> int:
    """Exit status: 0, 1 for an error with a message, or 2 for a wrong setting."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("mlops").setLevel(logging.INFO)
    warnings.simplefilter("ignore")  # of libraries
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    masking.mask_logs()
    with masking.outputs(is_terminal=True):
        try:
            act(*words)
        except (MlopsError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1
    return 0


def act(command: str, *words: str) -> None:
    """Do what a command line asks for."""
    if command == "shell":
        for name, value in variables().items():
            print(f"export {name}={shlex.quote(value)}")
    elif command == "run":
        entry, *options = words
        line = ["mlflow", "run", str(PROJECT), "-e", entry, "--env-manager", "local", *options]
        sys.stdout.flush()
        os.execvpe(str(Path(sys.executable).with_name("mlflow")), line, {**os.environ, **variables()})
    else:
        run(command, dict(pairs(words)))


def variables() -> dict[str, str]:
    """Environment for `mlflow run`: our store, which is made if it is missing, and our Python."""
    files.close_state()
    client.connect(config.tracking_uri(), config.state_dir(), Settings().connect_timeout)
    project_runs.prepare()
    found = {
        EXPERIMENT: project_runs.EXPERIMENT,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONWARNINGS": "ignore::UserWarning:pydantic._internal._fields",  # of a field inside MLflow
    }
    # One that is set may hold a password, which need not be printed.
    return found if os.environ.get(TRACKING) else {TRACKING: config.tracking_uri(), **found}


def pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and values of settings; `mlflow run` passes each as two words, also one that is not in MLproject."""
    for name, value in zip(words[::2], words[1::2], strict=True):
        yield name.removeprefix("--").replace("-", "_"), value


def run(entry: str, given: dict[str, Any]) -> None:
    """Run an entry point; the run that `mlflow run` opened shows what has come of it, month by month."""
    run_id = os.environ.pop(RUN)  # ours is a run of its own
    which = given.get("month") if entry == "train" else f"{given.get('from')} to {given.get('to')}"
    about = f"{entry} {given.get('service')} {which}"
    lines: list[tuple[str, Version | None]] = []
    status: project_runs.Status = "FAILED"
    try:
        require_own_store()
        project_runs.begin(run_id, about)
        for result in results(entry, given):
            lines.append((in_words(result), result.version))
            project_runs.show(run_id, f"{about}: {result.outcome}", lines, tags_of(result))
        status = "FINISHED"
    except MlopsError as error:
        lines.append((f"{type(error).__name__}: {error}", None))
        with contextlib.suppress(TrackingError):  # the error itself matters more
            project_runs.show(run_id, f"{about}: failed", lines, {"error": one_line(error, 4000)})
        raise
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        with contextlib.suppress(TrackingError):  # `mlflow run` ends it as well
            project_runs.end(run_id, status)


def require_own_store() -> None:
    """Raise if the tracking store is the one that `mlflow run` makes in this folder when nothing names another.

    Raises
    ------
    ConfigError
    """
    file = config.sqlite_file(config.tracking_uri())
    if file and file.resolve() == PROJECT / "mlflow.db":
        raise ConfigError(
            f"{TRACKING} is not set, so `mlflow run` made a store of its own, {file.resolve()}. Delete that file, "
            "then run `make mlflow-run`, or first give the shell what it needs: "
            f'eval "$(.venv/bin/python -m flows.with_mlflow shell)"'
        )


def results(entry: str, given: dict[str, Any]) -> Iterator[RunResult]:
    """The results of an entry point, one for each month."""
    if entry == "train":
        yield steps.train(Settings.parse(given))
        return
    first, last = (Month.parse(given.pop(name)) for name in ("from", "to"))
    yield from backfill.backfill(Settings.parse(given), first, last)


def in_words(result: RunResult) -> str:
    """A result in a sentence."""
    again = ", registered earlier" if result.is_repeat else ""
    return f"{result.month} {result.outcome}{again}: {result.reason}"


def tags_of(result: RunResult) -> dict[str, str]:
    """A result as tags, for programs."""
    tags = {"outcome": result.outcome, "verdict": result.verdict, "month": result.month}
    return {**tags, "version": result.version.uri} if result.version else tags


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
