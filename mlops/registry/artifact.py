"""What a registered version contains: the model's files, their signature, and the code that reads them."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from mlops.config import PROJECT
from mlops.model import version_code
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.registry import signature
from mlops.registry.client import mlflow, mlflow_client, with_retry  # first: it sets what mlflow reads
from mlops.registry.runs import origin_tags

# isort: split
import pandas as pd
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

MODEL_PACKAGES = (
    "mlflow-skinny", "numpy", "pandas", "pyarrow", "xgboost", "holidays", "python-dateutil",
    "tzdata",  # for computers without a time zone database
)  # fmt: skip


@dataclass(frozen=True)
class Logged:
    """A model that was logged: what MLflow loads, and the sha256 of each file before it was sent, by its path."""

    uri: str
    files: dict[str, str]


def model_signature() -> ModelSignature:
    """Columns of a request and of an answer, for MLflow.

    MLflow only checks that the columns are there. The model reads the values, so that MLflow and `predict_one`
    give the same answers. MLflow's types refuse what the model answers (`double` refuses whole numbers, `long`
    refuses 74.0 and null) and change what it refuses (`datetime` reads a number as nanoseconds since 1970).
    """
    from mlops.model.intervals import INTERVAL_COLUMNS  # here: it imports XGBoost, which listings do not need

    inputs = [
        ColSpec(AnyType(), name, required=name != "passenger_count")  # type: ignore[no-untyped-call]
        for name in REQUEST_COLUMNS
    ]
    minutes = [ColSpec(DataType.double, name) for name in ("duration_minutes", *INTERVAL_COLUMNS)]
    outputs = [*minutes, ColSpec(DataType.boolean, OUT_OF_RANGE)]
    return ModelSignature(inputs=Schema([*inputs]), outputs=Schema([*outputs]))


@with_retry("logging the model")
def log_model(
    run_id: str,
    experiment_id: str,
    artefact: Path,
    example: pd.DataFrame,
    metadata: dict[str, Any] | None = None,
) -> Logged:
    """Log the artefact's files with signature, example, requirements, code and metadata.

    Models that an earlier attempt logged in the run, complete or not, are deleted. `mlflow.pyfunc.log_model` is
    not used: it takes store, experiment and run from the process, and in Mage's editor these belong to the user.
    """
    client = mlflow_client()
    for earlier in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(earlier.model_id)
    logged = client.create_logged_model(
        experiment_id, "model", run_id, tags=origin_tags(), params=client.get_run(run_id).data.params
    )
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    client.log_batch(run_id, metrics=_metrics(run_id, logged.model_id), synchronous=True)
    with tempfile.TemporaryDirectory() as folder:
        _save(Path(folder) / "model", artefact, example, logged, metadata)
        signature.remove_added(Path(folder))
        files = signature.files_in(Path(folder) / "model")
        client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
    client.finalize_logged_model(logged.model_id, "READY")
    return Logged(str(logged.model_uri), files)


def _metrics(run_id: str, model_id: str) -> list[Metric]:
    """Metrics of the run, as metrics of the model too."""
    # The protocol's message has their times and steps: one request, and not one for the history of each metric.
    newest = mlflow_client().get_run(run_id).data.to_proto().metrics
    return [Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id, run_id=run_id) for m in newest]


def _save(
    folder: Path,
    artefact: Path,
    example: pd.DataFrame,
    logged: LoggedModel,
    metadata: dict[str, Any] | None,
) -> None:
    """Write an MLflow model to `folder`."""
    with tempfile.TemporaryDirectory() as code, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Any type hint is inferred as AnyType")  # intended
        package = write_code(Path(code))
        mlflow.pyfunc.save_model(
            str(folder),
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
                run_id=logged.source_run_id,
            ),
            loader_module=f"{package.name}.model",
            data_path=str(artefact),
            code_paths=[str(package)],
            signature=model_signature(),
            input_example=example,
            metadata=metadata,
            pip_requirements=[f"{package}=={installed(package)}" for package in MODEL_PACKAGES],
        )


def write_code(folder: Path) -> Path:
    """Write the package that a version carries, `errors` and `model`, below `folder`; its name is their hash."""
    library, written = PROJECT / "mlops", folder / "code"
    for path in (library / "__init__.py", library / "errors.py", *sorted((library / "model").glob("*.py"))):
        copy = written / path.relative_to(library)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return written.rename(folder / version_code.package_name(written))
