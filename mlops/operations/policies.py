"""Training policies (how often to train, on how many months, which model serves) and their results.

A policy is simulated month by month. When the trips of a month are known, it
may train a model that is tested on this month, and this model may become
champion; so **a model that was tested on a month serves from the next month
on**, and each month is scored with the champion from before it. TLC publishes a
month about seven weeks late; the simulation ignores this, because it would
shift every policy by the same two months.

Everything here is pure, except `draw`, which writes a picture. A model is named by its test month.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from mlops.errors import ConfigError
from mlops.evaluation.promotion import Verdict
from mlops.month import Month

GATES = {
    "verdict": "a challenger becomes champion when the verdict says so",
    "always": "every new model becomes champion",
    "once": "the first model stays champion",
}
LOOKS = {"once": ("#8b9199", 2.4), "always": ("#f0a04b", 4.4), "verdict": ("#14518f", 1.6)}
STROKES, SHAPES = ("-", "--", ":", "-."), "osD^"
MOST = 120  # months, the maximum of the setting train_months

Judge = Callable[[Month, "Month | None"], Verdict]
"""A function of challenger and champion (or None); it returns the verdict on the challenger's test month."""


@dataclass(frozen=True, order=True)
class Policy:
    """The rule that decides which model serves.

    Parameters
    ----------
    cadence : int
        Months between two trainings.
    window : int
        Maximum number of training months, like the setting ``train_months``.
    gate : str
        One of `GATES`.
    """

    cadence: int
    window: int
    gate: str

    def trains(self, position: int, champion: Month | None) -> bool:
        """Whether a model is trained for the month at this position, counted from 0."""
        if self.gate == "once":
            return champion is None
        return position % self.cadence == 0

    def decide(self, judge: Judge, challenger: Month, champion: Month | None) -> Verdict:
        """The verdict on a new model; only the gate ``verdict`` calls `judge`."""
        if self.gate == "verdict":
            return judge(challenger, champion)
        return Verdict("promote", (GATES[self.gate],), {})


@dataclass(frozen=True)
class Served:
    """The result of one month under a policy.

    Parameters
    ----------
    month : Month
    champion : Month or None
        The model that served in this month; None if there was none yet.
    rmse : float
        RMSE of that model on the month's trips, minutes; NaN without a model.
    verdict : Verdict or None
        The verdict on the model that was trained for this month; None if none was trained.
    seconds : float
        CPU seconds of that training.
    """

    month: Month
    champion: Month | None
    rmse: float
    verdict: Verdict | None
    seconds: float


Outcomes = Mapping[Policy, Sequence[Served]]


def parse(cadences: str, windows: str, gates: str) -> tuple[Policy, ...]:
    """Policies for all combinations of the comma-separated lists; ``once`` trains once at any cadence.

    Raises
    ------
    ConfigError
        For an empty list, a value that is not a whole number, or an unknown gate.

    Examples
    --------
    >>> parse("1", "3,12", "always")
    (Policy(cadence=1, window=3, gate='always'), Policy(cadence=1, window=12, gate='always'))
    >>> len(parse("1,3", "3,12", "verdict,always,once"))
    10
    """
    every, most = _numbers("cadences", cadences), _numbers("windows", windows)
    found = {
        Policy(min(every) if gate == "once" else cadence, window, gate)
        for cadence, window, gate in itertools.product(every, most, _gates(gates))
    }
    return tuple(sorted(found))


def simulate(
    policy: Policy,
    months: Sequence[Month],
    rmse: Callable[[Month, Month], float],
    judge: Judge,
    seconds: Callable[[Month], float],
) -> tuple[Served, ...]:
    """Results of each month under the policy, in the order of `months`.

    Parameters
    ----------
    policy : Policy
    months : sequence of Month
        Consecutive months, oldest first. No model serves the first month.
    rmse : callable
        Takes a model and a month; returns the model's RMSE on it, minutes.
    judge : callable
        See `Judge`.
    seconds : callable
        Takes a model; returns the CPU seconds of its training.

    Examples
    --------
    >>> months = Month.range(Month(2023, 4), Month(2023, 6))
    >>> found = simulate(Policy(1, 12, "once"), months, lambda model, month: 4.5, None, lambda model: 60.0)
    >>> [(str(each.month), str(each.champion), each.rmse, each.seconds) for each in found]
    [('2023-04', 'None', nan, 60.0), ('2023-05', '2023-04', 4.5, 0.0), ('2023-06', '2023-04', 4.5, 0.0)]
    """
    champion: Month | None = None
    served = []
    for position, month in enumerate(months):
        error = rmse(champion, month) if champion else math.nan
        verdict, took = None, 0.0
        if policy.trains(position, champion):
            verdict, took = policy.decide(judge, month, champion), seconds(month)
        served.append(Served(month, champion, error, verdict, took))
        if verdict and verdict.promote:
            champion = month
    return tuple(served)


def by_month(outcomes: Outcomes) -> pd.DataFrame:
    """One row per policy and month.

    Returns
    -------
    DataFrame
        ``cadence``, ``window``, ``gate``, ``month``, ``champion``, ``rmse``, ``trained``, ``verdict``, ``reason``
        and ``cpu_minutes``: the fields of `Served`, with months and verdict as text.
    """
    return pd.DataFrame(
        [
            {
                **asdict(policy),
                "month": str(each.month),
                "champion": str(each.champion or ""),
                "rmse": each.rmse,
                "trained": each.verdict is not None,
                "verdict": each.verdict.outcome if each.verdict else "",
                "reason": each.verdict.reason if each.verdict else "",
                "cpu_minutes": each.seconds / 60,
            }
            for policy, served in outcomes.items()
            for each in served
        ]
    )


def compared(outcomes: Outcomes) -> pd.DataFrame:
    """One row per policy, best first; policies with months without a champion come last.

    Returns
    -------
    DataFrame
        ``cadence``, ``window``, ``gate``, ``mean_rmse`` (mean over the months served, minutes), ``worst_rmse``,
        ``worst_month``, ``unserved`` (months without a champion, the first not counted), ``promotions``,
        ``trainings``, ``cpu_minutes``.
    """
    rows = [{**asdict(policy), **_sums(served)} for policy, served in outcomes.items()]
    return pd.DataFrame(rows).sort_values(
        ["unserved", "mean_rmse", "cpu_minutes", "cadence", "window", "gate"], ignore_index=True
    )


def draw(outcomes: Outcomes, path: Path, title: str) -> None:
    """Write a PNG: RMSE by month, one panel for each window, and mean RMSE against CPU time."""
    from matplotlib.figure import Figure  # imported here, because the import takes half a second

    windows = sorted({policy.window for policy in outcomes})
    figure = Figure(figsize=(4.4 * (len(windows) + 1), 5.6), layout="constrained")
    figure.suptitle(title, fontsize=14)
    *panels, costs = figure.subplots(1, len(windows) + 1)
    looks = _looks(outcomes)
    for window, panel in zip(windows, panels, strict=True):
        panel.sharey(panels[0])
        panel.set_title(f"window of {_months(window)}", fontsize=11)
        for policy, look in looks.items():
            if policy.window == window:
                _draw_months(panel, outcomes[policy], look)
    panels[0].set_ylabel("RMSE of the model in service (minutes)")
    _draw_costs(costs, outcomes, looks)
    labelled = {line.get_label(): line for panel in panels for line in panel.get_lines()}
    figure.legend(
        handles=list(labelled.values()), loc="outside lower center", ncols=5, frameon=False, handlelength=4
    )
    for panel in (*panels, costs):
        panel.grid(axis="y", alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, format="png")


def _looks(outcomes: Outcomes) -> dict[Policy, dict[str, Any]]:
    """Style of each policy, in drawing order: the gate sets the colour, the cadence sets line style and marker.

    Lines of policies with equal results overlap, so later lines are thinner.
    """
    cadences = sorted({policy.cadence for policy in outcomes})
    looks = {}
    for policy in sorted(outcomes, key=lambda each: (list(LOOKS).index(each.gate), each)):
        colour, width = LOOKS[policy.gate]
        place = cadences.index(policy.cadence)
        every = "month" if policy.cadence == 1 else _months(policy.cadence)
        looks[policy] = {
            "color": colour,
            "linewidth": width,
            "markersize": 5 + 1.5 * width,
            "linestyle": STROKES[place % len(STROKES)],
            "marker": SHAPES[place % len(SHAPES)],
            "label": "once" if policy.gate == "once" else f"{policy.gate}, every {every}",
        }
    return looks


def _draw_months(panel: Any, served: Sequence[Served], look: Mapping[str, Any]) -> None:
    """Draw RMSE by month; a marker shows each month in which a new champion began to serve."""
    months = [str(each.month) for each in served[1:]]
    changes = enumerate(itertools.pairwise(served))
    began = [place for place, (before, now) in changes if now.champion != before.champion]
    panel.plot(range(len(months)), [each.rmse for each in served[1:]], markevery=began, **look)
    ticks = range(0, len(months), math.ceil(len(months) / 12))
    panel.set_xlabel("marker: a new champion begins to serve")
    panel.set_xticks(ticks, [months[tick] for tick in ticks], rotation=45, ha="right", rotation_mode="anchor")


def _draw_costs(panel: Any, outcomes: Outcomes, looks: Mapping[Policy, Mapping[str, Any]]) -> None:
    """Draw mean RMSE against CPU minutes, with the windows beside each point."""
    windows: dict[tuple[float, float], set[int]] = {}
    for policy, look in looks.items():
        sums = _sums(outcomes[policy])
        place = sums["cpu_minutes"], sums["mean_rmse"]
        panel.plot(*place, **{**look, "linestyle": ""})
        windows.setdefault(place, set()).add(policy.window)
    for place, found in windows.items():
        text = ", ".join(map(str, sorted(found)))
        panel.annotate(text, place, (9, 5), textcoords="offset points", fontsize=9)
    panel.set_title("cost (the number is the window, in months)", fontsize=11)
    panel.set(xlabel="CPU minutes of training", ylabel="mean RMSE (minutes)")
    panel.margins(0.12)


def _months(months: int) -> str:
    return f"{months} month{'s' if months > 1 else ''}"


def _sums(served: Sequence[Served]) -> dict[str, Any]:
    answered = [each for each in served if each.champion]
    worst = max(answered, key=lambda each: each.rmse, default=None)
    verdicts = [each.verdict for each in served if each.verdict]
    return {
        "mean_rmse": fmean(each.rmse for each in answered) if answered else math.nan,
        "worst_rmse": worst.rmse if worst else math.nan,
        "worst_month": str(worst.month) if worst else "",
        "unserved": len(served) - 1 - len(answered),
        "promotions": sum(verdict.promote for verdict in verdicts),
        "trainings": len(verdicts),
        "cpu_minutes": sum(each.seconds for each in served) / 60,
    }


def _numbers(name: str, text: str) -> list[int]:
    words = _words(name, text, "1,3")
    for word in words:
        if not (word.isascii() and word.isdigit() and 1 <= int(word) <= MOST):
            raise ConfigError(
                f"{name}: expected months, whole numbers from 1 to {MOST}; got {word!r} in {text!r}"
            )
    return [int(word) for word in words]


def _gates(text: str) -> list[str]:
    words = _words("gates", text, ",".join(GATES))
    for word in words:
        if word not in GATES:
            near = difflib.get_close_matches(word, GATES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"gates: expected one or more of {', '.join(GATES)}; got {word!r}{hint}")
    return words


def _words(name: str, text: str, example: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise ConfigError(f"{name}: expected a comma-separated list, for example {example}; got {text!r}")
    return words
