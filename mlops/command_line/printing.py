"""How a command prints: tables that fit the terminal, colours on a terminal only, and JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 200  # characters of a line where nothing says how wide the reader is, as in a file or a pipe


def console() -> Console:
    """Standard output, as wide as the terminal; ``NO_COLOR`` and output to a file or pipe give plain text."""
    width = shutil.get_terminal_size((WIDE, 40)).columns
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False, markup=False)


def print_table(rows: Sequence[Mapping[str, str]], *, right: Sequence[str] = ()) -> None:
    """Print rows below the names of their columns; a cell that is too wide is folded, never cut.

    Parameters
    ----------
    rows : sequence of mapping of str to str
        All with the same columns, in the same order; plain text, which is printed as it is.
    right : sequence of str
        Columns of numbers, which are aligned at the right.
    """
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in rows[0]:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.values()))
    console().print(table)


def print_json(record: BaseModel | Sequence[BaseModel]) -> None:
    """Print a record, or a list of records, as indented JSON; numbers are finite, times are in UTC."""
    if isinstance(record, BaseModel):
        found = record.model_dump(mode="json")
    else:
        found = TypeAdapter(list[BaseModel]).dump_python([*record], mode="json", serialize_as_any=True)
    print(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
