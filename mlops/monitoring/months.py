"""Which month is compared, which versions served, and which months came before: fetched and cleaned."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mlops import config
from mlops.data import cache, ingest, raw_trips, retries, sources, trips
from mlops.data.sources import Source
from mlops.data.synthetic.columns import is_sample
from mlops.data.trips import Quality
from mlops.errors import ConfigError, DataQualityError, TripSchemaError
from mlops.files import atomic_write
from mlops.monitoring import causes, served
from mlops.monitoring.settings import MonitoringSettings
from mlops.month import Month
from mlops.pipeline import months_table, run_key, run_once, schedule
from mlops.registry import client, monitoring_log, operator, versions
from mlops.registry.signed_version import Version

logger = logging.getLogger(__name__)

BEFORE = 6  # months before the compared one that its trips are compared with
LOOKED_AHEAD = 3  # months that are asked for to find the next one: so many missing months are passed over
NOW, PROMISED, EARLIER = "compared", "promised", "before"  # roles of months in the table


@dataclass(frozen=True)
class Prepared:
    """A published month on this machine, cleaned with the usual rules.

    Parameters
    ----------
    month : Month
    raw, clean : Path
        The file as published, and its clean trips (`data.trips.TRIP_SCHEMA`).
    sha256 : str
        Of the published file.
    label : str
        Its address for messages, without credentials.
    quality : Quality
        Trips kept and rejected.
    """

    month: Month
    raw: Path
    clean: Path
    sha256: str
    label: str
    quality: Quality


@dataclass(frozen=True)
class Watched:
    """What is compared with what.

    Parameters
    ----------
    name : str
        Registered model, as ``trip-duration-green``.
    service : str
    now : Prepared
        The month that is compared.
    before : tuple of Prepared
        Months before it, oldest first, for drift; perhaps none. Months whose trips were wrong are left out.
    promised : Prepared or None
        The champion's test month, on which it was judged; None if the source no longer has it.
    champion : Version
        The version that served when `now` was published: its test month is before `now`.
    predecessor : Version or None
        The champion before it, if it still exists and was not itself rolled back.
    no_predecessor : str
        Why there is none, as a sentence; empty if there is one.
    notes : tuple of str
        What else limits the comparison, as sentences.
    """

    name: str
    service: str
    now: Prepared
    before: tuple[Prepared, ...]
    promised: Prepared | None
    champion: Version
    predecessor: Version | None
    no_predecessor: str = ""
    notes: tuple[str, ...] = ()

    @property
    def month(self) -> Month:
        """The month that is compared."""
        return self.now.month


@dataclass(frozen=True)
class NothingToDo:
    """No month is to be compared now.

    Parameters
    ----------
    reason : str
        A sentence without its full stop.
    month : str
        The month that is waited for, YYYY-MM.
    """

    reason: str
    month: str


def find(settings: MonitoringSettings) -> Watched | NothingToDo:
    """The month to compare, the versions that served, and the months before it: fetched and cleaned.

    Raises
    ------
    SourceError, TripSchemaError
        When the month is not published, the source does not answer, or the file is damaged.
    PromotionError, UntrustedError, ConfigError
        As `served.find`; `ConfigError` also when the setting `model` names another model than that of these trips.
    DataQualityError
        When no trip of the month can be compared.
    TrackingError
        When the registry does not answer.
    """
    connect(settings)
    of_months = settings.of_months()
    source = ingest.open_source(of_months)
    guessed = settings.model or schedule.guess_model_name(of_months)
    if settings.model:
        operator.registered_model(settings.model)
    for name in (guessed, *_other_names(settings, guessed)):
        month = _next(name, settings, source) if of_months.is_next else of_months.test_month
        if isinstance(month, NothingToDo):
            return month
        file = _fetch(source, settings, month)
        if name == (trained := _model_of(file)):
            return _watched(name, settings, source, file)
    raise ConfigError(
        f"model: expected {trained}, because its trips are in {file.url}; got {guessed}. Correct --model, "
        "--service or --source."
    )


def connect(settings: MonitoringSettings) -> None:
    """Connect this process to the tracking server of this machine."""
    client.connect(
        config.tracking_uri(), config.state_dir(), settings.connect_timeout, settings.tracking_patience
    )


def _other_names(settings: MonitoringSettings, guessed: str) -> list[str]:
    """The other model that the files may belong to: a folder or a site may hold months of the sample."""
    if settings.model:
        return []
    both = [versions.model_name(settings.service, sample=kind) for kind in (False, True)]
    return [name for name in both if name != guessed]


def _model_of(file: cache.MonthFile) -> str:
    schema = raw_trips.read_schema(file.path, file.url)
    return versions.model_name(file.service, sample=is_sample(schema.metadata))


def _fetch(source: Source, settings: MonitoringSettings, month: Month) -> cache.MonthFile:
    """The month's file, checked to be a month of this service."""
    retry = retries.for_seconds(settings.source_patience)
    file = retry(cache.fetch, source, settings.service, month, config.state().months)
    raw_trips.check_columns(file.path, settings.service, file.url)
    return file


def _next(name: str, settings: MonitoringSettings, source: Source) -> Month | NothingToDo:
    """The oldest published month, from the champion's test month on, that is after all compared ones."""
    compared = {Month.parse(record.month) for record in monitoring_log.records(name)}
    if unfinished := served.unfinished(name, compared):
        return unfinished
    first = served.champion_month(name)
    if not _has_champion_for(name, first):
        first += 1
    first = max([first, *(month + 1 for month in compared)])  # also after a rollback to an older champion
    asked = [
        *Month.range(first - 1, first + LOOKED_AHEAD - 1)
    ]  # one that is there shows that the source answers
    found = [month for month in published(source, settings, asked) if month >= first]
    if found:
        return min(found)
    where = f"{settings.service} {first} is not published yet at {source.url}"
    return NothingToDo(f"{name}: every published month was compared; {where}", str(first))


def _has_champion_for(name: str, month: Month) -> bool:
    """Whether some champion does not know the month: training may have judged it before it was compared."""
    try:
        served.find(name, month)
    except ConfigError:
        return False
    return True


def published(source: Source, settings: MonitoringSettings, months: Sequence[Month]) -> tuple[Month, ...]:
    """Those of the months that the source has, oldest first."""
    retry = retries.for_seconds(settings.source_patience)
    return retry(sources.months_available, source, settings.service, months)


def _watched(name: str, settings: MonitoringSettings, source: Source, file: cache.MonthFile) -> Watched:
    about = served.find(name, file.month)
    now = _prepared(source, file)
    if not now.quality.test_rows:
        raise DataQualityError(
            f"{now.label}: none of its {now.quality.rows:,} trips can be compared: the cleaning rules reject "
            f"{_rejections(now.quality)}. Look at what the source published.",
            counts=now.quality.rejected,
        )
    wanted = {about.tested_on, *file.month.before(BEFORE)}
    others, notes = fetch_others(source, settings, sorted(wanted), file.month)
    faulty = _faulty(name)
    left_out = [month for month in file.month.before(BEFORE) if month in others and str(month) in faulty]
    before = [
        others[month] for month in file.month.before(BEFORE) if month in others and str(month) not in faulty
    ]
    notes += [f"{month} is no example of usual trips: its trips were wrong" for month in left_out]
    if not before:
        notes.append(
            f"no earlier month is there to compare the trips of {file.month} with: nothing is said of drift"
        )
    promised = others.get(about.tested_on)
    if promised is None:
        notes.append(
            f"{about.tested_on}, on which version {about.champion.number} was tested, is no longer at "
            f"{source.url}, so the change of the error is not explained"
        )
    return Watched(
        name, settings.service, now, tuple(before), promised, about.champion, about.predecessor,
        about.no_predecessor, tuple(notes),
    )  # fmt: skip


def _rejections(quality: Quality) -> str:
    return ", ".join(f"{count:,} as {rule}" for rule, count in quality.rejected.items() if count)


def fetch_others(
    source: Source, settings: MonitoringSettings, wanted: Sequence[Month], month: Month
) -> tuple[dict[Month, Prepared], list[str]]:
    """The other months that the source has and that can be read, and notes about those that cannot."""
    found, notes = {}, []
    for each in published(source, settings, [*wanted, month]):
        if each == month:
            continue
        try:
            prepared = _prepared(source, _fetch(source, settings, each))
        except TripSchemaError as error:
            logger.warning("%s", error)
            notes.append(f"{each} is left out, because it cannot be read: {error}")
            continue
        if prepared.quality.test_rows:
            found[each] = prepared
    return found, notes


def _faulty(name: str) -> set[str]:
    """Compared months whose trips were wrong; a lasting change of the city is learnt like any other."""
    return {record.month for record in monitoring_log.records(name) if causes.has_wrong_trips(record)}


# --- As a table, which one step passes to the next -----------------------------------------------------------


def as_table(watched: Watched) -> pd.DataFrame:
    """What is compared, as a table that `from_table` reads back.

    Returns
    -------
    DataFrame of one row for each month and role, the compared month first
        ``role`` (compared, promised, before), ``month``, ``rows``, ``kept``, ``test_rows`` (trips that are
        compared), ``model``, ``champion``, ``predecessor`` (numbers of versions; empty if there is none),
        ``no_predecessor``, ``notes`` (JSON), ``service``, ``url``, ``sha256``, ``raw``, ``path`` (of clean trips).
    """
    promised = [(PROMISED, watched.promised)] if watched.promised else []
    roles = [(NOW, watched.now), *promised, *((EARLIER, each) for each in reversed(watched.before))]
    about = {
        "model": watched.name,
        "champion": watched.champion.number,
        "predecessor": watched.predecessor.number if watched.predecessor else "",
        "no_predecessor": watched.no_predecessor,
        "notes": json.dumps(watched.notes),
        "service": watched.service,
    }
    return pd.DataFrame([_row(role, each) | about for role, each in roles])


def from_table(table: pd.DataFrame) -> Watched:
    """What `as_table` wrote, with the versions as the registry has them now.

    Raises
    ------
    PromotionError
        When a version was deleted since.
    TripSchemaError
        When a file is gone.
    """
    first = {str(name): value for name, value in table.iloc[0].items()}
    by_role: dict[str, list[Prepared]] = {NOW: [], PROMISED: [], EARLIER: []}
    for row in table.to_dict("records"):
        by_role[row["role"]].append(_prepared_of({str(name): value for name, value in row.items()}))
    name, number = first["model"], first["predecessor"]
    return Watched(
        name, first["service"], by_role[NOW][0], tuple(by_role[EARLIER][::-1]),
        by_role[PROMISED][0] if by_role[PROMISED] else None, versions.get(name, first["champion"]),
        versions.get(name, number) if number else None, first["no_predecessor"], tuple(json.loads(first["notes"])),
    )  # fmt: skip


def _row(role: str, month: Prepared) -> dict[str, object]:
    counted = month.quality
    return {
        "role": role,
        "month": str(month.month),
        "rows": counted.rows,
        "kept": counted.kept,
        "test_rows": counted.test_rows,
        "url": month.label,
        "sha256": month.sha256,
        "raw": str(month.raw),
        "path": str(month.clean),
    }


def _prepared_of(row: Mapping[str, Any]) -> Prepared:
    clean = Path(row["path"])
    quality = _read_counts(_counts_of(clean))
    if quality is None or not clean.is_file():
        raise TripSchemaError(
            f"{row['url']}: expected its clean trips in {clean} and their counts in {_counts_of(clean)}; one of "
            "them is gone. Start from the first step again."
        )
    return Prepared(Month.parse(row["month"]), Path(row["raw"]), clean, row["sha256"], row["url"], quality)


# --- Clean trips and their counts -----------------------------------------------------------------------------


def _prepared(source: Source, file: cache.MonthFile) -> Prepared:
    """The month cleaned with the usual rules, where training keeps it, too."""
    about = {
        "service": file.service,
        "month": str(file.month),
        "sha256": file.sha256,
        "prepared": str(config.state().prepared / source.key),
    }
    clean = months_table.prepared_path(about, "trips", run_key.rules_sha256(trips.RULES))
    counts = _counts_of(clean)
    quality = _read_counts(counts) if clean.is_file() else None
    if quality is None:
        run_once.require_unchanged(file.path, file.sha256)
        quality = trips.clean_file(file.path, file.service, file.month, clean, label=file.url)
        with atomic_write(counts) as passing:
            passing.write_text(json.dumps(asdict(quality)), encoding="utf-8")
        logger.info("%s %s: kept %s", file.service, file.month, trips.summary(quality))
    return Prepared(file.month, file.path, clean, file.sha256, file.url, quality)


def _counts_of(clean: Path) -> Path:
    return config.state().monitoring / "counts" / f"{clean.stem}.json"


def _read_counts(path: Path) -> Quality | None:
    """Counts that an earlier comparison wrote; None if they are not there, or somebody changed them."""
    try:
        found = Quality(**json.loads(path.read_text(encoding="utf-8")))
        return replace(found, by_day=tuple(found.by_day))
    except (OSError, ValueError, TypeError):
        return None
