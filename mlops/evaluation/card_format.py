"""Text of a card as Markdown, with the markup in any other text escaped, and the templates that use it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

from mlops.errors import plain


class Markdown(str):
    """Text that is already Markdown. Templates escape the markup in any other text."""


def html(text: str) -> Markup:
    """HTML of a Markdown text, with any HTML in the text escaped. A table wider than the page can be scrolled."""
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    rendered = renderer.render(text).replace("<table>", '<div class="wide" tabindex="0">\n<table>')
    return Markup(rendered.replace("</table>", "</table>\n</div>"))


def table(table: pd.DataFrame) -> Markdown:
    """Markdown of a table: numbers right-aligned, counts with thousands separators, others with four decimals.

    Four, as in the verdict's reasons, the leaderboard and the lists of the command line.

    Examples
    --------
    >>> print(table(pd.DataFrame({"month": ["2023-06"], "rows": [65000], "rmse": [4.41239]})))
    | month | rows | rmse |
    | --- | ---: | ---: |
    | 2023-06 | 65,000 | 4.4124 |
    """
    lines = [
        [str(name).replace("_", " ") for name in table.columns],
        ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes],
        *([_cell(value) for value in row] for row in table.itertuples(index=False)),
    ]
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def _cell(value: object) -> str:
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4f}" if np.isfinite(value) else "–"
    return escaped(value)


def _pairs(mapping: Mapping[str, Any], name: str, value: str) -> pd.DataFrame:
    """A mapping as a table with these two columns."""
    return pd.DataFrame(mapping.items(), columns=[name, value])


def _bullets(lines: Iterable[str]) -> Markdown:
    return Markdown("\n".join(f"- {escaped(line)}" for line in lines))


def interval(low: float, high: float) -> Markdown:
    """Both ends of an interval, or a dash if it is unknown."""
    return Markdown(f"{low:.4f} to {high:.4f}" if np.isfinite([low, high]).all() else "–")


def _thousands(number: float) -> Markdown:
    return Markdown(f"{float(number):,.0f}")  # float(): for a missing number, its error names the variable


def _block(text: str) -> Markdown:
    """Text of several lines as an indented code block, which no line of it can end."""
    return Markdown("\n".join(f"    {line}" for line in text.splitlines()))


def _decimals(number: float) -> Markdown:
    return Markdown(f"{number:.4f}")


def _code(text: str) -> Markdown:
    """Text for a fenced block, on one line so that it cannot end the block."""
    return Markdown(" ".join(text.split()))


def escaped(value: object) -> str:
    r"""Any value as text on one line, with Markdown markup escaped.

    A `Markdown` value is returned unchanged.

    Examples
    --------
    >>> print(escaped("a|b [c](d)\n<script> snake_case"))
    a\|b \[c\](d) \<script> snake_case
    >>> print(escaped(Markdown("**bold**")))
    **bold**
    """
    if isinstance(value, Markdown):
        return value
    return re.sub(r"([\\`*<\[\]|&~]|_(?![^\W_])|^[-+>#])", r"\\\1", plain(" ".join(str(value).split())))


def _templates(**options: Any) -> jinja2.Environment:
    """Environment of the template folder. An undefined name is an error; a line with only a tag leaves no line."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


HTML_TEMPLATES = _templates(autoescape=True)
MARKDOWN_TEMPLATES = _templates(finalize=escaped)  # every value is escaped, unless it is `Markdown`
MARKDOWN_TEMPLATES.globals["interval"] = interval
MARKDOWN_TEMPLATES.filters |= {
    "block": _block,
    "bullets": _bullets,
    "code": _code,
    "decimals": _decimals,
    "pairs": _pairs,
    "table": table,
    "thousands": _thousands,
}
