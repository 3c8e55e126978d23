"""How often to train, on how much, and what may serve: policies, and what each of them would have led to.

A policy goes through the months in their order. When the trips of a month are
known, it may train a model about that month, and the model may become champion;
so **a model that was tested on a month serves from the next month on**, and what
a month counts is the error of the champion that was there before. That TLC
publishes a month some seven weeks late is left out: it would move every policy
by the same two months.

Everything here is pure, but for the picture that `draw` writes. A model is named by the month that it was
tested on.
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
MOST = 120  # months, as the setting train_months allows

Judge = Callable[[Month, "Month | None"], Verdict]
"""From challenger and champion, or None, to the verdict on the challenger's test month."""


@dataclass(frozen=True, order=True)
class Policy:
    """What decides which model serves.

    Parameters
    ----------
    cadence : int
        A model is trained every so many months.
    window : int
        Most months of training, as the setting ``train_months``.
    gate : str
        One of `GATES`.
    """

    cadence: int
    window: int
    gate: str

    def trains(self, position: int, champion: Month | None) -> bool:
        """Whether a model is trained about the month at this position, the first being 0."""
        if self.gate == "once":
            return champion is None
        return position % self.cadence == 0

    def decide(self, judge: Judge, challenger: Month, champion: Month | None) -> Verdict:
        """What becomes of a new model; only the gate that needs it asks `judge`."""
        if self.gate == "verdict":
            return judge(challenger, champion)
        return Verdict("promote", (GATES[self.gate],), {})


@dataclass(frozen=True)
class Served:
    """A month under a policy.

    Parameters
    ----------
    month : Month
    champion : Month or None
        The model that served it; None when there was none yet.
    rmse : float
        Of that model on the month's trips, minutes; NaN when there was none.
    verdict : Verdict or None
        On the model that was trained about the month, once its trips were known; None when there was none.
    seconds : float
        What training it took.
    """

    month: Month
    champion: Month | None
    rmse: float
    verdict: Verdict | None
    seconds: float


Outcomes = Mapping[Policy, Sequence[Served]]


def parse(cadences: str, windows: str, gates: str) -> tuple[Policy, ...]:
    """Policies of all combinations, written as lists with commas; ``once`` trains once, whatever the cadence.

    Raises
    ------
    ConfigError
        Naming what is no whole number, no gate, or nothing.

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
    """Each month under the policy, in the order of `months`.

    Parameters
    ----------
    policy : Policy
    months : sequence of Month
        One after the other, oldest first. Nothing serves the first.
    rmse : callable
        From a model and a month to its RMSE there, minutes.
    judge : callable
        As `Judge`.
    seconds : callable
        From a model to what training it took.

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
        and ``cpu_minutes``: what `Served` says, with text for months and verdict.
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
    """One row per policy, best first; those that left months unserved come last.

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
    """Write a picture as PNG: RMSE by month, a panel for each window, and mean RMSE against time."""
    from matplotlib.figure import Figure  # late: half a second that nothing else needs

    windows = sorted({policy.window for policy in outcomes})
    figure = Figure(figsize=(4.4 * (len(windows) + 1), 5.6), layout="constrained")
    figure.suptitle(title, fontsize=14)
    *panels, costs = figure.subplots(1, len(windows) + 1)
    looks = _looks(outcomes)
    for window, panel in zip(windows, panels, strict=True):
        panel.sharey(panels[0])
        panel.set_title(f"window of {_told(window)}", fontsize=11)
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
    """How each policy is drawn, in this order: the gate is its colour, the cadence its stroke and shape.

    Policies that agree lie upon each other, so what is drawn later is thinner.
    """
    cadences = sorted({policy.cadence for policy in outcomes})
    looks = {}
    for policy in sorted(outcomes, key=lambda each: (list(LOOKS).index(each.gate), each)):
        colour, width = LOOKS[policy.gate]
        place = cadences.index(policy.cadence)
        every = "month" if policy.cadence == 1 else _told(policy.cadence)
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
    """RMSE by month; the months in which a new champion began to serve are marked."""
    months = [str(each.month) for each in served[1:]]
    changes = enumerate(itertools.pairwise(served))
    began = [place for place, (before, now) in changes if now.champion != before.champion]
    panel.plot(range(len(months)), [each.rmse for each in served[1:]], markevery=began, **look)
    ticks = range(0, len(months), math.ceil(len(months) / 12))
    panel.set_xlabel("a mark: a new champion begins to serve")
    panel.set_xticks(ticks, [months[tick] for tick in ticks], rotation=45, ha="right", rotation_mode="anchor")


def _draw_costs(panel: Any, outcomes: Outcomes, looks: Mapping[Policy, Mapping[str, Any]]) -> None:
    """Mean RMSE against CPU minutes, each point with its windows beside it."""
    windows: dict[tuple[float, float], set[int]] = {}
    for policy, look in looks.items():
        sums = _sums(outcomes[policy])
        place = sums["cpu_minutes"], sums["mean_rmse"]
        panel.plot(*place, **{**look, "linestyle": ""})
        windows.setdefault(place, set()).add(policy.window)
    for place, found in windows.items():
        told = ", ".join(map(str, sorted(found)))
        panel.annotate(told, place, (9, 5), textcoords="offset points", fontsize=9)
    panel.set_title("what it costs (beside each mark: its window)", fontsize=11)
    panel.set(xlabel="CPU minutes of training", ylabel="mean RMSE (minutes)")
    panel.margins(0.12)


def _told(months: int) -> str:
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
            raise ConfigError(f"gates: expected some of {', '.join(GATES)}; got {word!r}{hint}")
    return words


def _words(name: str, text: str, example: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise ConfigError(f"{name}: expected a list with commas, for example {example}; got {text!r}")
    return words
