"""How a command prints: text and tables that fit the terminal, colours on a terminal only, JSON for programs.

Without a terminal, as in a file or a pipe, lines are whole; ``COLUMNS`` in the environment sets a width there too.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from pydantic import BaseModel, TypeAdapter
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment
from rich.text import Text

from mlops import masking
from mlops.command_line.layout import Layout, Row, table_lines, wrapped

WIDE = (
    200  # characters of a line where nothing says how wide the reader is, for what cannot do without a width
)


def width() -> int | None:
    """Characters of a line: those of the terminal, or of ``COLUMNS``; None if there is neither."""
    given = os.environ.get("COLUMNS", "")
    if sys.stdout.isatty() or (given.isdecimal() and int(given) > 0):
        return shutil.get_terminal_size().columns
    return None


def console() -> Console:
    """Standard output for text with colours; ``NO_COLOR`` and output to a file or pipe give plain text.

    Secrets, and characters that a terminal obeys, are replaced in all that it prints.
    """
    is_terminal, out = sys.stdout.isatty(), sys.stdout
    file: Any = out.for_styles() if isinstance(out, masking.Stream) else out
    made = Console(
        file=file,
        width=width() or WIDE,
        force_terminal=is_terminal,
        color_system="auto" if is_terminal and not os.environ.get("NO_COLOR") else None,
        highlight=False,
        emoji=False,
        markup=False,
    )
    made.push_render_hook(_Cleaning())
    return made


class _Cleaning(RenderHook):
    """Cleans what a console prints, before it gets colours."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Cleaned(renderable) for renderable in renderables]


class _Cleaned:
    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, shown: Console, options: ConsoleOptions) -> RenderResult:
        for segment in shown.render(self._inner, options):
            yield segment if segment.control else Segment(masking.clean(segment.text), segment.style)


def print_lines(lines: Iterable[Text]) -> None:
    """Print lines as they are, however long they are."""
    shown = console()
    for line in lines:
        shown.print(line, soft_wrap=True, end="\n")


def print_text(said: str | Text, style: str = "", indent: int = 0) -> None:
    """Print a paragraph, wrapped at words to the width of the terminal; the second line on is indented."""
    print_lines(wrapped(said, width(), style, indent))


def print_table(
    rows: Sequence[Row], *, right: Sequence[str] = (), least: Sequence[str] = (), below: Sequence[str] = ()
) -> None:
    """Print rows below the names of their columns, as `layout.table_lines` makes them.

    Parameters
    ----------
    rows : sequence of mapping of str to str or Text
        All with the same columns, in the same order, the important ones first.
    right : sequence of str
        Columns of numbers, which are aligned at the right.
    least : sequence of str
        Columns that a narrow terminal does not show, the first one first; the others get lines of their own there.
    below : sequence of str
        Columns whose texts go below their row.
    """
    print_lines(table_lines(rows, width(), Layout(right, least, below)))


def utc(at: datetime) -> str:
    """A time for people.

    Examples
    --------
    >>> utc(datetime(2026, 11, 26, 8, 30, 59, tzinfo=timezone.utc))
    '2026-11-26 08:30 UTC'
    """
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def print_json(record: BaseModel | Sequence[BaseModel]) -> None:
    """Print a record, or a list of records, as indented JSON; numbers are finite, times are in UTC."""
    if isinstance(record, BaseModel):
        found: Any = record.model_dump(mode="json")
    else:
        found = TypeAdapter(list[BaseModel]).dump_python([*record], mode="json", serialize_as_any=True)
    print(_escaped(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)))


def _escaped(text: str) -> str:
    """JSON in which characters that a terminal obeys, or that the output cannot encode, are escaped."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    return "".join(
        c if c == "\n" or (c.isprintable() and (is_unicode or c.isascii())) else json.dumps(c)[1:-1]
        for c in text
    )
