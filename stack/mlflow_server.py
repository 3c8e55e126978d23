"""MLflow's server and pages over the store of the state folder, without the stack: `make mlflow`.

It runs in the environment of the MLflow server, so it imports only what that has too.
"""

from __future__ import annotations

import os
import sys

from mlops import config
from mlops.errors import ConfigError
from mlops.registry.tables import store_problem

SETTINGS = {
    "MLFLOW_SERVER_ALLOWED_HOSTS": "localhost:*,127.0.0.1:*",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a job queue for features that are not used here
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def main(port: str) -> None:
    """Become the server, at this port of 127.0.0.1; the folder of its store is created."""
    try:
        state = config.state()
    except ConfigError as error:
        sys.exit(f"error: {error}")
    store = f"sqlite:///{state.tracking_store}"
    if state.tracking_store.exists() and (problem := store_problem(store)):
        sys.exit(f"error: {problem}")
    state.tracking_store.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--workers": "1",
        "--backend-store-uri": store,
        "--default-artifact-root": state.artifacts.as_uri(),  # MLflow writes it into SQL as it is, with any quote
    }
    words = [word for option in options.items() for word in option]
    print(f"open http://127.0.0.1:{port}", flush=True)  # noqa: T201 - a command of make
    command = [sys.executable, "-m", "mlflow", "server", "--no-serve-artifacts", *words]
    os.execve(sys.executable, command, {**os.environ, **SETTINGS})


if __name__ == "__main__":
    main(sys.argv[1])
