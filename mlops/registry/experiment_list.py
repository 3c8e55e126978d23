"""What a person or a program reads about experiments: the answer of `python -m mlops experiments`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from mlops.errors import command, plain
from mlops.registry import experiments, server_facts
from mlops.registry.experiments import Tried

COLUMNS = 120  # characters of a line, so that a terminal wraps none


def as_text(found: Sequence[Tried], model: str = "") -> str:
    """Runs of experiments, newest first: a line with the numbers, then what differs, the note and where to look.

    Parameters
    ----------
    found : sequence of Tried
        As `experiments.list_all` returns them.
    model : str
        The model that was asked about; empty for all.
    """
    if not found:
        whose = f"{model}: there" if model else "there"
        how = command('train --experiment NAME --experiment-note "what it tries"')
        return f"{whose} is no experiment yet; make one: {how}"
    header, *lines = pd.DataFrame([_row(tried) for tried in found]).to_string(index=False).splitlines()
    parts = [header]
    for tried, line in zip(found, lines, strict=True):
        parts += [line, *_below(tried)]
    return "\n".join(parts)


def as_json(found: Sequence[Tried]) -> str:
    """The same as a list of JSON objects; RMSE in minutes, null if it is not known, times in UTC."""
    return json.dumps([_record(tried) for tried in found], indent=1, allow_nan=False)


def _row(tried: Tried) -> dict[str, str]:
    known = {experiments.NONE: "none", "": ""}
    return {
        "experiment": plain(tried.name),
        "model": plain(tried.model),
        "tested on": plain(tried.month),
        "rmse": _rmse(tried.rmse),
        "champion's": _rmse(tried.champion_rmse),
        "champion": known.get(tried.champion, f"version {tried.champion}"),
        "verdict": plain(tried.verdict) if tried.is_judged else tried.status.lower(),
        "when (UTC)": f"{tried.at:%Y-%m-%d %H:%M}",
    }


def _below(tried: Tried) -> Iterator[str]:
    for label, text in (("differs: ", tried.differs), ("note: ", tried.note), ("why: ", tried.reason)):
        if text:
            yield _short(f"      {label}{' '.join(text.split())}")
    yield f"      {experiments.link(tried)}"  # not cut: a person copies it


def _short(line: str) -> str:
    line = plain(line)
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 3]}..."


def _rmse(minutes: float | None) -> str:
    return "" if minutes is None else f"{minutes:.4f}"


def _record(tried: Tried) -> dict[str, Any]:
    names = ("model", "name", "note", "month", "rmse", "champion_rmse", "verdict", "reason", "differs")
    return {
        **{name: getattr(tried, name) for name in names},
        "champion": None if tried.champion in (experiments.NONE, "") else tried.champion,
        "status": tried.status,
        "at": tried.at.isoformat(timespec="seconds"),
        "run_id": tried.run_id,
        "link": server_facts.page(tried.page),
    }
