"""The model card's page in a browser."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from support.cards import CARD, drawn

from mlops.evaluation.model_card import page
from mlops.evaluation.plots import drawn_in, plots

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, to look at the page that a person sees"),
]


def look(at: Path, *how: str) -> str:
    """Output of Chromium for a file, without a network."""
    command = (
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", "--proxy-server=127.0.0.1:9", f"--user-data-dir={at.parent / 'chromium'}",
        "--virtual-time-budget=5000", *how, at.as_uri(),
    )  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page in its own folder."""
    folder = tmp_path_factory.mktemp("card")
    plots(folder / "plots", drawn())
    path = folder / "model_card.html"
    path.write_text(page(replace(CARD, plots=drawn_in(folder / "plots"))), encoding="utf-8")
    return path


def test_a_browser_finds_the_title_and_the_tables(file: Path) -> None:
    shown = look(file, "--dump-dom")

    assert f"<title>{CARD.title}</title>" in shown
    assert shown.count("<table>") == page(CARD).count("<table>") == 11
    assert ">champion (version 3)</td>" in shown


@pytest.mark.long
@pytest.mark.parametrize("width", [390, 1000], ids=["phone", "desk"])
def test_a_browser_paints_it(file: Path, width: int, tmp_path: Path) -> None:
    screenshot = tmp_path / "card.png"
    look(file, f"--screenshot={screenshot}", f"--window-size={width},5000")
    pixels = image.imread(screenshot)[..., :3]

    assert pixels.shape[:2] == (5000, width)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    for half in np.split(pixels, 2):
        assert 0.01 < (half < 0.6).all(axis=2).mean() < 0.5  # dark pixels at the top and below
