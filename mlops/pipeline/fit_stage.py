"""Half of a run: its origin, tuning and final fit, kept at every step so that the next attempt does the rest."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlops import config
from mlops.config import Settings
from mlops.errors import MlopsError, TrackingError
from mlops.evaluation import metrics
from mlops.pipeline import run_key
from mlops.pipeline.checkpoint import Checkpoint
from mlops.registry import runs, versions
from mlops.training import search
from mlops.training.fit import Fitting
from mlops.training.search import Trial

MADE = ("clean_sha256", "features_sha256")  # of files on the way, of no interest afterwards
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """What tuning and the final fit came to: all that later parts need of them.

    Parameters
    ----------
    artefact : Path
        Folder of the `DurationModel`.
    trials : tuple of Trial
    best : Trial
    metrics : dict of str to float
        ``validation_*`` in minutes, ``trials``, ``training_rows``.
    hit_ceiling : bool
    """

    artefact: Path
    trials: tuple[Trial, ...]
    best: Trial
    metrics: dict[str, float]
    hit_ceiling: bool


@dataclass
class Attempt:
    """One attempt at a run.

    Parameters
    ----------
    run : Run
        Where everything is logged.
    work : Work
        Where everything is kept until it is registered.
    name : str
        The registered model.
    settings : Settings
    months : DataFrame
        As `steps.build_features` describes them: ``month``, ``role``, ``path`` of the clean trips,
        ``features`` file, ``raw`` file, counts and hashes.
    """

    run: runs.Run
    work: Checkpoint
    name: str
    settings: Settings
    months: pd.DataFrame

    def origin(self) -> dict[str, str]:
        """What identifies the run: its key, and the code, environment and commit of its first attempt."""
        return origin_of(self.work, self.settings)

    def paths(self, *roles: str) -> list[Path]:
        """Feature files of the months with these roles, oldest first."""
        chosen = self.months[self.months["role"].isin(roles)].sort_values("month")
        return [Path(path) for path in chosen["features"]]


class Training(Attempt):
    """Tuning and the final fit."""

    server_away = False
    read_back = 0  # trials of an earlier attempt

    def log_origin(self) -> None:
        """Log what the run is made from: settings, code, source files, cleaning counts."""
        settings = self.settings.describe()
        self.run.log_parameters(self.settings.result_settings())
        self.run.set_tags({f"setting.{name}": settings[name] for name in config.OPERATIONAL})
        self.run.set_tags({**self.origin(), "threads": str(config.threads())})
        self.run.log_months(self.months)
        described = self.months.drop(columns=["path", "raw", "features", "prepared", *MADE])
        self.run.log_table("months.csv", described)
        counted = [c for c in self.months.columns if c in ("rows", "kept") or c.startswith("rejected_")]
        self.run.log_metrics({f"cleaning_{name}": float(self.months[name].sum()) for name in counted})

    def fit(self) -> Fitted:
        """Best of the trials, fitted again on training and validation months; nothing is done twice.

        The tracking server may be away meanwhile: trials that it has not got are told afterwards.
        """
        if self.work.kept("model") is None:
            self._tune_and_fit()
        else:
            logger.info("the model was fitted by an earlier attempt")
        about, artefact = self.work.noted("fitted"), self.work.kept("model")
        if about is None or artefact is None:
            raise MlopsError(
                f"{self.work.folder}: expected a fitted model. Delete this folder and run again."
            )
        trials = self._trials()[: int(about["metrics"]["trials"])]
        best = next(trial for trial in trials if trial.number == about["best_trial"])
        return Fitted(artefact, trials, best, about["metrics"], about["hit_ceiling"])

    def _trials(self) -> tuple[Trial, ...]:
        """Trials kept so far; of one that was taken again, because the clock decides on a ceiling, the last."""
        kept = (Trial.from_dict(entry) for entry in self.work.entries("trials"))
        return tuple(trial for _, trial in sorted({trial.number: trial for trial in kept}.items()))

    def log_search(self, fitted: Fitted) -> None:
        """Log the trials that were not yet, and what they came to."""
        logged = self.run.trials_logged()
        for trial in fitted.trials:
            if f"trial {trial.number}" not in logged:
                self._tell(trial)
        self.run.log_metrics(fitted.metrics)
        chosen = {"rounds": fitted.best.rounds, "best_trial": fitted.best.number}
        self.run.log_parameters({**fitted.best.parameters, **chosen})
        self.run.set_tags({"tuning_hit_ceiling": str(fitted.hit_ceiling).lower()})

    def _tune_and_fit(self) -> None:
        (validation,) = self.paths("validation")
        fitting, done = Fitting.of(self.settings, config.threads()), self._trials()
        self.read_back = len(done)
        tuned = fitting.tune(
            self.paths("training"),
            validation,
            starts=self._starts(),
            done=done,
            on_trial=self._keep_trial,
        )
        measured = metrics.error_metrics(tuned.actual, tuned.predicted)
        logged = {f"validation_{metric}": value for metric, value in measured.items()}
        logged |= {"trials": len(tuned.search.trials), "training_rows": tuned.training_rows}
        model = fitting.fit(self.paths("training", "validation"), tuned)
        best, hit_ceiling = tuned.search.best.number, tuned.search.hit_ceiling
        self.work.note("fitted", {"best_trial": best, "metrics": logged, "hit_ceiling": hit_ceiling})
        self.work.keep(model.save(self.work.scratch / "model"))

    def _keep_trial(self, trial: Trial) -> None:
        """Keep a finished trial here first, then tell the server, if it is there."""
        self.work.append("trials", trial.as_dict())
        if self.server_away:
            return
        try:
            if trial.number <= self.read_back:  # what was read back did not fit, and is done again
                self.run.delete_trial(f"trial {trial.number}")
            self._tell(trial)
        except TrackingError as error:
            self.server_away = True
            logger.warning("going on without the tracking server; trials are told at the end: %s", error)

    def _tell(self, trial: Trial) -> None:
        measured = {
            "validation_rmse": trial.validation_rmse,
            "rounds": trial.rounds,
            "rung": trial.rung,
            "seconds": trial.seconds,
        }
        self.run.log_trial(f"trial {trial.number}", trial.parameters, measured, trial.error)

    def _starts(self) -> list[Mapping[str, float]]:
        """Parameters that did well in runs about earlier months, logged beside where they are from.

        An attempt that goes on with a search begins as the first one did, whatever was registered meanwhile.
        """
        if not self.settings.warm_start:
            return []
        noted = self.work.noted("starts")
        if noted is None:
            found = versions.warm_starts(self.name, self.settings.month, search.BOUNDS)
            rows = [{"run_id": s.run_id, "month": s.month, "whose": s.whose, **s.parameters} for s in found]
            noted = {"starts": rows}
            self.work.note("starts", noted)
        starts = noted["starts"]
        if starts:
            logger.info("warm start from %s", ", ".join(f"{s['whose']} of {s['month']}" for s in starts))
            self.run.log_table("warm_start.csv", pd.DataFrame(starts))
        self.run.set_tags({"warm_start": ", ".join(dict.fromkeys(s["run_id"] for s in starts)) or "none"})
        return starts_of(starts)


def origin_of(work: Checkpoint, settings: Settings) -> dict[str, str]:
    """What identifies a run, as its first attempt found it: key, code, environment, commit, a name of its own."""
    noted = work.noted("origin")
    if noted is None:
        noted = {"run_key": work.key, "git_commit": run_key.git_commit(), **run_key.made_by()}
        noted |= {"forced": str(settings.force).lower(), "attempt": uuid.uuid4().hex}
        work.note("origin", noted)
    return noted


def starts_of(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, float]]:
    """Points to begin a search with, from the rows of a ``warm_start.csv``."""
    return [search.clip_to_bounds({name: row[name] for name in search.BOUNDS if name in row}) for row in rows]
