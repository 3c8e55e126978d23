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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import config, dataset, evaluation, features, model, registry, sample, tlc, trips, tuning
from mlops.config import Settings
from mlops.errors import MlopsError
from mlops.month import Month

Array = npt.NDArray[Any]
logger = logging.getLogger(__name__)


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
        ``month``, ``role``, ``rows``, ``kept``, ``test_rows``, one column of rejections per rule, ``unusual``,
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
        logger.info("%s %s: kept %s of %s trips", settings.service, month, counts.kept, counts.rows)
        cleaned = {
            "kept": counts.kept,
            "test_rows": counts.test_rows,
            **counts.rejected,
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
        judged = _judge(model.DurationModel.load(artefact), baseline, name, settings, months)
        run.log_metrics(judged.metrics)
        uri = run.log_model(artefact, judged.requests.head(3))
        _log_report(run, judged, model.DurationModel.load(artefact), settings, months, Path(scratch))
        version = registry.register(name, uri, run.run_id, _version_tags(settings, months, judged))
        if judged.verdict.promote:
            registry.promote(version, judged.verdict.reason)
    logger.info("%s: %s; %s", version.uri, "champion" if judged.verdict.promote else "challenger", judged.verdict.reason)
    return _leaderboard(version, judged, found)
