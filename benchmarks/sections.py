"""What a section of the benchmark passes to the report, and the statistics of its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from benchmarks.cells import Results, last_line

# Two-sided 95 % quantiles of Student's t, by degrees of freedom; above 11, 2 is close enough.
STUDENT = {
    1: 12.71,
    2: 4.30,
    3: 3.18,
    4: 2.78,
    5: 2.57,
    6: 2.45,
    7: 2.36,
    8: 2.31,
    9: 2.26,
    10: 2.23,
    11: 2.20,
}


@dataclass(frozen=True)
class Row:
    """One line of the result: what was measured, the goal, the figure.

    Parameters
    ----------
    what, goal, figure : str
    reached : bool or None
        None if there is no goal or no measurement.
    """

    what: str
    goal: str
    figure: str
    reached: bool | None = None


@dataclass(frozen=True)
class Table:
    """A table with detailed figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Lines, tables and plot points of one part of the benchmark."""

    rows: tuple[Row, ...] = ()
    tables: tuple[Table, ...] = ()
    points: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """Mean with the half width of its 95 % interval; NaN for a single value."""

    mean: float
    half_width: float
    count: int

    def __str__(self) -> str:
        if self.count < 2:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {self.half_width:.3f}"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of independent values with its 95 % interval.

    Examples
    --------
    >>> str(estimate([4.0, 4.2])), str(estimate([4.0]))
    ('4.100 ± 1.271', '4.000')
    """
    if len(values) < 2:
        return Estimate(mean(values), math.nan, len(values))
    half_width = STUDENT.get(len(values) - 1, 2.0) * stdev(values) / math.sqrt(len(values))
    return Estimate(mean(values), half_width, len(values))


def values_of(results: Results, name: str) -> dict[str, Any] | None:
    """The values of a cell, or None if it failed or did not run."""
    result = results.get(name)
    return None if result is None or result.error else result.values


def filled(rows: Sequence[Row], results: Results, names: Sequence[str]) -> list[Row]:
    """The rows; those without a figure say why it was not measured."""
    return [row if row.figure else not_measured(row.what, row.goal, results, *names) for row in rows]


def not_measured(what: str, goal: str, results: Results, *names: str) -> Row:
    """Line of a figure that was not measured, with the reason from its cell."""
    errors = [results[name].error for name in names if name in results and results[name].error]
    reason = last_line(errors[0]) if errors else "not run"
    return Row(what, goal, f"not measured: {reason}")
