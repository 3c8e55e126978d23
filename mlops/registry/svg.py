"""Charts as SVG text that stands inside a page: no script, no style of its own, no other file.

The page's style sheet (`STYLE`) has the colours, for light and dark pages. They differ in brightness, too, and no
two lines differ by colour alone. All texts are escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from mlops.errors import plain

WIDTH: Final = 760.0  # of every chart, in the units of its texts, which are 15 high
STYLE: Final = """
.chart{display:block;width:100%;min-width:34rem;height:auto;
font:15px system-ui,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
.chart.narrow{min-width:0;max-width:38rem}
.chart.narrow text{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.chart text{fill:var(--ink)}.chart .soft{fill:var(--soft)}.chart .strong{font-weight:600}
.chart .middle{text-anchor:middle}.chart .end{text-anchor:end}
.chart .grid{stroke:var(--line);stroke-width:1}.chart .axis{stroke:var(--soft);stroke-width:1}
.chart .line{fill:none;stroke-width:2.5;stroke-linejoin:round}
.chart .champion{stroke:var(--champion)}.chart .predecessor{stroke:var(--predecessor);stroke-dasharray:9 4}
.chart .baseline{stroke:var(--soft);stroke-dasharray:2 4}.chart .promised{stroke:var(--ink);stroke-width:1.5}
.chart .dot{stroke:none}.chart .dot.champion,.chart .bar.champion{fill:var(--champion)}
.chart .dot.predecessor{fill:var(--predecessor)}.chart .dot.baseline{fill:var(--soft)}
.chart .dot.promised{fill:var(--ink)}
.chart .whole{stroke-dasharray:none}
.chart .band{fill:var(--champion);opacity:.16}.chart .hit{fill:transparent}
.chart .worse{fill:var(--alarm)}.chart .better{fill:var(--good)}.chart .neutral{fill:var(--soft)}
.chart .ring{fill:none;stroke:var(--alarm);stroke-width:2.5}.chart .hollow{fill:var(--paper);stroke:var(--soft)}
.chart text.champion,.chart text.predecessor{stroke:none}.chart text.champion{fill:var(--champion)}
.chart text.predecessor{fill:var(--predecessor)}.chart text.baseline{stroke:none;fill:var(--soft)}
.chart text.promised{stroke:none}
.scroll{overflow-x:auto;direction:rtl;max-width:54rem}.chart{direction:ltr}
figure{margin:1.5rem 0}figcaption{font-weight:600;margin-bottom:.3rem}
.chart a:hover .dot,.chart a:focus .dot{stroke:var(--ink);stroke-width:2}
""".strip()


@dataclass(frozen=True)
class Point:
    """A value of a line.

    Parameters
    ----------
    value : float
        NaN is a gap.
    low, high : float
        Ends of its interval; NaN for none.
    title : str
        What the browser shows beside the pointer.
    link : str
        Address that it links to; empty for none.
    is_alarm : bool
        Whether it has a ring.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    title: str = ""
    link: str = ""
    is_alarm: bool = False


@dataclass(frozen=True)
class Line:
    """A line over the months.

    Parameters
    ----------
    name : str
        Its label, beside its last point.
    kind : str
        Class of the style sheet: ``champion``, ``predecessor``, ``baseline``, ``promised``.
    points : sequence of Point
        One for each month.
    """

    name: str
    kind: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Mark:
    """A sign below a month: ``trained`` (empty triangle), ``promoted`` (full triangle), ``returned`` (arrow)."""

    place: int
    kind: str
    label: str
    title: str


@dataclass(frozen=True)
class Plot:
    """Lines over months.

    Parameters
    ----------
    title : str
        What is drawn, with its unit: it stands above the chart, and is its name for screen readers.
    months : sequence of str
        YYYY-MM, one after the other without a gap.
    lines : sequence of Line
    marks : sequence of Mark
    levels : mapping of str to float
        Horizontal lines, as ``80 %``.
    has_zero : bool
        Whether the axis begins at zero.
    is_share : bool
        Whether values are shares, which are shown in percent.
    """

    title: str
    months: Sequence[str]
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    levels: Sequence[float] = ()
    has_zero: bool = False
    is_share: bool = False
    height: float = field(default=280.0)


_LEFT, _RIGHT, _TOP, _BELOW, _RAIL = 60.0, 160.0, 12.0, 30.0, 26.0
_LABEL_GAP, _LETTER = 17.0, 9.5
_SIGNS = {"trained": ("M-5 4L0 -5L5 4Z", "hollow"), "promoted": ("M-5 4L0 -5L5 4Z", "neutral"),
          "returned": ("M-6 0L2 -5V-2H7V2H2V5Z", "worse")}  # fmt: skip


def plot(drawn: Plot) -> str:
    """A figure of lines over months; empty if no value is known."""
    ends = [each for line in drawn.lines for p in line.points for each in (p.value, p.low, p.high)]
    known = [each for each in ends if math.isfinite(each)]
    if not known:
        return ""
    known += drawn.levels
    marked = ticks(0.0 if drawn.has_zero else min(known), max(known))
    frame = _Frame(len(drawn.months), marked[0], marked[-1], drawn.height)
    rail = _RAIL if drawn.marks else 0.0
    parts = [
        *_grid(frame, marked, drawn),
        *(_level(frame, level) for level in drawn.levels),
        *(part for line in reversed(drawn.lines) for part in _line(frame, line)),
        *_end_labels(frame, drawn),
        *_marks(frame, drawn.marks),
    ]
    return figure(drawn.title, frame.bottom + _BELOW + rail, parts)


@dataclass(frozen=True)
class _Frame:
    """Where months and values are."""

    count: int
    low: float
    high: float
    height: float

    @property
    def bottom(self) -> float:
        return self.height - _BELOW

    @property
    def right(self) -> float:
        return WIDTH - _RIGHT

    @property
    def step(self) -> float:
        return (self.right - _LEFT) / self.count

    def x(self, place: float) -> float:
        return _LEFT + self.step * (place + 0.5)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.bottom - share * (self.bottom - _TOP)


def _grid(frame: _Frame, marked: Sequence[float], drawn: Plot) -> Iterator[str]:
    digits = decimals(marked)
    for tick in marked:
        y = frame.y(tick)
        shown = f"{100 * tick:.{max(0, digits - 2)}f} %" if drawn.is_share else f"{tick:.{digits}f}"
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{frame.right}"/>'
        yield text_at(_LEFT - 8, y + 5, shown, "soft end")
    each = math.ceil(7 * _LETTER / frame.step)
    for place, month in enumerate(drawn.months):
        if (len(drawn.months) - 1 - place) % each == 0:
            yield text_at(frame.x(place), frame.bottom + 20, month, "soft middle")


def _level(frame: _Frame, level: float) -> str:
    y = frame.y(level)
    return f'<path class="axis" stroke-dasharray="2 3" d="M{_LEFT} {y:.1f}H{frame.right}"/>'


def _line(frame: _Frame, line: Line) -> Iterator[str]:
    """Band, line and points of one line; it has gaps where months have no value."""
    for run in _runs(line.points):
        ends = [(place, p) for place, p in run if math.isfinite(p.low) and math.isfinite(p.high)]
        if len(ends) > 1:
            around = [(place, p.high) for place, p in ends] + [(place, p.low) for place, p in reversed(ends)]
            yield f'<polygon class="band" points="{_places(frame, around)}"/>'
        if len(run) > 1:
            along = _places(frame, [(place, p.value) for place, p in run])
            yield f'<polyline class="line {line.kind}" points="{along}"/>'
        yield from (_dot(frame, place, point, line.kind) for place, point in run)


def _runs(points: Sequence[Point]) -> list[list[tuple[int, Point]]]:
    """Points with their places, a list for each unbroken part."""
    runs: list[list[tuple[int, Point]]] = [[]]
    for place, point in enumerate(points):
        if math.isfinite(point.value):
            runs[-1].append((place, point))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _places(frame: _Frame, found: Iterable[tuple[int, float]]) -> str:
    return " ".join(f"{frame.x(place):.1f},{frame.y(value):.1f}" for place, value in found)


def _dot(frame: _Frame, place: int, point: Point, kind: str) -> str:
    x, y = frame.x(place), frame.y(point.value)
    ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="9"/>' if point.is_alarm else ""
    title = f"<title>{escaped(point.title)}</title>" if point.title else ""
    dot = f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    hit = f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="11"/>' if point.link or title else ""
    return linked(f"{ring}{dot}{hit}{title}", point.link)


def linked(inside: str, link: str) -> str:
    """SVG inside a link, or in a group where the link is empty."""
    return f'<a href="{escape(link)}">{inside}</a>' if link else f"<g>{inside}</g>"


def escaped(text: str) -> str:
    """Text for HTML, without characters that change what stands around it."""
    return escape(plain(text))


def _end_labels(frame: _Frame, drawn: Plot) -> Iterator[str]:
    """The name of each line and its last value, to the right of it; those that would overlap are moved apart."""
    last = [(line, [p for p in line.points if math.isfinite(p.value)][-1:]) for line in drawn.lines]
    known = sorted(
        ((frame.y(p.value), line, p.value) for line, ps in last for p in ps), key=lambda each: each[0]
    )
    below, places = -math.inf, []
    for y, line, value in known:
        below = max(y, below + _LABEL_GAP)
        places.append((below, line, value))
    over = max(0.0, below - frame.bottom)
    for y, line, value in places:
        shown = f"{100 * value:.0f} %" if drawn.is_share else f"{value:.2f}"
        yield text_at(frame.right + 8, y - over + 5, f"{line.name} {shown}", line.kind)


def _marks(frame: _Frame, marks: Sequence[Mark]) -> Iterator[str]:
    """A sign for each mark, and its label where there is room; the last ones come first."""
    left = math.inf
    for mark in sorted(marks, key=lambda each: -each.place):
        x, half = frame.x(mark.place), _LETTER * len(mark.label) / 2 + 2
        has_room = x + half <= left
        left = x - half if has_room else left
        yield _mark(x, frame.bottom + _BELOW + 6, mark, mark.label if has_room else "")


def _mark(x: float, y: float, mark: Mark, label: str) -> str:
    path, kind = _SIGNS[mark.kind]
    below = text_at(0, 20, label, "soft middle") if label else ""
    return (
        f'<g transform="translate({x:.1f} {y:.1f})"><title>{escaped(mark.title)}</title>'
        f'<path class="{kind}" d="{path}"/>{below}</g>'
    )


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round values that enclose both, about so many steps.

    Examples
    --------
    >>> ticks(4.1, 4.8)
    [4.0, 4.2, 4.4, 4.6, 4.8]
    """
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if span / (each * power) <= wanted + 0.5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * each, 10) for each in range(first, max(last, first + 1) + 1)]


def decimals(marked: Sequence[float]) -> int:
    """Decimals that tell neighbouring ticks apart.

    Examples
    --------
    >>> decimals([4.0, 4.25]), decimals([0.0, 10.0])
    (2, 0)
    """
    step = marked[1] - marked[0]
    return next(count for count in range(12) if abs(round(step, count) - step) < 1e-9 or count == 11)


def text_at(x: float, y: float, text: str, kind: str) -> str:
    """A text whose baseline begins at a place; `kind` are classes of the style sheet, as ``soft end``."""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escaped(text)}</text>'


def figure(title: str, height: float, parts: Iterable[str], width: float = WIDTH) -> str:
    """A drawing below its title.

    One as wide as `WIDTH` is scrolled where the page is narrower, and shows its right end, the newest months.
    Narrower ones shrink.
    """
    name, is_wide = escaped(title), width >= WIDTH
    drawing = (
        f'<svg class="chart{"" if is_wide else " narrow"}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{name}">{"".join(parts)}</svg>'
    )
    shown = f'<div class="scroll" tabindex="0">{drawing}</div>' if is_wide else drawing
    return f"<figure><figcaption>{name}</figcaption>{shown}</figure>"
