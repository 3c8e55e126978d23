"""The whole story: what Mage's blocks and the command line both call, step by step.

Each step takes and returns a small table that describes data (months, paths,
counts), never the trips or a model. The tables are what the editor shows under
a block, newest month first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mlops import config
from mlops.config import Settings
from mlops.data import ingest, quality, trips
from mlops.month import Month
from mlops.pipeline import months_table, run_key, run_once, schedule
from mlops.pipeline.months_table import prepared_path, settings_of, split_of
from mlops.pipeline.run_result import RunResult
from mlops.registry import client, versions
from mlops.training import feature_files

logger = logging.getLogger(__name__)


def train(settings: Settings) -> RunResult:
    """A run from source to registry: the four steps that the pipeline's blocks take one by one.

    Raises
    ------
    MlopsError
        With a message for a person; nothing is then half-registered and no run is left RUNNING.
    """
    months = load_trips(settings)
    known = _find_result(months, settings)
    if known is not None:
        return known
    cleaned = clean_trips(months, settings)
    summary = build_features(cleaned, settings)
    return train_and_register(summary, settings)


def load_trips(settings: Settings) -> pd.DataFrame:
    """Months of the run, fetched and known to be months of this service.

    Returns
    -------
    DataFrame, one row per month, newest first
        The columns of `months_table.COLUMNS` that this step adds. Where there is nothing to do, one row that says
        why (`months_table.NOTHING`); the later steps hand that on.

    Raises
    ------
    MlopsError
        As `ingest.load` and `schedule.load_next`.
    """
    config.threads()  # a bad MLOPS_THREADS should not be found out after a download
    client.probe(config.tracking_uri(), settings.connect_timeout)
    if not settings.is_next:
        return months_table.validate(ingest.load(settings), "load_trips")
    _connect(settings)
    return months_table.validate(schedule.load_next(settings), "load_trips")


def clean_trips(
    months: pd.DataFrame, settings: Settings, rules: Sequence[trips.Rule] = trips.RULES
) -> pd.DataFrame:
    """Months with their clean trips beside them, every rejection counted by rule.

    Returns
    -------
    DataFrame, one row per month, newest first
        The columns of `months_table.COLUMNS` up to this step; ``path`` is now that of the clean trips.

    Raises
    ------
    DataQualityError
        When the test or validation month is unlike its predecessors, a file is not what was loaded, or the table
        breaks its schema.
    ConfigError
        When the months were loaded for other settings, or a rule of one's own cannot be hashed.
    """
    if months_table.is_nothing(months_table.validate(months, "load_trips")):
        return months
    settings = settings_of(months, settings)
    rules_sha256, paths, counted = run_key.rules_sha256(rules), {}, {}
    for row in months.to_dict("records"):
        month, raw = Month.parse(row["month"]), Path(row["path"])
        paths[month] = prepared_path(row, "trips", rules_sha256)
        run_once.require_unchanged(raw, row["sha256"])
        counts = trips.clean_file(raw, settings.service, month, paths[month], rules, row["url"])
        counted[month] = counts
        logger.info("%s %s: kept %s", settings.service, month, f"{counts.kept:,} of {counts.rows:,} trips")
    notes = quality.check_months(counted, split_of(months), settings)
    cleaned = months_table.with_cleaning(
        months, counted, paths, notes, rules_sha256, run_key.rules_sha256(trips.RULES)
    )
    return months_table.validate(cleaned, "clean_trips")


def build_features(cleaned: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Features of every month's trips, described feature by feature.

    Returns
    -------
    DataFrame, one row per feature
        `months_table.SUMMARY`; its ``months`` is the path of the months table with each month's feature file.

    Raises
    ------
    DataQualityError
        When a file is not what was cleaned, or a table breaks its schema.
    ConfigError
        When the months were loaded for other settings.
    """
    if months_table.is_nothing(months_table.validate(cleaned, "clean_trips")):
        return cleaned
    settings = settings_of(cleaned, settings)
    statistics, paths = [], []
    for row in cleaned.to_dict("records"):
        run_once.require_unchanged(Path(row["path"]), row["clean_sha256"])
        paths.append(prepared_path(row, "features", row["rules_sha256"]))
        statistics.append(feature_files.write_features(Path(row["path"]), paths[-1]))
    months = months_table.write(months_table.with_features(cleaned, paths))
    summary = feature_files.summarise(statistics).assign(months=str(months))
    months_table.check_features(summary)
    return summary


def train_and_register(summary: pd.DataFrame, settings: Settings) -> RunResult:
    """The run's result: tuned on the validation month, fitted again, tested, registered, judged.

    Raises
    ------
    TuningError, EmptyTrainingSetError, TrackingError
        As their names say.
    DataQualityError, ConfigError
        When a prepared file is not the one described, or was made for other settings.
    """
    if months_table.is_nothing(summary):
        return RunResult.of_nothing(summary)
    months = months_table.read(summary)
    named = settings_of(months, settings)
    _connect(named)
    name, key = schedule.registered_name(named, months), _key(named, months)
    found = versions.find(name, key)  # complete where this very run was cut off after its version's last tag
    result = run_once.train_once(name, key, named, months)
    if settings.is_next and result.is_repeat and not (found and found.is_complete):
        return train(settings)  # another run took this month, while this one waited for its turn
    return result


def _find_result(months: pd.DataFrame, settings: Settings) -> RunResult | None:
    """The result of this very run, where it is registered; not asked about the next month."""
    if settings.is_next:
        return None
    _connect(settings)
    name, key = schedule.registered_name(settings, months), _key(settings, months)
    return run_once.find_result(name, key, settings)


def _connect(settings: Settings) -> None:
    client.connect(
        config.tracking_uri(), config.state_dir(), settings.connect_timeout, settings.tracking_patience
    )


def _key(settings: Settings, months: pd.DataFrame) -> str:
    """Run key of the months; those that are not cleaned yet will be by the usual rules."""
    files = dict(zip(months["month"], months["sha256"], strict=True))
    rules = months["rules_sha256"].iloc[0] if "rules_sha256" in months else run_key.rules_sha256(trips.RULES)
    return run_key.compute(settings, files, rules)
