"""The whole story: what Mage's blocks and the command line both call, step by step.

Each step takes and returns a small table that describes data (months, paths,
counts), never the trips or a model. The tables are what the editor shows under
a block, newest month first.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mlops import config, files
from mlops.config import Settings
from mlops.data import ingest, quality, trips
from mlops.month import Month
from mlops.pipeline import months_table, run_key, run_once, schedule
from mlops.pipeline.months_table import (
    HANDED_ON,
    prepared_path,
    require_same_run,
    split_of,
    worst_rules_first,
)
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
        ``month``, ``role``, ``rows``, ``megabytes``, ``sample``, ``drift`` (what changed in the schema since the
        month before), ``republished`` (what changed since the month itself was published before), ``sha256``,
        ``url``, ``path``, ``prepared`` (folder for what is made of it), and the settings that chose the months
        (`ingest.SELECTION_FIELDS`), which the later steps check. Where there is nothing to do, one row
        that says why; the later steps hand that on.
    """
    config.threads()  # a bad MLOPS_THREADS should not be found out after a download
    client.probe(config.tracking_uri(), settings.connect_timeout)
    if not settings.is_next:
        return ingest.load(settings)
    _connect(settings)
    return schedule.load_next(settings)


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
        When the test or validation month is unlike its predecessors, or a file is not what was loaded.
    ConfigError
        When the months were loaded for other settings.
    """
    if months_table.is_nothing(months):
        return months
    settings = _called_by_name(settings, months)
    require_same_run(months, settings)
    table, counted = [], {}
    for row in months.to_dict("records"):
        month = Month.parse(row["month"])
        target = prepared_path(row, "trips", [rule.name for rule in rules])
        run_once.require_unchanged(Path(row["path"]), row["sha256"])
        counts = trips.clean_file(Path(row["path"]), settings.service, month, target, rules, row["url"])
        counted[month] = counts
        logger.info("%s %s: kept %s", settings.service, month, f"{counts.kept:,} of {counts.rows:,} trips")
        cleaned = {
            "kept": counts.kept,
            "test_rows": counts.test_rows,
            **{f"rejected_{rule}": count for rule, count in counts.rejected.items()},
            "unusual": "",
            **{name: row[name] for name in HANDED_ON},
            "usual_rules": [rule.name for rule in rules] == [rule.name for rule in trips.RULES],
            "raw": row["path"],
            "path": str(target),
            "clean_sha256": files.sha256_of(target),
        }
        table.append({name: row[name] for name in ("month", "role", "rows")} | cleaned)
    result = worst_rules_first(pd.DataFrame(table))
    notes = quality.check_months(counted, split_of(result), settings)
    return result.assign(unusual=[notes.get(Month.parse(month), "") for month in result["month"]])


def build_features(cleaned: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Features of every month's trips, described feature by feature.

    Returns
    -------
    DataFrame, one row per feature
        ``feature``, ``meaning``, ``rows``, ``missing_share``, ``least``, ``mean``, ``most``, and ``months``: the
        path of a CSV with what `clean_trips` said and each month's ``features`` file.
    """
    if months_table.is_nothing(cleaned):
        return cleaned
    settings = _called_by_name(settings, cleaned)
    require_same_run(cleaned, settings)
    rules = sorted(name for name in cleaned.columns if name.startswith("rejected_"))
    statistics, paths = [], []
    for row in cleaned.to_dict("records"):
        run_once.require_unchanged(Path(row["path"]), row["clean_sha256"])
        paths.append(prepared_path(row, "features", rules))
        statistics.append(feature_files.write_features(Path(row["path"]), paths[-1]))
    digests = [files.sha256_of(path) for path in paths]
    months = cleaned.assign(features=[str(path) for path in paths], features_sha256=digests)
    text = months.to_csv(index=False)
    name = f"{settings.service}_{settings.month}_{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
    description = paths[0].parent.parent / name
    with files.atomic_write(description) as passing:
        passing.write_text(text)
    return feature_files.summarise(statistics).assign(months=str(description))


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
    months = pd.read_csv(summary["months"].iloc[0], keep_default_na=False)
    named = _called_by_name(settings, months)
    require_same_run(months, named)
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
    cleaned = [c.removeprefix("rejected_") for c in months.columns if c.startswith("rejected_")]
    return run_key.compute(settings, files, cleaned or [rule.name for rule in trips.RULES])


def _called_by_name(settings: Settings, months: pd.DataFrame) -> Settings:
    """The settings about the month that was loaded, where they ask for whichever is next."""
    return settings.for_month(Month.parse(months["test_month"].iloc[0])) if settings.is_next else settings
