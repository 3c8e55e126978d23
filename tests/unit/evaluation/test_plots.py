"""The figures of a model card: all are drawn, and their titles say what was found."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.cards import by_slice, drawn

from mlops.evaluation import explanation_plots, plot_style
from mlops.evaluation import plots as figures
from mlops.evaluation.plots import PLOTS, Drawn, drawn_in, plots


def title(axes: object) -> str:
    """The title of a figure, on one line."""
    return " ".join(axes.get_figure(root=True).get_suptitle().split())  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All figures of the example."""
    folder = tmp_path_factory.mktemp("plots") / "new"
    assert [path.stem for path in plots(folder, drawn())] == list(PLOTS)
    return folder


def test_each_figure_is_a_png_and_an_svg(folder: Path) -> None:
    assert [path.name for path in drawn_in(folder)] == [f"{stem}.svg" for stem in PLOTS]
    for path in drawn_in(folder):
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG\r\n")
        assert path.with_suffix(".png").stat().st_size > 5000


@pytest.mark.parametrize("stem", PLOTS)
def test_an_svg_has_only_colours_of_the_page(stem: str, folder: Path) -> None:
    """Otherwise it cannot be read on a dark page."""
    svg = (folder / f"{stem}.svg").read_text(encoding="utf-8")

    assert re.findall(r"#[0-9a-f]{6}\b(?!\")", re.sub(r'"data:[^"]*"', "", svg)) == []
    assert set(re.findall(r"var\((--[a-z]+)\)", svg)) <= set(plot_style.VARIABLES.values())
    assert {"var(--ink)", "var(--soft)"} <= set(re.findall(r"var\([a-z-]+\)", svg))
    assert not re.search(r"https?:|<script|<style|<metadata|<!--", svg)


def test_figures_are_the_same_each_time(folder: Path, tmp_path: Path) -> None:
    again = plots(tmp_path, drawn())
    for path in again:
        assert path.read_bytes() == (folder / path.name).read_bytes()
        svg = path.with_suffix(".svg")
        assert svg.read_bytes() == (folder / svg.name).read_bytes()


def test_figures_of_one_trip_and_no_trials_are_drawn_too(tmp_path: Path) -> None:
    one = replace(
        drawn(),
        actual=np.array([10.0]),
        predicted=np.array([12.0]),
        by_slice=by_slice()[0].head(1),
        trials=drawn().trials.head(0),
    )

    assert [path.stem for path in plots(tmp_path, one)] == [stem for stem in PLOTS if stem != "trials"]


# --- What they say ----------------------------------------------------------------------------------------------


def test_the_residuals_say_how_many_are_not_shown() -> None:
    error = np.concatenate([np.zeros(50), np.full(45, 4.0), np.full(3, -31.0), np.full(2, 31.0)])
    axes = figures.residuals(np.full(100, 20.0), 20.0 + error)

    assert title(axes) == "Half of the rides end within 2.0 minutes of the prediction, nine of ten within 4.0"
    assert [text.get_text() for text in axes.texts if "beyond" in text.get_text()] == [
        "3 rides\nbeyond −30 min", "2 rides\nbeyond 30 min",
    ]  # fmt: skip
    assert sum(bar.get_height() for bar in axes.patches) == 100


def test_a_prediction_s_meaning_is_the_title() -> None:
    predicted = np.repeat([10.0, 20.0], 400)
    actual = predicted + np.tile([-2.0, 0.0, 0.0, 3.0], 200)

    assert title(figures.predicted_vs_actual(actual, predicted)) == (
        "Of the rides predicted to take about 20 minutes, half took 20 to 21"
    )
    few = figures.predicted_vs_actual(actual[:9], predicted[:9])
    assert title(few) == "How long did rides take that were predicted alike?"


def hours(**rmse: float) -> pd.DataFrame:
    return pd.DataFrame(
        [("hour", name.strip("h"), 2000, value) for name, value in rmse.items()],
        columns=["slice", "value", "rows", "rmse"],
    )


def test_hours_are_ticked_as_hours_and_the_extremes_named() -> None:
    table = hours(h0=4.0, h1=3.0, h23=5.0)
    axes = figures.error_by_hour(table.assign(rows=[2000, 2000, 999]))

    assert title(axes) == "The error is largest at 0:00 (4.0 minutes), smallest at 1:00 (3.0)"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0:00", "6:00", "12:00", "18:00"]
    assert title(figures.error_by_hour(table.assign(rows=3))) == "How large is the error at each hour?"


def test_champion_and_pair_median_are_drawn_beside_it_unless_they_are_absurd() -> None:
    table = hours(h0=4.0, h1=3.0).assign(champion_rmse=[4.5, 3.5], pair_median_rmse=[1e9, 5.0])
    axes = figures.error_by_hour(table)

    assert [text.get_text() for text in axes.texts] == ["this one", "champion"]
    assert axes.get_ylim()[1] < 10


def test_slices_are_named_in_words_the_worst_first() -> None:
    table = pd.DataFrame(
        [
            ("distance", "1-2 mi", 5000, 2.5), ("distance", "10 mi and more", 1000, 6.25),
            ("to airport", "JFK", 999, 9.0), ("weekday", "0", 9999, 8.0),
        ],
        columns=["slice", "value", "rows", "rmse"],
    )  # fmt: skip
    axes = figures.error_by_slice(table)

    assert title(axes) == "The error is largest for rides of 10 miles and more: 6.2 minutes"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["10 miles and more", "1 to 2 miles"]
    assert title(figures.error_by_slice(table.head(0))) == "No group of rides is large enough"


def of_example() -> Drawn:
    return drawn()


def test_the_most_important_part_and_features_are_named() -> None:
    explained = of_example().explanation

    assert title(explanation_plots.parts(explained)) == (
        "With another ride's distance, the error grows by 7.5 minutes"
    )
    assert "75% of the trees' gain is from: distance times the usual pace" in title(
        explanation_plots.importance(explained)
    )
    assert title(explanation_plots.shuffled(explained)).endswith(": distance times the usual pace")


def test_a_ride_is_explained_from_the_mean_to_its_prediction() -> None:
    explained = of_example().explanation.example
    axes = explanation_plots.one_ride(explained)

    assert title(axes) == "Why 23 minutes? Tuesday 17:40, zone 74 to JFK, 8.2 miles. It took 21."
    assert [text.get_text() for text in axes.texts] == ["+10.0", "−1.0", "+0.0", "14.0", "23.0"]
    assert [" ".join(label.get_text().split()) for label in axes.get_yticklabels()] == [
        "average prediction", "distance times the usual pace: 24.3 min", "weekday: Tuesday", "month: June",
        "prediction",
    ]  # fmt: skip


def test_many_features_of_a_ride_are_one_step() -> None:
    explained = of_example().explanation.example
    added = {f"f{number}": float(number) for number in range(1, 11)}
    axes = explanation_plots.one_ride(replace(explained, added=added, values={}, predicted=69.0))

    assert [text.get_text() for text in axes.texts][7:] == ["+6.0", "14.0", "69.0"]
    assert axes.get_yticklabels()[8].get_text() == "3 other features"


def test_trials_are_drawn_by_rung_with_the_chosen_one() -> None:
    axes = explanation_plots.trials(of_example().trials)

    assert title(axes) == "Trial 4 of 4 is the best of the highest rung: 4.80 minutes"
    assert [text.get_text() for text in axes.texts] == ["rung 1", "rung 2", "chosen"]
