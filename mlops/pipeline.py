"""The whole story: what Mage's blocks and the command line both call, step by step.

Each step takes and returns a small table that describes data (months, paths,
counts), never the trips or a model. The tables are what the editor shows under
a block, newest month first.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import config, dataset, evaluation, features, model, registry, report, sample, tlc, trips, tuning
from mlops.config import Settings
from mlops.errors import TrackingError
from mlops.month import Month

Array = npt.NDArray[Any]
logger = logging.getLogger(__name__)

SECONDS_PER_BYTE_AND_TRIAL = (
    1.3e-6  # measured on green and yellow months, two cores; for a forecast's magnitude
)


def train(settings: Settings) -> pd.DataFrame:
    """Leaderboard of a run from source to registry: the four steps that the pipeline's blocks take one by one.

    Raises
    ------
    MlopsError
        With a message for a person; nothing is then half-registered and no run is left RUNNING.
    """
    months = load_trips(settings)
    cleaned = clean_trips(months, settings)
    summary = build_features(cleaned, settings)
    return train_and_register(summary, settings)


def describe_plan(settings: Settings) -> str:
    """What a run would do, and roughly what it would cost, in words; nothing is fetched or written."""
    source = open_source(settings)
    available = tlc.months_available(source, settings.service, dataset.wanted(settings))
    split = dataset.plan(settings, available, source.url)
    lines, total = [f"{settings.service} from {source.url}, tested on {split.test}:"], 0
    for month in split.months:
        name = tlc.file_name(settings.service, month)
        size = source.size(name)
        total += size or 0
        lines.append(
            f"  {split.role(month):<10}  {name}  {'size unknown' if size is None else f'{size / 1e6:8.2f} MB'}"
        )
    minutes = total * SECONDS_PER_BYTE_AND_TRIAL * (settings.max_trials + 2) / 60
    lines.append(
        f"{len(split.months)} files, {total / 1e6:.1f} MB; {settings.max_trials} trials: "
        f"very roughly {max(1, round(minutes))} min on two cores"
    )
    return "\n".join(lines)


def describe_champion(name: str, connect_timeout: float) -> str:
    """The champion of a registered model for a terminal: its test metrics beside its baseline, and its URI.

    Raises
    ------
    TrackingError
        When the store does not answer, or the model has no champion.
    """
    registry.connect(config.tracking_uri(), config.state_dir(), connect_timeout)
    version = registry.champion(name)
    if version is None:
        raise TrackingError(f"{name}: there is no champion yet. Train one: python -m mlops train --help")
    return report.describe_version(version.tags, registry.run_metrics(version.run_id), version.uri, name)


def open_source(settings: Settings) -> tlc.Source:
    """Where the settings' months come from."""
    return sample.SampleSource() if settings.source == "sample" else tlc.open_source(settings.source)


def load_trips(settings: Settings) -> pd.DataFrame:
    """Months of the run, fetched and known to be months of this service.

    Returns
    -------
    DataFrame, one row per month, newest first
        ``month``, ``role``, ``rows``, ``megabytes``, ``sample``, ``drift`` (what changed in the schema since the
        month before), ``sha256``, ``url``, ``path``, ``prepared`` (folder for what is made of it).
    """
    registry.probe(config.tracking_uri(), settings.connect_timeout)
    source = open_source(settings)
    wanted = dataset.wanted(settings)
    split = dataset.plan(settings, tlc.months_available(source, settings.service, wanted), source.url)
    rows, before = [], None
    for month in split.months:
        file = tlc.fetch(source, settings.service, month, config.state_dir() / "months")
        count = trips.check_columns(file.path, settings.service)
        schema = trips.read_schema(file.path)
        rows.append(
            {
                "month": str(month),
                "role": split.role(month),
                "rows": count,
                "megabytes": round(file.bytes / 1e6, 2),
                "sample": sample.is_sample(schema.metadata),
                "drift": "; ".join(trips.schema_drift(before, schema)) if before is not None else "",
                "sha256": file.sha256,
                "url": file.url,
                "path": str(file.path),
                "prepared": str(config.state_dir() / "prepared" / source.key),
            }
        )
        before = schema
    logger.info("%s: %d months from %s to %s", settings.service, len(rows), split.months[0], split.test)
    return pd.DataFrame(rows[::-1])


def clean_trips(
    months: pd.DataFrame, settings: Settings, rules: Sequence[trips.Rule] = trips.RULES
) -> pd.DataFrame:
    """Months with their clean trips beside them, every rejection counted by rule.

    Returns
    -------
    DataFrame, one row per month, newest first
        ``month``, ``role``, ``rows``, ``kept``, ``test_rows``, ``rejected_*`` for each rule, ``unusual``,
        then what `load_trips` said, with ``path`` now the clean trips'.

    Raises
    ------
    DataQualityError
        When the test or validation month is unlike its predecessors.
    """
    table, quality = [], {}
    for row in months.to_dict("records"):
        month = Month.parse(row["month"])
        target = _prepared(row, "trips", settings)
        counts = trips.clean_file(Path(row["path"]), settings.service, month, target, rules)
        quality[month] = counts
        logger.info("%s %s: kept %s", settings.service, month, f"{counts.kept:,} of {counts.rows:,} trips")
        cleaned = {
            "kept": counts.kept,
            "test_rows": counts.test_rows,
            **{f"rejected_{rule}": count for rule, count in counts.rejected.items()},
            "unusual": "",
            **{name: row[name] for name in ("sample", "drift", "sha256", "url", "prepared")},
            "path": str(target),
        }
        table.append({name: row[name] for name in ("month", "role", "rows")} | cleaned)
    result = pd.DataFrame(table)
    for note in dataset.check_months(quality, _split(result), settings):
        result.loc[[month in note for month in result["month"]], "unusual"] = note
    return result


def build_features(cleaned: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Features of every month's trips, described feature by feature.

    Returns
    -------
    DataFrame, one row per feature
        ``feature``, ``meaning``, ``rows``, ``missing_share``, ``least``, ``mean``, ``most``, and ``months``: the
        path of a CSV with what `clean_trips` said and each month's ``features`` file.
    """
    statistics, paths = [], []
    for row in cleaned.to_dict("records"):
        paths.append(_prepared(row, "features", settings))
        statistics.append(features.features_file(Path(row["path"]), paths[-1]))
    months = cleaned.assign(features=[str(path) for path in paths])
    text = months.to_csv(index=False)
    name = f"{settings.service}_{settings.month}_{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
    description = paths[0].parent.parent / name
    temporary = description.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(description)
    return features.summarise(statistics).assign(months=str(description))


@dataclass(frozen=True)
class _Judged:
    """A tested model, beside what it was compared with, all on the test month's trips."""

    requests: pd.DataFrame
    actual: Array
    predicted: Array
    metrics: dict[str, float]
    slices: pd.DataFrame
    evidence: evaluation.Evidence
    verdict: evaluation.Verdict


def train_and_register(summary: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Leaderboard of the run: tuned on the validation month, fitted again, tested, registered, judged.

    Returns
    -------
    DataFrame
        ``entry``, ``validation_rmse``, ``test_rmse``, ``test_mae``, ``test_p90``, ``about``: first the new
        version, then the baseline and the champion that it met, then the trials, best first.

    Raises
    ------
    TuningError, EmptyTrainingSetError, TrackingError
        As their names say.
    """
    months = pd.read_csv(summary["months"].iloc[0], keep_default_na=False)
    name = registry.model_name(settings.service, sample=bool(months["sample"].any()))
    state, threads = config.state_dir(), config.threads()
    registry.connect(config.tracking_uri(), state, settings.connect_timeout)
    with (
        registry.start_run(name, f"{settings.service} {settings.month}", state) as run,
        tempfile.TemporaryDirectory(prefix="run-", dir=state) as scratch,
    ):
        _log_origin(run, settings, months, threads)
        found = _tune(run, settings, months, threads)
        artefact, baseline = _fit(found, settings, months, threads, Path(scratch))
        fitted = model.DurationModel.load(artefact)  # what is tested is what is registered
        judged = _judge(fitted, baseline, name, settings, months)
        _log_report(run, judged, fitted, settings, months, Path(scratch))
        uri = run.log_model(artefact, judged.requests.head(3))
        version = registry.register(name, uri, run.run_id, _version_tags(settings, months, judged))
        if judged.verdict.promote:
            registry.promote(version, judged.verdict.reason)
    became = registry.CHAMPION if judged.verdict.promote else registry.CHALLENGER
    board = report.leaderboard(
        version.uri,
        f"{became}: {judged.verdict.reason}; {registry.link(version)}",
        judged.metrics,
        judged.evidence,
        found,
    )
    logger.info("done\n%s", report.as_text(board))
    return board


def _tune(run: registry.Run, settings: Settings, months: pd.DataFrame, threads: int) -> tuning.Search:
    """The search, whose every trial learns from the training months and is scored on the validation month."""
    learnt, minutes = dataset.load_features(_paths(months, "training"), for_training=True)
    held_out, held_out_minutes = dataset.load_features(_paths(months, "validation"), for_training=False)
    matrix = model.build_matrix(
        learnt,
        minutes,
        held_out,
        held_out_minutes,
        use_distance=settings.use_distance,
        seed=settings.seed,
        threads=threads,
    )
    logger.info(
        "tuning on %s trips, scored on %s, with %d threads", len(minutes), len(held_out_minutes), threads
    )
    found = tuning.search(
        lambda parameters: model.train(matrix, parameters, seed=settings.seed, threads=threads),
        max_trials=settings.max_trials,
        seed=settings.seed,
        tuning_seconds=settings.tuning_seconds,
        on_trial=lambda trial: _log_trial(run, trial),
    )
    requests, actual = _requests(months, "validation")
    tuned = model.DurationModel(matrix.encoder, found.fit.booster, use_distance=settings.use_distance)
    measured = evaluation.metrics(actual, _minutes(tuned.predict(requests)))
    run.log_metrics({f"validation_{name}": value for name, value in measured.items()})
    run.log_metrics({"trials": len(found.trials), "training_rows": len(minutes)})
    run.log_parameters(
        {**found.best.parameters, "rounds": found.best.rounds, "best_trial": found.best.number}
    )
    run.set_tags({"tuning_hit_ceiling": str(found.hit_ceiling).lower()})
    return found


def _fit(
    found: tuning.Search, settings: Settings, months: pd.DataFrame, threads: int, scratch: Path
) -> tuple[Path, evaluation.PairMedian]:
    """Artefact of the final fit on training and validation months, and the baseline of the same trips."""
    learnt, minutes = dataset.load_features(_paths(months, "training", "validation"), for_training=True)
    matrix = model.build_matrix(
        learnt, minutes, use_distance=settings.use_distance, seed=settings.seed, threads=threads
    )
    rounds = found.best.rounds
    logger.info("final fit on %s trips with %d rounds", f"{len(minutes):,}", rounds)
    fit = model.train(matrix, found.best.parameters, seed=settings.seed, threads=threads, rounds=rounds)
    fitted = model.DurationModel(matrix.encoder, fit.booster, use_distance=settings.use_distance)
    return fitted.save(scratch / "model"), evaluation.PairMedian(learnt, minutes)


def _judge(
    fitted: model.DurationModel,
    baseline: evaluation.PairMedian,
    name: str,
    settings: Settings,
    months: pd.DataFrame,
) -> _Judged:
    """The model, the baseline and the champion on every trip of the test month, and the verdict."""
    requests, actual = _requests(months, "test")
    predicted = _minutes(fitted.predict(requests))
    measured = {f"test_{metric}": value for metric, value in evaluation.metrics(actual, predicted).items()}
    measured["test_rows"] = len(actual)
    measured["test_rmse_pair_median"] = evaluation.metrics(actual, baseline.predict(requests))["rmse"]
    evidence = _evidence(name, settings, requests, actual, measured["test_rmse"])
    if evidence.champion_rmse is not None:
        measured["test_rmse_champion"] = evidence.champion_rmse
    return _Judged(
        requests,
        actual,
        predicted,
        measured,
        evaluation.slices(requests, actual, predicted),
        evidence,
        evaluation.decide(evidence),
    )


def _evidence(
    name: str, settings: Settings, requests: pd.DataFrame, actual: Array, challenger_rmse: float
) -> evaluation.Evidence:
    """The challenger's RMSE beside that of the champion, scored anew through its registered artefact."""
    version = registry.champion(name)
    if version is None:
        return evaluation.Evidence(challenger_rmse)
    if version.tags.get("last_month_learnt", "") >= settings.month:
        return evaluation.Evidence(challenger_rmse, None, version.number, champion_saw_test=True)
    try:
        predicted = _minutes(registry.predict(version, requests))
        rmse = evaluation.metrics(actual, predicted)["rmse"]
    except Exception as error:  # whatever keeps the champion from answering is the reason it loses
        logger.warning("%s cannot be scored: %s", version.uri, error)
        return evaluation.Evidence(challenger_rmse, None, version.number, champion_error=str(error))
    return evaluation.Evidence(challenger_rmse, rmse, version.number)


def _log_origin(run: registry.Run, settings: Settings, months: pd.DataFrame, threads: int) -> None:
    """What the run is made from: settings, code, source files and cleaning counts."""
    run.log_parameters({**settings.describe(), "threads": threads})
    run.set_tags(config.code_version())
    run.log_months(months)
    run.log_table("months.csv", months.drop(columns=["path", "features", "prepared"]))
    counted = [name for name in months.columns if name in ("rows", "kept") or name.startswith("rejected_")]
    run.log_metrics({f"cleaning_{name}": float(months[name].sum()) for name in counted})


def _log_trial(run: registry.Run, trial: tuning.Trial) -> None:
    measured = {"validation_rmse": trial.validation_rmse, "rounds": trial.rounds, "seconds": trial.seconds}
    run.log_trial(f"trial {trial.number}", trial.parameters, measured, trial.error)


def _log_report(
    run: registry.Run,
    judged: _Judged,
    fitted: model.DurationModel,
    settings: Settings,
    months: pd.DataFrame,
    scratch: Path,
) -> None:
    """Metrics, slices, plots and the model card."""
    importance = fitted.importance()
    run.log_metrics(judged.metrics)
    run.log_table("slices.csv", judged.slices)
    drawn = report.plots(scratch / "plots", judged.actual, judged.predicted, judged.slices, importance)
    run.log_files(drawn, "plots")
    run.log_card(
        report.model_card(
            settings.describe(), judged.metrics, judged.verdict, judged.slices, importance, months
        )
    )


def _version_tags(settings: Settings, months: pd.DataFrame, judged: _Judged) -> dict[str, str]:
    learnt = months.loc[months["role"] != "test", "month"]
    return {
        "service": settings.service,
        "test_month": settings.month,
        "first_month_learnt": learnt.min(),
        "last_month_learnt": learnt.max(),
        "test_rmse": f"{judged.metrics['test_rmse']:.6f}",
        "verdict": "promote" if judged.verdict.promote else "keep",
        "reason": judged.verdict.reason,
    }


def _prepared(row: dict[Any, Any], step: str, settings: Settings) -> Path:
    """Where a step keeps what it makes of a month; the source's hash keeps republished months apart."""
    return Path(row["prepared"]) / step / f"{settings.service}_{row['month']}_{row['sha256'][:12]}.parquet"


def _split(months: pd.DataFrame) -> dataset.Split:
    by_role = {role: sorted(Month.parse(m) for m in part["month"]) for role, part in months.groupby("role")}
    return dataset.Split(tuple(by_role["training"]), by_role["validation"][0], by_role["test"][0])


def _paths(months: pd.DataFrame, *roles: str) -> list[Path]:
    """Feature files of the months with these roles, oldest first."""
    chosen = months[months["role"].isin(roles)].sort_values("month")
    return [Path(path) for path in chosen["features"]]


def _requests(months: pd.DataFrame, role: str) -> tuple[pd.DataFrame, Array]:
    """Requests of a month's trips, as the model takes them, and how long they took."""
    path = Path(months.loc[months["role"] == role, "path"].iloc[0])
    return trips.read_requests(path), trips.read_minutes(path)


def _minutes(predictions: pd.DataFrame) -> Array:
    return predictions["duration_minutes"].to_numpy(np.float64)
