"""What a person reads about a run in a terminal: its leaderboard, and a version described."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mlops.evaluation.comparison import Evidence
from mlops.pipeline import months_table
from mlops.training.search import Trial

COLUMNS = ("entry", "validation_rmse", "test_rmse", "test_mae", "test_p90", "about")


def leaderboard(
    entry: str,
    about: str,
    measured: Mapping[str, float],
    evidence: Evidence,
    chosen: Trial,
    trials: Sequence[Trial],
) -> pd.DataFrame:
    """A run's result as a table: the new version, what it was compared with, the trials, best first.

    Parameters
    ----------
    entry, about : str
        The version's URI, and what became of it.
    measured : mapping
        ``test_*`` metrics, minutes.
    evidence : Evidence
        What it was compared with.
    chosen : Trial
        Whose parameters the version has.
    trials : sequence of Trial

    Returns
    -------
    DataFrame
        `COLUMNS`; RMSE, MAE and P90 in minutes, NaN where an entry has none.
    """
    version: dict[str, Any] = {"entry": entry, "validation_rmse": chosen.validation_rmse, "about": about}
    version |= {metric: measured[metric] for metric in ("test_rmse", "test_mae", "test_p90")}
    rivals = {"pair_median": ("pair median", "baseline"), "course": ("course's recipe", "baseline")}
    if evidence.champion:
        rivals["champion"] = (f"version {evidence.champion.version}", "champion until now")
    rows = [version]
    for rival, (named, told) in rivals.items():
        if rival in evidence.days:
            rows.append({"entry": named, "test_rmse": evidence.rmse(rival), "about": told})
    for trial in sorted(trials, key=lambda trial: (bool(trial.error), -trial.rung, trial.validation_rmse)):
        parameters = ", ".join(f"{name}={value:.3g}" for name, value in trial.parameters.items())
        told = trial.error or f"{trial.rounds} rounds, {parameters}"
        rows.append(
            {"entry": f"trial {trial.number}", "validation_rmse": trial.validation_rmse, "about": told}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).round(4)


def as_text(board: pd.DataFrame, trials: int = 5) -> str:
    """Leaderboard for a terminal: the version, what it met, the best few trials; or why there is none."""
    if months_table.is_nothing(board):
        return f"nothing to do: {board[months_table.NOTHING_TO_DO].iloc[0]}"
    head = board[~board["entry"].str.startswith("trial ")]
    best = board[board["entry"].str.startswith("trial ")].head(trials)
    return str(pd.concat([head, best]).to_string(index=False, na_rep="", max_colwidth=90))


def as_json(found: Mapping[str, Any]) -> str:
    """A mapping as indented JSON."""
    return json.dumps(found, indent=1)
