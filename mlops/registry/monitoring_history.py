"""The compared months of the models, with their trainings and alias moves, as the registry has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlops.errors import ConfigError, TrackingDownError, TrackingError
from mlops.month import Month
from mlops.registry import alias_log, monitoring_log, monitoring_record, overrides, server_facts, versions
from mlops.registry.alias_log import Entry
from mlops.registry.monitoring_record import PROMOTED, RETURNED, TRAINED, Event, History, Record, moment
from mlops.registry.signed_version import Version


def collect(names: Iterable[str]) -> tuple[History, ...]:
    """What the registry has about the compared months of these models, in this order.

    Raises
    ------
    TrackingDownError
        When the registry does not answer. What else is wrong is in `History.problems`.
    """
    return tuple(_collected(name) for name in names)


def _collected(name: str) -> History:
    try:
        kept = monitoring_log.read(name)
        records, unreadable = monitoring_record.parsed(kept.texts if kept else {})
        return History(
            name, records, tuple(_events(name, records)),
            server_facts.page(kept.place) if kept else "", server_facts.page(f"models/{name}"),
            tuple(monitoring_log.explain_unreadable(name, month) for month in unreadable),
        )  # fmt: skip
    except TrackingDownError:
        raise
    except TrackingError as error:
        return History(name, problems=(f"{name}: {error}",))


def _events(name: str, records: Sequence[Record]) -> list[Event]:
    """Trainings and alias moves, oldest first; those without a time come first, in the order of their versions."""
    known = {version.number: version for version in versions.list_all(name)}
    moves = [
        entry
        for entry in alias_log.read(name)
        if entry.alias == alias_log.CHAMPION and entry.state == alias_log.DONE and entry.after
    ]
    trained = [_trained(version) for version in known.values() if version.is_ours and version.is_complete]
    return sorted([*trained, *_moved(moves, known, records)], key=lambda event: event.at)


def _trained(version: Version) -> Event:
    at = version.registered_at.isoformat(timespec="seconds") if version.registered_at else ""
    return Event(
        TRAINED, _test_month(version), version.number, at, f"verdict: {overrides.verdict_of(version)}"
    )


def _moved(
    moves: Iterable[Entry], known: Mapping[str, Version], records: Sequence[Record]
) -> Iterator[Event]:
    for entry in moves:
        number, kind = str(entry.after), PROMOTED if entry.verdict != alias_log.ROLLBACK else RETURNED
        tested = _test_month(known[number]) if number in known else ""
        made_for = alias_log.made_for(entry)
        if made_for:
            month = str(made_for)
        elif entry.verdict in overrides.BY_PEOPLE:
            month = _compared_at(entry.at, records) or tested
        else:
            month = tested
        yield Event(kind, month, number, entry.at, f"{entry.verdict}, by {entry.by}: {entry.reason}")


def _compared_at(at: str, records: Sequence[Record]) -> str:
    """The newest month that was compared before a time, both as ISO 8601 in UTC; empty if there is none."""
    moved = moment(at)
    before = (r.month for r in records if moved and r.compared_at and r.compared_at <= moved)
    return max(before, default="")


def _test_month(version: Version) -> str:
    """YYYY-MM, or empty: people can change the tag."""
    try:
        return str(Month.parse(version.tags.get("test_month", "")))
    except ConfigError:
        return ""
