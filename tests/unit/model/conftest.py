"""A version of today's code, written once, and a copy of it for each test."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.tracked import save_artefact
from support.version_folders import source

from mlops.registry import artifact
from mlops.registry.client import mlflow


@pytest.fixture(scope="module")
def requests() -> pd.DataFrame:
    return make_requests(40).astype({"pickup_zone": np.int64, "dropoff_zone": np.int64})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of today's code, as MLflow writes it."""
    folder = tmp_path_factory.mktemp("version")
    package, artefact = artifact.write_code(folder), save_artefact(folder)
    mlflow.pyfunc.save_model(
        path=str(folder / "version"), loader_module=f"{package.name}.model", data_path=str(artefact),
        code_paths=[str(package)], pip_requirements=[],
    )  # fmt: skip
    return folder / "version"


@pytest.fixture
def version(sound: Path, tmp_path: Path) -> Path:
    """A copy of that version whose code no other test has."""
    copy = shutil.copytree(sound, tmp_path / "version")
    source(copy, "errors").write_text(f"{source(copy, 'errors').read_text()}# {uuid.uuid4()}\n")
    return copy
