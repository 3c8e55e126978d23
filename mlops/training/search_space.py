"""The hyperparameters that the search tries: one line each in `SPACE`. Change the search here.

To search one more, add a line to `SPACE`, for example

    Parameter("gamma", LOG, 0.001, 10, first=0.01, reason="least gain of a split"),

To search one less, remove its line; XGBoost's default value is then used. `LIMITS` has the names that may be
searched. The learning rate and the number of rounds are not searched: see `search.Rung`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops.errors import ConfigError

WHOLE, EVEN, LOG = "whole", "even", "log"
KINDS = (WHOLE, EVEN, LOG)
"""How values are drawn between the bounds: whole numbers, all with about the same chance; any number, all with the
same chance; any number on a logarithmic scale, so that 1 to 10 has the same chance as 10 to 100."""


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter of the search.

    Parameters
    ----------
    name : str
        XGBoost's name, one of `LIMITS`.
    kind : str
        One of `KINDS`.
    low, high : float
        Bounds; both can be drawn.
    first : float
        Value in the first trial. A search of one trial uses only this value.
    reason : str
        Why these bounds.
    """

    name: str
    kind: str
    low: float
    high: float
    first: float
    reason: str

    def value(self, number: float) -> int | float:
        """A number of the type that XGBoost expects."""
        return int(number) if self.kind == WHOLE else float(number)

    def clipped(self, number: float) -> float:
        """The number between the bounds that is nearest to `number`."""
        return float(min(max(number, self.low), self.high))


SPACE: tuple[Parameter, ...] = (
    Parameter(
        "max_depth", WHOLE, 6, 8, first=8,
        reason="depth 5 misses zone x zone x hour; above 8 the model is too large to serve and gains only noise",
    ),
    Parameter(
        "min_child_weight", LOG, 10, 200, first=50.0,
        reason="trips in a leaf: one trip has a noise of 4 minutes, so the mean of a few is not reliable",
    ),
    Parameter("subsample", EVEN, 0.6, 1.0, first=0.9, reason="share of the rows that a tree uses"),
    Parameter(
        "colsample_bytree", EVEN, 0.3, 0.8, first=0.5,
        reason="share of the columns that a tree uses: the encodings are correlated, so half are enough",
    ),
    Parameter(
        "reg_lambda", LOG, 1, 150, first=20.0,
        reason="shrinkage of leaves, up to the weight of 150 trips; below 1 made no difference",
    ),
    Parameter("reg_alpha", LOG, 0.001, 10, first=0.01, reason="shrinkage of leaves towards zero"),
)  # fmt: skip
"""The search space, with the reason for each line's bounds.

The first values were good on every month that we tried, so a search of one trial gives a usable model too.
"""

LIMITS: Mapping[str, tuple[float, float]] = {
    "max_depth": (1, 16),
    "max_leaves": (2, 4096),
    "min_child_weight": (0, math.inf),
    "gamma": (0, math.inf),
    "subsample": (0, 1),
    "colsample_bytree": (0, 1),
    "colsample_bylevel": (0, 1),
    "colsample_bynode": (0, 1),
    "reg_lambda": (0, math.inf),
    "reg_alpha": (0, math.inf),
    "max_delta_step": (0, math.inf),
    "max_cat_to_onehot": (1, 256),
    "max_cat_threshold": (1, 256),
}
"""Parameters of XGBoost that may be searched, with the bounds that it accepts.

Source: https://xgboost.readthedocs.io/en/stable/parameter.html. Depth and leaves are limited more than there,
because the memory of a tree grows with both.
"""
WHOLE_NUMBERS = frozenset({"max_depth", "max_leaves", "max_cat_to_onehot", "max_cat_threshold"})
SHARES = frozenset({"subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode"})
PLACE = "mlops/training/search_space.py"


def first_guess(space: Sequence[Parameter] = SPACE) -> dict[str, int | float]:
    """Parameters of the first trial.

    Examples
    --------
    >>> first_guess()["max_depth"]
    8
    """
    return {parameter.name: parameter.first for parameter in space}


def clip_to_bounds(point: Mapping[str, float], space: Sequence[Parameter] = SPACE) -> dict[str, float]:
    """The point of the space that is nearest to `point`.

    Parameters that the space does not have are left out; missing ones, and NaN, get their first value.

    Examples
    --------
    >>> clip_to_bounds({"max_depth": 30, "gamma": 1.0})["max_depth"]
    8.0
    """
    known = {name: value for name, value in point.items() if value == value}
    return {each.name: each.clipped(known.get(each.name, each.first)) for each in space}


def require_usable(space: Sequence[Parameter] = SPACE) -> None:
    """Raise unless every line of the space can be searched.

    Raises
    ------
    ConfigError
        The message names the first wrong line and says what is expected.
    """
    if not isinstance(space, tuple | list) or not all(isinstance(each, Parameter) for each in space):
        raise ConfigError(f"{PLACE}: SPACE: expected a tuple of Parameter(...), with a comma after each")
    if not space:
        raise ConfigError(f"{PLACE}: SPACE: expected at least one parameter; got none")
    names = [each.name for each in space]
    for each in space:
        problem = _problem(each, names)
        if problem:
            raise ConfigError(f"{PLACE}: parameter {each.name!r}: {problem}. Correct its line in SPACE.")


def _problem(each: Parameter, names: Sequence[str]) -> str:
    """What is wrong with a line; empty if nothing is."""
    if each.name not in LIMITS:
        return f"expected one of {', '.join(LIMITS)}"
    if names.count(each.name) > 1:
        return f"expected one line; got {names.count(each.name)}"
    if each.kind not in KINDS:
        return f"expected the kind WHOLE, EVEN or LOG; got {each.kind!r}"
    if each.name in WHOLE_NUMBERS and each.kind != WHOLE:
        return f"expected the kind WHOLE, because XGBoost needs a whole number; got {each.kind!r}"
    return _problem_of_numbers(each)


def _problem_of_numbers(each: Parameter) -> str:
    numbers = {"low": each.low, "high": each.high, "first": each.first}
    for what, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return f"expected a finite number as {what}; got {number!r}"
        if each.kind == WHOLE and number != int(number):
            return f"expected a whole number as {what}; got {number!r}"
    if each.low >= each.high:
        return f"expected low < high; got {each.low!r} and {each.high!r}"
    if not each.low <= each.first <= each.high:
        return f"expected first from {each.low!r} to {each.high!r}; got {each.first!r}"
    return _problem_of_bounds(each)


def _problem_of_bounds(each: Parameter) -> str:
    least, most = LIMITS[each.name]
    if each.low < least or each.high > most or (each.name in SHARES and each.low == 0):
        above = "above 0" if each.name in SHARES else f"from {least:g}"
        allowed = above + (f" to {most:g}" if math.isfinite(most) else "")
        return f"expected bounds {allowed}, which XGBoost accepts; got {each.low!r} to {each.high!r}"
    if each.kind == LOG and each.low <= 0:
        return (
            f"expected low > 0 on a logarithmic scale; got {each.low!r}. Take a small number, such as 0.001"
        )
    return ""
