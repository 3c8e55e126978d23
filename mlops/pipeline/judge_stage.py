"""The other half of a run: judged, registered, proven, promoted; each step once, however often it is tried.

Whoever judges holds the lock on the model's aliases, so that nobody moves one
between a verdict and what follows from it.
"""

from __future__ import annotations

import functools
import logging
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import config
from mlops.data import schemas
from mlops.errors import MlopsError, TrackingDownError
from mlops.evaluation import metrics, model_card, promotion
from mlops.evaluation.comparison import Incumbent, gather
from mlops.locks import Lock
from mlops.model.duration_model import DurationModel
from mlops.pipeline import leaderboard
from mlops.pipeline.fit_stage import Attempt, Fitted
from mlops.registry import alias_log, artifact, runs, verification, versions
from mlops.registry.versions import Version
from mlops.training import baselines, feature_files
from mlops.training.baselines import CourseRecipe

Array = npt.NDArray[Any]
NOT_A_METRIC = ("row_seconds",)  # a time: the same run twice would have two
SINGLE_REQUESTS = 30
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A tested model beside what it was compared with, all on every trip of the test month."""

    requests: pd.DataFrame
    actual: Array
    predictions: pd.DataFrame
    by_slice: pd.DataFrame
    metrics: dict[str, float]
    record: promotion.Record

    @property
    def verdict(self) -> promotion.Verdict:
        """What becomes of the model."""
        return self.record.verdict


@dataclass
class Judging(Attempt):
    """What follows on the final fit.

    Parameters
    ----------
    fitted : Fitted
    lock : Lock
        On the model's aliases, held.
    """

    fitted: Fitted
    lock: Lock

    @functools.cached_property
    def model(self) -> DurationModel:
        """The fit as it was saved: what is tested is what is registered."""
        return DurationModel.load(self.fitted.artefact)

    def judge(self) -> Judged:
        """The model, the baselines and the champion on every trip of the test month, and the verdict."""
        requests, actual = self._requests("test")
        predictions = self.model.predict(requests)
        champion = versions.champion(self.name)
        if champion and champion.run_id == self.run.run_id:  # promoted by an attempt that was then cut off
            record, by_slice = self._judged_before()
        else:
            record, rival = self._decide(requests, actual, minutes_of(predictions), champion)
            by_slice = metrics.slices(requests, actual, predictions, rival)
        found = {
            **metrics.error_metrics(actual, minutes_of(predictions)),
            **metrics.coverage(actual, predictions),
            **metrics.worst_coverage(by_slice),
            **{
                f"rmse_{name}": record.evidence.rmse(name)
                for name in ("pair_median", "course", "champion")
                if name in record.evidence.days
            },
        }
        measured = {"test_rows": len(actual), **{f"test_{metric}": value for metric, value in found.items()}}
        measured |= {
            f"verdict_{name}": value
            for name, value in record.verdict.measured.items()
            if name not in NOT_A_METRIC
        }
        return Judged(requests, actual, predictions, by_slice, measured, record)

    def log_report(self, judged: Judged) -> None:
        """Log metrics, slices, plots, the verdict with its evidence, and what a proof needs."""
        self.run.log_metrics(judged.metrics)
        self.run.log_table("slices.csv", judged.by_slice)
        self.run.log_text("verdict.json", judged.record.to_json())
        self.run.log_files(self._plots(judged), "plots")
        sample = verification.write_sample(
            self.work.scratch / "sample.parquet", judged.requests, judged.predictions
        )
        tested = self.work.scratch / "tested.npy"
        np.save(tested, minutes_of(judged.predictions).astype(np.float32))  # exact: trees answer in float32
        self.run.log_files([sample, tested], "proof")

    def register(self, judged: Judged) -> Version:
        """The version of this run, a new one unless an earlier attempt got that far; it is the challenger."""
        version = versions.find(self.name, self.work.key)
        if version is None or version.run_id != self.run.run_id:
            uri = artifact.log_model(
                self.run.run_id, self.run.experiment_id, self.fitted.artefact, judged.requests.head(3)
            )
            self.lock.check()
            tags = self._tags(judged) | {"artefact_sha256": verification.digest(self.fitted.artefact)}
            version = versions.register(
                self.name, uri, self.run.run_id, self.work.key, tags, self._described(judged)
            )
        else:
            version = versions.tag(version, self._tags(judged))
            versions.describe(version, self._described(judged))
        newest = alias_log.current(self.name, alias_log.CHALLENGER)
        if int(newest or 0) < int(version.number):
            alias_log.move(
                self.name, alias_log.CHALLENGER, version.number,
                by=self._by(), verdict=judged.verdict.outcome, reason="newly registered",
            )  # fmt: skip
        return version

    def prove(self, version: Version) -> verification.Verification:
        """Whether the registry gives out what was tested."""
        (test,) = self.months[self.months["role"] == "test"].to_dict("records")
        # Rules of one's own may take trips out of the test; a fresh process does not know them.
        raw = Path(test["raw"]) if test["usual_rules"] else None
        expected = verification.Expected(
            version.tags["artefact_sha256"],
            self.work.scratch / "sample.parquet",
            self.work.scratch / "tested.npy",
            raw,
            self.settings.service,
            self.settings.month,
        )
        found = verification.verify(version.uri, expected, self.work.scratch / "proof")
        self.run.log_text("proof.json", leaderboard.as_json(found.as_dict()))
        return found

    def conclude(
        self, version: Version, judged: Judged, found: verification.Verification
    ) -> tuple[Version, pd.DataFrame]:
        """The version with its aliases, card and last tags, and the leaderboard of the run."""
        promoted = judged.verdict.promote and found.passed
        if promoted and alias_log.current(self.name, alias_log.CHAMPION) != version.number:
            self.lock.check()
            alias_log.move(
                self.name, alias_log.CHAMPION, version.number,
                by=self._by(), verdict=judged.verdict.outcome, reason=judged.verdict.reason,
            )  # fmt: skip
        if not found.passed:
            logger.error("%s stays challenger: %s", version.uri, found.reason)
        self._log_card(version, judged, found)
        outcome = alias_log.CHAMPION if promoted else alias_log.CHALLENGER
        why = judged.verdict.reason if found.passed else f"its proof failed: {found.reason}"
        board = leaderboard.leaderboard(
            version.uri, f"{outcome}: {why}; {versions.link(version)}", judged.metrics,
            judged.record.evidence, self.fitted.best, self.fitted.trials,
        )  # fmt: skip
        self.run.log_table("leaderboard.csv", board)
        told = "passed" if found.passed else f"failed: {found.reason}"
        page = f"runs:/{self.run.run_id}/model_card.html"
        return versions.tag(version, {"card": page, "proof": told, runs.OUTCOME: outcome}), board

    def _decide(
        self, requests: pd.DataFrame, actual: Array, minutes: Array, champion: Version | None
    ) -> tuple[promotion.Record, Array | None]:  # fmt: skip
        """The verdict with its evidence, and the minutes of the champion, scored anew through its artefact."""
        predicted = {"challenger": minutes, "pair_median": self._pair_median().predict(requests)}
        if self.settings.compare_course:
            predicted["course"] = self._course().predict(requests)
        incumbent = None
        if champion:
            known = (champion.tags.get("test_month", ""), champion.tags.get("last_month_learnt", ""))
            incumbent = Incumbent(champion.number, *known)
            if known[1] < self.settings.month:
                incumbent, predicted = self._with_champion(champion, incumbent, requests, predicted)
        evidence = gather(
            requests,
            actual,
            predicted,
            test_month=self.settings.month,
            champion=incumbent,
            artefact_bytes=sum(path.stat().st_size for path in self.fitted.artefact.iterdir()),
            row_seconds=_row_seconds(self.model, requests),
        )
        asked = {name: getattr(self.settings, name) for name in _LIMITS}
        limits = promotion.Limits(**asked)
        return promotion.Record(evidence, limits, promotion.decide(evidence, limits)), predicted.get(
            "champion"
        )

    def _with_champion(
        self,
        champion: Version,
        incumbent: Incumbent,
        requests: pd.DataFrame,
        predicted: dict[str, Array],
    ) -> tuple[Incumbent, dict[str, Array]]:
        """The incumbent and the predictions with its own, or with why it has none."""
        try:
            answered = versions.predict(champion, requests, self.work.scratch / "champion")
            return incumbent, {**predicted, "champion": minutes_of(answered)}
        except TrackingDownError:
            raise  # a registry that is away says nothing about the champion, nor does a full disk
        except (MlopsError, subprocess.TimeoutExpired) as error:  # it does not answer, and so it loses
            logger.warning("%s cannot be scored: %s", champion.uri, error)
            return replace(incumbent, error=str(error)[:300]), predicted

    def _judged_before(self) -> tuple[promotion.Record, pd.DataFrame]:
        """Verdict and slices as an earlier attempt logged them."""
        record, slices = (
            runs.fetch_artefact(self.run.run_id, name, self.work.scratch / "judged")
            for name in ("verdict.json", "slices.csv")
        )
        return promotion.Record.from_json(record.read_text()), pd.read_csv(slices, dtype={"value": str})

    def _pair_median(self) -> metrics.PairMedian:
        pairs, minutes = feature_files.pairs_and_minutes(
            self.paths("training", "validation"), for_training=True
        )
        return metrics.PairMedian(pairs, minutes)

    def _course(self) -> CourseRecipe:
        """The course's recipe, learnt as it is there: from one month, stopped by the next."""
        logger.info("fitting the course's recipe on the month before the validation month")
        chosen = self.months[self.months["role"] != "test"].sort_values("month")
        learnt, held_out = (baselines.read_trips(Path(path)) for path in chosen["path"].iloc[-2:])
        return CourseRecipe.fit(learnt, held_out, threads=config.threads())

    def _plots(self, judged: Judged) -> tuple[Path, ...]:
        return model_card.plots(
            self.work.scratch / "plots", judged.actual, minutes_of(judged.predictions), judged.by_slice,
            self.model.importance(),
        )  # fmt: skip

    def _log_card(self, version: Version, judged: Judged, found: verification.Verification) -> None:
        evidence, measured = judged.record.evidence, judged.verdict.measured
        names = {
            "challenger": f"version {version.number}",
            "champion": f"champion (version {evidence.champion.version})" if evidence.champion else "",
            "pair_median": "pair median",
            "course": "course's recipe",
        }
        contenders = pd.DataFrame(
            [
                (told, evidence.rmse(name), *evidence.rmse_interval(name))
                for name, told in names.items()
                if name in evidence.days
            ],
            columns=["contender", "rmse", "low", "high"],
        )
        gain = tuple(measured[name] for name in ("gain_minutes", "gain_low", "gain_high") if name in measured)
        made = model_card.Card(
            name=self.name,
            version=version.number,
            settings=self.settings.describe(),
            origin={**self.origin(), "run_id": self.run.run_id},
            measured=judged.metrics,
            outcome=judged.verdict.outcome,
            reasons=judged.verdict.reasons,
            contenders=contenders,
            gain=(gain[0], gain[1], gain[2]) if len(gain) == 3 else None,
            by_slice=judged.by_slice,
            importance=self.model.importance(),
            months=self.months,
            proof={**_UNASKED, "passed": found.passed, "reason": found.reason, **found.measured},
            plots=sorted((self.work.scratch / "plots").glob("*.png")),
        )
        self.run.log_card(model_card.markdown(made), model_card.page(made))

    def _tags(self, judged: Judged) -> dict[str, str]:
        """What a version says of itself in the registry."""
        learnt = self.months.loc[self.months["role"] != "test", "month"]
        return {
            "service": self.settings.service,
            "test_month": self.settings.month,
            "first_month_learnt": learnt.min(),
            "last_month_learnt": learnt.max(),
            "test_rmse": f"{judged.metrics['test_rmse']:.6f}",
            "verdict": judged.verdict.outcome,
            "reason": judged.verdict.reason,
            **{name: self.origin()[name] for name in ("forced", "attempt")},
        }

    def _described(self, judged: Judged) -> str:
        """One line about a version for the registry's list."""
        tags, measured = self._tags(judged), judged.metrics
        return (
            f"test RMSE {measured['test_rmse']:.3f} min on {measured['test_rows']:,} trips "
            f"of {self.settings.month} (pair median {measured['test_rmse_pair_median']:.3f}); "
            f"learnt {tags['first_month_learnt']} to {tags['last_month_learnt']}"
        )

    def _by(self) -> str:
        return f"run {self.run.run_id} by {alias_log.whoami()}"

    def _requests(self, role: str) -> tuple[pd.DataFrame, Array]:
        """Requests of a month's trips, as the model takes them, and how long they took."""
        path = Path(self.months.loc[self.months["role"] == role, "path"].iloc[0])
        return schemas.read_requests(path), schemas.read_minutes(path)


_UNASKED = {"rows": 0, "one_by_one": 0, "largest_difference": 0.0}  # of a proof that did not get that far
_LIMITS = ("min_improvement", "max_slice_regression", "min_test_rows", "max_champion_age_months")


def minutes_of(predictions: pd.DataFrame) -> Array:
    """Predicted minutes, shape (n,)."""
    return predictions["duration_minutes"].to_numpy(np.float64)


def _row_seconds(model: DurationModel, requests: pd.DataFrame) -> float:
    """CPU seconds of one request, the median of a few; the first lays the trees out and does not count."""
    rows, taken = requests.head(SINGLE_REQUESTS).to_dict("records"), []
    for row in rows[:1] + rows:
        started = time.process_time()
        model.predict_one({str(name): value for name, value in row.items()})
        taken.append(time.process_time() - started)
    return float(np.median(taken[1:])) if len(taken) > 1 else 0.0
