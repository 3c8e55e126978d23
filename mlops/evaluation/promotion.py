"""Whether a challenger becomes champion, with all reasons: a pure decision that anyone can repeat.

The evidence is small. It is stored with the limits and the verdict in the run's
``verdict.json``, and `replay` decides again from that file alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.data.trips import LONGEST_MINUTES, SHORTEST_MINUTES
from mlops.errors import ConfigError, MlopsError
from mlops.evaluation import interval_rules
from mlops.evaluation.comparison import BASELINES, Evidence, Incumbent
from mlops.month import Month

Array = npt.NDArray[Any]

LEAST_DAYS = 7  # with fewer, the bootstrap cannot estimate how much days differ
NAMED_SLICES = 5
TABLES = ("days", "slices", "intervals")  # of `Evidence`
_TEXT = ("day", "slice", "value", "contender")


@dataclass(frozen=True)
class Limits:
    """Requirements that a challenger must meet.

    Parameters
    ----------
    min_improvement : float
        Share of the champion's RMSE by which the challenger's must be lower.
    max_slice_regression : float
        Share by which the RMSE of a slice may be above the champion's.
    min_test_rows : int
        Fewest trips of a test month.
    max_champion_age_months : int
        A champion judged more months ago than this gives way to any challenger that is not significantly worse.
    min_slice_rows : int
        Slices with fewer trips are not checked: their RMSE is mostly noise.
    max_artefact_bytes : int
    max_row_seconds : float
        CPU time of one request, once the model is loaded.
    max_coverage_error : float
        Share by which the coverage of the 80 % and of the 95 % interval may differ from 0.8 and 0.95.

    Notes
    -----
    On green months of 2023, the RMSE of slices of 500 trips or more grew by at most 4.4 % from one model to the
    next and 8.8 % to any later one; in slices of fewer than 50 trips by up to 82 %. An artefact has 6 to 9 MB and
    a request takes 2 ms. The limits for size and time are far above, so that they stop only broken models.
    """

    min_improvement: float = 0.01
    max_slice_regression: float = 0.1
    min_test_rows: int = 5000
    max_champion_age_months: int = 3
    min_slice_rows: int = 500
    max_artefact_bytes: int = 100_000_000
    max_row_seconds: float = 0.25
    max_coverage_error: float = 0.05


@dataclass(frozen=True)
class Verdict:
    """The decision on a challenger.

    Parameters
    ----------
    outcome : str
        ``promote``; ``keep`` the champion, if the challenger is valid but not enough better, or its intervals are
        worse or miss their coverage; ``refuse``, if it is not fit for use or cannot be compared fairly.
    reasons : tuple of str
        All reasons, not only the first.
    measured : dict of str to float
        Every number that the decision used and that is finite.
    """

    outcome: str
    reasons: tuple[str, ...]
    measured: dict[str, float]

    @property
    def promote(self) -> bool:
        """Whether the challenger becomes champion."""
        return self.outcome == "promote"

    @property
    def reason(self) -> str:
        """All reasons on one line."""
        return "; ".join(self.reasons)


@dataclass(frozen=True, eq=False)
class Record:
    """A verdict with its evidence and limits: the content of ``verdict.json``."""

    evidence: Evidence
    limits: Limits
    verdict: Verdict

    def to_json(self) -> str:
        """Strict JSON with every digit; NaN and infinities are strings."""
        return json.dumps(_plain(self), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Record from the JSON that `to_json` wrote.

        Raises
        ------
        MlopsError
            When the text is not such JSON.
        """
        try:
            found = json.loads(text)
            evidence, limits, verdict = (found[field.name] for field in dataclasses.fields(cls))
            evidence |= {name: _table(evidence[name]) for name in TABLES if name in evidence}
            evidence |= {
                name: float(evidence[name]) for name in ("least_minutes", "most_minutes", "row_seconds")
            }
            evidence["champion"] = Incumbent(**evidence["champion"]) if evidence["champion"] else None
            verdict["reasons"] = tuple(verdict["reasons"])
            return cls(Evidence(**evidence), Limits(**limits), Verdict(**verdict))
        except (ValueError, KeyError, TypeError) as error:
            raise MlopsError(
                f"verdict: expected JSON with evidence, limits and verdict; got {text[:60]!r} "
                f"({type(error).__name__}: {error}). Take verdict.json from the run that judged the model."
            ) from error


def decide(evidence: Evidence, limits: Limits = Limits()) -> Verdict:
    """Verdict on a challenger.

    Examples
    --------
    >>> days = pd.DataFrame({"day": ["2023-05-01"], "trips": [6000], "challenger": [9e4], "pair_median": [2e5]})
    >>> found = decide(Evidence("2023-05", days, pd.DataFrame(), None, True, 2.0, 55.0, 8_000_000, 0.002))
    >>> found.outcome, found.reason, round(found.measured["rmse_challenger"], 2)
    ('promote', 'there was no champion before', 3.87)
    """
    slices = _slices(evidence, limits)
    measured = _measured(evidence, slices)
    refusals = [
        *_unfit(evidence, limits),
        *_no_better_than_baselines(evidence),
        *_not_comparable(evidence),
        *_worse_slices(slices, limits),
    ]
    better, compared = _comparison(evidence.champion, measured, limits)
    worse, noted = _intervals(measured, limits)
    if refusals or worse:
        reasons = (*refusals, *(() if better else compared), *worse)
        return Verdict("refuse" if refusals else "keep", reasons, measured)
    return Verdict("promote" if better else "keep", (*compared, *noted), measured)


def replay(text: str) -> Verdict:
    """The verdict, decided again from the evidence and the limits in the text of a ``verdict.json``.

    Raises
    ------
    MlopsError
        When the text is not that of a ``verdict.json``.
    """
    record = Record.from_json(text)
    return decide(record.evidence, record.limits)


def _measured(evidence: Evidence, slices: pd.DataFrame) -> dict[str, float]:
    """Every number that the decision uses, without those that are missing or not finite."""
    found = {f"rmse_{name}": evidence.rmse(name) for name in ("challenger", "champion", *BASELINES)}
    found |= {
        "test_rows": evidence.rows,
        "test_days": len(evidence.days),
        "least_minutes": evidence.least_minutes,
        "most_minutes": evidence.most_minutes,
        "artefact_bytes": evidence.artefact_bytes,
        "row_seconds": evidence.row_seconds,
        "champion_age_months": _age_months(evidence),
        "worst_slice_regression": slices["growth"].max() if len(slices) else math.nan,
    }
    champion, gain = found["rmse_champion"], found["rmse_champion"] - found["rmse_challenger"]
    if math.isfinite(gain):
        low, high = evidence.gain_interval()
        found |= {"gain_minutes": gain, "gain_low": low, "gain_high": high}
        found["improvement"] = gain / champion if champion else 0.0
    found |= interval_rules.measured(evidence)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _unfit(evidence: Evidence, limits: Limits) -> Iterator[str]:
    """Problems of the challenger or its test month that need no comparison."""
    if not evidence.finite:
        yield "some of the predictions are not finite"
    elif not SHORTEST_MINUTES <= evidence.least_minutes <= evidence.most_minutes <= LONGEST_MINUTES:
        yield (
            f"the predictions are {evidence.least_minutes:.4g} to {evidence.most_minutes:.4g} minutes, "
            f"but must be {SHORTEST_MINUTES:g} to {LONGEST_MINUTES:g} minutes"
        )
    yield from interval_rules.unusable(evidence, SHORTEST_MINUTES, LONGEST_MINUTES)
    if evidence.rows < limits.min_test_rows:
        yield f"the test month has {evidence.rows:,} trips, but at least {limits.min_test_rows:,} are needed"
    if evidence.artefact_bytes > limits.max_artefact_bytes:
        size, most = evidence.artefact_bytes / 1e6, limits.max_artefact_bytes / 1e6
        yield f"the artefact has {size:,.1f} MB, but at most {most:,.1f} MB are allowed"
    if not evidence.row_seconds <= limits.max_row_seconds:
        took, most = evidence.row_seconds, limits.max_row_seconds
        yield f"one request takes {took:.3f} s of CPU time, but at most {most:g} s are allowed"


def _no_better_than_baselines(evidence: Evidence) -> Iterator[str]:
    rmse = evidence.rmse("challenger")
    for name, shown in BASELINES.items():
        if name == "course" and name not in evidence.days:
            continue  # it is compared only if the setting `compare_course` is true
        if not rmse < evidence.rmse(name):
            yield f"RMSE {rmse:.4f} is not below the RMSE {evidence.rmse(name):.4f} of {shown}"


def _not_comparable(evidence: Evidence) -> Iterator[str]:
    """Reasons why a comparison with the champion is not fair or not reliable."""
    champion = evidence.champion
    if champion is None:
        return
    if not champion.last_month_learnt or champion.last_month_learnt >= evidence.test_month:
        advice = "" if champion.last_month_learnt else "; make a version of this project champion first"
        yield (
            f"the {_name(champion)} was trained on months up to {champion.last_month_learnt or 'an unknown one'}, "
            f"so a comparison on {evidence.test_month} is not fair{advice}"
        )
    if "champion" in evidence.days and len(evidence.days) < LEAST_DAYS:
        yield f"the comparison has trips of {len(evidence.days)} days, but at least {LEAST_DAYS} are needed"


def _slices(evidence: Evidence, limits: Limits) -> pd.DataFrame:
    """RMSE of both models by slice and its growth, largest growth first; empty if the champion was not scored."""
    if "champion" not in evidence.slices or not math.isfinite(evidence.rmse("champion")):
        return pd.DataFrame()
    table = evidence.slices[evidence.slices["trips"] >= limits.min_slice_rows].copy()
    for name in ("challenger", "champion"):
        table[name] = np.sqrt(table[name] / table["trips"])
    table["growth"] = table["challenger"] / table["champion"] - 1
    return table.sort_values(["growth", "slice", "value"], ascending=[False, True, True])


def _worse_slices(slices: pd.DataFrame, limits: Limits) -> Iterator[str]:
    """A reason for each of the slices that got worst, and the number of other slices above the limit."""
    if slices.empty:
        return
    worse = slices[slices["growth"] > limits.max_slice_regression]
    for row in worse.head(NAMED_SLICES).itertuples():
        yield (
            f"{row.slice} {row.value}: RMSE {row.challenger:.4f} is {row.growth:.1%} above the champion's "
            f"{row.champion:.4f} on {row.trips:,} trips"
        )
    if len(worse) > NAMED_SLICES:
        yield f"{len(worse) - NAMED_SLICES} more slices are more than {limits.max_slice_regression:.1%} worse"


def _comparison(
    champion: Incumbent | None, measured: Mapping[str, float], limits: Limits
) -> tuple[bool, tuple[str, ...]]:
    """Whether the challenger's errors allow it to replace the champion, and the reasons."""
    if champion is None:
        return True, ("there was no champion before",)
    name = _name(champion)
    if "rmse_champion" not in measured:
        return True, (f"the {name} could not be scored: {champion.error or 'it has no finite RMSE'}",)
    if not {"gain_low", "gain_high"} <= measured.keys():
        return False, (f"not all errors of challenger and {name} are finite, so they cannot be compared",)
    findings, misses = _gain(name, measured, limits)
    if not misses:
        return True, findings
    age = measured.get("champion_age_months", 0)
    if age <= limits.max_champion_age_months:
        return False, misses
    old = f"the {name} was judged {age:.0f} months earlier (limit: {limits.max_champion_age_months})"
    if measured["gain_high"] < 0:
        return False, (*misses, f"{old}, but the challenger is significantly worse")
    return True, (f"{old}, and the challenger is not significantly worse", *findings)


def _gain(
    name: str, measured: Mapping[str, float], limits: Limits
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How the challenger compares with the champion, and the requirements that it misses."""
    improvement = measured["improvement"]
    side = "below" if improvement >= 0 else "above"
    change = (
        f"RMSE {measured['rmse_challenger']:.4f} is {abs(improvement):.2%} {side} "
        f"the RMSE {measured['rmse_champion']:.4f} of the {name}"
    )
    low, high = measured["gain_low"], measured["gain_high"]
    interval = f"the 95 % interval of the gain in RMSE is {low:.4f} to {high:.4f} minutes"
    misses = []
    if improvement < limits.min_improvement:
        misses.append(f"{change}, but must be at least {limits.min_improvement:.2%} below")
    if not measured["gain_low"] > 0:
        misses.append(f"{interval}, but must be above zero")
    return (change, interval), tuple(misses)


def _intervals(measured: Mapping[str, float], limits: Limits) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why the intervals allow no promotion, and what is wrong with them but does not prevent one.

    A coverage that is off does not prevent one without a champion that could stay, or if that champion is old:
    otherwise a change of the city's traffic would keep it for ever.
    """
    worse = tuple(interval_rules.worse_scores(measured))
    missed = tuple(interval_rules.missed_coverage(measured, limits.max_coverage_error))
    age = measured.get("champion_age_months", 0)
    if "rmse_champion" in measured and age <= limits.max_champion_age_months:
        return (*worse, *missed), ()
    return worse, missed


def _age_months(evidence: Evidence) -> float:
    """Months from the champion's test month to this one; NaN if either is unknown."""
    if evidence.champion is None:
        return math.nan
    try:
        then, now = Month.parse(evidence.champion.test_month), Month.parse(evidence.test_month)
    except ConfigError:
        return math.nan
    return 12 * (now.year - then.year) + now.number - then.number


def _name(champion: Incumbent) -> str:
    return f"champion (version {champion.version})"


def _plain(value: Any) -> Any:
    """The value in JSON types."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, pd.DataFrame):
        return {str(name): _plain(column.tolist()) for name, column in value.items()}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _table(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """The table from which `_plain` made `columns`. Numbers that are not finite are strings there."""
    kinds = {name: int if name == "trips" else str if name in _TEXT else float for name in columns}
    return pd.DataFrame({name: pd.Series(map(kinds[name], each)) for name, each in columns.items()})
