"""What a person reads about a run: leaderboard, model card and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.evaluation import Evidence, Verdict
from mlops.tuning import Search

Array = npt.NDArray[Any]
COLUMNS = ("entry", "validation_rmse", "test_rmse", "test_mae", "test_p90", "about")


def leaderboard(
    entry: str, about: str, measured: Mapping[str, float], evidence: Evidence, found: Search
) -> pd.DataFrame:
    """A run's result as a table: the new version, what it was compared with, the trials, best first.

    Parameters
    ----------
    entry, about : str
        The version's URI, and what became of it.
    measured : mapping
        ``test_*`` metrics, minutes.
    evidence : Evidence
    found : Search

    Returns
    -------
    DataFrame
        `COLUMNS`; RMSE, MAE and P90 in minutes, NaN where an entry has none.
    """
    version: dict[str, Any] = {"entry": entry, "validation_rmse": found.best.validation_rmse, "about": about}
    version |= {metric: measured[metric] for metric in ("test_rmse", "test_mae", "test_p90")}
    rows = [
        version,
        {"entry": "pair median", "test_rmse": measured["test_rmse_pair_median"], "about": "baseline"},
    ]
    if evidence.champion_rmse is not None:
        champion = f"version {evidence.champion_version}"
        rows.append({"entry": champion, "test_rmse": evidence.champion_rmse, "about": "champion until now"})
    for trial in sorted(
        found.trials, key=lambda trial: (bool(trial.error), -trial.rung, trial.validation_rmse)
    ):
        chosen = ", ".join(f"{name}={value:.3g}" for name, value in trial.parameters.items())
        told = trial.error or f"{trial.rounds} rounds, {chosen}"
        rows.append(
            {"entry": f"trial {trial.number}", "validation_rmse": trial.validation_rmse, "about": told}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).round(4)


def as_text(board: pd.DataFrame, trials: int = 5) -> str:
    """Leaderboard for a terminal: the version, what it met, the best few trials."""
    head = board[~board["entry"].str.startswith("trial ")]
    best = board[board["entry"].str.startswith("trial ")].head(trials)
    return str(pd.concat([head, best]).to_string(index=False, na_rep="", max_colwidth=90))


def describe_version(tags: Mapping[str, str], measured: Mapping[str, float], uri: str, name: str) -> str:
    """A version for a terminal: its months, its metrics beside the baseline's, and how to load it."""
    metrics = ("rmse", "mae", "p90", "r2", "bias")
    table = pd.DataFrame(
        {
            "metric": metrics,
            "validation": [measured.get(f"validation_{metric}", np.nan) for metric in metrics],
            "test": [measured.get(f"test_{metric}", np.nan) for metric in metrics],
            "pair median (test)": [measured.get("test_rmse_pair_median", np.nan), *[np.nan] * 4],
        }
    )
    return (
        f"{name}: champion is {uri}, learnt from {tags.get('first_month_learnt')} to "
        f"{tags.get('last_month_learnt')}, tested on {measured.get('test_rows', 0):,.0f} trips of "
        f"{tags.get('test_month')}\n\n{table.round(4).to_string(index=False, na_rep='')}\n\n"
        f'load it: mlflow.pyfunc.load_model("models:/{name}@champion")'
    )


def model_card(
    name: str,
    settings: Mapping[str, str],
    measured: Mapping[str, float],
    verdict: Verdict,
    by_slice: pd.DataFrame,
    importance: Mapping[str, float],
    months: pd.DataFrame,
) -> str:
    """Model card in Markdown: what it predicts, from what, how well, where it fails, and its limits."""
    counted = [c for c in months.columns if c in ("month", "role", "rows", "kept", "test_rows", "sha256")]
    shown = months[counted].assign(sha256=[str(digest)[:12] for digest in months["sha256"]])
    worst = by_slice[by_slice["rows"] >= 100].nlargest(8, "rmse").round(3)
    figures = pd.DataFrame(
        {"metric": list(measured), "value": [_number(value) for value in measured.values()]}
    )
    gain = pd.DataFrame(
        {"feature": list(importance), "share of gain": [f"{g:.3f}" for g in importance.values()]}
    )
    distance = (
        "The distance is the meter's, known only at the end of a ride; before it, give the route's length."
        if settings["use_distance"] == "True"
        else "No distance is used."
    )
    return f"""# {name}, tested on {settings["month"]}

Predicts how many minutes a requested taxi ride will take, from its pickup time, zones, distance and passengers.

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

Rides under one and over 60 minutes are not learnt, so none is predicted. {distance}
Months unlike those above (a pandemic, a new toll) are not foreseen. Not for fares, nor for judging a driver.

## Settings

{_markdown(pd.DataFrame({"setting": list(settings), "value": list(settings.values())}))}
"""


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
    drawing = axes(
        "predicted_vs_actual", "Predicted against actual", "actual (minutes)", "predicted (minutes)"
    )
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


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4f}"


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
