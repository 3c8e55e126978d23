"""The parts of one run: tune on the validation month, fit again, judge on the test month, log what there is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import config, contract, course, dataset, evaluation, registry, report, tracking, tuning
from mlops.config import Settings
from mlops.course import CourseRecipe
from mlops.fitting import Fitting, Tuned
from mlops.model import DurationModel

Array = npt.NDArray[Any]
MADE = ("clean_sha256", "features_sha256")  # of files on the way, of no interest afterwards
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A tested model beside what it was compared with, all on every trip of the test month."""

    requests: pd.DataFrame
    actual: Array
    predictions: pd.DataFrame
    by_slice: pd.DataFrame
    metrics: dict[str, float]
    evidence: evaluation.Evidence
    verdict: evaluation.Verdict


@dataclass(frozen=True)
class Training:
    """One run under way.

    Parameters
    ----------
    run : Run
        Where everything is logged.
    name : str
        The registered model.
    settings : Settings
    months : DataFrame
        As `pipeline.build_features` describes them: ``month``, ``role``, ``path`` of the clean trips,
        ``features`` file, counts and hashes.
    """

    run: tracking.Run
    name: str
    settings: Settings
    months: pd.DataFrame

    def log_origin(self) -> None:
        """Log what the run is made from: settings, code, source files, cleaning counts."""
        self.run.log_parameters({**self.settings.describe(), "threads": config.threads()})
        self.run.set_tags(config.code_version())
        self.run.log_months(self.months)
        self.run.log_table("months.csv", self.months.drop(columns=["path", "features", "prepared", *MADE]))
        counted = [c for c in self.months.columns if c in ("rows", "kept") or c.startswith("rejected_")]
        self.run.log_metrics({f"cleaning_{name}": float(self.months[name].sum()) for name in counted})

    def tune(self) -> Tuned:
        """Best of the trials, each of which learns from the training months and is scored on the next."""
        (validation,) = self._paths("validation")
        tuned = self._fitting().tune(
            self._paths("training"),
            validation,
            starts=self._starts(),
            on_trial=self._log_trial,
        )
        found, measured = tuned.search, evaluation.metrics(tuned.actual, tuned.predicted)
        self.run.log_metrics({f"validation_{metric}": value for metric, value in measured.items()})
        self.run.log_metrics({"trials": len(found.trials), "training_rows": tuned.training_rows})
        chosen = {"rounds": found.best.rounds, "best_trial": found.best.number}
        self.run.log_parameters({**found.best.parameters, **chosen})
        self.run.set_tags({"tuning_hit_ceiling": str(found.hit_ceiling).lower()})
        return tuned

    def fit(self, tuned: Tuned) -> tuple[Path, evaluation.PairMedian]:
        """Artefact of the final fit on training and validation months, and the baseline of the same trips."""
        months = self._paths("training", "validation")
        fitted = self._fitting().fit(months, tuned)
        pairs, minutes = dataset.pairs_and_minutes(months, for_training=True)
        return fitted.save(self.run.scratch / "model"), evaluation.PairMedian(pairs, minutes)

    def judge(self, fitted: DurationModel, baseline: evaluation.PairMedian) -> Judged:
        """The model, the baseline and the champion on every trip of the test month, and the verdict."""
        requests, actual = self._requests("test")
        predictions = fitted.predict(requests)
        by_slice = evaluation.slices(requests, actual, predictions)
        found = {
            **evaluation.metrics(actual, minutes_of(predictions)),
            **evaluation.coverage(actual, predictions),
            **evaluation.worst_coverage(by_slice),
            "rmse_pair_median": evaluation.metrics(actual, baseline.predict(requests))["rmse"],
        }
        if self.settings.compare_course:
            found["rmse_course"] = evaluation.metrics(actual, self._course().predict(requests))["rmse"]
        evidence = self._evidence(requests, actual, found["rmse"])
        if evidence.champion_rmse is not None:
            found["rmse_champion"] = evidence.champion_rmse
        measured = {"test_rows": len(actual), **{f"test_{metric}": value for metric, value in found.items()}}
        return Judged(
            requests, actual, predictions, by_slice, measured, evidence, evaluation.decide(evidence)
        )

    def log_report(self, fitted: DurationModel, judged: Judged) -> None:
        """Log metrics, slices, plots and the model card."""
        importance, settings = fitted.importance(), self.settings.describe()
        self.run.log_metrics(judged.metrics)
        self.run.log_table("slices.csv", judged.by_slice)
        drawn = report.plots(
            self.run.scratch / "plots",
            judged.actual,
            minutes_of(judged.predictions),
            judged.by_slice,
            importance,
        )
        self.run.log_files(drawn, "plots")
        self.run.log_card(
            report.model_card(
                self.name, settings, judged.metrics, judged.verdict, judged.by_slice, importance, self.months
            )
        )

    def version_tags(self, judged: Judged) -> dict[str, str]:
        """What a version says of itself in the registry."""
        learnt = self.months.loc[self.months["role"] != "test", "month"]
        return {
            "service": self.settings.service,
            "test_month": self.settings.month,
            "first_month_learnt": learnt.min(),
            "last_month_learnt": learnt.max(),
            "test_rmse": f"{judged.metrics['test_rmse']:.6f}",
            "verdict": "promote" if judged.verdict.promote else "keep",
            "reason": judged.verdict.reason,
        }

    def description(self, judged: Judged) -> str:
        """One line about a version for the registry's list."""
        tags, measured = self.version_tags(judged), judged.metrics
        return (
            f"test RMSE {measured['test_rmse']:.3f} min on {measured['test_rows']:,} trips "
            f"of {self.settings.month} (pair median {measured['test_rmse_pair_median']:.3f}); "
            f"learnt {tags['first_month_learnt']} to {tags['last_month_learnt']}"
        )

    def _evidence(self, requests: pd.DataFrame, actual: Array, challenger_rmse: float) -> evaluation.Evidence:
        """The challenger's RMSE beside that of the champion, scored anew through its registered artefact."""
        version = registry.champion(self.name)
        if version is None:
            return evaluation.Evidence(challenger_rmse)
        if version.tags.get("last_month_learnt", "") >= self.settings.month:
            return evaluation.Evidence(challenger_rmse, None, version.number, champion_saw_test=True)
        try:
            predicted = minutes_of(registry.predict(version, requests, self.run.scratch / "champion"))
            rmse = evaluation.metrics(actual, predicted)["rmse"]
        except Exception as error:  # whatever keeps the champion from answering is the reason it loses
            logger.warning("%s cannot be scored: %s", version.uri, error)
            return evaluation.Evidence(challenger_rmse, None, version.number, champion_error=str(error)[:300])
        return evaluation.Evidence(challenger_rmse, rmse, version.number)

    def _course(self) -> CourseRecipe:
        """The course's recipe, learnt as it is there: from one month, stopped by the next."""
        logger.info("fitting the course's recipe on the month before the validation month")
        chosen = self.months[self.months["role"] != "test"].sort_values("month")
        learnt, held_out = (course.read_trips(Path(path)) for path in chosen["path"].iloc[-2:])
        return CourseRecipe.fit(learnt, held_out, threads=config.threads())

    def _starts(self) -> list[Mapping[str, float]]:
        """Parameters that did well in runs about earlier months, logged beside where they are from."""
        if not self.settings.warm_start:
            return []
        starts = registry.warm_starts(self.name, self.settings.month, tuning.BOUNDS)
        if starts:
            logger.info("warm start from %s", ", ".join(f"{s.whose} of {s.month}" for s in starts))
            rows = [{"run_id": s.run_id, "month": s.month, "whose": s.whose, **s.parameters} for s in starts]
            self.run.log_table("warm_start.csv", pd.DataFrame(rows))
        self.run.set_tags({"warm_start": ", ".join(dict.fromkeys(s.run_id for s in starts)) or "none"})
        return [tuning.inside(start.parameters) for start in starts]

    def _log_trial(self, trial: tuning.Trial) -> None:
        measured = {
            "validation_rmse": trial.validation_rmse,
            "rounds": trial.rounds,
            "rung": trial.rung,
            "seconds": trial.seconds,
        }
        self.run.log_trial(f"trial {trial.number}", trial.parameters, measured, trial.error)

    def _fitting(self) -> Fitting:
        return Fitting.of(self.settings, config.threads())

    def _paths(self, *roles: str) -> list[Path]:
        """Feature files of the months with these roles, oldest first."""
        chosen = self.months[self.months["role"].isin(roles)].sort_values("month")
        return [Path(path) for path in chosen["features"]]

    def _requests(self, role: str) -> tuple[pd.DataFrame, Array]:
        """Requests of a month's trips, as the model takes them, and how long they took."""
        path = Path(self.months.loc[self.months["role"] == role, "path"].iloc[0])
        return contract.read_requests(path), contract.read_minutes(path)


def minutes_of(predictions: pd.DataFrame) -> Array:
    """Predicted minutes, shape (n,)."""
    return predictions["duration_minutes"].to_numpy(np.float64)
