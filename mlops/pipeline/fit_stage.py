"""First half of a run: log its origin, tune, fit. Finished work is stored for the next attempt."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlops import config
from mlops.config import Settings
from mlops.errors import ConfigError, MlopsError, TrackingError
from mlops.evaluation import metrics
from mlops.model.duration_model import DurationModel
from mlops.pipeline import rule_texts, run_key
from mlops.pipeline.checkpoint import Checkpoint
from mlops.pipeline.months_table import NOT_LOGGED
from mlops.pipeline.rule_texts import RuleText
from mlops.registry import versions
from mlops.registry.runs import Run
from mlops.training import search_space
from mlops.training.coverage_aim import PARAMETERS, Aim, Covered, next_aim
from mlops.training.fit import Fitting, Tuned
from mlops.training.search import Trial

INPUTS = "inputs.json"  # artefact of a run: what its code and environment were
RULE_TEXTS = "rules.json"  # artefact of a run with cleaning rules of its own
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attempt at a run, with everything that its stages need.

    Parameters
    ----------
    run : Run
        The MLflow run that everything is logged to.
    checkpoint : Checkpoint
        Stores everything until the version is registered.
    name : str
        The registered model.
    settings : Settings
    months : DataFrame
        The months table after `steps.build_features`.
    asked_by : str
        As in `steps.train_and_register`.
    """

    run: Run
    checkpoint: Checkpoint
    name: str
    settings: Settings
    months: pd.DataFrame
    asked_by: str = ""

    @property
    def origin(self) -> dict[str, str]:
        """What identifies the run: its run key, and the code, environment and commit of its first attempt."""
        return origin_of(self.checkpoint, self.settings)

    @property
    def rules(self) -> tuple[RuleText, ...]:
        """The cleaning rules of its own; none if the run has the usual rules."""
        return rule_texts.from_json(self.months["rules"].iloc[0]) if "rules" in self.months else ()

    def files(self, column: str, *roles: str) -> list[Path]:
        """A column's files (``path``, ``features``) of the months with these roles, oldest first."""
        chosen = self.months[self.months["role"].isin(roles)].sort_values("month")
        return [Path(path) for path in chosen[column]]


@dataclass(frozen=True)
class Fitted:
    """Result of tuning and the final fit, as the later stages need it.

    Parameters
    ----------
    artefact : Path
        Folder of the `DurationModel`.
    trials : tuple of Trial
    best : Trial
    metrics : dict of str to float
        ``validation_*`` in minutes, ``trials``, ``training_rows``.
    hit_ceiling : bool
        Whether the search stopped at its time limit (`tuning_seconds`).
    """

    artefact: Path
    trials: tuple[Trial, ...]
    best: Trial
    metrics: dict[str, float]
    hit_ceiling: bool


def log_origin(attempt: Attempt) -> None:
    """Log the inputs of the run: settings, code, source files."""
    run, settings, months = attempt.run, attempt.settings, attempt.months
    described = settings.describe()
    run.log_parameters(settings.result_settings())
    run.set_tags(
        {
            "setting.source": described["source"],  # from which `reproduce` fetches the months
            "operational_settings": _operational(described),  # for people
            **attempt.origin,
            "threads": str(config.threads()),
        }
    )
    run.log_months(months)
    run.log_table("months.csv", months.drop(columns=[*NOT_LOGGED], errors="ignore"))
    inputs = attempt.checkpoint.noted("inputs")
    if inputs is not None:  # attempts before 2026-12 did not store them
        run.log_text(INPUTS, json.dumps(inputs, indent=1))
    if attempt.rules:
        run.log_text(RULE_TEXTS, rule_texts.to_json(attempt.rules, indent=1))


def _operational(described: Mapping[str, str]) -> str:
    """The operational settings that differ from the usual ones, without the source, which has a tag of its own."""
    usual, others = Settings().describe(), [name for name in config.OPERATIONAL if name != "source"]
    changed = [f"{name} {described[name]}" for name in others if described[name] != usual[name]]
    return ", ".join(changed) or "the usual ones"


def fit(attempt: Attempt) -> Fitted:
    """Result of tuning and the final fit on training and validation months; reuses work of earlier attempts.

    The tracking server may be unavailable meanwhile: `log_search` sends the trials that it missed.
    """
    kept = attempt.checkpoint
    if kept.kept("model") is None:
        tuned = _tune(attempt)
        _keep_model(attempt, tuned, _fit_again(attempt, tuned))
    else:
        logger.info("the model of an earlier attempt is reused")
    about, artefact = kept.noted("fitted"), kept.kept("model")
    if about is None or artefact is None:
        raise MlopsError(f"{kept.folder}: expected a fitted model. Delete this folder and run again.")
    trials = kept_trials(kept)[: int(about["metrics"]["trials"])]
    best = next(trial for trial in trials if trial.number == about["best_trial"])
    return Fitted(artefact, trials, best, about["metrics"], about["hit_ceiling"])


def measured(attempt: Attempt) -> dict[str, float]:
    """What was measured before the test: errors on the validation month, trials, trips by what cleaning did."""
    months, fitted = attempt.months, attempt.checkpoint.noted("fitted") or {"metrics": {}}
    counted = [name for name in months if name in ("rows", "kept") or str(name).startswith("rejected_")]
    return {**fitted["metrics"], **{f"cleaning_{name}": float(months[name].sum()) for name in counted}}


def trials_table(attempt: Attempt) -> pd.DataFrame:
    """The trials of a search that has ended, in order; empty if there is none.

    Returns
    -------
    DataFrame
        ``number``, ``rung``, ``validation_rmse`` (minutes, NaN for a trial that failed), ``parameters`` (a text)
        and ``is_chosen``.
    """
    about = attempt.checkpoint.noted("fitted") or {"metrics": {"trials": 0}, "best_trial": 0}
    rows = [
        (t.number, t.rung, t.validation_rmse, str(t.parameters), t.number == about["best_trial"])
        for t in kept_trials(attempt.checkpoint)[: int(about["metrics"]["trials"])]
    ]
    return pd.DataFrame(rows, columns=["number", "rung", "validation_rmse", "parameters", "is_chosen"])


def log_search(attempt: Attempt, fitted: Fitted) -> None:
    """Log the trials that the server does not have yet, and the parameters that the search chose."""
    run = attempt.run
    logged = run.trials_logged()
    for trial in fitted.trials:
        if f"trial {trial.number}" not in logged:
            _log_trial(run, trial)
    run.log_parameters(
        {**fitted.best.parameters, "rounds": fitted.best.rounds, "best_trial": fitted.best.number}
    )
    run.log_parameters(_noted_aim(attempt.checkpoint).parameters)
    run.set_tags({"tuning_hit_ceiling": str(fitted.hit_ceiling).lower()})


class TrialLog:
    """Stores each finished trial in the checkpoint, then logs it while the tracking server answers.

    Parameters
    ----------
    attempt : Attempt
    restored : int
        Number of trials from an earlier attempt. If a trial up to this number is evaluated now, it replaces the
        logged one.
    """

    def __init__(self, attempt: Attempt, restored: int = 0) -> None:
        self.attempt, self.restored = attempt, restored
        self.server_away = False

    def keep(self, trial: Trial) -> None:
        """Store and log one trial."""
        self.attempt.checkpoint.append("trials", trial.as_dict())
        if self.server_away:
            return
        try:
            if trial.number <= self.restored:
                self.attempt.run.delete_trial(f"trial {trial.number}")
            _log_trial(self.attempt.run, trial)
        except TrackingError as error:
            self.server_away = True
            logger.warning("continuing without the tracking server; trials are logged at the end: %s", error)


def kept_trials(kept: Checkpoint) -> tuple[Trial, ...]:
    """Trials stored so far, in order. If a trial number was evaluated again, the last evaluation counts."""
    trials = (Trial.from_dict(entry) for entry in kept.entries("trials"))
    return tuple(trial for _, trial in sorted({trial.number: trial for trial in trials}.items()))


def origin_of(kept: Checkpoint, settings: Settings) -> dict[str, str]:
    """What identifies a run, stored by its first attempt: run key, code, environment, commit, attempt id."""
    noted = kept.noted("origin")
    if noted is None:
        noted = {"run_key": kept.key, "git_commit": run_key.git_commit(), **run_key.made_by()}
        noted |= {"forced": str(settings.force).lower(), "attempt": uuid.uuid4().hex}
        kept.note("inputs", run_key.inputs())
        kept.note("origin", noted)
    return noted


def starts_of(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, float]]:
    """First points of a search, from the rows of a ``warm_start.csv``."""
    return [search_space.clip_to_bounds(row) for row in rows]


def warm_starts(attempt: Attempt) -> list[Mapping[str, float]]:
    """Parameters that did well in runs about earlier months, logged with their origin.

    An attempt that continues a search uses the same points as the first attempt, even if new runs exist by then.
    """
    if not attempt.settings.warm_start:
        return []
    noted = attempt.checkpoint.noted("starts")
    if noted is None:
        found = versions.warm_starts(attempt.name, attempt.settings.month, search_space.first_guess())
        rows = [{"run_id": s.run_id, "month": s.month, "whose": s.whose, **s.parameters} for s in found]
        noted = {"starts": rows}
        attempt.checkpoint.note("starts", noted)
    starts = noted["starts"]
    if starts:
        logger.info("warm start from %s", ", ".join(f"{s['whose']} of {s['month']}" for s in starts))
        attempt.run.log_table("warm_start.csv", pd.DataFrame(starts))
    used = ", ".join(dict.fromkeys(start["run_id"] for start in starts)) or "none"
    attempt.run.set_tags({"warm_start": used})
    return starts_of(starts)


def coverage_aim(attempt: Attempt) -> Aim:
    """The coverage that the ranges are calibrated to, from the coverage that runs about earlier months measured.

    An attempt that continues a search uses the same aim as the first attempt, as in `warm_starts`.
    """
    kept = attempt.checkpoint
    if attempt.settings.warm_start and kept.noted("coverage_aim") is None:
        months = list(_months_covered(attempt))
        aim = next_aim(months)
        kept.note("coverage_aim", aim.parameters)
        if aim != Aim():
            newest = (f"{m.month} {m.coverage_80:.1%} and {m.coverage_95:.1%}" for m in months[-3:])
            logger.info(
                "ranges of 80 %% and 95 %% are calibrated to %.2f%% and %.2f%%; coverage in earlier months: %s",
                100 * aim.coverage_80, 100 * aim.coverage_95, ", ".join(newest),
            )  # fmt: skip
    return _noted_aim(kept)


def _noted_aim(kept: Checkpoint) -> Aim:
    """The default for a checkpoint without one: its ranges do not depend on other runs."""
    return Aim.parse(kept.noted("coverage_aim") or {})


def _months_covered(attempt: Attempt) -> Iterator[Covered]:
    """Coverage in the test months before this run's, oldest first, without those that were not recorded."""
    for run in versions.earlier_runs(attempt.name, attempt.settings.month):
        measured = {name: run.metrics[f"test_{name}"] for name in PARAMETERS if f"test_{name}" in run.metrics}
        if len(measured) < len(PARAMETERS):
            continue
        try:
            yield Covered(run.month, **measured, aim=Aim.parse(run.parameters))
        except ConfigError as error:  # somebody changed the run
            logger.warning(
                "%s: the run about %s is left out of the ranges: %s", attempt.name, run.month, error
            )


def _tune(attempt: Attempt) -> Tuned:
    done = kept_trials(attempt.checkpoint)
    (validation,) = attempt.files("features", "validation")
    return Fitting.of(attempt.settings, config.threads()).tune(
        attempt.files("features", "training"),
        validation,
        starts=warm_starts(attempt),
        done=done,
        on_trial=TrialLog(attempt, len(done)).keep,
        aim=coverage_aim(attempt),
    )


def _fit_again(attempt: Attempt, tuned: Tuned) -> DurationModel:
    months = attempt.files("features", "training", "validation")
    return Fitting.of(attempt.settings, config.threads()).fit(months, tuned)


def _keep_model(attempt: Attempt, tuned: Tuned, model: DurationModel) -> None:
    measured = metrics.error_metrics(tuned.actual, tuned.predicted)
    logged = {f"validation_{metric}": value for metric, value in measured.items()}
    logged |= {"trials": len(tuned.search.trials), "training_rows": tuned.training_rows}
    about = {
        "best_trial": tuned.search.best.number,
        "metrics": logged,
        "hit_ceiling": tuned.search.hit_ceiling,
    }
    attempt.checkpoint.note("fitted", about)
    attempt.checkpoint.keep(model.save(attempt.checkpoint.scratch / "model"))


def _log_trial(run: Run, trial: Trial) -> None:
    measured = {
        "validation_rmse": trial.validation_rmse,
        "rounds": trial.rounds,
        "rung": trial.rung,
        "seconds": trial.seconds,
    }
    run.log_trial(f"trial {trial.number}", trial.parameters, measured, trial.error)
