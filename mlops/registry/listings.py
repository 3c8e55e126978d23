"""What the registry has, as values: versions and alias moves of a model, its champion, all models.

`records` describes the values. The command line makes texts and JSON of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Final

from mlops import locks
from mlops.errors import BusyError, ConfigError, TrackingError, command
from mlops.month import Month
from mlops.registry import (
    alias_log,
    approvals,
    descriptions,
    listed_parts,
    local_stack,
    overrides,
    run_history,
    runs,
    server_facts,
    versions,
)
from mlops.registry.alias_log import CHAMPION, Entry
from mlops.registry.listed_parts import finite, time_of
from mlops.registry.records import (
    ChampionDetails,
    LostChampion,
    MetricRow,
    ModelListing,
    ModelSummary,
    Page,
    WaitingVersion,
)
from mlops.registry.versions import Version

METRICS: Final = ("rmse", "mae", "p90", "r2", "bias")


def listing(name: str) -> ModelListing:
    """Versions of a model with months, RMSE, verdict and aliases, and the moves of its aliases.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    differences = notice_moves(name)
    found, entries = versions.list_all(name), alias_log.read_all(name)
    known = {version.number: version for version in found}
    overridden = overrides.by_version(_counted(entries), known)
    aliases = alias_log.aliases(name)
    return ModelListing(
        model=name,
        versions=tuple(
            listed_parts.version(each, aliases, overridden.get(each.number)) for each in found[::-1]
        ),
        moves=tuple(listed_parts.move(entry, overrides.override_of(entry, known)) for entry in entries),
        waiting=_waiting(name),
        lost_champion=_lost(_counted(entries)),
        differences=differences,
        page=page(versions.page_of_model(name)),
    )


def champion(name: str) -> ChampionDetails:
    """What is known about a model's champion.

    Raises
    ------
    TrackingError
        When the registry does not answer, or the model has no champion.
    """
    differences = notice_moves(name)
    entries, version = alias_log.read(name), versions.champion(name)
    if version is None:
        lost = _lost(entries)
        why = f". {lost_words(lost)}" if lost else ""
        raise TrackingError(f"{name}: there is no champion{why}. {_ways_to_one()}")
    measured, unknown = _measured(version)
    since = _since(entries, version.number)
    override = _override_now(entries, version)
    return ChampionDetails(
        model=name,
        version=listed_parts.version(version, alias_log.aliases(name), override),
        since=since,
        age_days=_days(since),
        test_trips=int(measured["test_rows"]) if "test_rows" in measured else None,
        metrics=tuple(_metric_row(metric, measured) for metric in METRICS),
        metrics_unknown=unknown,
        load=f'mlflow.pyfunc.load_model("models:/{name}@{CHAMPION}")',
        waiting=_waiting(name),
        differences=differences,
        page=page(versions.page_of(version)),
    )


def summaries() -> tuple[ModelSummary, ...]:
    """Every registered model of this project in a few values, by name.

    Raises
    ------
    ConfigError
        When there is none; the message says what to do.
    TrackingError
        When the registry does not answer.
    """
    names = sorted(versions.model_names())
    if not names:
        raise ConfigError(f"there is no registered model; {local_stack.act_without_models()}")
    return tuple(map(summary, names))


def summary(name: str) -> ModelSummary:
    """One model in a few values: its champion and how old it is, the newest verdict, what comes next.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    differences = notice_moves(name)
    found, entries, aliases = versions.list_all(name), alias_log.read(name), alias_log.aliases(name)
    reigning = next((each for each in found if each.number == aliases.get(CHAMPION)), None)
    since = _since(entries, reigning.number) if reigning else None
    listed = reigning and listed_parts.version(reigning, aliases, _override_now(entries, reigning))
    newest = listed_parts.version(found[-1], aliases, None) if found else None
    return ModelSummary(
        model=name,
        champion=listed.number if listed else None,
        champion_since=since,
        champion_age_days=_days(since),
        test_month=listed.test_month if listed else None,
        rmse_minutes=listed.rmse_minutes if listed else None,
        override=listed.override if listed else None,
        newest=newest.number if newest else None,
        newest_test_month=newest.test_month if newest else None,
        newest_verdict=newest.verdict if newest else None,
        next_month=next_month(found),
        waiting=_waiting(name),
        lost_champion=_lost(entries),
        differences=differences,
        page=page(versions.page_of_model(name)),
    )


def next_month(found: Sequence[Version]) -> str | None:
    """The month after the newest one that these versions were judged on, YYYY-MM; None if there is none.

    Examples
    --------
    >>> judged = Version("trip-duration-green", "1", "", {"test_month": "2023-06", "outcome": "champion"})
    >>> next_month([judged]), next_month([])
    ('2023-07', None)
    """
    judged = [month for version in found if (month := _month_of(version))]
    return str(max(judged) + 1) if judged else None


def notice_moves(name: str) -> tuple[str, ...]:
    """Differences between aliases and journal, in words.

    They are written to the journal now, unless another process holds the model's lock.
    """
    try:
        with locks.hold(f"{name}.aliases", on_busy="refuse", about="reading the journal"):
            found = alias_log.reconcile(name)
            if found:
                descriptions.refresh(name)
            return found
    except BusyError:
        return alias_log.find_differences(name)


def lost_words(lost: LostChampion) -> str:
    """Since when no version is champion, and why, as a sentence without its end."""
    return (
        f"No version is champion since {lost.since:%Y-%m-%d %H:%M} UTC: somebody deleted the alias, or version "
        f"{lost.number}, in MLflow"
    )


def page(place: str) -> Page:
    """A page of MLflow, from its place as in `server_facts.page`."""
    return Page(address=server_facts.page(place), command=None if server_facts.is_server() else "make mlflow")


def _counted(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.proof != alias_log.FORGED]


def _waiting(name: str) -> WaitingVersion | None:
    found = approvals.waiting(name)
    if found is None:
        return None
    approve = command(f"approve {found.version.number} --model {name} --reason ...")
    return WaitingVersion(
        number=found.version.number, since=time_of(found.since), why=found.why, command=approve
    )


def _lost(entries: Sequence[Entry]) -> LostChampion | None:
    """Since when no version is champion, if one was."""
    last = alias_log.tenures(entries)[-1:]
    if not last or last[0].version is not None:
        return None
    return LostChampion(since=time_of(last[0].since), number=last[0].entry.before)


def _since(entries: Sequence[Entry], number: str) -> datetime | None:
    """Since when the version is champion; None if the journal does not say so."""
    last = alias_log.tenures(entries)[-1:]
    return time_of(last[0].since) if last and last[0].version == number else None


def _override_now(entries: Sequence[Entry], version: Version) -> overrides.Override | None:
    last = alias_log.tenures(entries)[-1:]
    return overrides.override_of(last[0].entry, {version.number: version}) if last else None


def _days(since: datetime | None) -> int | None:
    return None if since is None else max((datetime.now(timezone.utc) - since).days, 0)


def _month_of(version: Version) -> Month | None:
    """Month that a version was judged on; None if it was not, or if its tag is no month: people can change it."""
    try:
        return Month.parse(version.tags.get("test_month", "")) if version.is_complete else None
    except ConfigError:
        return None


def _measured(version: Version) -> tuple[dict[str, float], str | None]:
    """Metrics of a version by their plain names, and why they are unknown if its run is gone."""
    if run_history.stage_of(version.run_id) != run_history.GONE:
        return runs.metrics_of(version.run_id), None
    rmse = finite(version.tags.get("test_rmse"))
    return {} if rmse is None else {"test_rmse": rmse}, run_history.explain_loss(version.run_id)


def _metric_row(metric: str, measured: Mapping[str, float]) -> MetricRow:
    baseline = measured.get("test_rmse_pair_median") if metric == "rmse" else None
    return MetricRow(
        metric=metric,
        validation=finite(measured.get(f"validation_{metric}")),
        test=finite(measured.get(f"test_{metric}")),
        pair_median_test=finite(baseline),
    )


def _ways_to_one() -> str:
    return (
        "`registry` lists its versions, and `promote` makes one champion; "
        f"or train one: {command('train --help')}"
    )
