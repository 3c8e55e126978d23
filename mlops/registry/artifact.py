"""What a registered version contains: the model's files, their signature, and the code that reads them."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from importlib.metadata import version as installed
from pathlib import Path

from mlops.config import PROJECT
from mlops.model import version_code
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.registry.client import mlflow, mlflow_client, with_retry  # first: it sets what mlflow reads

# isort: split
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

MODEL_PACKAGES = (
    "mlflow-skinny", "numpy", "pandas", "pyarrow", "xgboost", "holidays", "python-dateutil",
    "tzdata",  # for computers without a time zone database
)  # fmt: skip

# MLflow only checks that the columns are there. The model reads the values, so that MLflow and `predict_one` give
# the same answers. MLflow's types refuse what the model answers (`double` refuses whole numbers, `long` refuses
# 74.0 and null) and change what it refuses (`datetime` reads a number as nanoseconds since 1970).
SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(AnyType(), name, required=name != "passenger_count")  # type: ignore[no-untyped-call]
            for name in REQUEST_COLUMNS
        ]
    ),
    outputs=Schema(
        [
            *(ColSpec(DataType.double, name) for name in ("duration_minutes", *INTERVAL_COLUMNS)),
            ColSpec(DataType.boolean, OUT_OF_RANGE),
        ]
    ),
)


@with_retry("logging the model")
def log_model(run_id: str, experiment_id: str, artefact: Path, example: pd.DataFrame) -> str:
    """Log the artefact's files with signature, example, requirements and code; returns the model's URI.

    The run is the active one. Models that an earlier attempt logged in it, complete or not, are deleted.
    """
    client = mlflow_client()
    for earlier in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(earlier.model_id)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Any type hint is inferred as AnyType")  # intended
        package = write_code(Path(folder))
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module=f"{package.name}.model",
            data_path=str(artefact),
            code_paths=[str(package)],
            signature=SIGNATURE,
            input_example=example,
            pip_requirements=[f"{package}=={installed(package)}" for package in MODEL_PACKAGES],
        )
    return str(info.model_uri)


def write_code(folder: Path) -> Path:
    """Write the package that a version carries, `errors` and `model`, below `folder`; its name is their hash."""
    library, written = PROJECT / "mlops", folder / "code"
    for path in (library / "__init__.py", library / "errors.py", *sorted((library / "model").glob("*.py"))):
        copy = written / path.relative_to(library)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return written.rename(folder / version_code.package_name(written))
