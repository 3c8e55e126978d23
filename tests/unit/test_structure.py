"""Limits that keep the code readable, and who may import MLflow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.config import PROJECT

CHECKED = ("mlops", "stack", "benchmarks")
MAX_MODULE_LINES = 400
MAX_BODY_LINES = 40
MAX_TOP_MODULES = 12  # modules directly in mlops/, with `__init__` and `__main__`
OF_MLFLOW = ("mlflow", "MlflowException")


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py"))]
    assert found, f"no module in {folders}"
    return found


def shown(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its first statement after the docstring to its end."""
    has_docstring = ast.get_docstring(function, clean=False) is not None
    statements = function.body[1:] if has_docstring else function.body
    if not statements:
        return 0
    first, end = statements[0], function.end_lineno
    assert end is not None
    decorators = getattr(first, "decorator_list", [])
    return end - min([first.lineno, *(decorator.lineno for decorator in decorators)]) + 1


def long_bodies(source: str) -> dict[str, int]:
    """Functions and methods whose body is too long, with their lines."""
    functions = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return {node.name: body_lines(node) for node in functions if body_lines(node) > MAX_BODY_LINES}


def uses_of_mlflow(source: str) -> Iterator[str]:
    """Imports of MLflow in a module, from any place, and attributes that give access to MLflow."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "mlflow")
        elif isinstance(node, ast.ImportFrom):
            is_mlflow = node.level == 0 and (node.module or "").split(".")[0] == "mlflow"
            names = [alias.name for alias in node.names if is_mlflow or alias.name in OF_MLFLOW]
            yield from (f"{'.' * node.level}{node.module or ''}.{name}" for name in names)
        elif isinstance(node, ast.Attribute) and node.attr in OF_MLFLOW:
            yield ast.unparse(node)


# --- This project ---------------------------------------------------------------------------------------------


def test_no_module_is_too_long() -> None:
    lines = {shown(path): len(path.read_text().splitlines()) for path in modules(*CHECKED)}
    assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    found = {shown(path): long_bodies(path.read_text()) for path in modules(*CHECKED)}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_few_modules_are_directly_in_the_library() -> None:
    names = [path.name for path in modules("mlops") if path.parent == PROJECT / "mlops"]
    assert len(names) <= MAX_TOP_MODULES, names


def test_only_the_registry_imports_mlflow() -> None:
    blocks = ("callbacks", "data_exporters", "data_loaders", "transformers")
    outside = [
        path for path in modules(*CHECKED, *blocks) if not path.is_relative_to(PROJECT / "mlops" / "registry")
    ]
    found = {shown(path): list(uses_of_mlflow(path.read_text())) for path in outside}
    assert {name: uses for name, uses in found.items() if uses} == {}


# --- The checks themselves ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import mlflow", ["mlflow"]),
        ("import mlflow.pyfunc as p", ["mlflow.pyfunc"]),
        ("from mlflow.exceptions import MlflowException", ["mlflow.exceptions.MlflowException"]),
        ("from mlflow import MlflowClient", ["mlflow.MlflowClient"]),
        ("from mlops.registry.client import mlflow, with_retry", ["mlops.registry.client.mlflow"]),
        ("from mlops.registry.client import mlflow as m", ["mlops.registry.client.mlflow"]),
        ("from .client import MlflowException", [".client.MlflowException"]),
        ("def late():\n    import mlflow", ["mlflow"]),
        ("from mlops.registry import client\nclient.mlflow.get_run('a')", ["client.mlflow"]),
        ("from mlops.registry import client, versions\nversions.champion('a')", []),
        ("import mlflow_export_import", []),
    ],
)
def test_every_way_to_mlflow_is_seen(source: str, found: list[str]) -> None:
    assert list(uses_of_mlflow(source)) == found


@pytest.mark.parametrize(
    ("head", "extra"),
    [
        ("def long():\n", 0),
        ('def long():\n    """One.\n\n    Two.\n    """\n\n', 0),
        ("async def long(\n    a: int,\n    b: int,\n) -> None:\n", 0),
        ("class Some:\n  def long(self):\n", 0),
        ("def long():\n    @decorate\n    def inner():\n        pass\n", 3),
    ],
)
def test_a_body_is_counted_without_signature_and_docstring(head: str, extra: int) -> None:
    line, most = "    a = 1\n", MAX_BODY_LINES - extra
    assert long_bodies(head + most * line) == {}
    assert long_bodies(head + (most + 1) * line) == {"long": MAX_BODY_LINES + 1}


def test_a_docstring_alone_is_no_body() -> None:
    assert long_bodies('def short():\n    """' + "One.\n" * 50 + '    """\n') == {}


def test_no_two_test_files_have_the_same_name() -> None:
    """Pytest would import one of them for both, and ignore the other."""
    names = [path.name for path in (PROJECT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
