"""What is usual: the spread of a measured value among the months before, and shares in a mixture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[Any]
CONFIDENCE = 0.999
FEWEST = 3  # months from which a spread can be learned


@dataclass(frozen=True)
class Measured:
    """A value of the month, and of each month before it by itself.

    Parameters
    ----------
    now : float
    before : tuple of float
        The same value of each month before, measured against the others.
    floor : float
        A smaller difference is never of interest.
    """

    now: float
    before: tuple[float, ...]
    floor: float

    @property
    def usual(self) -> float:
        """Median of the months before."""
        return float(np.median(self.before)) if self.before else 0.0

    @property
    def difference(self) -> float:
        """How much the month's value is above the usual one."""
        return self.now - self.usual

    @property
    def threshold(self) -> float:
        """Difference from which it is unusual: by the spread of the months before, at least the floor."""
        return max(self.floor, spread(self.before)) if len(self.before) >= FEWEST else 2 * self.floor

    @property
    def strength(self) -> float:
        """Difference divided by the threshold; from 1 on it is unusual."""
        return self.difference / self.threshold if math.isfinite(self.difference) else 0.0


def spread(values: Sequence[float]) -> float:
    """Largest difference to the mean that another value of the same kind has with a probability of 0.999.

    Examples
    --------
    >>> round(spread((0.9, 1.0, 1.1, 1.0, 0.95, 1.05)), 2)
    0.45
    """
    count = len(values)
    quantile = float(stats.t.ppf(CONFIDENCE, count - 1))
    return quantile * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)


def without_one(items: Sequence[Any]) -> list[tuple[Any, tuple[Any, ...]]]:
    """Each item, with the others."""
    return [(item, (*items[:place], *items[place + 1 :])) for place, item in enumerate(items)]


def shares(counts: Array) -> Array:
    """Counts divided by their sum."""
    return counts / max(float(counts.sum()), 1.0)


def share_changed(found: Array, usual: Array, changed: Array) -> float:
    """Share p for which ``(1 - p) * usual + p * changed`` is nearest to `found`; all are shares of equal shape.

    Cells count by the inverse of their usual size, as in a chi-squared distance.
    """
    weight = 1 / (usual + changed + 1e-4)
    direction = changed - usual
    length = float((weight * direction * direction).sum())
    return float((weight * direction * (found - usual)).sum()) / length if length > 0 else 0.0


def measured_share(found: Array, before: Sequence[Array], change: Any, floor: float) -> Measured:
    """Share of a month's trips that look changed, and the same of each month before against the others.

    Parameters
    ----------
    found : array
        The month's shares by cell.
    before : sequence of array
        The same of the months before.
    change : callable
        Maps usual shares to those that changed trips would have.
    floor : float
    """

    def share(values: Array, others: Sequence[Array]) -> float:
        usual = np.mean(others, axis=0)
        return share_changed(values, usual, change(usual))

    alone = [share(values, others) for values, others in without_one(before) if others]
    return Measured(share(found, before), tuple(alone), floor)
