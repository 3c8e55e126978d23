"""The documents that a person reads, and the blocks of code in them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from mlops.config import PROJECT

# Written by `make docs` from the code, so they are no source of anything.
GENERATED = [PROJECT / "docs" / "reference" / f"{name}.md" for name in ("settings", "commands", "json")]
PAGES = [path for path in sorted((PROJECT / "docs").rglob("*.md")) if path not in GENERATED]
DOCUMENTS = [*sorted(PROJECT.glob("*.md")), *PAGES]


def shown(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of a list around them."""
    found = re.findall(rf"^( *)```{language}\b[^\n]*\n(.*?)^\1```", path.read_text(), re.M | re.S)
    return [textwrap.dedent(text) for _, text in found]


def commands(path: Path) -> list[str]:
    """The commands of a document's console blocks, each on one line."""
    text = "\n".join(blocks(path, "console"))
    return re.findall(r"^\$ (.+)$", re.sub(r" *\\\n *", " ", text), re.M)
