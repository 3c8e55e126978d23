"""What is usual: the spread of a measured value among the months before, and shares in a mixture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_T = (
    318.3, 22.33, 10.21, 7.173, 5.893, 5.208, 4.785, 4.501, 4.297, 4.144, 4.025, 3.930, 3.852, 3.787, 3.733,
)  # fmt: skip
"""Student's t with 1, 2, ... degrees of freedom at the probability 0.999 (one-sided)."""
FEWEST = 3  # months from which a spread can be learned
PRIOR_MONTHS = 8


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


def student(freedom: int) -> float:
    """Quantile 0.999 of Student's t distribution.

    Examples
    --------
    >>> student(5), round(student(1000), 2)
    (5.893, 3.1)
    """
    return _T[freedom - 1] if freedom <= len(_T) else 3.09 + 9.6 / freedom


def spread(values: Sequence[float]) -> float:
    """Largest difference to the mean that another value of the same kind has with a probability of 0.999.

    Examples
    --------
    >>> round(spread((0.9, 1.0, 1.1, 1.0, 0.95, 1.05)), 2)
    0.45
    """
    count = len(values)
    return student(count - 1) * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)


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


def pooled_spreads(groups: Mapping[str, Sequence[float]], errors: Mapping[str, float]) -> dict[str, float]:
    """`spread` of each group of values, where the groups say together how far values are from each other.

    A group's variance is averaged with the usual multiple of its squared standard error, as if that were learned
    from `PRIOR_MONTHS` more months. Thus a few months that are alike by chance give no small threshold.

    Source: G. K. Smyth, Linear models and empirical Bayes methods for assessing differential expression, 2004.

    Parameters
    ----------
    groups : mapping of str to sequence of float
        Values of the months before.
    errors : mapping of str to float
        Standard error of a month's value, from its number of trips.
    """
    if not groups:
        return {}
    count = len(next(iter(groups.values())))
    if count < FEWEST:
        return {name: 5 * errors[name] for name in groups}
    variances = {name: float(np.var(values, ddof=1)) for name, values in groups.items()}
    usual = float(np.median([variances[name] / errors[name] ** 2 for name in groups]))
    freedom = PRIOR_MONTHS + count - 1
    quantile = student(freedom) * math.sqrt(1 + 1 / count)
    pooled = {
        name: (PRIOR_MONTHS * usual * errors[name] ** 2 + (count - 1) * variance) / freedom
        for name, variance in variances.items()
    }
    return {name: quantile * math.sqrt(variance) for name, variance in pooled.items()}
