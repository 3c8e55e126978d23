"""Names of metrics in MLflow: in groups, which its pages show as sections, such as ``test/rmse``.

Inside the program a metric has a plain name, such as ``test_rmse``. Only this room groups the names, where it logs
and reads metrics. Runs of a release before 2026-12 have only the plain names, and are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Log each metric under its plain name too, for one release, so that saved charts, searches and programs of other
# people go on. Set it to False in the release after 2026-12; what reads metrics needs no change then.
PLAIN_NAMES_TOO: Final = True

# Start of a plain name, and what stands in its place in MLflow; the first that fits counts.
# MLflow's charts and its comparison of runs sort groups by name: these are named such that "test" is the first.
_GROUPS: Final = (
    ("test_without_distance_", "test_without_distance/"),
    ("test_coverage_", "test_ranges/coverage_"),
    ("test_width_", "test_ranges/width_"),
    ("test_interval_score_", "test_ranges/interval_score_"),
    ("test_", "test/"),
    ("validation_", "validation/"),
    ("verdict_", "verdict/"),
    ("cleaning_", "trips/"),
    ("training_", "training/"),
)
# MLflow's page of a run shows metrics in the order in which they were logged.
_ORDER: Final = (
    "test", "test_ranges", "test_without_distance", "verdict", "validation", "training", "tuning", "trips",
)  # fmt: skip
_OF_TUNING: Final = ("trials", "rung", "rounds", "seconds")
_TUNING: Final = "tuning/"


def grouped(name: str) -> str:
    """The name in MLflow of a metric with this plain name; a name of no group stays as it is.

    Examples
    --------
    >>> grouped("test_rmse"), grouped("test_coverage_80"), grouped("test_without_distance_rmse")
    ('test/rmse', 'test_ranges/coverage_80', 'test_without_distance/rmse')
    >>> grouped("rung")
    'tuning/rung'
    """
    if name in _OF_TUNING:
        return f"{_TUNING}{name}"
    found = [group + name.removeprefix(start) for start, group in _GROUPS if name.startswith(start)]
    return found[0] if found else name


def plain(name: str) -> str:
    """The plain name of a metric with this name in MLflow; the reverse of `grouped`.

    Examples
    --------
    >>> plain("test/rmse"), plain("test_ranges/coverage_80"), plain("tuning/rung"), plain("test_rmse")
    ('test_rmse', 'test_coverage_80', 'rung', 'test_rmse')
    """
    if name.startswith(_TUNING):
        return name.removeprefix(_TUNING)
    found = [start + name.removeprefix(group) for start, group in _GROUPS if name.startswith(group)]
    return found[0] if found else name


def to_log(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as a run logs them, from their plain names: what matters most first, without those that are NaN.

    Examples
    --------
    >>> to_log({"test_rmse": 4.5, "test_r2": float("nan")})
    {'test/rmse': 4.5, 'test_rmse': 4.5}
    """
    ranked = sorted(metrics, key=lambda name: _rank(grouped(name)))
    known = {name: float(metrics[name]) for name in ranked if metrics[name] == metrics[name]}
    return {grouped(name): value for name, value in known.items()} | (known if PLAIN_NAMES_TOO else {})


def _rank(name: str) -> int:
    group = name.partition("/")[0]
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


def read(logged: Mapping[str, float]) -> dict[str, float]:
    """Metrics by their plain names, from all that a run logged; of two names for a metric the grouped one counts.

    Examples
    --------
    >>> read({"test_rmse": 4.5, "test/rmse": 4.25, "validation_rmse": 4.75})
    {'test_rmse': 4.25, 'validation_rmse': 4.75}
    """
    named = {plain(name): value for name, value in logged.items() if plain(name) != name}
    return {name: value for name, value in logged.items() if plain(name) == name} | named
