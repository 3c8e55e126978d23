"""Text of what code does, for hashing: `source_text` for a source file, `function_text` for a function.

Neither text depends on comments, docstrings, layout, line endings or the process. Both depend on Python's minor
version, which every run key contains too.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import io
import pickle
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlops.errors import ConfigError

_FROZEN = "<frozen"  # file names of modules that are built into Python begin with it
_INSTALLED = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


@functools.lru_cache(maxsize=512)
def source_text(source: bytes) -> str:
    """Syntax tree of Python source, without comments, docstrings and layout.

    Source that is not valid Python is returned as it is, with line endings normalised.

    Examples
    --------
    >>> source_text(b"a = 1  # one") == source_text(b"a = (1)") != source_text(b"a = 2")
    True
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return repr(source.replace(b"\r\n", b"\n"))
    return ast.dump(_WithoutProse().visit(tree))


class _WithoutProse(ast.NodeTransformer):
    """Removes strings that are statements: docstrings, and strings that document a constant."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_prose = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_prose else self.generic_visit(node)


def function_text(function: Callable[..., Any]) -> str:
    """Text of what a function does: its instructions, its defaults, and every outside value that it reads.

    This is not its source. `inspect.getsource` returns the whole line of a lambda, fails for a function typed into
    Mage's editor, and misses a changed constant that the function reads. Functions of installed packages count by
    their names, because the packages' versions are in the key.

    Raises
    ------
    ConfigError
        When the function reads a value that has no stable text, such as an open file.

    Examples
    --------
    >>> one, other = lambda trips: trips > 2, lambda trips: trips > 3
    >>> function_text(one) == function_text(lambda trips: (trips > 2)) != function_text(other)
    True
    """
    return _Describer().text(function)


class _Describer:
    """Texts of values. Each function or class is described once, at its first occurrence."""

    def __init__(self) -> None:
        self.met: list[object] = []

    def text(self, value: Any) -> str:
        """Text of a value, which is the same in every process."""
        if value is None or value is ... or isinstance(value, str | bytes | bool | int | float | complex):
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, tuple | list):
            return f"[{', '.join(map(self.text, value))}]"
        if isinstance(value, set | frozenset):
            return f"{{{', '.join(sorted(map(self.text, value)))}}}"
        if isinstance(value, Mapping):
            return f"{{{', '.join(sorted(f'{k!r}: {self.text(each)}' for k, each in value.items()))}}}"
        if isinstance(value, types.CodeType):
            steps = [(step.opname, step.argval) for step in dis.get_instructions(value)]
            return self.text((steps, getattr(value, "co_exceptiontable", b"")))
        return f"{type(value).__name__}({self._parts(value)})"

    def _parts(self, value: Any) -> str:
        if isinstance(value, types.ModuleType):
            return _module_text(value)
        if isinstance(value, functools.partial):
            return self.text((value.func, value.args, value.keywords))
        if isinstance(value, types.MethodType):
            return self.text((value.__func__, value.__self__))
        if isinstance(value, types.FunctionType | type):
            return self._code(value)
        if hasattr(value, "__wrapped__"):  # by functools.cache
            return self.text(value.__wrapped__)
        if hasattr(value, "__dict__") and not is_installed(_file_of(type(value).__module__)):
            return self.text((type(value), vars(value)))
        try:
            return _Pickled(self).sha256(value)
        except Exception as error:  # pickle raises whatever the object raises
            raise ConfigError(
                f"a cleaning rule reads a {type(value).__name__}, which cannot be hashed ({error}); expected "
                "numbers, texts, arrays and functions. Make it inside the rule."
            ) from error

    def _code(self, value: Any) -> str:
        """Text of a function or a class."""
        file = (
            value.__code__.co_filename
            if isinstance(value, types.FunctionType)
            else _file_of(value.__module__)
        )
        if is_installed(file):
            return f"{value.__module__}.{value.__qualname__}"
        if any(value is known for known in self.met):
            return "met before"
        self.met.append(value)
        if isinstance(value, type):
            own = {name: each for name, each in vars(value).items() if isinstance(each, types.FunctionType)}
            return self.text((value.__bases__, own))
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        read = globals_read(value.__code__) & value.__globals__.keys()
        outside = {name: value.__globals__[name] for name in read}
        return self.text((value.__code__, value.__defaults__, value.__kwdefaults__, cells, outside))


class _Pickled(pickle.Pickler):
    """Hash of an object of a class from an installed package; functions and classes in it count by their code."""

    def __init__(self, describer: _Describer) -> None:
        self.file, self.describer = io.BytesIO(), describer
        super().__init__(self.file, protocol=4)

    def persistent_id(self, value: Any) -> str | None:
        """Text of a function or a class, for which pickle itself would use only the name."""
        return self.describer.text(value) if isinstance(value, types.FunctionType | type) else None

    def sha256(self, value: Any) -> str:
        """Hash of the pickled object."""
        self.dump(value)
        return hashlib.sha256(self.file.getvalue()).hexdigest()


def globals_read(code: types.CodeType) -> set[str]:
    """Names of the globals that code reads, including nested functions."""
    found = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    nested = (globals_read(each) for each in code.co_consts if isinstance(each, types.CodeType))
    return found.union(*nested)


def _module_text(module: types.ModuleType) -> str:
    """Text of a module: its name, and its source if it is not installed."""
    file = _file_of(module.__name__) or getattr(module, "__file__", None) or ""
    if is_installed(file) or not file:
        return module.__name__
    return f"{module.__name__} {source_text(Path(file).read_bytes())}"


def _file_of(module: str) -> str:
    """File of an imported module. For the standard library, a name that counts as installed."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        return _FROZEN
    return getattr(sys.modules.get(module), "__file__", None) or ""


def is_installed(file: str) -> bool:
    """Whether a file belongs to Python or an installed package. False for typed-in code, which has no file."""
    return file.startswith(_FROZEN) or any(Path(file).is_relative_to(folder) for folder in _INSTALLED)
