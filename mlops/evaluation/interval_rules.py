"""What the verdict requires of the intervals: a score that is not worse, and a coverage near the nominal one.

Texts for people call them ranges, because the errors have 95 % intervals, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlops.evaluation.comparison import WITHOUT_DISTANCE, Evidence
from mlops.evaluation.metrics import LEVELS

ASKED = {
    "challenger": "",
    WITHOUT_DISTANCE: "without a distance, ",
}  # whose coverage counts, and how it was asked


def measured(evidence: Evidence) -> dict[str, float]:
    """Every number that these rules use; NaN if the challenger or the champion gives no intervals."""
    found: dict[str, float] = {}
    for level in LEVELS:
        score = f"interval_score_{level}"
        low, high = evidence.score_gain_interval(level)
        found |= {_coverage(name, level): evidence.interval_mean(name, f"coverage_{level}") for name in ASKED}
        found |= {
            score: evidence.interval_mean("challenger", score),
            f"{score}_champion": evidence.interval_mean("champion", score),
            f"{score}_gain_low": low,
            f"{score}_gain_high": high,
        }
    return found


def unusable(evidence: Evidence, shortest: float, longest: float) -> Iterator[str]:
    """A reason if the challenger's intervals are wrong in themselves, whatever the trips took."""
    if evidence.bad_intervals:
        yield (
            f"the ranges of {evidence.bad_intervals:,} trips are wrong: expected bounds from {shortest:g} to "
            f"{longest:g} minutes, with the prediction inside the 80 % range, and that inside the 95 % range"
        )


def worse_scores(numbers: Mapping[str, float]) -> Iterator[str]:
    """A reason for each level at which the challenger's interval score is significantly above the champion's."""
    for level in LEVELS:
        score = f"interval_score_{level}"
        low, high = (numbers.get(f"{score}_gain_{end}", 0.0) for end in ("low", "high"))
        if (
            high < 0 and {score, f"{score}_champion"} <= numbers.keys()
        ):  # a score that is not finite is left out
            yield (
                f"the interval score {numbers[score]:.4f} of the {level} % ranges is significantly above the "
                f"champion's {numbers[f'{score}_champion']:.4f}: the 95 % interval of the gain is {low:.4f} to "
                f"{high:.4f} minutes, but must not be all below zero"
            )


def missed_coverage(numbers: Mapping[str, float], max_error: float) -> Iterator[str]:
    """A reason for each level at which the challenger's coverage is further from nominal than `max_error`."""
    for name, asked in ASKED.items():
        for level, nominal in LEVELS.items():
            share = numbers.get(_coverage(name, level), nominal)
            least, most = nominal - max_error, min(nominal + max_error, 1.0)
            if not least <= share <= most:
                yield (
                    f"{asked}the {level} % ranges contain {share:.2%} of the trips, but should contain "
                    f"{least:.2%} to {most:.2%}"
                )


def _coverage(name: str, level: str) -> str:
    return f"coverage_{level}" if name == "challenger" else f"{name}_coverage_{level}"
