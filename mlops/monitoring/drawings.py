"""Charts of one month's report: errors with their intervals, the parts of the change, bars by slice and by day."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlops.registry import monitoring_words as words
from mlops.registry import svg

# Of the charts with rows, which a phone shows whole; a row has a text above its bar.
_WIDTH, _ROW = 520.0, 48.0
_SIDE, _BELOW = 22.0, 26.0  # left and right of the axis; height of its numbers


@dataclass(frozen=True)
class Error:
    """A contender's RMSE with its 95 % interval, minutes; `kind` is a class of the style sheet."""

    name: str
    kind: str
    rmse: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class _Axis:
    """Where values are, from left to right."""

    marked: Sequence[float]
    rows: int

    @property
    def bottom(self) -> float:
        return self.rows * _ROW + 4

    @property
    def height(self) -> float:
        return self.bottom + _BELOW

    def x(self, value: float) -> float:
        share = (value - self.marked[0]) / (self.marked[-1] - self.marked[0])
        return _SIDE + share * (_WIDTH - 2 * _SIDE)

    def y(self, place: int) -> float:
        """Middle of a row's bar."""
        return _ROW * place + 34

    def draw(self) -> Iterator[str]:
        """Lines and numbers of the axis."""
        digits = svg.decimals(self.marked)
        for each in self.marked:
            yield f'<path class="grid" d="M{self.x(each):.1f} 22V{self.bottom:.1f}"/>'
            yield svg.text_at(self.x(each), self.bottom + 18, f"{each:.{digits}f}", "soft middle")


def errors(title: str, shown: Sequence[Error]) -> str:
    """A dot with its interval for each contender; empty if no error is known."""
    known = [each for each in shown if math.isfinite(each.rmse)]
    if not known:
        return ""
    ends = [value for each in known for value in (each.rmse, each.low, each.high) if math.isfinite(value)]
    axis = _Axis(svg.ticks(min(ends), max(ends)), len(known))
    parts = [*axis.draw()]
    for place, each in enumerate(known):
        y = axis.y(place)
        if math.isfinite(each.low) and math.isfinite(each.high):
            parts.append(_stroke(each.kind, axis.x(each.low), axis.x(each.high), y))
        parts.append(f'<circle class="dot {each.kind}" cx="{axis.x(each.rmse):.1f}" cy="{y:.1f}" r="6"/>')
        parts.append(_row(y, each.name, f"{each.rmse:.2f}{words.between(each.low, each.high)}"))
    return svg.figure(title, axis.height, parts, _WIDTH)


def parts_of_change(title: str, promised: float, mix: float, within: float, names: Sequence[str]) -> str:
    """From the promised RMSE by way of the mix to the error now; `names` are of the four rows."""
    if not all(map(math.isfinite, (promised, mix, within))):
        return ""
    after_mix, now = promised + mix, promised + mix + within
    axis = _Axis(svg.ticks(min(promised, after_mix, now), max(promised, after_mix, now)), 4)
    rows = (
        (promised, promised, f"{promised:.2f}"), (promised, after_mix, words.signed(mix)),
        (after_mix, now, words.signed(within)), (now, now, f"{now:.2f}"),
    )  # fmt: skip
    drawn = [*axis.draw()]
    for place, (start, end, value) in enumerate(rows):
        y = axis.y(place)
        drawn.append(_row(y, names[place], value))
        if start == end and place in (0, 3):
            kind = "promised" if place == 0 else "champion"
            drawn.append(f'<circle class="dot {kind}" cx="{axis.x(end):.1f}" cy="{y:.1f}" r="6"/>')
        else:
            drawn.append(_bar(axis.x(start), axis.x(end), y, "neutral" if place == 1 else _kind(end - start)))
        if place < 3:
            down = f"M{axis.x(end):.1f} {y + 7:.1f}V{y + _ROW - 7:.1f}"
            drawn.append(f'<path class="axis" stroke-dasharray="2 3" d="{down}"/>')
    return svg.figure(title, axis.height, drawn, _WIDTH)


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """A bar from zero for each row: name, minutes, and a text at its right; empty without rows."""
    known = [row for row in rows if math.isfinite(row[1])]
    if not known:
        return ""
    values = [0.0, *(value for _, value, _ in known)]
    axis = _Axis(svg.ticks(min(values), max(values)), len(known))
    drawn = [*axis.draw()]
    for place, (name, value, text) in enumerate(known):
        y = axis.y(place)
        drawn += [_row(y, name, text), _bar(axis.x(0), axis.x(value), y, _kind(value))]
    return svg.figure(title, axis.height, drawn, _WIDTH)


def days(title: str, found: Sequence[tuple[str, float]], height: float = 170.0) -> str:
    """A column for each day (YYYY-MM-DD) with what it contributes, minutes; empty without days."""
    known = [(day, value) for day, value in found if math.isfinite(value)]
    if not known:
        return ""
    values = [0.0, *(value for _, value in known)]
    marked = svg.ticks(min(values), max(values), 3)
    bottom, digits = height - _BELOW, svg.decimals(marked)

    def y(value: float) -> float:
        return bottom - (value - marked[0]) / (marked[-1] - marked[0]) * (bottom - 10)

    drawn, step = [], (svg.WIDTH - 70) / len(known)
    for tick in marked:
        drawn.append(f'<path class="grid" d="M64 {y(tick):.1f}H{svg.WIDTH}"/>')
        drawn.append(svg.text_at(56, y(tick) + 5, f"{tick:.{digits}f}", "soft end"))
    for place, (day, value) in enumerate(known):
        left, top = 66 + step * place, min(y(value), y(0.0))
        size = f'width="{max(step - 3, 1):.1f}" height="{abs(y(value) - y(0.0)):.1f}"'
        title_of = f"<title>{svg.escaped(f'{day}: {words.signed(value)} minutes')}</title>"
        drawn.append(f'<rect class="{_kind(value)}" x="{left:.1f}" y="{top:.1f}" {size}>{title_of}</rect>')
        if place % 5 == 0:
            drawn.append(svg.text_at(left + step / 2, bottom + 20, day[-2:].lstrip("0"), "soft middle"))
    return svg.figure(title, height, drawn)


def _kind(value: float) -> str:
    return "worse" if value > 0 else "better"


def _bar(start: float, end: float, y: float, kind: str) -> str:
    left, width = min(start, end), max(abs(end - start), 1.0)
    return f'<rect class="{kind}" x="{left:.1f}" y="{y - 8:.1f}" width="{width:.1f}" height="16"/>'


def _stroke(kind: str, start: float, end: float, y: float) -> str:
    return f'<path class="line {kind} whole" d="M{start:.1f} {y:.1f}H{end:.1f}"/>'


def _row(y: float, name: str, value: str) -> str:
    """Name and value above the bar of a row."""
    shown = name if len(name) <= 40 else f"{name[:38]}..."
    texts = svg.text_at(0, y - 15, shown, ""), svg.text_at(_WIDTH, y - 15, value, "end strong")
    return f"<g><title>{svg.escaped(f'{name}: {value}')}</title>{''.join(texts)}</g>"
