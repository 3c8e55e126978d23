"""The figures of a model card about errors on the test month, and the list of all figures.

Each is a PNG, which MLflow's pages show, and an SVG beside it, which the card's page contains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.evaluation import explanation_plots, plot_style, words
from mlops.evaluation.explanation import Explanation
from mlops.evaluation.metrics import LEAST_ROWS
from mlops.evaluation.plot_style import CHAMPION, INK, OWN, PAPER, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]
FURTHEST = 30.0  # minutes; larger errors are counted beside the histogram
STEP, LONGEST = 5, 60  # minutes: the predictions are grouped, up to the longest ride
FEWEST = 30  # trips of a group whose quartiles are drawn

PLOTS = {
    "predicted_vs_actual": "How long the rides took, by the minutes that were predicted. The stronger the blue, "
    "the more rides. Each thick bar holds half of the rides with about this prediction, its dot is their median.",
    "residuals": "Errors of all rides of the test month: predicted minus actual minutes. The strongest blue holds "
    "half of them, the two stronger blues nine of ten.",
    "error_by_hour": "RMSE by hour of the pickup. Hollow points: fewer than 1,000 rides, so mostly noise.",
    "error_by_slice": "RMSE of groups of rides, the largest first. Groups of fewer than 1,000 rides are left out.",
    "parts": "How many minutes the RMSE grows if a part of each request is replaced by that of another ride. "
    "Such a request fits together less than any real one, so leaving the part out would cost less.",
    "one_ride": "From the minutes that the model predicts on average to those of one ride: what each feature adds "
    "or takes (TreeSHAP).",
    "importance": "Share of each feature in what the trees gained while they were trained.",
    "shuffled": "How many minutes the RMSE grows if one feature is replaced by that of another ride. Features "
    "that say nearly the same stand in for each other, so each of them alone seems to matter little. One that is "
    "the same all month, as the month itself, loses nothing.",
    "trials": "RMSE on the validation month of each trial of the search. A higher rung uses more trips and trees; "
    "only the best trials of a rung climb to the next.",
}
"""File stems of all figures in the order of the card, with how to read each."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the figures show.

    Parameters
    ----------
    actual, predicted : array of shape (n,)
        Minutes of the test month's trips.
    by_slice : DataFrame
        As `metrics.slices` returns it.
    explanation : Explanation
    trials : DataFrame
        ``number``, ``rung``, ``validation_rmse`` (minutes, NaN for one that failed), ``parameters`` (a text) and
        ``is_chosen``.
    """

    actual: Array
    predicted: Array
    by_slice: pd.DataFrame
    explanation: Explanation
    trials: pd.DataFrame


def plots(folder: Path, drawn: Drawn) -> tuple[Path, ...]:
    """PNG files of the figures in `PLOTS`, in that order, in a folder that is created if it is missing.

    There is no figure of the trials if none are known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stems = [stem for stem in PLOTS if stem != "trials" or not drawn.trials.empty]
    with plot_style.styled():
        return tuple(plot_style.save(_FIGURES[stem](drawn), folder / stem) for stem in stems)


def drawn_in(folder: Path) -> list[Path]:
    """The SVG files that `plots` wrote to a folder, in the order of `PLOTS`."""
    return [path for stem in PLOTS if (path := folder / f"{stem}.svg").is_file()]


def residuals(actual: Array, predicted: Array) -> Axes:
    """Histogram of the errors; those beyond `FURTHEST` are one bar at each end, with their number."""
    error = predicted - actual
    half, most = np.quantile(np.abs(error), (0.5, 0.9))
    axes = plot_style.draw(
        f"Half of the rides end within {half:.1f} minutes of the prediction, nine of ten within {most:.1f}",
        "predicted minus actual (minutes)", "rides",
    )  # fmt: skip
    edges = np.linspace(-FURTHEST, FURTHEST, 121)
    counts, _ = np.histogram(error, edges)
    middle = np.abs((edges[1:] + edges[:-1]) / 2)
    for inside, alpha in (
        (middle <= half, 1.0),
        ((middle > half) & (middle <= most), 0.6),
        (middle > most, 0.3),
    ):
        axes.bar(edges[:-1][inside], counts[inside], 0.5, align="edge", color=OWN, alpha=alpha)
    high = max(counts.max(), 1)
    for side, beyond in ((-1, error < -FURTHEST), (1, error > FURTHEST)):
        axes.bar(side * (FURTHEST + 3), beyond.sum(), 3, color=SOFT)
        align, end = ("right", "30 min") if side > 0 else ("left", "−30 min")
        counted = f"{beyond.sum():,} rides\nbeyond {end}"
        axes.text(side * (FURTHEST + 4.5), beyond.sum() + high * 0.03, counted, ha=align, color=SOFT)
        meaning = "ride was shorter" if side > 0 else "ride took longer"
        axes.text(side * FURTHEST, high * 0.95, meaning, ha=align, va="top")
    axes.set_xticks([-30, -20, -10, 0, 10, 20, 30])
    _thousands(axes.yaxis)
    return axes


def predicted_vs_actual(actual: Array, predicted: Array) -> Axes:
    """Actual minutes by predicted ones, with the quartiles of the rides with about the same prediction."""
    from matplotlib.colors import LinearSegmentedColormap

    groups = _quartiles(actual, predicted)
    axes = plot_style.draw(_of_one_prediction(groups), "predicted (minutes)", "actual (minutes)", 4.6, "both")
    shades = LinearSegmentedColormap.from_list("shades", ["#3b8fd018", "#3b8fd0"])
    ends = (0, LONGEST, 0, LONGEST)
    axes.hexbin(
        predicted, actual, gridsize=50, bins="log", cmap=shades, extent=ends, linewidths=0, rasterized=True
    )
    axes.plot([0, LONGEST], [0, LONGEST], color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.text(59, 2, "dashed: as predicted", ha="right", color=SOFT)
    axes.vlines(groups["at"], groups["low"], groups["high"], color=INK, linewidth=4)
    axes.plot(
        groups["at"], groups["median"], "o", color=PAPER, markersize=7, markeredgecolor=INK, markeredgewidth=2
    )
    axes.set(xlim=(0, LONGEST), ylim=(0, LONGEST), xticks=range(0, 61, 10), yticks=range(0, 61, 10))
    return axes


def error_by_hour(by_slice: pd.DataFrame) -> Axes:
    """RMSE by hour of the pickup, with those of the champion and the pair median if they are known."""
    hours = by_slice[by_slice["slice"] == "hour"]
    at = hours["value"].astype(int).to_numpy()
    axes = plot_style.draw(_worst_hour(hours), "hour of the pickup", "RMSE (minutes)")
    ends, most = [], 0.0
    for column, name, colour, style in _known(hours):
        values = hours[column].to_numpy()
        axes.plot(at, values, style, color=colour, zorder=3 if colour == OWN else 2)
        ends.append((float(at[-1]), float(values[-1]), name, colour))
        most = max(most, float(values.max()))
    few = hours["rows"].to_numpy() < LEAST_ROWS
    rmse = hours["rmse"].to_numpy()
    axes.plot(at[~few], rmse[~few], "o", color=OWN, zorder=4)
    axes.plot(at[few], rmse[few], "o", color=PAPER, markeredgecolor=OWN, markeredgewidth=1.8, zorder=4)
    axes.set(xlim=(-0.5, 23.5), ylim=(0, 1.12 * most or 1), xticks=range(0, 24, 6))
    axes.set_xticklabels([f"{hour}:00" for hour in range(0, 24, 6)])
    plot_style.label_lines(axes, ends, most * 0.09)
    return axes


def error_by_slice(by_slice: pd.DataFrame) -> Axes:
    """RMSE of distances, parts of the day and week, and airports, beside champion and pair median."""
    chosen = by_slice[by_slice["slice"].isin(_SLICES)]
    large = chosen[chosen["rows"] >= LEAST_ROWS]
    shown = (chosen if large.empty else large).sort_values("rmse", ascending=False, kind="stable")
    names = [words.slice_of(kind, name) for kind, name in zip(shown["slice"], shown["value"], strict=True)]
    title = "No group of rides is large enough"
    if names:
        row = shown.iloc[0]
        which = words.rides(row["slice"], row["value"])
        title = f"The error is largest for rides {which}: {row['rmse']:.1f} minutes"
    height = 1.9 + 0.29 * max(len(names), 4)
    axes = plot_style.draw(title, "RMSE (minutes)", height=height, grid="both")
    places = np.arange(len(names))
    known = _known(shown)
    for column, name, colour, _ in known[::-1]:
        marker, size, edge = {OWN: ("o", 8, 1.0), CHAMPION: ("D", 7, 1.0), SOFT: ("|", 12, 2.4)}[colour]
        axes.plot(
            shown[column], places, marker, color=colour, markersize=size, markeredgewidth=edge, label=name
        )
    plot_style.name_markers(axes, len(known))
    axes.set_yticks(places, names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, None))
    return axes


_CONTENDERS = (
    ("rmse", "this one", OWN, "-"),
    ("champion_rmse", "champion", CHAMPION, "--"),
    ("pair_median_rmse", "pair median", SOFT, ":"),
)
_MOST = 4.0  # times the RMSE of this model: a rival with a larger one is left out
_SLICES = ("distance", "hour band", "week", "from airport", "to airport")


def _known(table: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """The contenders whose RMSE is known for every slice of a table, and not so large that nothing else shows."""
    most = _MOST * table["rmse"].max()
    return [
        each for each in _CONTENDERS if each[0] in table and (table[each[0]] <= most).all() and len(table)
    ]


def _worst_hour(hours: pd.DataFrame) -> str:
    large = hours[hours["rows"] >= LEAST_ROWS]
    if len(large) < 2:
        return "How large is the error at each hour?"
    most, least = large.loc[large["rmse"].idxmax()], large.loc[large["rmse"].idxmin()]
    return (
        f"The error is largest at {most['value']}:00 ({most['rmse']:.1f} minutes), "
        f"smallest at {least['value']}:00 ({least['rmse']:.1f})"
    )


def _quartiles(actual: Array, predicted: Array) -> pd.DataFrame:
    """Quartiles of the actual minutes for predictions around each multiple of `STEP`, where there are enough."""
    near = STEP * np.round(predicted / STEP)
    grouped = pd.Series(actual).groupby(near)
    table = grouped.quantile(np.array([0.25, 0.5, 0.75])).unstack()
    table.columns = pd.Index(["low", "median", "high"])
    table["trips"] = grouped.size()
    large = table[(table["trips"] >= FEWEST) & (table.index > 0)]
    return large.rename_axis("at").reset_index()


def _of_one_prediction(groups: pd.DataFrame) -> str:
    """What a prediction of about the third quartile of all means."""
    if groups.empty:
        return "How long did rides take that were predicted alike?"
    place = np.searchsorted(groups["trips"].cumsum(), 0.75 * groups["trips"].sum())
    row = groups.iloc[int(place)]
    return (
        f"Of the rides predicted to take about {row['at']:.0f} minutes, half took {row['low']:.0f} "
        f"to {row['high']:.0f}"
    )


def _thousands(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if math.isclose(value, round(value)) else "")


_FIGURES: Mapping[str, Callable[[Drawn], Axes]] = {
    "predicted_vs_actual": lambda drawn: predicted_vs_actual(drawn.actual, drawn.predicted),
    "residuals": lambda drawn: residuals(drawn.actual, drawn.predicted),
    "error_by_hour": lambda drawn: error_by_hour(drawn.by_slice),
    "error_by_slice": lambda drawn: error_by_slice(drawn.by_slice),
    "parts": lambda drawn: explanation_plots.parts(drawn.explanation),
    "importance": lambda drawn: explanation_plots.importance(drawn.explanation),
    "shuffled": lambda drawn: explanation_plots.shuffled(drawn.explanation),
    "one_ride": lambda drawn: explanation_plots.one_ride(drawn.explanation.example),
    "trials": lambda drawn: explanation_plots.trials(drawn.trials),
}
