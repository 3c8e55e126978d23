"""The whole story: what Mage's blocks and the command line both call, step by step.

Each step takes and returns a small table that describes data (months, paths,
counts), never the trips or a model. The tables are what the editor shows under
a block, newest month first.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mlops import (
    attempts,
    checks,
    config,
    dataset,
    features,
    identity,
    loading,
    registry,
    report,
    runs,
    tlc,
    tracking,
    trips,
    work,
)
from mlops.config import NEXT, Settings
from mlops.errors import ConfigError, MonthNotPublishedError, TrackingError
from mlops.month import Month

logger = logging.getLogger(__name__)

SECONDS_PER_BYTE_AND_FIT = 0.9e-6  # measured on green months, two cores: a magnitude


def train(settings: Settings) -> pd.DataFrame:
    """Leaderboard of a run from source to registry: the four steps that the pipeline's blocks take one by one.

    Where there is nothing to do, one row that says why.

    Raises
    ------
    MlopsError
        With a message for a person; nothing is then half-registered and no run is left RUNNING.
    """
    months = load_trips(settings)
    if not settings.is_next:
        _connect(settings)
        board = attempts.known(loading.registered_name(settings, months), _key(settings, months), settings)
        if board is not None:
            return board
    cleaned = clean_trips(months, settings)
    summary = build_features(cleaned, settings)
    return train_and_register(summary, settings)


def describe_plan(settings: Settings) -> str:
    """What a run would do, and roughly what it would cost, in words; nothing is fetched or written."""
    if settings.is_next:
        raise ConfigError("month: expected YYYY-MM for a dry run, which asks no registry; got next")
    source = loading.open_source(settings)
    available = tlc.months_available(source, settings.service, dataset.asked(settings))
    split = dataset.plan(settings, available, source.url)
    sizes = {month: source.size(tlc.file_name(settings.service, month)) for month in split.months}
    lines = [f"{settings.service} from {source.url}, tested on {split.test}:"]
    for month, size in sizes.items():
        shown = "made on demand" if size is None else f"{size / 1e6:8.2f} MB"
        lines.append(f"  {split.role(month):<10}  {tlc.file_name(settings.service, month)}  {shown}")
    total = sum(size or 0 for size in sizes.values())
    fits = (
        settings.max_trials / 3 + 2
    )  # each rung costs about as much as fitting a ninth of the trials in full
    minutes = max(1, round(total * SECONDS_PER_BYTE_AND_FIT * fits / 60))
    cost = f"{settings.max_trials} trials: very roughly {minutes} min on two cores"
    lines.append(f"{len(sizes)} files{f', {total / 1e6:.1f} MB' if total else ''}; {cost}")
    return "\n".join(lines)


def backfill(settings: Settings, first: Month, last: Month) -> Iterator[pd.DataFrame]:
    """Leaderboards of the months from first to last, trained in their order; what is judged is skipped.

    Raises
    ------
    MonthNotPublishedError
        When one of them is not there, after those before it are done.
    MlopsError
        As `train`; the same again goes on from there.
    """
    settings = Settings.parse(
        settings.model_dump() | {"month": NEXT, "start_month": str(first), "end_month": str(last)}
    )
    while True:
        board = train(settings)
        if not checks.is_nothing(board):
            yield board
        elif board["month"].iloc[0]:
            month, reason = board["month"].iloc[0], board[checks.NOTHING_TO_DO].iloc[0]
            raise MonthNotPublishedError(f"{reason}.", service=settings.service, month=month)
        else:
            return


def describe_champion(name: str, connect_timeout: float) -> str:
    """The champion of a registered model for a terminal: its test metrics beside its baseline, and its URI.

    Raises
    ------
    TrackingError
        When the store does not answer, or the model has no champion.
    """
    tracking.connect(config.tracking_uri(), config.state_dir(), connect_timeout)
    version = registry.champion(name)
    if version is None:
        raise TrackingError(f"{name}: there is no champion yet. Train one: python -m mlops train --help")
    return report.describe_version(version.tags, runs.metrics_of(version.run_id), version.uri, name)


def load_trips(settings: Settings) -> pd.DataFrame:
    """Months of the run, fetched and known to be months of this service.

    Returns
    -------
    DataFrame, one row per month, newest first
        ``month``, ``role``, ``rows``, ``megabytes``, ``sample``, ``drift`` (what changed in the schema since the
        month before), ``republished`` (what changed since the month itself was published before), ``sha256``,
        ``url``, ``path``, ``prepared`` (folder for what is made of it), and the settings that chose the months
        (`loading.CHOSEN_BY`), which the later steps check. Where there is nothing to do, one row that says why;
        the later steps hand that on.
    """
    config.threads()  # a bad MLOPS_THREADS should not be found out after a download
    tracking.probe(config.tracking_uri(), settings.connect_timeout)
    if not settings.is_next:
        return loading.load(settings)
    _connect(settings)
    return loading.load_next(settings)


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
    if checks.is_nothing(months):
        return months
    settings = _called_by_name(settings, months)
    _require_same_run(months, settings)
    table, quality = [], {}
    for row in months.to_dict("records"):
        month = Month.parse(row["month"])
        target = _prepared(row, "trips", [rule.name for rule in rules])
        attempts.require_unchanged(Path(row["path"]), row["sha256"])
        counts = trips.clean_file(Path(row["path"]), settings.service, month, target, rules, row["url"])
        quality[month] = counts
        logger.info("%s %s: kept %s", settings.service, month, f"{counts.kept:,} of {counts.rows:,} trips")
        cleaned = {
            "kept": counts.kept,
            "test_rows": counts.test_rows,
            **{f"rejected_{rule}": count for rule, count in counts.rejected.items()},
            "unusual": "",
            **{name: row[name] for name in _HANDED_ON},
            "usual_rules": [rule.name for rule in rules] == [rule.name for rule in trips.RULES],
            "raw": row["path"],
            "path": str(target),
            "clean_sha256": tlc.sha256_of(target),
        }
        table.append({name: row[name] for name in ("month", "role", "rows")} | cleaned)
    result = _worst_rules_first(pd.DataFrame(table))
    notes = dataset.check_months(quality, _split(result), settings)
    return result.assign(unusual=[notes.get(Month.parse(month), "") for month in result["month"]])


def build_features(cleaned: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Features of every month's trips, described feature by feature.

    Returns
    -------
    DataFrame, one row per feature
        ``feature``, ``meaning``, ``rows``, ``missing_share``, ``least``, ``mean``, ``most``, and ``months``: the
        path of a CSV with what `clean_trips` said and each month's ``features`` file.
    """
    if checks.is_nothing(cleaned):
        return cleaned
    settings = _called_by_name(settings, cleaned)
    _require_same_run(cleaned, settings)
    rules = sorted(name for name in cleaned.columns if name.startswith("rejected_"))
    statistics, paths = [], []
    for row in cleaned.to_dict("records"):
        attempts.require_unchanged(Path(row["path"]), row["clean_sha256"])
        paths.append(_prepared(row, "features", rules))
        statistics.append(features.features_file(Path(row["path"]), paths[-1]))
    digests = [tlc.sha256_of(path) for path in paths]
    months = cleaned.assign(features=[str(path) for path in paths], features_sha256=digests)
    text = months.to_csv(index=False)
    name = f"{settings.service}_{settings.month}_{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
    description = paths[0].parent.parent / name
    with work.whole(description) as passing:
        passing.write_text(text)
    return features.summarise(statistics).assign(months=str(description))


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
    DataQualityError, ConfigError
        When a prepared file is not the one described, or was made for other settings.
    """
    if checks.is_nothing(summary):
        return summary
    months = pd.read_csv(summary["months"].iloc[0], keep_default_na=False)
    named = _called_by_name(settings, months)
    _require_same_run(months, named)
    _connect(named)
    name, key = loading.registered_name(named, months), _key(named, months)
    found = registry.find(name, key)  # of this very run, where it was cut off after its last word
    board = attempts.train_once(name, key, named, months)
    if settings.is_next and attempts.is_told_again(board) and not (found and found.is_settled):
        return train(settings)  # another run took this month, while this one waited for its turn
    return board


def _connect(settings: Settings) -> None:
    tracking.connect(
        config.tracking_uri(), config.state_dir(), settings.connect_timeout, settings.tracking_patience
    )


def _key(settings: Settings, months: pd.DataFrame) -> str:
    """Run key of the months; those that are not cleaned yet will be by the usual rules."""
    files = dict(zip(months["month"], months["sha256"], strict=True))
    cleaned = [c.removeprefix("rejected_") for c in months.columns if c.startswith("rejected_")]
    return identity.run_key(settings, files, cleaned or [rule.name for rule in trips.RULES])


def _worst_rules_first(cleaned: pd.DataFrame) -> pd.DataFrame:
    """The table with the rules that reject most on the left, where the editor shows them."""
    rules = [name for name in cleaned.columns if name.startswith("rejected_")]
    rules.sort(key=lambda name: -int(cleaned[name].sum()))
    first = ["month", "role", "rows", "kept", "test_rows", *rules]
    return cleaned[[*first, *(name for name in cleaned.columns if name not in first)]]


_HANDED_ON = ("sample", "drift", "republished", "sha256", "url", "prepared", *loading.CHOSEN_BY)


def _called_by_name(settings: Settings, months: pd.DataFrame) -> Settings:
    """The settings about the month that was loaded, where they ask for whichever is next."""
    return settings.about(Month.parse(months["test_month"].iloc[0])) if settings.is_next else settings


def _require_same_run(months: pd.DataFrame, settings: Settings) -> None:
    """Refuse a table made for other settings: in the editor one block may run again after they changed."""
    for name, now in loading.choice(settings).items():
        then = months[name].iloc[0]
        if str(then) != str(now):
            raise ConfigError(
                f"{name}: the months were loaded for {then}, the settings now say {now}. "
                "Run load_trips again, and the blocks after it."
            )


def _prepared(row: dict[Any, Any], step: str, rules: Sequence[str]) -> Path:
    """Where a step keeps what it makes of a month; source's and rules' hashes keep republished months apart."""
    made_by = hashlib.sha256(" ".join(sorted(rules)).encode()).hexdigest()[:6]
    name = f"{row['service']}_{row['month']}_{row['sha256'][:12]}_{made_by}.parquet"
    return Path(row["prepared"]) / step / name


def _split(months: pd.DataFrame) -> dataset.Split:
    by_role = {role: sorted(Month.parse(m) for m in part["month"]) for role, part in months.groupby("role")}
    return dataset.Split(tuple(by_role["training"]), by_role["validation"][0], by_role["test"][0])
