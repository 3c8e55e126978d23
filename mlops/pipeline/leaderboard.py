"""The leaderboard of a run: the new version, what it was compared with, and the trials, best first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mlops.errors import MlopsError
from mlops.evaluation.comparison import Evidence
from mlops.pipeline import months_table
from mlops.pipeline.run_result import RunResult
from mlops.registry.versions import OUTCOME, Version
from mlops.training.search import Trial

VERSION, BASELINE, CHAMPION, TRIAL = "version", "baseline", "champion", "trial"
EXPERIMENT = "experiment"
COLUMNS = (
    "entry", "validation_rmse", "test_rmse", "test_mae", "test_p90", "about", "kind", "model", "number",
)  # fmt: skip
"""``entry`` and ``about`` are for people; ``kind``, ``model`` and ``number`` (of a version) are for programs."""
ERRORS = ("validation_rmse", "test_rmse", "test_mae", "test_p90")


def leaderboard(
    version: Version,
    about: str,
    measured: Mapping[str, float],
    evidence: Evidence,
    chosen: Trial,
    trials: Sequence[Trial],
) -> pd.DataFrame:
    """A run's result as a table.

    Parameters
    ----------
    version : Version
        The new version.
    about : str
        Its outcome and the reasons, for people.
    measured : mapping
        ``test_*`` metrics, minutes.
    evidence : Evidence
        Errors of the version and of what it was compared with.
    chosen : Trial
        The trial whose parameters the version has.
    trials : sequence of Trial

    Returns
    -------
    DataFrame
        `COLUMNS`; RMSE, MAE and P90 in minutes, NaN if an entry has none. Then ``rounds`` and the parameters of
        each trial, with three digits; those of the version are the chosen trial's.
    """
    first: dict[str, Any] = {"entry": version.uri, "validation_rmse": chosen.validation_rmse, "about": about}
    first |= {metric: measured[metric] for metric in ("test_rmse", "test_mae", "test_p90")}
    rows = [{**first, "kind": VERSION, "model": version.name, "number": version.number, **_searched(chosen)}]
    rows += _rivals(evidence)
    ranked = sorted(trials, key=lambda trial: (bool(trial.error), -trial.rung, trial.validation_rmse))
    rows += [
        {
            "entry": f"trial {trial.number}",
            "validation_rmse": trial.validation_rmse,
            "about": trial.error or f"{trial.rounds} rounds, {_parameters(trial)}",
            "kind": TRIAL,
            **_searched(trial),
        }
        for trial in ranked
    ]
    others = dict.fromkeys(name for trial in (chosen, *ranked) for name in _searched(trial))
    board = pd.DataFrame(rows, columns=[*COLUMNS, *others]).round(dict.fromkeys(ERRORS, 4))
    return board.fillna({"model": "", "number": ""})


def of_version(version: Version) -> pd.DataFrame:
    """A leaderboard of one row, from the tags of a version whose run is gone."""
    about = f"{version.tags.get(OUTCOME, '')}: {version.tags.get('reason', '')}"
    row = {"entry": version.uri, "test_rmse": version.tags.get("test_rmse"), "about": about, "kind": VERSION}
    return _of_row(row | {"model": version.name, "number": version.number})


def of_experiment(
    name: str,
    model: str,
    about: str,
    measured: Mapping[str, float],
    evidence: Evidence,
    chosen: Trial,
    trials: Sequence[Trial],
) -> pd.DataFrame:
    """The result of an experiment as a table: as `leaderboard`, with an entry of no version.

    Parameters
    ----------
    name, model : str
        The experiment, and the registered model that it was compared with.
    """
    board = leaderboard(Version(model, "", "", {}), about, measured, evidence, chosen, trials)
    return pd.concat([board.head(1).assign(entry=name, kind=EXPERIMENT), board.iloc[1:]])


def of_tags(name: str, model: str, about: str, test_rmse: float | None) -> pd.DataFrame:
    """A leaderboard of one row, for an experiment whose leaderboard is gone."""
    row = {"entry": name, "test_rmse": test_rmse, "about": about, "kind": EXPERIMENT, "model": model}
    return _of_row(row | {"number": ""})


def _of_row(row: Mapping[str, Any]) -> pd.DataFrame:
    """A leaderboard of one row, whose test RMSE may be a text, or be missing."""
    board = pd.DataFrame([row], columns=list(COLUMNS))
    return board.assign(test_rmse=pd.to_numeric(board["test_rmse"], errors="coerce").astype("float64"))


def read(path: Path) -> pd.DataFrame:
    """A leaderboard from the CSV that its run logged."""
    names = ("kind", "model", "number")
    board = pd.read_csv(path, dtype=dict.fromkeys(names, "str"))
    return board.fillna(dict.fromkeys(names, ""))


def check_leaderboard(board: pd.DataFrame) -> None:
    """Raise unless the first entry is a registered version or an experiment, and it and the baseline have an RMSE.

    The leaderboard of a version whose run is gone has no other entry, and no baseline.

    Raises
    ------
    MlopsError
    """
    if months_table.is_nothing(board):
        return
    first = board.iloc[0]
    finite = all(math.isfinite(rmse) for rmse in board["test_rmse"].head(2))
    is_known = first["kind"] == EXPERIMENT or (first["kind"] == VERSION and first["number"])
    if not is_known or not finite:
        raise MlopsError(f"train_and_register: expected a version with its test RMSE; got {first.to_dict()}")


def as_text(result: RunResult, trials: int = 5) -> str:
    """A run's result for a terminal: version, rivals and best few trials, or why there was nothing to do."""
    if result.is_nothing:
        return f"nothing to do: {result.reason}"
    is_trial = result.board["kind"] == TRIAL
    shown = pd.concat([result.board[~is_trial], result.board[is_trial].head(trials)])
    columns = [name for name in COLUMNS[:6] if name in shown]
    text = str(shown[columns].to_string(index=False, na_rep="", max_colwidth=90))
    # The table cuts the reasons. Those of a version are also among its tags.
    return text if result.version else f"{text}\n\n{result.board['about'].iloc[0]}"


def _rivals(evidence: Evidence) -> list[dict[str, Any]]:
    """A row for each model that the version was compared with."""
    names = {"pair_median": ("pair median", "baseline"), "course": ("course's recipe", "baseline")}
    if evidence.champion:
        names["champion"] = (f"version {evidence.champion.version}", "champion at the time of the test")
    return [
        {
            "entry": named,
            "test_rmse": evidence.rmse(rival),
            "about": about,
            "kind": CHAMPION if rival == "champion" else BASELINE,
        }
        for rival, (named, about) in names.items()
        if rival in evidence.days
    ]


def _searched(trial: Trial) -> dict[str, float]:
    """Rounds and parameters of a trial, as numbers."""
    return {
        "rounds": trial.rounds,
        **{name: float(f"{value:.3g}") for name, value in trial.parameters.items()},
    }


def _parameters(trial: Trial) -> str:
    return ", ".join(f"{name}={value:.3g}" for name, value in trial.parameters.items())
