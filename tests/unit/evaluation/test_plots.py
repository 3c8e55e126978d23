"""The plots of a model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.cards import IMPORTANCE, by_slice

from mlops.evaluation.plots import PLOTS, plots


def test_the_plots_are_drawn(tmp_path: Path) -> None:
    table, actual, predicted = by_slice()
    paths = plots(tmp_path / "plots", actual, predicted, table, IMPORTANCE)

    assert [path.stem for path in paths] == list(PLOTS)
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
        assert path.stat().st_size > 5000


def test_plots_of_one_trip_are_drawn_too(tmp_path: Path) -> None:
    table = by_slice()[0].head(1)

    assert len(plots(tmp_path, np.array([10.0]), np.array([12.0]), table, IMPORTANCE)) == 4
