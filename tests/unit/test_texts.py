"""No code decides by reading a text for people: values decide, and texts are made from them at the end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.config import PROJECT

MODULES = sorted((PROJECT / "mlops").rglob("*.py"))
TEXTS = {"reason", "reasons", "about", "entry", "text", "title", "problem", "description", "advice"}
"""Attributes and table cells that hold sentences."""
SEARCHES = {
    "startswith", "endswith", "find", "rfind", "index", "rindex", "count", "partition", "rpartition", "split",
    "rsplit", "removeprefix", "removesuffix", "search", "match", "fullmatch", "findall", "finditer",
}  # fmt: skip
READ_ON_PURPOSE = {
    "mlops/registry/client.py": 1,  # MLflow reports only in its text that nobody answered
    "mlops/registry/first_check.py": 7,  # so do urllib3, OpenSSL and web servers
    "mlops/registry/verification_process.py": 1,  # a refusal must name the column
}
"""Modules that must read texts of other programs, with the number of such places."""


def is_text(node: ast.AST, caught: set[str]) -> bool:
    """Whether the expression is a text for people: one of `TEXTS`, or the text of a caught error."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr"):
        (value, *_) = node.args
        return (isinstance(value, ast.Name) and value.id in caught) or is_text(value, caught)
    if isinstance(node, ast.Attribute):
        if node.attr in ("iloc", "str", "values"):
            return is_text(node.value, caught)
        return node.attr in TEXTS
    if isinstance(node, ast.Subscript):
        names = {key.value for key in ast.walk(node.slice) if isinstance(key, ast.Constant)}
        return bool(names & TEXTS) or (
            isinstance(node.value, ast.Attribute)
            and node.value.attr == "iloc"
            and is_text(node.value, caught)
        )
    if isinstance(node, ast.Name):
        return node.id in ("about", "reason", "reasons")
    return isinstance(node, ast.JoinedStr)


def readings(tree: ast.AST) -> Iterator[int]:
    """Lines on which such a text is compared, sliced or searched."""
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            nothing = {None, ""}
            sides = [node.left, *node.comparators]
            plain = [s for s in sides if isinstance(s, ast.Constant) and s.value in nothing]
            searched = isinstance(node.ops[0], (ast.In, ast.NotIn)) and ast.unparse(sides[-1]) == "text"
            made = any(is_text(s, caught) for s in sides if not isinstance(s, ast.JoinedStr))
            if searched or (made and not plain):
                yield node.lineno
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            if is_text(node.value, caught):
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            read = [node.func.value, *node.args]
            if node.func.attr in SEARCHES and any(is_text(each, caught) for each in read):
                yield node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_no_code_decides_by_reading_a_text_for_people(path: Path) -> None:
    name = path.relative_to(PROJECT).as_posix()
    found = sorted(set(readings(ast.parse(path.read_text()))))
    assert len(found) == READ_ON_PURPOSE.get(name, 0), f"{name}: a text for people is read in lines {found}"


@pytest.mark.parametrize(
    "code",
    [
        'str(board["about"].iloc[0]).startswith("already registered as")',
        'Finding(text, "cannot be delivered" in text)',
        'board["entry"].str.startswith("trial ")',
        'uri = str(table["entry"].iloc[0]).removeprefix("models:/")',
        'result.reason == "there was no champion before"',
        "entry.reason[:2000]",
        're.search("no champion", verdict.reason)',
        'try:\n    pass\nexcept OSError as error:\n    gone = "No such file" in str(error)',
        'try:\n    pass\nexcept OSError as error:\n    shown = str(error).removeprefix("month: ")',
        'f"{name}: {why}".startswith("m")',
    ],
)
def test_reading_a_text_is_noticed(code: str) -> None:
    assert list(readings(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        'outcome == "champion"',
        'f"{result.reason}."',
        'tags.get("test_month", "") == month',
        "if finding.text: pass",
        'path.name.removesuffix(".lock")',
    ],
)
def test_working_with_values_is_allowed(code: str) -> None:
    assert not list(readings(ast.parse(code)))
