"""The runs that `mlflow run` opens around ours: what they say, and that none stays RUNNING.

`mlflow run` opens a run, starts our process, and ends that run with it. Our own run is not nested in it: it is
found by its run key, whoever started it. So the outer run, here called the project's run, gets links to what came
of it. If both processes are killed, the next one, or the doctor, closes it.

Source: MLflow's documentation, "MLflow Projects".
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import psutil

from mlops.errors import ConfigError, MlopsError
from mlops.registry import descriptions, experiments, run_lifecycle, server_facts, versions
from mlops.registry.client import MlflowException, mlflow_client, with_retry
from mlops.registry.signed_version import PREFIX, Version

# isort: split
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT, MLFLOW_RUN_NOTE

EXPERIMENT = "mlflow run"
"""The experiment for these runs. That of a model holds its own runs, and each of them is an attempt."""
PROCESS = "mlops.process"  # tag: host, number and start of the process at work
ENTRY_POINTS = ("train", "backfill")
LONGEST = 4900  # characters of a description that every server takes
Status = Literal["FINISHED", "FAILED", "KILLED"]


def prepare() -> None:
    """Make the experiment, with its artefacts in the state folder. The caller has connected to the store."""
    run_lifecycle.make_experiment(EXPERIMENT)


def begin(run_id: str, name: str) -> None:
    """Name the project's run, and note that this process works for it; others whose process is gone are closed.

    Raises
    ------
    ConfigError
        When the run is in the experiment of a model.
    TrackingError
        When the server does not answer, or does not know the run.
    """
    place = _place_of(run_id)
    if place.startswith(PREFIX) or experiments.is_place(place):
        raise ConfigError(
            f"experiment: {place} holds a model's own runs, so the runs of `mlflow run` go elsewhere. Leave out "
            f"--experiment-name, or name {EXPERIMENT!r}."
        )
    close_dead()
    _write(run_id, name, {PROCESS: _this_process()})


def show(
    run_id: str, name: str, lines: Sequence[tuple[str, Version | None]], tags: Mapping[str, str]
) -> None:
    """Show on the page of the project's run what has come of it so far.

    Parameters
    ----------
    run_id, name : str
        The run, and its new name, which lists of runs show.
    lines : sequence of (str, Version or None)
        Its description: a text for each month or error, with the version to which it leads.
    tags : mapping of str to str
    """
    _write(run_id, name, {MLFLOW_RUN_NOTE: described(lines), **tags})


def described(lines: Sequence[tuple[str, Version | None]]) -> str:
    r"""Texts as Markdown, a paragraph each, newest first; those that do not fit are left out.

    Links lead to the server on which the description is read.

    Examples
    --------
    >>> print(described([("2023-03: *champion*", None), ("2023-04: failed", None)]))
    2023-04: failed
    <BLANKLINE>
    2023-03: \*champion\*
    """
    shown = [f"{_link(version)}{descriptions.escaped(text)}" for text, version in reversed(lines)]
    lengths = itertools.accumulate(len(line) + 2 for line in shown)
    return "\n\n".join(line for line, end in zip(shown, lengths, strict=True) if end < LONGEST)


def _link(version: Version | None) -> str:
    if version is None:
        return ""
    page = f"#/{versions.page_of(version)}?{server_facts.MODE}"
    return f"[{version.name} version {version.number}]({page}): "


@with_retry("ending run {0}")
def end(run_id: str, status: Status) -> None:
    """End the project's run. `mlflow run` does it again, unless it was killed."""
    mlflow_client().set_terminated(run_id, status)


@with_retry("looking up runs of `mlflow run`")
def close_dead() -> int:
    """Close the projects' runs whose process is gone, as KILLED; returns how many."""
    client = mlflow_client()
    everywhere = [found.experiment_id for found in client.search_experiments()]
    query = f"attributes.status = 'RUNNING' and tags.`{MLFLOW_PROJECT_ENTRY_POINT}` LIKE '%'"
    dead = [run for run in client.search_runs(everywhere, query, max_results=1000) if _is_dead(run)]
    for run in dead:
        client.set_tag(run.info.run_id, "error", "its process ended without closing it", synchronous=True)
        client.set_terminated(run.info.run_id, "KILLED")
    return len(dead)


def _is_dead(run: Any) -> bool:
    """Whether the process of a project's run is gone. One on another host counts as alive."""
    host, _, process = run.data.tags.get(PROCESS, "").partition(" ")
    if host:
        return bool(host == socket.gethostname() and not _lives(process))
    # Ours notes its process seconds after `mlflow run` has opened the run.
    age = datetime.now(timezone.utc) - datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc)
    is_ours = run.data.tags[MLFLOW_PROJECT_ENTRY_POINT] in ENTRY_POINTS
    return is_ours and age > timedelta(seconds=run_lifecycle.STALE_SECONDS)


def _this_process() -> str:
    """Host, number and start of this process: a later process can have the same number."""
    process = psutil.Process()
    return f"{socket.gethostname()} {process.pid}:{process.create_time():.2f}"


def _lives(process: str) -> bool:
    """Whether a process of this host, given by number and start, is still at work."""
    number, _, start = process.partition(":")
    with contextlib.suppress(psutil.Error, ValueError):
        found = psutil.Process(int(number))
        return f"{found.create_time():.2f}" == start and found.status() != psutil.STATUS_ZOMBIE
    return False


@with_retry("run {0}")
def _place_of(run_id: str) -> str:
    """Name of the experiment of a run."""
    client = mlflow_client()
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in server_facts.ABSENT:
            raise MlopsError(f"run {run_id}: it is not in the tracking store of this process") from error
        raise
    return str(client.get_experiment(run.info.experiment_id).name)


@with_retry("describing run {0}")
def _write(run_id: str, name: str, tags: Mapping[str, str]) -> None:
    client = mlflow_client()
    client.update_run(run_id, name=name)
    for key, value in tags.items():
        client.set_tag(run_id, key, value, synchronous=True)
