"""What is logged of a model: its files, and code that needs nothing of this project but what is logged."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.builders import make_requests
from support.tracked import NAME, mlflow_client, registered, save_artefact

from mlops.config import PROJECT
from mlops.model import version_code
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.registry import artifact, signature
from mlops.registry.client import mlflow
from mlops.registry.run_lifecycle import start_run


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return artifact.write_code(tmp_path)


def modules(package: Path) -> set[str]:
    return {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}


def test_a_version_carries_its_errors_and_the_model_and_nothing_else(package: Path) -> None:
    library = PROJECT / "mlops"
    served = {f"model/{path.name}" for path in (library / "model").glob("*.py")}

    assert modules(package) == {"__init__.py", "errors.py"} | served
    for path in modules(package):
        assert (package / path).read_bytes() == (library / path).read_bytes()


def test_the_package_is_named_after_its_code(package: Path, tmp_path: Path) -> None:
    assert package == tmp_path / version_code.package_name(package)
    assert [path.name for path in tmp_path.iterdir()] == [package.name]


def test_what_lies_beside_the_sources_is_not_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "mlops"
    for name in ("__init__.py", "errors.py", "config.py", "model/__init__.py", "model/features.py"):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).touch()
    for name in ("features.py~", "notes.txt", "__pycache__/features.cpython-311.pyc", "old/features.py"):
        (library / "model" / name).parent.mkdir(exist_ok=True)
        (library / "model" / name).touch()
    monkeypatch.setattr(artifact, "PROJECT", tmp_path)
    written = artifact.write_code(tmp_path / "written")

    assert modules(written) == {"__init__.py", "errors.py", "model/__init__.py", "model/features.py"}


def test_every_import_of_what_is_carried_stays_inside(package: Path) -> None:
    """Also those inside functions, which loading a version does not reach."""
    outside = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level:
                folder = path.parents[node.level - 1]
                found = folder.joinpath(*(node.module or "").split("."))
                inside = folder.is_relative_to(package) and (
                    found.is_dir() or found.with_suffix(".py").is_file()
                )
                outside += [] if inside else [f"{path.name}: {ast.unparse(node)}"]
                continue
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            else:
                continue
            outside += [f"{path.name}: {name}" for name in names if name.partition(".")[0] == "mlops"]

    assert outside == []


def test_a_logged_model_is_loaded_through_the_package_that_it_carries(store: Path, tmp_path: Path) -> None:
    with start_run(NAME, "r", "key") as run:
        logged = artifact.log_model(run.run_id, run.experiment_id, save_artefact(tmp_path), make_requests(3))
    folder = Path(mlflow.artifacts.download_artifacts(logged.uri, dst_path=str(tmp_path / "fetched")))
    package = version_code.carried_package(folder / "data" / "model")
    flavor = mlflow.models.Model.load(str(folder)).flavors["python_function"]

    assert flavor["loader_module"] == f"{package.name}.model"
    assert package.name == version_code.package_name(package)
    assert list(folder.rglob("__pycache__")) == []
    signature.remove_added(folder)
    assert logged.files == signature.files_in(folder)
    requests = make_requests(3).astype({"pickup_zone": "int64", "dropoff_zone": "int64"})
    model = mlflow.pyfunc.load_model(str(folder))
    assert type(model.get_raw_model()).__module__ == f"_{package.name}.model.duration_model"
    assert model.predict(requests)["duration_minutes"].between(1, 60).all()
    assert len(mlflow_client().search_logged_models([run.experiment_id])) == 1


def test_the_logged_model_says_what_it_takes_and_needs(store: Path, artefact: Path) -> None:
    version = registered(artefact)
    about = mlflow.models.get_model_info(version.uri)
    inputs = {column.name: column for column in about.signature.inputs}

    assert list(inputs) == ["pickup_at", "pickup_zone", "dropoff_zone", "distance_miles", "passenger_count"]
    assert [name for name, column in inputs.items() if not column.required] == ["passenger_count"]
    outputs = {column.name: column.type.name for column in about.signature.outputs}
    assert outputs == {
        **dict.fromkeys(["duration_minutes", *INTERVAL_COLUMNS], "double"),
        OUT_OF_RANGE: "boolean",
    }
    assert about.saved_input_example_info is not None
    folder = Path(mlflow.artifacts.download_artifacts(version.uri))
    needed = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in needed} >= {
        "xgboost", "pandas", "numpy", "holidays", "python-dateutil", "tzdata",
    }  # fmt: skip
    assert all("==" in line for line in needed)
