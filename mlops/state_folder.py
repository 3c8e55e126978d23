"""The state folder: where everything that a run writes is, and the only place that names files below it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlops import addresses

PROJECT = Path(__file__).resolve().parent.parent


def state_dir() -> Path:
    """State folder of this project on this machine (not created here).

    Raises
    ------
    ConfigError
        When its path, or that of this checkout, has a character with which a file would be written elsewhere.
    """
    folder = Path(os.environ.get("MLOPS_STATE_DIR") or PROJECT / ".state").expanduser().resolve()
    addresses.require_usable(PROJECT, folder)
    return folder


@dataclass(frozen=True)
class StateFolder:
    """Path of each kind of state; this is the only place that names files below the state folder.

    Parameters
    ----------
    months, prepared : Path
        Copies of the sources' files; the clean trips made from them.
    checkpoints : Path
        Checkpoints that let the next attempt continue a run.
    locks, sent : Path
        Lock files; records of the messages that were sent.
    artifacts, tracking_store : Path
        Artefacts and database of MLflow, when no tracking server is configured.
    registry_key, mlflow_login : Path
        The key that signs versions and journal; the folder with user and password of `make mlflow`.
    backtests : Path
        Results of ``python -m mlops replay``.
    stack : Path
        What ``make stack`` runs: its data, secrets and logs.
    versions, scored, serving, monitoring : Path
        Checked copies of versions; results of ``score``; the service's memory and log; what monitoring keeps.
    """

    months: Path
    prepared: Path
    checkpoints: Path
    locks: Path
    sent: Path
    artifacts: Path
    tracking_store: Path
    registry_key: Path
    mlflow_login: Path
    backtests: Path
    stack: Path
    versions: Path
    scored: Path
    serving: Path
    monitoring: Path


def state() -> StateFolder:
    """Paths inside this machine's state folder (none is created here)."""
    root = state_dir()
    return StateFolder(
        months=root / "months", prepared=root / "prepared", checkpoints=root / "work", locks=root / "locks",
        sent=root / "told", artifacts=root / "artifacts", tracking_store=root / "mlflow.db",
        registry_key=root / "registry.key", mlflow_login=root / "mlflow", backtests=root / "replay",
        stack=root / "stack", versions=root / "versions", scored=root / "scored", serving=root / "serving",
        monitoring=root / "monitoring",
    )  # fmt: skip
