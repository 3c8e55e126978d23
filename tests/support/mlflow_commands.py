"""MLflow's own commands on a registered version, in an environment made from the version's own requirements."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from support.doors import PROJECT, end_group, wait_until
from support.mlflow_site import free_port


@dataclass(frozen=True)
class ModelEnvironment:
    """An environment that a version's requirements make; its commands know only the registry's address.

    Parameters
    ----------
    folder : Path
        The environment.
    registry : str
        Address of the tracking server.
    """

    folder: Path
    registry: str

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment's programs come first: MLflow starts `uvicorn` by its bare name."""
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "MLFLOW_TRACKING_URI": self.registry,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def command(self, action: str, uri: str, *options: str) -> list[str]:
        """`mlflow models predict` or `serve` on a version."""
        program = str(self.folder / "bin" / "mlflow")
        return [program, "models", action, "--env-manager", "local", "--model-uri", uri, *options]

    def predict(self, uri: str, asked: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Answers of `mlflow models predict`, which reads a CSV file and writes JSON."""
        given, written = folder / "requests.csv", folder / "answers.json"
        asked.to_csv(given, index=False)
        options = ("--content-type", "csv", "--input-path", str(given), "--output-path", str(written))
        done = subprocess.run(
            self.command("predict", uri, *options),
            cwd=folder, env=dict(self.variables), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return pd.DataFrame(json.loads(written.read_text())["predictions"])

    @contextlib.contextmanager
    def serving(self, uri: str, folder: Path) -> Iterator[str]:
        """Address of `mlflow models serve` while the block runs."""
        port = free_port()
        with (folder / "mlflow-serve.log").open("wb") as log:
            process = subprocess.Popen(
                self.command("serve", uri, "--host", "127.0.0.1", "--port", str(port)),
                cwd=folder, env=dict(self.variables), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

        def answers() -> bool:
            assert process.poll() is None, (folder / "mlflow-serve.log").read_text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"http://127.0.0.1:{port}/ping", timeout=1).status_code == 200
            return False

        try:
            wait_until(answers, 120)
            yield f"http://127.0.0.1:{port}"
        finally:
            end_group(process)


def make_environment(folder: Path, requirements: Path, registry: str) -> ModelEnvironment:
    """An environment with what a version requires, and of that what the lock has: each file by its hash."""
    uv = shutil.which("uv", path=f"{PROJECT / '.venv-lock' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if not uv:
        pytest.skip("uv is not there: `make .venv-lock/installed` gets it")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    lock = ("--constraint", str(PROJECT / "requirements.txt"), "--require-hashes")
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--requirement", str(requirements), *lock],
        env={**os.environ, "VIRTUAL_ENV": str(folder)}, check=True,
    )  # fmt: skip
    return ModelEnvironment(folder, registry)


def as_dataframe_split(asked: pd.DataFrame) -> dict[str, Any]:
    """Requests as MLflow's scoring server takes them: no value that JSON does not have."""
    columns = asked.to_json(orient="split", date_format="iso", index=False)
    return {"dataframe_split": json.loads(columns)}
