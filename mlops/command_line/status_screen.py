"""What `status` prints: one sentence, what needs attention with the next command, then all that is known."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlops.registry import attention, status_words
from mlops.registry.status_records import Status
from mlops.registry.status_words import Line

STYLES: Final = {"": "", "good": "green", "bad": "red", "soft": "bright_black"}
LEAST_COLUMN: Final = 58  # characters of a model's column; narrower, the models stand below each other
LABELS: Final = 16  # characters of the column with the labels


def show(status: Status, console: Console) -> None:
    """Print a status in the width of the console."""
    tone = "good" if status.is_well else "bad"
    line = Text(attention.headline(status), style=f"bold {STYLES[tone]}")
    console.print(line.append(f"  {status_words.time(status.at)}", style=f"not bold {STYLES['soft']}"))
    for number, each in enumerate(status.attention, 1):
        mark = "" if each.is_checked else "not checked: "
        console.print(_numbered(number, Text(f"{mark}{each.about}: {each.text}")))
        console.print(Text("\n".join(_wrapped(each.act, console.width)), style="bold"), soft_wrap=True)
    for table in _tables(status, console.width):
        console.print()
        console.print(table)


def _numbered(number: int, text: Text) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", width=3)
    grid.add_column(overflow="fold")
    grid.add_row(f"{number}.", text)
    return grid


def _wrapped(command: str, width: int) -> Iterator[str]:
    """Lines of a command that can be copied as they are; a word that is wider stays whole."""
    lines = textwrap.wrap(command, width - 8, break_long_words=False, break_on_hyphens=False)
    for place, line in enumerate(lines):
        end = " \\" if place < len(lines) - 1 else ""
        yield f"{' ' * (4 if place == 0 else 6)}{line}{end}"


def _tables(status: Status, width: int) -> Iterator[RenderableType]:
    """The models, side by side if they have room, then servers and disk."""
    known = {
        model.name: status_words.model_lines(model, status.read_at or status.at) for model in status.models
    }
    if len(known) > 1 and (width - LABELS) // len(known) >= LEAST_COLUMN:
        yield _table(known)
    else:
        for name, lines in known.items():
            yield _table({name: lines})
    servers = (*map(status_words.server_line, status.servers), status_words.disk_line(status.disk))
    yield _table({"servers and disk": servers})


def _table(columns: Mapping[str, Sequence[Line]]) -> RenderableType:
    """Lines with the same labels side by side; one that says nothing in all columns is left out."""
    is_single = len(columns) == 1
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=not is_single, header_style="bold"
    )
    table.add_column("", min_width=LABELS - 2, no_wrap=True)
    for name in columns:
        table.add_column(Text(name), overflow="fold", ratio=None if is_single else 1)
    for lines in zip(*columns.values(), strict=True):
        if not all(line.is_empty for line in lines):
            table.add_row(Text(lines[0].label), *(Text(each.text, style=STYLES[each.tone]) for each in lines))
    heads = [Text(name, style="bold") for name in columns] if is_single else []
    return Group(*heads, table)
