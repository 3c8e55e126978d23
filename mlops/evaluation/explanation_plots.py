"""The figures of a model card about what the model depends on, and about the search that found it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mlops.evaluation import plot_style, words
from mlops.evaluation.explanation import Example, Explanation
from mlops.evaluation.plot_style import CHAMPION, INK, LINE, OWN, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN, STEPS = 10, 7  # features with bars of their own, in a ranking and for one ride


def parts(explained: Explanation) -> Axes:
    """Growth of the RMSE by part of the request."""
    table = explained.parts
    first = table.iloc[0]
    axes = plot_style.draw(
        f"With another ride's {first['part']}, the error grows by {first['minutes_lost']:.1f} minutes",
        "growth of the RMSE (minutes)", height=0.55 * len(table) + 1.5, grid="x",
    )  # fmt: skip
    plot_style.bars(axes, dict(zip(table["part"], table["minutes_lost"], strict=True)), "{:.2f}")
    return axes


def importance(explained: Explanation) -> Axes:
    """Share of the total gain by feature."""
    table = explained.features.head(SHOWN)
    first = table.iloc[0]
    axes = plot_style.draw(
        f"{first['gain']:.0%} of the trees' gain is from: {words.feature(first['feature'])}",
        "share of the total gain (percent)", height=0.5 * len(table) + 1.5, grid="x",
    )  # fmt: skip
    plot_style.bars(axes, _named(table, 100 * table["gain"]), "{:.1f}")
    return axes


def shuffled(explained: Explanation) -> Axes:
    """Growth of the RMSE by feature."""
    table = explained.features.sort_values("minutes_lost", ascending=False, kind="stable").head(SHOWN)
    first = table.iloc[0]
    axes = plot_style.draw(
        f"Of the single features, one matters most: {words.feature(first['feature'])}",
        "growth of the RMSE (minutes)", height=0.5 * len(table) + 1.5, grid="x",
    )  # fmt: skip
    plot_style.bars(axes, _named(table, table["minutes_lost"]), "{:.2f}")
    return axes


def one_ride(example: Example) -> Axes:
    """From the mean prediction to that of one ride, feature by feature, the largest first."""
    largest = sorted(example.added, key=lambda name: -abs(example.added[name]))
    names = [_with_value(name, example.values.get(name)) for name in largest[:STEPS]]
    steps = [example.added[name] for name in largest[:STEPS]]
    if rest := largest[STEPS:]:
        names.append(f"{len(rest)} other features")
        steps.append(sum(example.added[name] for name in rest))
    axes = plot_style.draw(
        f"Why {example.predicted:.0f} minutes? {words.ride(example.request)}. It took {example.actual:.0f}.",
        "minutes", height=0.5 * (len(steps) + 2) + 1.5, grid="x",
    )  # fmt: skip
    ends = example.mean + np.cumsum([0.0, *steps])
    for place, (start, end) in enumerate(itertools.pairwise(ends), 1):
        is_longer = end >= start
        axes.barh(place, end - start, left=start, height=0.62, color=CHAMPION if is_longer else OWN)
        axes.plot([end, end], [place, place + 1], color=SOFT, linewidth=0.8)
        axes.annotate(f"{end - start:+.1f}".replace("-", "−"), (max(start, end), place), (4, 0), va="center",
                      textcoords="offset points", fontsize=11.5)  # fmt: skip
    for place, value in ((0, ends[0]), (len(steps) + 1, ends[-1])):
        axes.plot(value, place, "o", color=INK, markersize=8)
        axes.annotate(
            f"{value:.1f}", (value, place), (9, 0), va="center", textcoords="offset points", weight="bold"
        )
    axes.set_yticks(range(len(steps) + 2), plot_style.wrapped(["average prediction", *names, "prediction"]))
    axes.set_ylim(len(steps) + 1.6, -0.6)
    axes.use_sticky_edges = False  # bars would stop the margins
    axes.margins(x=0.12)
    return axes


def trials(table: pd.DataFrame) -> Axes:
    """Validation RMSE of each trial, rung by rung; lines follow those that climbed."""
    chosen = table[table["is_chosen"]]
    rmse = chosen["validation_rmse"].min()
    title = (
        f"Trial {chosen['number'].min()} of {len(table)} is the best of the highest rung: {rmse:.2f} minutes"
    )
    axes = plot_style.draw(title, "trial", "validation RMSE (minutes)")
    for _, same in table.groupby("parameters", sort=False):
        axes.plot(same["number"], same["validation_rmse"], color=SOFT, linewidth=1)
    for number, (rung, those) in enumerate(table.groupby("rung")):
        first, last = those["number"].min() - 0.5, those["number"].max() + 0.5
        if number % 2 == 0:
            axes.axvspan(first, last, color=LINE, alpha=0.45, linewidth=0)
        axes.text((first + last) / 2, 1.0, f"rung {rung}", transform=axes.get_xaxis_transform(), ha="center",
                  va="bottom", color=SOFT, fontsize=11.5)  # fmt: skip
    axes.plot(table["number"], table["validation_rmse"], "o", color=OWN)
    axes.plot(chosen["number"], chosen["validation_rmse"], "o", color="none", markersize=13,
              markeredgecolor=CHAMPION, markeredgewidth=2.4)  # fmt: skip
    for row in chosen.itertuples():
        axes.annotate("chosen", (row.number, row.validation_rmse), (-11, -3), textcoords="offset points",
                      ha="right", va="top", color=CHAMPION, weight="bold")  # fmt: skip
    failed = table[table["validation_rmse"].isna()]
    axes.plot(failed["number"], [0.03] * len(failed), "x", color=INK, transform=axes.get_xaxis_transform())
    axes.set_xlim(table["number"].min() - 0.5, table["number"].max() + 0.5)
    axes.locator_params(axis="x", integer=True)
    axes.margins(y=0.18)
    return axes


def _named(table: pd.DataFrame, values: pd.Series) -> Mapping[str, float]:
    return {words.feature(name): float(value) for name, value in zip(table["feature"], values, strict=True)}


def _with_value(name: str, number: float | None) -> str:
    shown = "" if number is None else words.value(name, number)
    return f"{words.feature(name)}: {shown}" if shown else words.feature(name)
