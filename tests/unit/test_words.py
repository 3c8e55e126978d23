"""Texts are plain: phrases that puzzled readers do not come back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from mlops.config import PROJECT

PHRASES = {
    r"\b(un)?told\b|\btell(s|ing)? of\b": "logged, reported, sent",
    r"last word": "final tag",
    r"without a word|without_a_word": "died unexpectedly",
    r"took so long": "seconds spent in",
    r"gained too little": "no gain in the last ... trials",
    r"gone on with": "resumed, continued",
    r"(is|are) asked to end": "is stopped",
    r"how, not what": "operational settings",
    r"if the months make a run": "unless the months form a valid run",
    r"that is none is none": "treat as missing",
    r"\banew\b": "again",
    r"look(s|ed)? alive": "is still RUNNING",
}
"""Phrases, as regular expressions, and what to write."""
NAMES = re.compile(r"""["/`](un)?told\b""")  # files of the state folder, which keep their names
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".in", ".html", ".css", ".svg", ".example", ""}


def files() -> list[Path]:
    """What git has, but for this file and the old code under tests/fixtures."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    kept = [Path(name) for name in listed.splitlines() if not name.startswith("tests/fixtures/")]
    return [path for path in kept if path.suffix in SUFFIXES and path.name != Path(__file__).name]


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_text_has_the_phrase(phrase: str) -> None:
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate((PROJECT / path).read_text(errors="replace").splitlines(), 1)
        if re.search(phrase, NAMES.sub("", line), re.IGNORECASE)
    ]
    assert not found, f"write: {PHRASES[phrase]}"


def test_there_are_texts_to_read() -> None:
    assert {"README.md", "mlops/__main__.py", "Makefile", "docker-compose.yml"} <= set(map(str, files()))
