"""The code that a registered version carries, loaded apart from every other version's.

MLflow keeps one module per name and process. Were the code of all versions called alike, the second version
loaded would answer with the first one's code. So the package that a version carries is named after its own
content (`package_name`), and it is imported under that name whatever its folder is called.

Versions registered before 2026-12 carry a flat package `mlops` with absolute imports; it is imported under such
a name too.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import threading
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PREFIX = "trip_duration_"
FLAT_MODULES = (
    "errors",
    "features",
    "encoder",
    "forest",
    "intervals",
    "model",
)  # each after those it imports
_ABSOLUTE = re.compile(rb"(?m)^(\s*from )mlops(?=[. ])")
_importing = threading.RLock()


def load_model(artefact: str | Path) -> Any:
    """`DurationModel` of an artefact's folder, of the code that lies beside it; of this code where there is none.

    Parameters
    ----------
    artefact : str or Path
        As MLflow hands it over: ``data/model`` below the version's folder, which has ``code`` too.

    Raises
    ------
    ImportError
        When the code beside it cannot be imported.
    MlopsError
        When the artefact is of another format.
    """
    package = carried_package(Path(artefact))
    module = _module_of(package) if package else importlib.import_module(".duration_model", __package__)
    return module.DurationModel.load(Path(artefact))


def carried_package(artefact: Path) -> Path | None:
    """Folder of the package that a version carries beside its artefact, or None."""
    code = artefact.resolve().parent.parent / "code"
    found = sorted({*code.glob("*/model/__init__.py"), *code.glob("mlops/model.py")})
    if not found:
        return None
    return found[0].parent if found[0].name == "model.py" else found[0].parent.parent


def package_name(package: Path) -> str:
    """Name for a package's code: two have the same name only if every module of theirs is the same.

    Line endings are not looked at.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + content + b"\0")
    return f"{PREFIX}{digest.hexdigest()[:12]}"


def _module_of(package: Path) -> ModuleType:
    """The package's module that has `DurationModel`, imported under the name that belongs to its code."""
    name = package_name(package)
    with _importing:
        if (package / "model.py").is_file():
            return _import_flat(name, package)
        if name not in sys.modules:
            _import(name, package / "__init__.py")
        return importlib.import_module(f"{name}.model.duration_model")


def _import_flat(name: str, package: Path) -> ModuleType:
    if f"{name}.model" not in sys.modules:
        _import(name, package / "__init__.py")
        for module in FLAT_MODULES:
            _import(f"{name}.{module}", package / f"{module}.py")
    return sys.modules[f"{name}.model"]


def _import(name: str, path: Path) -> None:
    """Run a source file as the module of this name; a failure leaves no half of it behind."""
    loader = _Loader(name, str(path))
    spec = ModuleSpec(name, loader, origin=str(path), is_package=path.stem == "__init__")
    spec.has_location = True
    if spec.submodule_search_locations is not None:
        spec.submodule_search_locations.append(str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


class _Loader(SourceFileLoader):
    """Source compiled anew, so that an absolute import of ``mlops`` means the version's own package."""

    def get_code(self, fullname: str) -> CodeType:
        package = fullname.partition(".")[0].encode()
        source = _ABSOLUTE.sub(rb"\1" + package, Path(self.path).read_bytes())
        code: CodeType = self.source_to_code(source, self.path)
        return code
