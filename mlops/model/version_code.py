"""Loads the code of a registered version separately from the code of every other version.

MLflow imports the code of a version under the name of its folder, and Python keeps one module per name in a
process. So MLflow's import is used only to get this loader. The loader reads the code next to the artefact and
imports it again under a name made from its content (`package_name`). Two versions share modules only if their
code is the same.

A version registered before 2026-12 contains a flat package `mlops` with absolute imports. These are rewritten to
the name made from its content.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Mapping
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ..errors import MlopsError

PREFIX = "trip_duration_"
# Modules with `DurationModel`: in the current layout, in the flat layout.
ENTRIES = ("model.duration_model", "model")
_FLAT = "mlops"  # package name in absolute imports of the flat layout
# One lock for all copies of this module in the process: each version's loader is a copy.
_LOCK = vars(sys).setdefault(f"_{PREFIX}lock", threading.RLock())


def load_model(artefact: str | Path) -> Any:
    """`DurationModel` of an artefact's folder, loaded with the code stored next to it.

    Parameters
    ----------
    artefact : str or Path
        As MLflow passes it: ``data/model`` in the version's folder, which also has ``code``.

    Raises
    ------
    MlopsError
        When there is no code next to the artefact. The version's code raises its own when the format differs.
    ImportError
        When that code cannot be imported.
    """
    # One thread at a time. A search through the list of finders skips one when another thread removes its own.
    # And Python's `ast.parse`, which numpy's `load` uses too, fails when another thread parses while garbage is
    # collected ("AST constructor recursion depth mismatch", seen with Python 3.11.7).
    with _LOCK:
        return import_package(carried_package(Path(artefact))).DurationModel.load(Path(artefact))


def carried_package(artefact: Path) -> Path:
    """Folder of the package that a version contains next to its artefact.

    Raises
    ------
    MlopsError
        When there is not exactly one package.
    """
    code = artefact.absolute().parents[1] / "code"
    found = {path.parent for path in code.glob("*/model.py")}
    found |= {path.parents[1] for path in code.glob("*/model/duration_model.py")}
    if len(found) != 1:
        names = sorted(path.name for path in found) or "none"
        raise MlopsError(f"{artefact}: expected the version's code, one package in {code}; got {names}")
    return found.pop()


def package_name(package: Path) -> str:
    """Name for a package's code: equal for two packages only if all modules are equal, except for line endings."""
    return _name(_read(package))


def import_package(package: Path) -> ModuleType:
    """The package's module with `DurationModel`; all modules are imported under a name unique to this code.

    The folder is not needed afterwards, and nothing is written to it.

    Raises
    ------
    ImportError
        When a module fails, or needs another package named ``mlops``.
    """
    sources = _read(package)
    code = _Code(f"_{_name(sources)}", package, sources)
    sys.meta_path.append(code)  # last, and no module is found by any other finder
    try:
        modules = {module: importlib.import_module(module) for module in code.paths}
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(code)
    return next(modules[name] for entry in ENTRIES if (name := f"{code.name}.{entry}") in modules)


def _read(package: Path) -> dict[str, bytes]:
    """Source of every module by its path in the package, with Unix line endings."""
    paths = sorted(package.rglob("*.py"))
    return {path.relative_to(package).as_posix(): path.read_bytes().replace(b"\r\n", b"\n") for path in paths}


def _name(sources: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.encode() + b"\0" + sources[path] + b"\0")
    return f"{PREFIX}{digest.hexdigest()[:12]}"


class _Code(MetaPathFinder, ExecutionLoader):
    """Finds and runs the modules of one package from source that was read once, without cached bytecode."""

    def __init__(self, name: str, package: Path, sources: Mapping[str, bytes]) -> None:
        self.name, self.package, self.sources = name, package, sources
        self.paths = {self._module(path): path for path in sources}

    def _module(self, path: str) -> str:
        parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
        return ".".join([self.name, *(part for part in parts if part != "__init__")])

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Import spec of a module of this package; None for any other module."""
        if fullname not in self.paths:
            return None
        # A package gets an empty search path, so that no other finder reads its folder.
        spec = ModuleSpec(
            fullname, self, origin=self.get_filename(fullname), is_package=self.is_package(fullname)
        )
        spec.has_location = True
        return spec

    def is_package(self, fullname: str) -> bool:
        """Whether the module is a package."""
        return self.paths[fullname].endswith("__init__.py")

    def get_filename(self, fullname: str) -> str:
        """Path of the source, for tracebacks."""
        return str(self.package / self.paths[fullname])

    def get_source(self, fullname: str) -> str:
        """Text of the source, for tracebacks after the folder was deleted."""
        return importlib.util.decode_source(self.sources[self.paths[fullname]])

    def get_code(self, fullname: str) -> CodeType:
        """Compiled source; absolute imports of the flat package are rewritten to this package's name."""
        tree = ast.parse(self.sources[self.paths[fullname]], self.get_filename(fullname))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                first, dot, rest = str(node.module).partition(".")
                node.module = f"{self.name}{dot}{rest}" if first == _FLAT else node.module
            elif isinstance(node, ast.Import) and any(a.name.partition(".")[0] == _FLAT for a in node.names):
                raise ImportError(
                    f"{self.get_filename(fullname)}, line {node.lineno}: expected relative imports; "
                    f"got {ast.unparse(node)!r}",
                    name=fullname,
                )
        return compile(tree, self.get_filename(fullname), "exec", dont_inherit=True)
