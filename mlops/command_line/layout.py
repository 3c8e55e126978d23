"""Rows as lines of text that fit a terminal. Nothing here prints.

Without a width, as in a file or a pipe, each row is one whole line. Where a terminal is too narrow for a table:

1. wide cells are folded at words, down to `FOLDED` characters;
2. if that is not enough, columns that matter least are left out, and a line below the table names them;
3. the columns that still have no place go below their row, each with its name.

A link is never cut and never folded: people copy it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from mlops import masking

Row = Mapping[str, str | Text]
GAP: Final = "  "
INDENT: Final = 9  # of the lines below a row
FOLDED: Final = 24
ENDING: Final = "..."
HEADER, QUIET = "bold", "dim"


def cleaned(said: str | Text, style: str = "", *, whole: bool = False, wraps: bool = False) -> Text:
    r"""One line of text without secrets and without characters that a terminal obeys.

    With `whole` it is never cut or folded; with `wraps` it is wrapped where others are cut.

    Examples
    --------
    >>> cleaned("red\x1b[31m\n or not").plain
    'red\\x1b[31m or not'
    """
    if isinstance(said, Text):
        return said
    return Text(
        " ".join(masking.clean(said).split()),
        style,
        no_wrap=whole or None,
        overflow="fold" if wraps else None,
        end="",
    )


@dataclass(frozen=True)
class Layout:
    """How a table is shown.

    Parameters
    ----------
    right : sequence of str
        Columns of numbers, which are aligned at the right.
    least : sequence of str
        Columns that can be left out, the first one first.
    below : sequence of str
        Columns whose texts go below their row, a line for each, which is cut at the terminal's edge unless it is
        whole.
    """

    right: Sequence[str] = ()
    least: Sequence[str] = ()
    below: Sequence[str] = ()


PLAIN: Final = Layout()


def table_lines(rows: Sequence[Row], width: int | None, layout: Layout = PLAIN) -> list[Text]:
    """Lines of a table: the names of the columns, then the rows.

    Parameters
    ----------
    rows : sequence of mapping of str to str or Text
        All with the same columns, in the same order. A `Text` is cleaned already.
    width : int or None
        Characters of a line; None for whole lines.
    layout : Layout
    """
    if not rows:
        return []
    names = [name for name in rows[0] if name not in layout.below]
    cells = [{name: cleaned(cell) for name, cell in row.items()} for row in rows]
    firm = {name for name in names if any(_is_firm(row[name]) for row in cells)}
    all_widths = {name: max(cell_len(name), *(cell_len(row[name].plain) for row in cells)) for name in names}
    folded, left_out = _fitted(all_widths, width, layout, firm)
    beside = _beside(folded, width)
    rest = [name for name in folded if name not in beside]
    header = {name: Text(name, HEADER) for name in beside}
    return [
        *_row_lines(header, beside, layout),
        *(line for row in cells for line in _of_row(row, beside, rest, width, layout)),
        *(wrapped(f"not shown in {width} columns: {', '.join(left_out)}", width, QUIET) if left_out else []),
    ]


def wrapped(said: str | Text, width: int | None, style: str = "", indent: int = 0) -> list[Text]:
    """A text as lines: wrapped at words without cutting a long word, the second line on indented.

    Examples
    --------
    >>> [line.plain for line in wrapped("see https://example.org/long now", 10, indent=2)]
    ['see https://example.org/long', '  now']
    """
    text = cleaned(said, style)
    if width is None or text.no_wrap or cell_len(text.plain) <= width:
        return [text]
    first, *rest = _cut_at(text, _breaks(text.plain, width, max(width - indent, 1)))
    return [first, *(Text.assemble(" " * indent, line, end="") for line in rest)]


def shortened(said: str | Text, width: int | None, indent: int = 0) -> Text:
    """A text on one line after an indentation, cut at the width unless it is whole."""
    text = cleaned(said)
    room = None if width is None else max(width - indent, len(ENDING) + 1)
    if room is not None and not text.no_wrap and cell_len(text.plain) > room:
        text = text.copy()
        text.truncate(room - len(ENDING))
        text = text[: _end_of_words(text.plain)].append(ENDING)
    return Text.assemble(" " * indent, text, end="")


def _of_row(
    row: Mapping[str, Text], beside: Mapping[str, int], rest: Sequence[str], width: int | None, layout: Layout
) -> Iterator[Text]:
    """Lines of a row: its cells, those without a place beside them, and the texts below."""
    yield from _row_lines(row, beside, layout)
    stacked = [Text.assemble((f"{name}: ", QUIET), row[name]) for name in rest if row[name].plain]
    indent = INDENT if layout.below else len(GAP)
    if stacked:
        yield from _indented(Text("; ", end="").join(stacked), width, indent)
    for name in layout.below:
        if row[name].overflow == "fold":
            yield from _indented(row[name], width, INDENT)
        elif row[name].plain:
            yield shortened(row[name], width, INDENT)


def _indented(text: Text, width: int | None, indent: int) -> Iterator[Text]:
    room = None if width is None else max(width - indent, 1)
    yield from (Text.assemble(" " * indent, line, end="") for line in wrapped(text, room))


def _row_lines(row: Mapping[str, Text], beside: Mapping[str, int], layout: Layout) -> Iterator[Text]:
    """The cells beside each other, in as many lines as the one with most lines."""
    columns = {name: _fold(row[name], room) for name, room in beside.items()}
    for number in range(max(map(len, columns.values()))):
        line = Text(end="")
        for name, room in beside.items():
            cell = columns[name][number] if number < len(columns[name]) else Text()
            missing = " " * (room - cell_len(cell.plain))
            is_right = name in layout.right
            line = Text.assemble(
                line, missing if is_right else "", cell, "" if is_right else missing, GAP, end=""
            )
        line.rstrip()
        yield line


def _fitted(
    widths: Mapping[str, int], width: int | None, layout: Layout, firm: Collection[str]
) -> tuple[dict[str, int], list[str]]:
    """Widths of the columns, folded and without those that matter least as far as needed; and names of these."""
    kept, left_out = dict(widths), []
    for name in layout.least:
        if name in kept and not _fits(_folded(kept, width, firm), width):
            left_out.append(name)
            del kept[name]
    return _folded(kept, width, firm), left_out


def _folded(kept: Mapping[str, int], width: int | None, firm: Collection[str]) -> dict[str, int]:
    """Widths after the widest columns were made narrower, as far as needed and down to `FOLDED`."""
    folded = dict(kept)
    for name in sorted(set(kept) - {*firm}, key=lambda name: -kept[name]):
        if width is not None and not _fits(folded, width):
            folded[name] = max(min(kept[name], FOLDED), kept[name] - (_total(folded) - width))
    return folded


def _beside(folded: Mapping[str, int], width: int | None) -> dict[str, int]:
    """Widths of the columns that have a place beside each other."""
    found: dict[str, int] = {}
    for name, room in folded.items():
        if not found and width is not None:
            found[name] = min(room, width)
        elif _fits({**found, name: room}, width):
            found[name] = room
    return found


def _fits(widths: Mapping[str, int], width: int | None) -> bool:
    return width is None or _total(widths) <= width


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _is_firm(cell: Text) -> bool:
    """Whether a cell is never cut or folded."""
    return bool(cell.no_wrap) or "://" in cell.plain


def _fold(cell: Text, room: int) -> list[Text]:
    """Lines of a cell; a word that is too long is cut, a link is not."""
    if _is_firm(cell) or cell_len(cell.plain) <= room:
        return [cell]
    return _cut_at(cell, _breaks(cell.plain, room, room, cut_words=True))


def _end_of_words(plain: str) -> int:
    """Where a text that was cut ends without the part of a word, unless that is a long word and no link."""
    end = len(plain[: plain.rfind(" ") + 1].rstrip())
    return end if end > 0.8 * len(plain) or "://" in plain[end:] else len(plain)


def _cut_at(text: Text, breaks: Sequence[int]) -> list[Text]:
    lines = list(text.divide(breaks))
    for line in lines:
        line.rstrip()
    return lines


def _breaks(plain: str, first: int, room: int, *, cut_words: bool = False) -> list[int]:
    """Where a text is divided into lines of at most `room` cells, the first one of at most `first`."""
    breaks: list[int] = []
    used, limit = 0, first
    for found in re.finditer(r"\S+\s*", plain):
        word = found.group().rstrip()
        has_place = cut_words or cell_len(word) <= room  # on a line of its own
        if used and used + cell_len(word) > limit and has_place:
            breaks.append(found.start())
            used, limit = 0, room
        if cut_words and cell_len(word) > limit:
            breaks += _cuts(word, found.start(), limit, room)
            used = cell_len(found.group()[breaks[-1] - found.start() :])
            limit = room
        else:
            used += cell_len(found.group())
    return breaks


def _cuts(word: str, start: int, limit: int, room: int) -> Iterator[int]:
    """Where a word that is too long is cut."""
    used = 0
    for at, character in enumerate(word):
        if used + cell_len(character) > limit and used:
            yield start + at
            used, limit = 0, room
        used += cell_len(character)
