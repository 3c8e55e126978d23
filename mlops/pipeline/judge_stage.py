"""Second half of a run, up to the verdict: test, compare, decide. Each takes the result of the one before."""

from __future__ import annotations

import logging
import subprocess
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import config
from mlops.config import Settings
from mlops.data import schemas
from mlops.errors import MlopsError, TrackingDownError, one_line
from mlops.evaluation import metrics, promotion
from mlops.evaluation.baseline import PairMedian
from mlops.evaluation.comparison import WITHOUT_DISTANCE, Evidence, Incumbent, gather
from mlops.evaluation.explanation import explain
from mlops.evaluation.plots import Drawn, plots
from mlops.evaluation.promotion import Limits
from mlops.model.duration_model import DurationModel
from mlops.pipeline import fit_stage
from mlops.pipeline.fit_stage import Attempt, Fitted
from mlops.registry import runs, verification, versions
from mlops.registry.versions import Version
from mlops.training import baselines, feature_files
from mlops.training.baselines import CourseRecipe

Array = npt.NDArray[Any]
IMPORTANCE, PLOTS_FOLDER = "importance.csv", "plots"  # in the scratch folder, for the card, and of the run
NOT_A_METRIC = ("row_seconds",)  # a measured time, which differs when a run is repeated
SINGLE_REQUESTS = 30
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Tested:
    """The final fit, loaded from its file, and its predictions for every trip of the test month.

    Parameters
    ----------
    model : DurationModel
    requests : DataFrame of n rows
        Inputs of the model.
    actual : array of shape (n,)
        Minutes.
    predictions : DataFrame of n rows
        Outputs of the model.
    without_distance : DataFrame of n rows, or None
        Its outputs for the same trips when the request has no distance; None if the model uses none.
    artefact_bytes : int
    """

    model: DurationModel
    requests: pd.DataFrame
    actual: Array
    predictions: pd.DataFrame
    without_distance: pd.DataFrame | None
    artefact_bytes: int

    @property
    def minutes(self) -> Array:
        """Predicted minutes, float64 of shape (n,)."""
        return minutes_of(self.predictions)


@dataclass(frozen=True, eq=False)
class Compared:
    """The evidence for a verdict, and the errors of model and champion by slice."""

    evidence: Evidence
    by_slice: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Judged:
    """A tested model with its verdict, the evidence for it, and the metrics of its run.

    `without_distance` is as `by_slice`, for requests without a distance; None if the model uses no distance.
    """

    tested: Tested
    by_slice: pd.DataFrame
    without_distance: pd.DataFrame | None
    record: promotion.Record
    metrics: dict[str, float]

    @property
    def verdict(self) -> promotion.Verdict:
        """The decision on the model, with its reasons."""
        return self.record.verdict


def test(attempt: Attempt, fitted: Fitted) -> Tested:
    """Predictions of the saved fit, which is the one to be registered, for every trip of the test month."""
    model = DurationModel.load(fitted.artefact)
    (clean,) = attempt.files("path", "test")
    requests, actual = schemas.read_requests(clean), schemas.read_minutes(clean)
    size = sum(path.stat().st_size for path in fitted.artefact.iterdir())
    without = None
    if attempt.settings.use_distance:
        without = model.predict(requests.assign(distance_miles=np.nan))
    return Tested(model, requests, actual, model.predict(requests), without, size)


def compare(attempt: Attempt, tested: Tested) -> Compared:
    """Errors of the model, the baselines and the champion, all on the same trips."""
    champion = versions.champion(attempt.name)
    if champion and champion.run_id == attempt.run.run_id:  # promoted by an earlier attempt of this run
        return _compared_before(attempt)
    baseline = _pair_median(attempt)
    predicted = {"challenger": tested.minutes, "pair_median": baseline.predict(tested.requests)}
    intervals = {"challenger": tested.predictions, "pair_median": baseline.intervals(tested.requests)}
    if tested.without_distance is not None:
        intervals[WITHOUT_DISTANCE] = tested.without_distance
    if attempt.settings.compare_course:
        predicted["course"] = _course(attempt).predict(tested.requests)
    incumbent = None
    if champion:
        incumbent, answered = _ask_champion(attempt, champion, tested.requests)
        if answered is not None:
            predicted["champion"], intervals["champion"] = minutes_of(answered), answered
    evidence = gather(
        tested.requests,
        tested.actual,
        predicted,
        test_month=attempt.settings.month,
        champion=incumbent,
        artefact_bytes=tested.artefact_bytes,
        row_seconds=_row_seconds(tested.model, tested.requests),
        intervals=intervals,
    )
    rivals = {name: minutes for name, minutes in predicted.items() if name in ("champion", "pair_median")}
    return Compared(evidence, metrics.slices(tested.requests, tested.actual, tested.predictions, rivals))


def decide(attempt: Attempt, tested: Tested, compared: Compared) -> Judged:
    """The verdict, and all metrics of the test month that the run logs."""
    limits = limits_of(attempt.settings)
    record = promotion.Record(compared.evidence, limits, promotion.decide(compared.evidence, limits))
    rivals = [name for name in ("pair_median", "course", "champion") if name in compared.evidence.days]
    found = {
        **_measured(tested.actual, tested.predictions, compared.by_slice),
        **{f"rmse_{name}": compared.evidence.rmse(name) for name in rivals},
    }
    without_distance = None
    if tested.without_distance is not None:
        without_distance = metrics.slices(tested.requests, tested.actual, tested.without_distance)
        others = _measured(tested.actual, tested.without_distance, without_distance)
        found |= {f"without_distance_{name}": value for name, value in others.items()}
    measured = {**{f"test_{name}": value for name, value in found.items()}, "test_rows": len(tested.actual)}
    logged = {name: value for name, value in record.verdict.measured.items() if name not in NOT_A_METRIC}
    measured |= {f"verdict_{name}": value for name, value in logged.items()}
    return Judged(tested, compared.by_slice, without_distance, record, measured)


def log_report(attempt: Attempt, judged: Judged) -> None:
    """Log all metrics, slices, plots, the verdict with its evidence, and the files that a verification needs."""
    run, scratch, tested = attempt.run, attempt.checkpoint.scratch, judged.tested
    run.log_metrics({**judged.metrics, **fit_stage.measured(attempt)})
    run.log_table("slices.csv", judged.by_slice)
    if judged.without_distance is not None:
        run.log_table("slices_without_distance.csv", judged.without_distance)
    run.log_text("verdict.json", judged.record.to_json())
    explained = explain(tested.model, tested.requests, tested.actual, tested.minutes)
    trials = fit_stage.trials_table(attempt)
    shown = Drawn(tested.actual, tested.minutes, judged.by_slice, explained, trials)
    run.log_files(plots(scratch / PLOTS_FOLDER, shown), PLOTS_FOLDER)
    explained.features.to_csv(scratch / IMPORTANCE, index=False)
    run.log_table(IMPORTANCE, explained.features)
    sample = verification.write_sample(scratch / "sample.parquet", tested.requests, tested.predictions)
    np.save(scratch / "tested.npy", tested.minutes.astype(np.float32))  # exact: XGBoost predicts float32
    run.log_files([sample, scratch / "tested.npy"], "proof")


def _measured(actual: Array, predictions: pd.DataFrame, by_slice: pd.DataFrame) -> dict[str, float]:
    """Errors and interval metrics of predictions, and their coverage in the worst slice."""
    return {
        **metrics.error_metrics(actual, minutes_of(predictions)),
        **metrics.interval_metrics(actual, predictions),
        **metrics.worst_coverage(by_slice),
    }


def limits_of(settings: Settings) -> Limits:
    """Limits from the settings; those without a setting have the defaults of `Limits`."""
    names = [field.name for field in fields(Limits) if field.name in Settings.model_fields]
    return Limits(**{name: getattr(settings, name) for name in names})


def minutes_of(predictions: pd.DataFrame) -> Array:
    """Predicted minutes, shape (n,)."""
    return predictions["duration_minutes"].to_numpy(np.float64)


def _ask_champion(
    attempt: Attempt, champion: Version, requests: pd.DataFrame
) -> tuple[Incumbent, pd.DataFrame | None]:
    """The champion and its answers from its registered artefact; no answers if it fails or is not comparable."""
    tested, learnt = (champion.tags.get(name, "") for name in ("test_month", "last_month_learnt"))
    incumbent = Incumbent(champion.number, tested, learnt)
    if learnt >= attempt.settings.month:
        return incumbent, None
    try:
        answered = versions.predict(champion, requests, attempt.checkpoint.scratch / "champion")
        _require_minutes(champion, answered, len(requests))
        return incumbent, answered
    except TrackingDownError:
        raise  # neither an outage nor a full disk says anything about the champion
    except (MlopsError, subprocess.TimeoutExpired) as error:  # a champion that cannot predict is replaced
        logger.warning("%s cannot be scored: %s", champion.uri, error)
        return replace(incumbent, error=one_line(error, 300)), None


def _require_minutes(champion: Version, answered: pd.DataFrame, rows: int) -> None:
    """Raise if a champion predicted no minutes: it is a model of another kind, made champion by hand."""
    minutes = answered.get("duration_minutes")
    if len(answered) != rows or minutes is None or not pd.api.types.is_numeric_dtype(minutes):
        raise MlopsError(
            f"{champion.uri} is no model of this project: expected numbers in a column duration_minutes for "
            f"{rows:,} requests; got {len(answered):,} rows with the columns {[*map(str, answered.columns)][:5]}"
        )


def _compared_before(attempt: Attempt) -> Compared:
    """Evidence and slices that an earlier attempt logged."""
    record, slices = (
        runs.fetch_artefact(attempt.run.run_id, name, attempt.checkpoint.scratch / "judged")
        for name in ("verdict.json", "slices.csv")
    )
    evidence = promotion.Record.from_json(record.read_text(encoding="utf-8")).evidence
    return Compared(evidence, pd.read_csv(slices, dtype={"value": str}))


def _pair_median(attempt: Attempt) -> PairMedian:
    learnt = attempt.files("features", "training", "validation")
    pairs, minutes = feature_files.pairs_and_minutes(learnt, for_training=True)
    return PairMedian(pairs, minutes)


def _course(attempt: Attempt) -> CourseRecipe:
    """The course's recipe, fitted as the course does: trained on one month, early stopping on the next."""
    logger.info("fitting the course's recipe on the month before the validation month")
    months: list[Path] = attempt.files("path", "training", "validation")[-2:]
    learnt, held_out = (baselines.read_trips(path) for path in months)
    return CourseRecipe.fit(learnt, held_out, threads=config.threads())


def _row_seconds(model: DurationModel, requests: pd.DataFrame) -> float:
    """CPU seconds of one request, the median of several; the first prepares the trees and does not count."""
    rows, taken = requests.head(SINGLE_REQUESTS).to_dict("records"), []
    for row in rows[:1] + rows:
        started = time.process_time()
        model.predict_one({str(name): value for name, value in row.items()})
        taken.append(time.process_time() - started)
    return float(np.median(taken[1:])) if len(taken) > 1 else 0.0
