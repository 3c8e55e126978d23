"""The parts of one run: tune on the validation month, fit again, judge on the test month, log what there is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import config, dataset, evaluation, registry, report, tracking, trips, tuning
from mlops.config import Settings
from mlops.model import DurationModel, build_matrix, train

Array = npt.NDArray[Any]
MADE = ("clean_sha256", "features_sha256")  # of files on the way, of no interest afterwards
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A tested model beside what it was compared with, all on every trip of the test month."""

    requests: pd.DataFrame
    actual: Array
    predicted: Array
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

    def tune(self) -> tuning.Search:
        """Best of the trials, each of which learns from the training months and is scored on the next."""
        learnt, minutes = dataset.load_features(self._paths("training"), for_training=True)
        held_out, held_out_minutes = dataset.load_features(self._paths("validation"), for_training=False)
        use_distance = self.settings.use_distance
        matrix = build_matrix(
            learnt, minutes, held_out, held_out_minutes, use_distance=use_distance, **self._fixed()
        )
        logger.info("tuning on %s trips, scored on %s", f"{len(minutes):,}", f"{len(held_out_minutes):,}")
        found = tuning.search(
            lambda parameters: train(matrix, parameters, **self._fixed()),
            max_trials=self.settings.max_trials,
            seed=self.settings.seed,
            tuning_seconds=self.settings.tuning_seconds,
            on_trial=self._log_trial,
        )
        tuned = DurationModel(matrix.encoder, found.fit.booster, use_distance=use_distance)
        requests, actual = self._requests("validation")
        measured = evaluation.metrics(actual, minutes_of(tuned.predict(requests)))
        self.run.log_metrics({f"validation_{metric}": value for metric, value in measured.items()})
        self.run.log_metrics({"trials": len(found.trials), "training_rows": len(minutes)})
        chosen = {"rounds": found.best.rounds, "best_trial": found.best.number}
        self.run.log_parameters({**found.best.parameters, **chosen})
        self.run.set_tags({"tuning_hit_ceiling": str(found.hit_ceiling).lower()})
        return found

    def fit(self, found: tuning.Search) -> tuple[Path, evaluation.PairMedian]:
        """Artefact of the final fit on training and validation months, and the baseline of the same trips."""
        learnt, minutes = dataset.load_features(self._paths("training", "validation"), for_training=True)
        matrix = build_matrix(learnt, minutes, use_distance=self.settings.use_distance, **self._fixed())
        rounds = found.best.rounds
        logger.info("final fit on %s trips with %d rounds", f"{len(minutes):,}", rounds)
        final = train(matrix, found.best.parameters, rounds=rounds, **self._fixed())
        fitted = DurationModel(matrix.encoder, final.booster, use_distance=self.settings.use_distance)
        return fitted.save(self.run.scratch / "model"), evaluation.PairMedian(learnt, minutes)

    def judge(self, fitted: DurationModel, baseline: evaluation.PairMedian) -> Judged:
        """The model, the baseline and the champion on every trip of the test month, and the verdict."""
        requests, actual = self._requests("test")
        predicted = minutes_of(fitted.predict(requests))
        measured = {
            f"test_{metric}": value for metric, value in evaluation.metrics(actual, predicted).items()
        }
        measured["test_rows"] = len(actual)
        measured["test_rmse_pair_median"] = evaluation.metrics(actual, baseline.predict(requests))["rmse"]
        evidence = self._evidence(requests, actual, measured["test_rmse"])
        if evidence.champion_rmse is not None:
            measured["test_rmse_champion"] = evidence.champion_rmse
        return Judged(requests, actual, predicted, measured, evidence, evaluation.decide(evidence))

    def log_report(self, fitted: DurationModel, judged: Judged) -> None:
        """Log metrics, slices, plots and the model card."""
        by_slice = evaluation.slices(judged.requests, judged.actual, judged.predicted)
        importance, settings = fitted.importance(), self.settings.describe()
        self.run.log_metrics(judged.metrics)
        self.run.log_table("slices.csv", by_slice)
        folder = self.run.scratch / "plots"
        self.run.log_files(
            report.plots(folder, judged.actual, judged.predicted, by_slice, importance), "plots"
        )
        self.run.log_card(
            report.model_card(
                self.name, settings, judged.metrics, judged.verdict, by_slice, importance, self.months
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

    def _log_trial(self, trial: tuning.Trial) -> None:
        measured = {
            "validation_rmse": trial.validation_rmse,
            "rounds": trial.rounds,
            "seconds": trial.seconds,
        }
        self.run.log_trial(f"trial {trial.number}", trial.parameters, measured, trial.error)

    def _fixed(self) -> dict[str, Any]:
        """What every fit of the run has in common, so that it can be repeated."""
        return {"seed": self.settings.seed, "threads": config.threads()}

    def _paths(self, *roles: str) -> list[Path]:
        """Feature files of the months with these roles, oldest first."""
        chosen = self.months[self.months["role"].isin(roles)].sort_values("month")
        return [Path(path) for path in chosen["features"]]

    def _requests(self, role: str) -> tuple[pd.DataFrame, Array]:
        """Requests of a month's trips, as the model takes them, and how long they took."""
        path = Path(self.months.loc[self.months["role"] == role, "path"].iloc[0])
        return trips.read_requests(path), trips.read_minutes(path)


def minutes_of(predictions: pd.DataFrame) -> Array:
    """Predicted minutes, shape (n,)."""
    return predictions["duration_minutes"].to_numpy(np.float64)
