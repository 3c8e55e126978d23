"""The four steps of a run, called by Mage's blocks and by the command line.

Each step takes and returns a small table that describes data (months, paths,
counts), never the trips or a model. Mage's editor shows this table below the
block, newest month first.
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
from mlops.pipeline import code_checks, experiment, months_table, rule_texts, run_key, run_once, schedule
from mlops.pipeline.months_table import prepared_path, settings_of, split_of
from mlops.pipeline.run_result import RunResult
from mlops.registry import client, run_lifecycle, versions
from mlops.training import feature_files

logger = logging.getLogger(__name__)


def train(settings: Settings) -> RunResult:
    """Result of a whole run: the four steps, which the pipeline's blocks call one by one.

    Raises
    ------
    MlopsError
        With a message for people. The registry then has no incomplete version, and no run is left RUNNING.
    """
    months = load_trips(settings)
    known = _find_result(months, settings)
    if known is not None:
        return known
    cleaned = clean_trips(months, settings)
    summary = build_features(cleaned, settings)
    return train_and_register(summary, settings)


def load_trips(settings: Settings) -> pd.DataFrame:
    """Months of the run, fetched and checked to be months of this service.

    Returns
    -------
    DataFrame, one row per month, newest first
        The columns of `months_table.COLUMNS` that this step adds. If there is nothing to do, one row with the
        reason (`months_table.NOTHING`), which the later steps return unchanged.

    Raises
    ------
    MlopsError
        As `ingest.load` and `schedule.load_next`; before anything is fetched if no run could be logged.
    """
    # Report wrong code and wrong settings of the machine before the download, not after it.
    code_checks.require_usable()
    config.threads()
    config.state_dir()
    uri = config.tracking_uri()
    client.probe(uri, settings.connect_timeout)
    if not settings.is_next:
        file = config.sqlite_file(uri)
        if file is None or file.exists():  # creating a store takes seconds, and can wait
            _connect(settings)
            name = schedule.guess_model_name(settings)
            place = experiment.place_of(name, settings) if settings.experiment else name
            run_lifecycle.require_experiment(place)
        return months_table.validate(ingest.load(settings), "load_trips")
    _connect(settings)
    return months_table.validate(schedule.load_next(settings), "load_trips")


def clean_trips(
    months: pd.DataFrame, settings: Settings, rules: Sequence[trips.Rule] = trips.RULES
) -> pd.DataFrame:
    """Months with their clean trips, and the rejected trips counted by rule.

    Returns
    -------
    DataFrame, one row per month, newest first
        The columns of `months_table.COLUMNS` up to this step; ``path`` is now the file of clean trips.

    Raises
    ------
    DataQualityError
        When the test or validation month differs too much from the months before, a file has changed since it was
        loaded, or the table breaks its schema.
    ConfigError
        When the months were loaded for other settings, or a rule of one's own cannot be used or hashed.
    """
    if months_table.is_nothing(months_table.validate(months, "load_trips")):
        return months
    code_checks.require_usable()
    settings = settings_of(months, settings)
    trips.require_usable(rules)
    rules_sha256, texts, paths, counted = run_key.rules_sha256(rules), rule_texts.describe(rules), {}, {}
    if texts:
        logger.info("cleaning rules of its own: %s", rule_texts.in_words(texts))
    for row in months.to_dict("records"):
        month, raw = Month.parse(row["month"]), Path(row["path"])
        paths[month] = prepared_path(row, "trips", rules_sha256)
        run_once.require_unchanged(raw, row["sha256"])
        sample = prepared_path(row, "samples", rules_sha256)
        counts = trips.clean_file(raw, settings.service, month, paths[month], rules, row["url"], sample)
        counted[month] = counts
        logger.info("%s %s: kept %s", settings.service, month, trips.summary(counts))
    notes = quality.check_months(counted, split_of(months), settings)
    cleaned = months_table.with_cleaning(
        months, counted, paths, notes, rules_sha256, rule_texts.to_json(texts)
    )
    return months_table.validate(cleaned, "clean_trips")


def build_features(cleaned: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Statistics of each feature; the features of each month's trips are written to files.

    Returns
    -------
    DataFrame, one row per feature
        `months_table.SUMMARY`; ``months`` is the path of the months table with each month's feature file.

    Raises
    ------
    DataQualityError
        When a file has changed since it was cleaned, or a table breaks its schema.
    ConfigError
        When the months were loaded for other settings.
    """
    if months_table.is_nothing(months_table.validate(cleaned, "clean_trips")):
        return cleaned
    code_checks.require_usable()
    settings = settings_of(cleaned, settings)
    statistics, paths, code = [], [], code_checks.feature_code()
    for row in cleaned.to_dict("records"):
        run_once.require_unchanged(Path(row["path"]), row["clean_sha256"])
        paths.append(prepared_path(row, "features", row["rules_sha256"]))
        statistics.append(feature_files.write_features(Path(row["path"]), paths[-1], code))
    months = months_table.write(months_table.with_features(cleaned, paths))
    summary = feature_files.summarise(statistics).assign(months=str(months))
    months_table.check_features(summary)
    return summary


def train_and_register(summary: pd.DataFrame, settings: Settings, asked_by: str = "") -> RunResult:
    """Result of the run: the model tuned on the validation month, fitted again, tested, judged and registered.

    An experiment is not registered, see `experiment.run`.

    Parameters
    ----------
    asked_by : str
        The scheduler's name for the run, if it has one. A scheduler may start a run twice; then both have the
        result of the first, while two runs with month=next train two months.

    Raises
    ------
    TuningError
        When all trials of a rung failed.
    EmptyTrainingSetError
        When cleaning left no training trip.
    TrackingError
        When the tracking server refuses a request or does not answer.
    DataQualityError, ConfigError
        When a prepared file has changed, or was made for other settings.
    """
    if months_table.is_nothing(summary):
        return RunResult.of_nothing(summary)
    months = months_table.read(summary)
    code_checks.require_usable()
    code_checks.require_features_of_this_code([Path(path) for path in months["features"]])
    named = settings_of(months, settings)
    texts = rule_texts.from_json(months["rules"].iloc[0])
    # In the editor these may be older than the block clean_trips says.
    logger.info("cleaning rules of these trips: %s", rule_texts.in_words(texts) or "the usual ones")
    _connect(named)
    name, key = schedule.registered_name(named, months), _key(named, months)
    if named.experiment:
        return experiment.run(name, key, named, months)
    found = versions.find(name, key)  # complete if this run was interrupted after its version's final tag
    result = run_once.train_once(name, key, named, months, asked_by)
    judged = result.version if result.is_repeat and not (found and found.is_complete) else None
    if not (settings.is_next and judged) or run_once.was_made_for(judged, asked_by):
        return result
    # Another run judged this month while this one waited for the lock.
    if not months["usual_rules"].all():
        logger.warning("the next month is left to the next run: this step does not have the rules of its own")
        return result
    return train(settings)


def _find_result(months: pd.DataFrame, settings: Settings) -> RunResult | None:
    """Result of an earlier run with the same run key, or None; always None with month=next."""
    if settings.is_next:
        return None
    _connect(settings)
    name, key = schedule.registered_name(settings, months), _key(settings, months)
    if settings.experiment:
        return experiment.find_result(name, key, settings)
    return run_once.find_result(name, key, settings)


def _connect(settings: Settings) -> None:
    client.connect(
        config.tracking_uri(), config.state_dir(), settings.connect_timeout, settings.tracking_patience
    )


def _key(settings: Settings, months: pd.DataFrame) -> str:
    """Run key of the months. For months that are not cleaned yet it assumes the usual rules."""
    files = dict(zip(months["month"], months["sha256"], strict=True))
    rules = months["rules_sha256"].iloc[0] if "rules_sha256" in months else run_key.rules_sha256(trips.RULES)
    return run_key.compute(settings, files, rules)
