"""Experiments as text for people, made from their records."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from mlops.command_line.layout import cleaned
from mlops.command_line.printing import print_table, print_text, utc
from mlops.command_line.version_texts import STYLES
from mlops.errors import command
from mlops.registry.records import TriedExperiment


def print_experiments(found: Sequence[TriedExperiment], model: str = "") -> None:
    """Print runs of experiments: their numbers, then what differs, the note, the reason and where to look.

    Parameters
    ----------
    found : sequence of TriedExperiment
        Newest first.
    model : str
        The model that was asked about; empty for all.
    """
    if not found:
        whose = f"{model}: there" if model else "there"
        how = command('train --experiment NAME --experiment-note "what it tries"')
        print_text(f"{whose} is no experiment yet; make one: {how}")
        return
    print_table(
        [_row(tried) for tried in found],
        right=("rmse", "champion's"),
        below=("differs", "note", "why", "page"),
    )
    if found[0].page.command:
        print_text(f"`{found[0].page.command}` shows these pages")


def _row(tried: TriedExperiment) -> dict[str, str | Text]:
    verdict = tried.verdict or tried.status.lower()
    below = {"differs": tried.differs, "note": tried.note, "why": tried.reason}
    return {
        "experiment": tried.name,
        "tested on": tried.test_month or "",
        "rmse": _number(tried.rmse_minutes),
        "champion's": _number(tried.champion_rmse_minutes),
        "verdict": cleaned(verdict, STYLES.get(verdict, "")),
        "when": utc(tried.at),
        "champion": f"version {tried.champion}" if tried.champion else "",
        "model": tried.model,
        **{name: f"{name}: {text}" if text else "" for name, text in below.items()},
        "page": cleaned(tried.page.address, whole=True),
    }


def _number(minutes: float | None) -> str:
    return "" if minutes is None else f"{minutes:.4f}"
