"""Cleaning rules of a run's own as text: for people, and to compare with other rules. No text is ever executed."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import linecache
import os
import runpy
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops.config import PROJECT
from mlops.data.trips import RULES, Rule
from mlops.errors import ConfigError, one_line
from mlops.pipeline import code_hash

BLOCKS = "transformers"  # folder of the block that cleans; a rule of one's own is defined there
HOME = f"OWN_RULES of {BLOCKS}/clean_trips.py"
VALUE_LENGTH = 200  # of a value that a rule reads, as text


@dataclass(frozen=True)
class RuleText:
    """A cleaning rule as its version records it.

    Parameters
    ----------
    name, training_only
        As in `Rule`.
    sha256 : str
        Hash of its name, `training_only` and behaviour.
    source : str
        Its function as written, below the values and functions that it reads; empty if the source was not found.
    is_usual : bool
        Whether it is one of `trips.RULES`.
    """

    name: str
    training_only: bool
    sha256: str
    source: str
    is_usual: bool

    def __str__(self) -> str:
        return f"{self.name} ({_scope(self)})"


def describe(rules: Sequence[Rule]) -> tuple[RuleText, ...]:
    """The rules as text, in order; none for the usual rules, which are part of the code.

    Raises
    ------
    ConfigError
        When a rule cannot be hashed; see `code_hash.function_text`.
    """
    usual = [_sha256(rule) for rule in RULES]
    digests = [_sha256(rule) for rule in rules]
    if digests == usual:
        return ()
    return tuple(
        RuleText(rule.name, rule.training_only, digest, source_of(rule.rejects), digest in usual)
        for rule, digest in zip(rules, digests, strict=True)
    )


def to_json(texts: Sequence[RuleText], indent: int | None = None) -> str:
    """The texts as JSON, for a table or a file; empty for none."""
    return json.dumps([asdict(text) for text in texts], indent=indent) if texts else ""


def from_json(text: str) -> tuple[RuleText, ...]:
    """The texts that `to_json` wrote."""
    return tuple(RuleText(**each) for each in json.loads(text or "[]"))


def in_words(texts: Sequence[RuleText]) -> str:
    """How these rules differ from the usual ones of this code, in a few words; empty for the usual rules."""
    if not texts:
        return ""
    own = [str(text) for text in texts if not text.is_usual]
    kept = {text.name for text in texts}
    without = [f"without {rule.name}" for rule in RULES if rule.name not in kept]
    return ", ".join([*own, *without]) or "the usual rules in another order"


def find(texts: Sequence[RuleText], rules: Sequence[Rule]) -> list[Rule | None]:
    """The rule of each text's name: one with the same behaviour, else the last one; None if there is none."""
    found: list[Rule | None] = []
    for text in texts:
        named = [rule for rule in rules if rule.name == text.name]
        same = [rule for rule in named if _sha256(rule) == text.sha256]
        found.append(next(iter([*same, *reversed(named)]), None))
    return found


def difference(text: RuleText, rule: Rule) -> str:
    """How a rule differs from a stored text of the same name, in words; empty if it does the same."""
    now = RuleText(rule.name, rule.training_only, _sha256(rule), source_of(rule.rejects), False)
    if now.sha256 == text.sha256:
        return ""
    if now.training_only != text.training_only:
        return f"cleaning rule {text.name}: it was for {_scope(text)}, and is for {_scope(now)} now"
    if now.source == text.source:
        return (
            f"cleaning rule {text.name}: its source is the same, but not what it reads, or Python's version"
        )
    return (
        f"cleaning rule {text.name}: its source was `{shown(text.source)}` and is `{shown(now.source)}` now"
    )


def _scope(text: RuleText) -> str:
    return "training only" if text.training_only else "training and test"


def shown(source: str, most: int = 300) -> str:
    """A source on one line that a terminal can show: it may come from a registry that others write to."""
    return "".join(each if each.isprintable() else "?" for each in one_line(source or "not known", most))


def in_checkout() -> tuple[Rule, ...]:
    """The usual rules, then those that the checkout's transformer blocks define at their top level.

    The blocks are executed as Mage does it, but without Mage.

    Raises
    ------
    ConfigError
        When a block cannot be executed.
    """
    found = list(RULES)
    for path in _blocks(PROJECT):
        if "Rule(" not in path.read_text(encoding="utf-8"):
            continue
        decorators = {"transformer": lambda function: function, "test": lambda function: function}
        try:
            defined = runpy.run_path(str(path), decorators, path.stem)
        except Exception as error:  # whatever the block's code raises
            name = path.relative_to(PROJECT)
            raise ConfigError(
                f"{name}: cannot be executed to find its cleaning rules "
                f"({type(error).__name__}: {one_line(error)}). Correct this block, or restore it from git."
            ) from error
        values = [
            each
            for value in defined.values()
            for each in (value if isinstance(value, tuple | list) else [value])
        ]
        found += [each for each in values if isinstance(each, Rule) and each not in found]
    return tuple(found)


def source_of(rejects: Callable[..., Any]) -> str:
    """Source of a rule's function, below the values and functions that it reads; empty if it cannot be found.

    Examples
    --------
    >>> from mlops.data import trips
    >>> print(source_of(trips._duplicate))
    def _duplicate(trips: Columns, month: Month) -> Mask:
        return np.asarray(trips["is_duplicate"])
    """
    return "\n".join(_parts(rejects, []))


def _parts(function: Any, met: list[object]) -> list[str]:
    if isinstance(function, functools.partial):
        given = f"# called with {_value((*function.args, function.keywords))}"
        return [*_parts(function.func, met), given]
    function = getattr(function, "__wrapped__", getattr(function, "__func__", function))
    if not isinstance(function, types.FunctionType):  # an object
        call = _parts(vars(type(function)).get("__call__"), met) if hasattr(function, "__dict__") else []
        return (
            [f"# called on a {type(function).__name__} with {_value(vars(function))}", *call] if call else []
        )
    if _is_installed(function):
        return [f"{function.__module__}.{function.__qualname__}"]
    met.append(function)
    own = _text_of(function.__code__)
    if not own:
        return []
    read = dict(sorted(_values_read(function).items()))
    above = []
    for name, value in read.items():
        if isinstance(value, types.FunctionType):
            is_new = not any(value is each for each in met)
            above += _parts(value, met) if is_new and not _is_installed(value) else []
        elif not isinstance(value, types.ModuleType | types.BuiltinFunctionType | type):
            above.append(f"{name} = {_value(value)}")
    return [*above, own]


def _values_read(function: types.FunctionType) -> dict[str, Any]:
    """Values that a function reads from outside, by name."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    outside = code_hash.globals_read(function.__code__) & function.__globals__.keys()
    return {
        **dict(zip(function.__code__.co_freevars, cells, strict=True)),
        **{name: function.__globals__[name] for name in outside},
    }


def _is_installed(function: types.FunctionType) -> bool:
    return code_hash.is_installed(function.__code__.co_filename)


def _value(value: object) -> str:
    return one_line(repr(value), VALUE_LENGTH)


def _text_of(code: types.CodeType) -> str:
    """Text of the function with this code, from its file; from a block's file if Mage executed it as a text."""
    mage = Path(os.environ.get("MAGE_REPO_PATH") or PROJECT)
    texts = ["".join(linecache.getlines(code.co_filename))]
    texts += [path.read_text(encoding="utf-8") for path in _blocks(mage)] if not texts[0] else []
    for text in texts:
        twins = [each for each in _codes(text) if _place(each) == _place(code)]
        alike = [position for position, each in enumerate(twins) if _likeness(each) == _likeness(code)]
        if alike:  # else the file has changed since its code was loaded
            return _segment(text, code, alike[0], len(twins))
    return ""


def _segment(text: str, code: types.CodeType, position: int, twins: int) -> str:
    """Text of the function: of several on one line that at `position`, or the whole line if that is not clear."""
    kinds: tuple[type[ast.AST], ...] = (ast.Lambda,) if code.co_name == "<lambda>" else (ast.FunctionDef,)
    nodes: list[Any] = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, kinds) and _first_line(node) == code.co_firstlineno
    ]
    nodes.sort(key=lambda node: node.col_offset)
    if len(nodes) != twins:
        return text.splitlines()[code.co_firstlineno - 1].strip()
    padded = kinds == (ast.FunctionDef,)
    return textwrap.dedent(ast.get_source_segment(text, nodes[position], padded=padded) or "")


def _first_line(node: Any) -> int:
    decorators = getattr(node, "decorator_list", [])
    return int(decorators[0].lineno if decorators else node.lineno)


@functools.lru_cache(maxsize=64)
def _codes(text: str) -> tuple[types.CodeType, ...]:
    """Code of all functions in a source, in their order; none if it is not valid Python."""
    try:
        return tuple(_nested(compile(text, "<source>", "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return ()


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield each
            yield from _nested(each)


def _place(code: types.CodeType) -> tuple[str, int]:
    return code.co_name, code.co_firstlineno


def _likeness(code: types.CodeType) -> tuple[Any, ...]:
    """What is the same for one function compiled twice; the code objects themselves differ in flags."""
    constants = [
        _likeness(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, constants


def _sha256(rule: Rule) -> str:
    text = json.dumps([rule.name, rule.training_only, code_hash.function_text(rule.rejects)])
    return hashlib.sha256(text.encode()).hexdigest()


def _blocks(project: Path) -> list[Path]:
    return sorted((project / BLOCKS).glob("*.py"))
