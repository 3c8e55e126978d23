"""One style for all figures of a model card, and its two files: PNG for MLflow's pages, SVG for the card's page.

An SVG has no colours of its own: the page's style sheet gives them, for light and dark pages. Lines differ in
their dashes and markers, too, so that no two differ by colour alone.

Source: the hues are a blue and an orange, which people with any kind of colour blindness tell apart (M. Okabe,
K. Ito, "Color Universal Design", 2008).
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mlops.errors import MlopsError, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, LINE, PAPER = "#1d2733", "#5b6875", "#dde3e9", "#fefefe"
OWN, CHAMPION = "#0062a8", "#b35900"
VARIABLES: Final = {
    INK: "--ink", SOFT: "--soft", LINE: "--line", PAPER: "--paper", OWN: "--own", CHAMPION: "--champion",
}  # fmt: skip
"""The style sheet's name for each colour."""

Direction = Literal["x", "y", "both"]
WIDTH, HEIGHT, DPI = 6.0, 3.8, 150  # inches; 900 pixels wide, so that a page may halve it
_TITLE_LETTERS = 51  # of a line
_STYLE: Final[Any] = {
    "font.size": 12, "axes.labelsize": 12, "xtick.labelsize": 11.5, "ytick.labelsize": 11.5,
    "figure.titlesize": 13, "figure.titleweight": "bold",
    "text.color": INK, "axes.labelcolor": SOFT, "xtick.color": LINE, "ytick.color": LINE,
    "xtick.labelcolor": SOFT, "ytick.labelcolor": SOFT, "axes.edgecolor": LINE, "axes.facecolor": "none",
    "figure.facecolor": PAPER, "axes.spines.top": False, "axes.spines.right": False,
    "axes.axisbelow": True, "grid.color": LINE, "grid.linewidth": 0.8, "lines.linewidth": 2.2,
    "lines.markersize": 6, "svg.hashsalt": "card", "svg.fonttype": "path",
}  # fmt: skip


def styled() -> AbstractContextManager[None]:
    """A context in which all drawing has the style."""
    import matplotlib  # imported here: it takes half a second, and only reports need it

    return matplotlib.rc_context(_STYLE)


def draw(title: str, xlabel: str, ylabel: str = "", height: float = HEIGHT, grid: Direction = "y") -> Axes:
    """Axes of a new figure; within `styled`, they have the style.

    Parameters
    ----------
    title : str
        What the figure shows, as a sentence; long ones get several lines.
    xlabel, ylabel : str
        What is measured, with its unit.
    height : float
        Inches.
    grid : {"x", "y", "both"}
        Direction of the values.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    figure.suptitle(textwrap.fill(plain(title), _TITLE_LETTERS), x=0.015, ha="left")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(visible=True, axis=grid)
    axes.tick_params(length=0)
    return axes


def label_lines(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Names at the right ends of lines instead of a legend.

    Parameters
    ----------
    axes : Axes
    ends : sequence of (x, y, name, colour)
    gap : float
        Smallest vertical distance of two names, in units of y; closer ones are moved apart.
    """
    below = float("-inf")
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        below = max(y, below + gap)
        axes.annotate(name, (x, below), (8, 0), textcoords="offset points", va="center", color=colour,
                      weight="bold" if colour == OWN else "normal", annotation_clip=False)  # fmt: skip


def name_markers(axes: Axes, count: int) -> None:
    """Names of the markers in one row above the axes, in their colours."""
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="lower left", bbox_to_anchor=(0, 1), ncols=count, frameon=False,
                borderaxespad=0.2, labelcolor="linecolor", handletextpad=0.1, columnspacing=1.2)  # fmt: skip


def bars(axes: Axes, shown: Mapping[str, float], numbers: str, colour: str = OWN) -> None:
    """Horizontal bars with their values beside them, the first on top; names of several words get two lines."""
    names = wrapped(shown)
    places = range(len(names))
    drawn = axes.barh(places, list(shown.values()), color=colour, height=0.62)
    axes.bar_label(drawn, [numbers.format(value) for value in shown.values()], padding=4, fontsize=11.5)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.15)


def wrapped(names: Iterable[str]) -> list[str]:
    """Names beside bars, on several lines if they are long."""
    return [textwrap.fill(plain(name), 30) for name in names]


def save(axes: Axes, stem: Path) -> Path:
    """Write the figure of these axes as ``<stem>.png`` and ``<stem>.svg``; the path of the PNG."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise MlopsError(
            f"{stem.name}: expected axes of a figure; got axes without one. Make them with draw()"
        )
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it was computed now, once for both files
    picture, drawing = stem.with_suffix(".png"), io.StringIO()
    figure.savefig(picture, dpi=DPI)
    figure.savefig(drawing, format="svg", dpi=DPI, transparent=True, metadata={"Date": None})
    title = " ".join(figure.get_suptitle().split())
    stem.with_suffix(".svg").write_text(for_page(drawing.getvalue(), title), encoding="utf-8")
    return picture


def for_page(svg: str, title: str) -> str:
    """An SVG that stands inside a page: only its drawing, a title for screen readers, and the page's colours."""
    drawing = svg[svg.index("<svg") :]
    (box,) = re.findall(r'viewBox="[^"]*"', drawing[: drawing.index(">")])
    drawing = drawing[drawing.index(">") + 1 :]
    drawing = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
    for colour, name in VARIABLES.items():
        drawing = drawing.replace(colour, f"var({name})")
    head = f'<svg class="plot" {box} role="img" aria-label="{escape(plain(title))}">'
    return head + re.sub(r"\s*\n\s*", "\n", drawing).strip() + "\n"
