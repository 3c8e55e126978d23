"""Whether a challenger becomes champion, why, and from what: a pure decision that anyone can make again.

The evidence is small, so it is kept beside the model with the limits and the
verdict (``promotion.json``), and `replay` decides from that file alone.
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
from mlops.evaluation.comparison import BASELINES, Evidence, Incumbent
from mlops.month import Month

Array = npt.NDArray[Any]

LEAST_DAYS = 7  # the bootstrap cannot tell from fewer how days differ
NAMED_SLICES = 5
_TEXT = ("day", "slice", "value")


@dataclass(frozen=True)
class Limits:
    """What is asked of a challenger.

    Parameters
    ----------
    min_improvement : float
        Share of the champion's RMSE.
    max_slice_regression : float
        Share by which the RMSE of a slice may grow.
    min_test_rows : int
    max_champion_age_months : int
        A champion judged on a month further back than this is replaced by any challenger that is not worse.
    min_slice_rows : int
        Trips of a slice below which its RMSE is mostly noise.
    max_artefact_bytes : int
    max_row_seconds : float
        CPU time of one request, once the model is loaded.

    Notes
    -----
    On green months of 2023 the RMSE of a slice of 500 trips or more grew by at most 8.8 % from a model to any
    later one, 4.4 % to the next; a slice of fewer than 50 by up to 82 %. Artefacts have 6 to 9 MB, a request
    takes 2 ms: their limits are there for what is broken, not for what is large or a busy machine.
    """

    min_improvement: float = 0.01
    max_slice_regression: float = 0.1
    min_test_rows: int = 5000
    max_champion_age_months: int = 3
    min_slice_rows: int = 500
    max_artefact_bytes: int = 100_000_000
    max_row_seconds: float = 0.25


@dataclass(frozen=True)
class Verdict:
    """What becomes of the challenger.

    Parameters
    ----------
    outcome : str
        ``promote``; ``keep`` if it is fit but not better enough; ``refuse`` if it is unfit or cannot be judged.
    reasons : tuple of str
        All of them, not only the first.
    measured : dict of str to float
        Every number that was looked at, as far as there is one; all finite.
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
    """A verdict beside all that it was made from: the content of ``promotion.json``."""

    evidence: Evidence
    limits: Limits
    verdict: Verdict

    def to_json(self) -> str:
        """Strict JSON that keeps every digit; NaN and the infinities are written as text."""
        return json.dumps(_plain(self), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Record as `to_json` wrote it.

        Raises
        ------
        MlopsError
            When the text is something else.
        """
        try:
            found = json.loads(text)
            evidence, limits, verdict = (found[field.name] for field in dataclasses.fields(cls))
            evidence |= {name: _table(evidence[name]) for name in ("days", "slices")}
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
    ('promote', 'there is no champion yet', 3.87)
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
    if refusals:
        return Verdict("refuse", (*refusals, *(() if better else compared)), measured)
    return Verdict("promote" if better else "keep", compared, measured)


def replay(text: str) -> Verdict:
    """The verdict once more, from the evidence and the limits of a ``promotion.json`` alone.

    Raises
    ------
    MlopsError
        When the text is no such file's.
    """
    record = Record.from_json(text)
    return decide(record.evidence, record.limits)


def _measured(evidence: Evidence, slices: pd.DataFrame) -> dict[str, float]:
    """Every number that the decision looks at, but for those that there are not."""
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
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _unfit(evidence: Evidence, limits: Limits) -> Iterator[str]:
    """What is wrong with the challenger or its test month, whoever it is compared with."""
    if not evidence.finite:
        yield "some of the predictions are not finite"
    elif not SHORTEST_MINUTES <= evidence.least_minutes <= evidence.most_minutes <= LONGEST_MINUTES:
        yield (
            f"the predictions are {evidence.least_minutes:.4g} to {evidence.most_minutes:.4g} minutes; "
            f"expected {SHORTEST_MINUTES:g} to {LONGEST_MINUTES:g}"
        )
    if evidence.rows < limits.min_test_rows:
        yield f"the test month has {evidence.rows:,} trips; at least {limits.min_test_rows:,} are needed"
    if evidence.artefact_bytes > limits.max_artefact_bytes:
        size, most = evidence.artefact_bytes / 1e6, limits.max_artefact_bytes / 1e6
        yield f"the artefact has {size:,.1f} MB; at most {most:,.1f} are allowed"
    if not evidence.row_seconds <= limits.max_row_seconds:
        took, most = evidence.row_seconds, limits.max_row_seconds
        yield f"one request takes {took:.3f} s of CPU; at most {most:g} are allowed"


def _no_better_than_baselines(evidence: Evidence) -> Iterator[str]:
    rmse = evidence.rmse("challenger")
    for name, told in BASELINES.items():
        if name == "course" and name not in evidence.days:
            continue  # a setting asks for it
        if not rmse < evidence.rmse(name):
            yield f"RMSE {rmse:.4f} does not beat {evidence.rmse(name):.4f} of {told}"


def _not_comparable(evidence: Evidence) -> Iterator[str]:
    """Why a comparison with the champion would say nothing."""
    champion = evidence.champion
    if champion is None:
        return
    if not champion.last_month_learnt or champion.last_month_learnt >= evidence.test_month:
        yield (
            f"the {_name(champion)} has learnt from months up to {champion.last_month_learnt or 'one not known'}: "
            f"on {evidence.test_month} the comparison is not fair"
        )
    if "champion" in evidence.days and len(evidence.days) < LEAST_DAYS:
        yield f"trips of {len(evidence.days)} days are compared; at least {LEAST_DAYS} are needed"


def _slices(evidence: Evidence, limits: Limits) -> pd.DataFrame:
    """The slices of enough trips, RMSE of both and how much it grew, most first; none without a champion's."""
    if "champion" not in evidence.slices or not math.isfinite(evidence.rmse("champion")):
        return pd.DataFrame()
    table = evidence.slices[evidence.slices["trips"] >= limits.min_slice_rows].copy()
    for name in ("challenger", "champion"):
        table[name] = np.sqrt(table[name] / table["trips"])
    table["growth"] = table["challenger"] / table["champion"] - 1
    return table.sort_values(["growth", "slice", "value"], ascending=[False, True, True])


def _worse_slices(slices: pd.DataFrame, limits: Limits) -> Iterator[str]:
    """Slices that got worse: the worst by name, the others counted."""
    if slices.empty:
        return
    worse = slices[slices["growth"] > limits.max_slice_regression]
    for row in worse.head(NAMED_SLICES).itertuples():
        yield (
            f"{row.slice} {row.value}: RMSE {row.challenger:.4f} is {row.growth:.1%} above the champion's "
            f"{row.champion:.4f} on {row.trips:,} trips"
        )
    if len(worse) > NAMED_SLICES:
        yield f"{len(worse) - NAMED_SLICES} more slices are over {limits.max_slice_regression:.1%} worse"


def _comparison(
    champion: Incumbent | None, measured: Mapping[str, float], limits: Limits
) -> tuple[bool, tuple[str, ...]]:
    """Whether the challenger should take the champion's place, as far as their errors go, and why or why not."""
    if champion is None:
        return True, ("there is no champion yet",)
    name = _name(champion)
    if "rmse_champion" not in measured:
        return True, (f"the {name} could not be scored: {champion.error or 'it has no finite RMSE'}",)
    if not {"gain_low", "gain_high"} <= measured.keys():
        return False, (f"the errors of challenger and {name} are not all finite, so they cannot be compared",)
    told, misses = _gain(name, measured, limits)
    if not misses:
        return True, told
    age = measured.get("champion_age_months", 0)
    if age <= limits.max_champion_age_months:
        return False, misses
    old = f"the {name} was judged {age:.0f} months before, more than {limits.max_champion_age_months}"
    if measured["gain_high"] < 0:
        return False, (*misses, f"{old}, but the challenger is significantly worse")
    return True, (f"{old}, and the challenger is not significantly worse", *told)


def _gain(
    name: str, measured: Mapping[str, float], limits: Limits
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How the challenger compares, and in what that is not enough."""
    improvement = measured["improvement"]
    told = (
        f"RMSE {measured['rmse_challenger']:.4f} is {abs(improvement):.2%} "
        f"{'below' if improvement >= 0 else 'above'} {measured['rmse_champion']:.4f} of the {name}"
    )
    interval = (
        f"the 95 % interval of the gain is {measured['gain_low']:.4f} to {measured['gain_high']:.4f} minutes"
    )
    misses = []
    if improvement < limits.min_improvement:
        misses.append(f"{told}; it should be {limits.min_improvement:.2%} below")
    if not measured["gain_low"] > 0:
        misses.append(f"{interval}; it should lie above zero")
    return (told, interval), tuple(misses)


def _age_months(evidence: Evidence) -> float:
    """Months from the champion's test month to this one; NaN where either is not known."""
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
    """The same in JSON's own types."""
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
    """What `_plain` made of a table; its numbers are text where they are not finite."""
    kinds = {name: int if name == "trips" else str if name in _TEXT else float for name in columns}
    return pd.DataFrame({name: pd.Series(map(kinds[name], each)) for name, each in columns.items()})
