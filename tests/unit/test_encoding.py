"""Every text file is UTF-8, whatever the locale of the process is."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.config import PROJECT

MODULES = [
    path
    for folder in ("mlops", "stack", "benchmarks", "docs/hooks", "data_loaders", "transformers", "data_exporters",
                   "callbacks", "charts")
    for path in sorted((PROJECT / folder).rglob("*.py"))
]  # fmt: skip
ASCII_ONLY = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def without_encoding(source: str) -> Iterator[str]:
    """Calls that read or write text in the encoding of the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        words = [word.value for word in node.args if isinstance(word, ast.Constant)]
        mode = given.get("mode", next((str(w) for w in words if set(str(w)) <= set("rwaxbt+")), "r"))
        in_text = (
            name in ("read_text", "write_text")
            or (name in ("open", "fdopen") and "b" not in str(mode) and is_file(node))
            or given.get("text") is True
            or given.get("universal_newlines") is True
        )
        if in_text and "encoding" not in given:
            yield f"{node.lineno}: {ast.unparse(node)[:80]}"


def is_file(call: ast.Call) -> bool:
    """Whether `open` opens a text file: not a descriptor, an archive or a file system that gives bytes."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return not (
        isinstance(owner, ast.Name) and owner.id in ("os", "tarfile", "archive", "webbrowser", "opener")
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_text_is_read_and_written_as_utf_8(path: Path) -> None:
    assert list(without_encoding(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", 1),
        ("path.read_text(encoding='utf-8')", 0),
        ("path.write_text(text)", 1),
        ("open(path)", 1),
        ("path.open('a')", 1),
        ("path.open(newline='')", 1),
        ("path.open('rb')", 0),
        ("path.open(mode='wb')", 0),
        ("os.open(path, os.O_RDONLY)", 0),
        ("subprocess.run(command, text=True)", 1),
        ("subprocess.run(command, text=True, encoding='utf-8')", 0),
    ],
)
def test_the_check_finds_them(source: str, found: int) -> None:
    assert len(list(without_encoding(source))) == found


def in_ascii_locale(code: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **ASCII_ONLY, "MLOPS_STATE_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, check=False
    )


KEPT = r"""
import locale, pathlib, os
assert locale.getpreferredencoding() == "ANSI_X3.4-1968", locale.getpreferredencoding()
from mlops.locks import hold
from mlops.pipeline.checkpoint import Checkpoint
text = "R\u00b2 of Bogot\u00e1 \u2013 \u4e0a\u6d77"
kept = Checkpoint.of("trip-duration-green", "a" * 64)
kept.write("months.csv", text)
kept.note("about", {"text": text})
kept.append("trials", {"text": text})
assert kept.noted("about") == {"text": text} and kept.entries("trials") == [{"text": text}]
assert (kept.folder / "months.csv").read_text(encoding="utf-8") == text
with hold("green", about=text):
    pass
"""


def test_the_files_of_a_run_do_not_depend_on_the_locale(tmp_path: Path) -> None:
    ended = in_ascii_locale(KEPT, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, b"")


PRINTED = r"""
import sys
from mlops import __main__
__main__.parse = lambda arguments: sys.exit(print("R\u00b2"))
__main__.main()
"""


def test_the_command_line_prints_any_text_in_any_locale(tmp_path: Path) -> None:
    ended = in_ascii_locale(PRINTED, tmp_path)
    assert (ended.returncode, ended.stdout) == (0, b"R\\xb2\n")
