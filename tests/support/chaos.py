"""Runs that kill themselves at an exact point, and the tracking stores that they use.

As a script, this is the command line with a process that kills itself at one point: ``chaos.py MOMENT train ...``,
with a `Moment` as JSON.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS = 2.0  # after which a call is interrupted; verification takes longer
MLFLOW = "mlflow:MlflowClient."
CONCLUDE, MOVE_ALIAS = "mlops.pipeline.release_stage:promote", f"{MLFLOW}set_registered_model_alias"


@dataclass(frozen=True)
class Moment:
    """A point in a run: before, during or after a call of one function.

    Parameters
    ----------
    when : {"before", "after", "amid"}
    call : str
        The function, ``module:path.of.attributes``.
    within : str
        Another function; calls count after it has started.
    count : int
        Which of the calls.
    """

    when: str
    call: str
    within: str = ""
    count: int = 1


SERVED, LOCAL = (f"mlflow.store.artifact.{name}_artifact_repo:" for name in ("http", "local"))
STAGES = {
    "downloading": Moment("after", "mlops.data.cache:_HashingWriter.write"),
    "making the store": Moment("after", "alembic.operations.base:AbstractOperations.invoke", count=40),
    "cleaning": Moment("after", "mlops.data.trips:as_table"),
    "building features": Moment("after", "mlops.model.features:request_features"),
    "after trial 1, before it is logged": Moment("after", "mlops.pipeline.checkpoint:Checkpoint.append"),
    "writing a trial to MLflow": Moment("after", f"{MLFLOW}create_run", "mlops.registry.runs:Run.log_trial"),
    "final fit": Moment("after", "mlops.training.fit:train", "mlops.training.fit:Fitting.fit"),
    "after the fit, nothing logged": Moment("before", "mlops.pipeline.fit_stage:log_search"),
    "uploading the model": Moment(
        "after", "shutil:copyfile", f"{LOCAL}LocalArtifactRepository.log_artifacts", 3
    ),
    "right after the version is made": Moment("after", f"{MLFLOW}create_model_version"),
    "challenger: intent, no alias": Moment("before", MOVE_ALIAS),
    "challenger: alias, not done": Moment("after", MOVE_ALIAS),
    "judged, in the verification": Moment("amid", "mlops.registry.verification:_ask"),
    "champion: intent, no alias": Moment("before", MOVE_ALIAS, CONCLUDE),
    "champion: alias, not done": Moment("after", MOVE_ALIAS, CONCLUDE),
    "before the last tag": Moment("after", f"{MLFLOW}set_model_version_tag", CONCLUDE),
    "after the last tag": Moment("before", "mlops.registry.run_lifecycle:_finish"),
}
MORE_STAGES = {
    "between a month and its manifest": Moment("after", "mlops.data.cache:_require_parquet"),
    "right after the run began": Moment("after", "mlops.registry.run_lifecycle:_begin"),
    "before a trial's run ends": Moment(
        "before", f"{MLFLOW}set_terminated", "mlops.registry.runs:Run.log_trial"
    ),
    "between the fit's note and the fit": Moment("before", "mlops.pipeline.checkpoint:Checkpoint.keep"),
    "logging the report": Moment("before", "mlops.registry.runs:Run.log_files"),
    "ended, before tidying up": Moment("after", "mlops.registry.run_lifecycle:_finish"),
}
UPLOAD_TO_SERVER = Moment(
    "after",
    f"{SERVED}HttpArtifactRepository.log_artifact",
    f"{SERVED}HttpArtifactRepository.log_artifacts",
    3,
)


def stage(name: str, backend: str) -> Moment:
    """The moment of that name; with a server, an upload goes through another class of MLflow."""
    return (
        UPLOAD_TO_SERVER
        if (name, backend) == ("uploading the model", "server")
        else (STAGES | MORE_STAGES)[name]
    )


def command(moment: Moment, arguments: list[str]) -> list[str]:
    """The command line with these arguments, in a process that kills itself at the moment."""
    return [sys.executable, __file__, json.dumps(asdict(moment)), *arguments]


def arrange(moment: Moment) -> None:
    """Make this process kill itself at the moment."""
    begun, calls = threading.Event(), itertools.count(1)

    def begin(call: Callable[[], Any]) -> Any:
        begun.set()
        return call()

    def cut_off(call: Callable[[], Any]) -> Any:
        chosen = begun.is_set() and next(calls) == moment.count
        if chosen and moment.when == "before":
            die()
        if chosen and moment.when == "amid":
            threading.Timer(SECONDS, die).start()
        result = call()
        if chosen and moment.when == "after":
            die()
        return result

    if moment.within:
        _wrap(moment.within, begin)
    else:
        begun.set()
    _wrap(moment.call, cut_off)


def die() -> None:
    """End this process as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def _wrap(name: str, around: Callable[[Callable[[], Any]], Any]) -> None:
    module, _, path = name.partition(":")
    *owners, last = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    whole = getattr(owner, last)

    @functools.wraps(whole)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        return around(functools.partial(whole, *arguments, **named))

    setattr(owner, last, wrapped)


class Workers:
    """Jobs on one tracking store, several at once; the result of a job raises its failed assertion."""

    def __init__(self, at_once: int, setting: contextlib.AbstractContextManager[dict[str, str]]) -> None:
        self._pool, self._stack = ThreadPoolExecutor(at_once), contextlib.ExitStack()
        self._variables = self._pool.submit(self._stack.enter_context, setting)

    @property
    def variables(self) -> dict[str, str]:
        """Environment of the store's users; the store exists when this returns."""
        return self._variables.result()

    def submit(self, job: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._pool.submit(job, *arguments)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._stack.close()


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[dict[str, str]]:
    """Environment for an MLflow server over a PostgreSQL, which also holds the locks."""
    import pytest
    import requests
    from support.doors import PROJECT, end_group, wait_until
    from support.postgres import LOOPBACK, _free_port, running_postgres

    program, port = PROJECT / ".venv-mlflow" / "bin" / "mlflow", _free_port()
    if not program.exists():
        pytest.skip(f"{program} is not there: `make install` builds it")
    options = f"server --host {LOOPBACK} --port {port} --workers 1 --serve-artifacts --artifacts-destination"
    with running_postgres() as postgres, (folder / "server.log").open("wb") as log:
        own = {
            "MLFLOW_BACKEND_STORE_URI": postgres.url,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        server = subprocess.Popen(
            [program, *options.split(), str(folder / "served")],
            cwd=folder, env=inherited | own, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        url = f"http://{LOOPBACK}:{port}"

        def answers() -> bool:
            assert server.poll() is None, (folder / "server.log").read_text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"{url}/health", timeout=1).status_code == 200
            return False

        try:
            wait_until(answers, 120)
            yield {"MLFLOW_TRACKING_URI": url, "LOCK_URL": postgres.url}
        finally:
            end_group(server)


if __name__ == "__main__":
    from mlops.__main__ import main
    from mlops.registry.client import mlflow  # noqa: F401  # before `arrange`: it sets what mlflow reads

    arrange(Moment(**json.loads(sys.argv[1])))
    sys.exit(main(sys.argv[2:]))
