"""The plots of a model card: a version's predictions and errors on its test month, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[Any]

PLOTS = {
    "residuals": "Histogram of predicted minus actual minutes on the test month",
    "predicted_vs_actual": "Predicted against actual minutes, with the line on which they are equal",
    "error_by_hour": "Bars of the RMSE in minutes, one for each hour of pickup",
    "importance": "Bars of each feature's share of the trees' total gain",
}
"""File stems of the plots that `plots` draws, with a text description (alt text) of each."""


def plots(
    folder: Path,
    actual: Array,
    predicted: Array,
    by_slice: pd.DataFrame,
    importance: Mapping[str, float],
) -> tuple[Path, ...]:
    """PNG files of the plots in `PLOTS`, in that order.

    Parameters
    ----------
    folder : Path
        Folder for the files; created if it is missing.
    actual, predicted : array of shape (n,)
        Minutes of the test month's trips.
    by_slice : DataFrame
        As `metrics.slices` returns it; the slice ``hour`` is drawn.
    importance : mapping of str to float
        Share of the total gain by feature, largest first.
    """
    from matplotlib.figure import Figure  # imported here: it takes half a second, and only reports need it

    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}

    def axes(name: str, title: str, xlabel: str, ylabel: str) -> Any:
        figures[name] = Figure(figsize=(5.6, 3.6), layout="constrained")
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
    drawing = axes("importance", "Feature importance", "share of the total gain", "")
    names = list(importance)[::-1]
    drawing.barh(names, [importance[name] for name in names], color="#4878a8")
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=150)
    return tuple(paths)
