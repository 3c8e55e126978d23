"""How good a model is, where it is not, and whether it becomes champion.

Everything here is pure but `plots`, which writes pictures. Errors are
predicted minus actual, in minutes; a positive bias predicts too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

Array = npt.NDArray[Any]

BUSIEST_PAIRS = 10
DISTANCE_BANDS = (-np.inf, 0.1, 1.0, 2.0, 5.0, 10.0, np.inf)
DISTANCE_LABELS = ("under 0.1 mi", "0.1-1 mi", "1-2 mi", "2-5 mi", "5-10 mi", "10 mi and more")


def metrics(actual: Array, predicted: Array) -> dict[str, float]:
    """RMSE, MAE, 90th percentile of the absolute error, R2 and bias; minutes, but for R2.

    Examples
    --------
    >>> metrics(np.array([10.0, 20.0]), np.array([11.0, 21.0]))
    {'rmse': 1.0, 'mae': 1.0, 'p90': 1.0, 'r2': 0.96, 'bias': 1.0}
    """
    error = predicted - actual
    return {
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
        "p90": float(np.quantile(np.abs(error), 0.9)),
        "r2": float(r2_score(actual, predicted)) if len(actual) > 1 else float("nan"),
        "bias": float(error.mean()),
    }


def slices(requests: pd.DataFrame, actual: Array, predicted: Array) -> pd.DataFrame:
    """Errors by hour, weekday, distance band and the busiest zone pairs.

    Parameters
    ----------
    requests : DataFrame of n rows
        As the model takes them.
    actual, predicted : array of shape (n,)
        Minutes.

    Returns
    -------
    DataFrame
        ``slice``, ``value``, ``rows``, ``rmse``, ``mae``, ``bias``; within a slice in the order of its values,
        pairs with the busiest first.
    """
    error = pd.Series(predicted - actual)
    pickup_at = requests["pickup_at"].reset_index(drop=True)
    miles = requests["distance_miles"].reset_index(drop=True)
    groups = {
        "hour": pickup_at.dt.hour,
        "weekday": pickup_at.dt.weekday,
        "distance": pd.cut(miles, DISTANCE_BANDS, labels=list(DISTANCE_LABELS), right=False),
        "pair": _busiest_pairs(requests),
    }
    return pd.concat([_by(name, values, error) for name, values in groups.items()], ignore_index=True)


class PairMedian:
    """The baseline: the median duration of past trips between the two zones, or of all where there are none.

    Parameters
    ----------
    features : mapping
        ``pickup_zone`` and ``dropoff_zone`` of past trips, n each.
    minutes : array of shape (n,)
        Their durations.
    """

    def __init__(self, features: Mapping[str, Array], minutes: Array) -> None:
        self.overall = float(np.median(minutes))
        self.by_pair = pd.Series(minutes).groupby(_pair(features)).median()

    def predict(self, requests: Mapping[str, Any] | pd.DataFrame) -> Array:
        """Minutes, shape (n,), all finite."""
        return self.by_pair.reindex(_pair(requests)).fillna(self.overall).to_numpy()


@dataclass(frozen=True)
class Evidence:
    """What the decision is made from: RMSE in minutes, all on the same trips of the same month.

    Parameters
    ----------
    challenger_rmse : float
    champion_rmse : float or None
        None when there is no champion, or none that could be scored.
    champion_version : str or None
        None when there is no champion.
    champion_saw_test : bool
        Whether the champion learnt from the test month or later ones, so that the comparison favours it.
    champion_error : str
        Why the champion could not be scored.
    """

    challenger_rmse: float
    champion_rmse: float | None = None
    champion_version: str | None = None
    champion_saw_test: bool = False
    champion_error: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger becomes champion, and why."""

    promote: bool
    reason: str


def decide(evidence: Evidence) -> Verdict:
    """Verdict on a challenger.

    Examples
    --------
    >>> decide(Evidence(challenger_rmse=4.5))
    Verdict(promote=True, reason='there is no champion yet')
    >>> decide(Evidence(4.5, champion_rmse=4.4, champion_version="3")).promote
    False
    """
    challenger, champion = evidence.challenger_rmse, evidence.champion_rmse
    if not np.isfinite(challenger):
        return Verdict(False, f"the challenger's test RMSE is {challenger}")
    if evidence.champion_version is None:
        return Verdict(True, "there is no champion yet")
    name = f"champion (version {evidence.champion_version})"
    if evidence.champion_saw_test:
        return Verdict(False, f"the {name} has learnt from the test month or later ones: not comparable")
    if champion is None:
        return Verdict(True, f"the {name} could not be scored: {evidence.champion_error}")
    if challenger < champion:
        return Verdict(True, f"test RMSE {challenger:.4f} beats {champion:.4f} of the {name}")
    return Verdict(False, f"test RMSE {challenger:.4f} does not beat {champion:.4f} of the {name}")


def plots(
    folder: Path,
    actual: Array,
    predicted: Array,
    by_slice: pd.DataFrame,
    importance: Mapping[str, float],
) -> tuple[Path, ...]:
    """Pictures of the test month, written to `folder` as PNG: residuals, predicted against actual, hours, gain."""
    from matplotlib.figure import Figure  # late: half a second that only a report needs

    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}

    def axes(name: str, title: str, xlabel: str, ylabel: str) -> Any:
        figures[name] = Figure(figsize=(7, 4.5), layout="constrained")
        drawing = figures[name].subplots()
        drawing.set(title=title, xlabel=xlabel, ylabel=ylabel)
        return drawing

    drawing = axes("residuals", "Residuals on the test month", "predicted - actual (minutes)", "trips")
    drawing.hist(np.clip(predicted - actual, -30, 30), bins=120, color="#4878a8")
    drawing = axes("predicted_vs_actual", "Predicted against actual", "actual (minutes)", "predicted (minutes)")
    drawing.hexbin(actual, predicted, gridsize=60, bins="log", cmap="Blues")
    drawing.plot([0, 60], [0, 60], color="#c44e52", linewidth=1)
    hours = by_slice[by_slice["slice"] == "hour"]
    drawing = axes("error_by_hour", "Error by hour of pickup", "hour of the day", "RMSE (minutes)")
    drawing.bar(hours["value"].astype(int), hours["rmse"], color="#4878a8")
    drawing = axes("importance", "What the trees use", "share of the total gain", "")
    names = list(importance)[::-1]
    drawing.barh(names, [importance[name] for name in names], color="#4878a8")
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=110)
    return tuple(paths)


def model_card(
    settings: Mapping[str, str],
    measured: Mapping[str, float],
    verdict: Verdict,
    by_slice: pd.DataFrame,
    importance: Mapping[str, float],
    months: pd.DataFrame,
) -> str:
    """Model card in Markdown: what it predicts, from what, how well, where it does badly, and its limits."""
    counted = [c for c in months.columns if c in ("month", "role", "rows", "kept", "test_rows", "sha256")]
    shown = months[counted].assign(sha256=[str(digest)[:12] for digest in months["sha256"]])
    worst = by_slice[by_slice["rows"] >= 100].nlargest(8, "rmse").round(3)
    figures = pd.DataFrame({"metric": list(measured), "value": [f"{value:,.4f}" for value in measured.values()]})
    gain = pd.DataFrame({"feature": list(importance), "share of gain": [f"{g:.3f}" for g in importance.values()]})
    distance = (
        "The distance is the meter's, known only at the end of a ride; before it, give the route's length."
        if settings["use_distance"] == "True"
        else "No distance is used."
    )
    return f"""# Trip duration, {settings["service"]}, tested on {settings["month"]}

Predicts how many minutes a requested taxi ride will take, from pickup time, the two zones, distance and passengers.

**Verdict:** {"champion" if verdict.promote else "challenger"}, because {verdict.reason}.

## How well (minutes, on every trip of the test month that took 1 to 60)

{_markdown(figures)}

## Where it does worst (slices of at least 100 trips)

{_markdown(worst)}

## What it learnt from

{_markdown(shown)}

Source: {settings["source"]}. Trained on the training months, tuned on the validation month, fitted again on both,
tested on the test month; that very fit is registered.

## What the trees use

{_markdown(gain)}

## Limits

Rides of less than one or more than 60 minutes are not learnt, so none is predicted. {distance}
Months unlike those above (a pandemic, a new toll) are not foreseen. Not for fares, nor for judging a driver.

## Settings

{_markdown(pd.DataFrame({"setting": list(settings), "value": list(settings.values())}))}
"""


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _pair(trips: Mapping[str, Any] | pd.DataFrame) -> Array:
    return np.asarray(trips["pickup_zone"], np.int64) * 1000 + np.asarray(trips["dropoff_zone"], np.int64)


def _busiest_pairs(requests: pd.DataFrame) -> pd.Series[Any]:
    names = requests["pickup_zone"].astype(str) + " -> " + requests["dropoff_zone"].astype(str)
    busiest = list(names.value_counts(sort=True).index[:BUSIEST_PAIRS])
    return pd.Series(pd.Categorical(names, categories=busiest))


def _by(name: str, values: pd.Series[Any], error: pd.Series[Any]) -> pd.DataFrame:
    grouped = error.groupby(values.to_numpy() if name in ("hour", "weekday") else values, observed=True)
    table = pd.DataFrame(
        {
            "rows": grouped.size(),
            "rmse": grouped.apply(lambda part: float(np.sqrt(np.mean(part**2)))),
            "mae": grouped.apply(lambda part: float(np.mean(np.abs(part)))),
            "bias": grouped.mean(),
        }
    )
    table.insert(0, "value", [str(value) for value in table.index])
    table.insert(0, "slice", name)
    return table
