"""The journal of a model's aliases: every move, written before it happens, stored in the registry itself.

The state of an entry is ``intent`` before the alias moves, ``done`` after it. So a move that a crash interrupted
differs from an alias that somebody moved by hand, and can be completed. The caller of a function that writes holds
the model's lock. `journal_tags` says how an entry is stored.
"""

from __future__ import annotations

import getpass
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Final

from mlops.errors import ConfigError
from mlops.month import Month
from mlops.registry import journal_tags
from mlops.registry.client import MlflowException, mlflow_client, with_retry
from mlops.registry.journal_tags import BEFORE as BEFORE
from mlops.registry.journal_tags import DONE as DONE
from mlops.registry.journal_tags import DROPPED as DROPPED
from mlops.registry.journal_tags import FORGED as FORGED
from mlops.registry.journal_tags import INTENT as INTENT
from mlops.registry.journal_tags import SIGNED as SIGNED
from mlops.registry.journal_tags import Entry as Entry

logger = logging.getLogger(__name__)

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
# Verdicts beside those of `promotion.decide`: moved in MLflow's pages, by `rollback`, by `promote`, by `approve`.
BY_HAND, ROLLBACK, BY_OPERATOR, APPROVED = "by hand", "rollback", "by operator", "approved"
_MONITORING = "monitoring of "


@dataclass(frozen=True)
class Tenure:
    """The time during which one version was champion; `until` is None for the current champion."""

    version: str | None
    since: str
    until: str | None
    entry: Entry


@with_retry("{0}: reading the journal")
def read(name: str) -> tuple[Entry, ...]:
    """Every move of an alias of the model, oldest first; no forged entries."""
    return _read(name)


@with_retry("{0}: reading the journal")
def read_all(name: str) -> tuple[Entry, ...]:
    """Every entry of the journal, oldest first, also forged ones."""
    return _read_all(name)


@with_retry("{0}: reading the journal")
def unreadable(name: str) -> tuple[str, ...]:
    """Tags of the registered model that look like entries and are none: somebody changed them in MLflow."""
    return journal_tags.unreadable(name, _model(name)[0])


@with_retry("{0}: reading the journal")
def forged(name: str) -> tuple[str, ...]:
    """Tags of the registered model that are forged entries."""
    return journal_tags.forged(name, _model(name)[0])


@with_retry("{0}: looking up {1}")
def current(name: str, alias: str) -> str | None:
    """Number of the version that an alias points at, or None."""
    return _aliases(name).get(alias)


@with_retry("{0}: looking up aliases")
def aliases(name: str) -> dict[str, str]:
    """The version number that each alias points at."""
    return _aliases(name)


@with_retry("{0}: moving {1}")
def move(name: str, alias: str, to: str, *, by: str, verdict: str, reason: str, overrides: str = "") -> Entry:
    """Point the alias at version `to`; returns the journal entry. Other parameters: as in `Entry`."""
    entries, before = _read(name), _aliases(name).get(alias)
    last = entries[-1] if entries else None
    if last and last.state == INTENT and (last.alias, last.after) == (alias, to):
        return _complete(name, last)  # written by an earlier try that got no answer from the server
    entry = Entry(0, _now(), by, alias, before, to, verdict, reason, INTENT, overrides)
    return _complete(name, _intend(name, entry))


@with_retry("{0}: reconciling the journal")
def reconcile(name: str) -> tuple[str, ...]:
    """Make aliases and journal agree; returns each difference found, in words.

    A move that a crash interrupted is completed. An alias that was moved by hand, for example in MLflow's pages,
    stays where it is and gets an entry that says so.
    """
    found = []
    for entry, now in _differences(name):
        if entry.state == INTENT and now == entry.before:
            found.append(f"the move of {entry.alias} to version {entry.after} was interrupted; completed")
            try:
                _complete(name, entry)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                _write(name, replace(entry, state=DROPPED))
                found[-1] = (
                    f"the move of {entry.alias} to version {entry.after} was interrupted; "
                    "dropped, because that version was deleted"
                )
        elif entry.state == INTENT and now == entry.after:
            _write(name, replace(entry, state=DONE))
        else:
            found.append(_in_words(entry, now))
            if entry.state == INTENT:
                _write(name, replace(entry, state=DROPPED))
            reason = "moved outside this project; noticed now"
            before = entry.after if entry.state == DONE else entry.before
            _intend(name, Entry(0, _now(), "unknown", entry.alias, before, now, BY_HAND, reason, DONE))
    for text in found:
        logger.warning("%s: %s", name, text)
    return tuple(found)


@with_retry("{0}: comparing aliases with the journal")
def find_differences(name: str) -> tuple[str, ...]:
    """The differences that `reconcile` would find, in words; changes nothing."""
    return tuple(_in_words(entry, now) for entry, now in _differences(name))


def tenures(entries: Sequence[Entry]) -> tuple[Tenure, ...]:
    """The champions in order of time, from the journal.

    Examples
    --------
    >>> first = Entry(1, "2026-10-01T08:00:00+00:00", "me", "champion", None, "1", "promote", "the first")
    >>> later = replace(first, number=2, at="2026-11-01T08:00:00+00:00", before="1", after="2")
    >>> [(reign.version, reign.since[:10], reign.until) for reign in tenures([first, later])][-1]
    ('2', '2026-11-01', None)
    """
    moves = [entry for entry in entries if entry.alias == CHAMPION and entry.state == DONE]
    ends: list[str | None] = [entry.at for entry in moves[1:]]
    return tuple(
        Tenure(entry.after, entry.at, until, entry)
        for entry, until in zip(moves, [*ends, None], strict=False)
    )


def predecessor(entries: Sequence[Entry]) -> str | None:
    """Version that a rollback returns to: the previous champion, without versions that were rolled back.

    Examples
    --------
    >>> def move(to, verdict="promote"): return Entry(0, "", "", "champion", None, to, verdict, "")
    >>> predecessor([move("1"), move("2"), move("3")])
    '2'
    >>> predecessor([move("1"), move("2"), move("3"), move("2", "rollback")])
    '1'
    """
    line: list[str] = []
    for reign in tenures(entries):
        version = reign.version
        if version is None:
            continue
        if reign.entry.verdict == ROLLBACK and version in line:
            del line[line.index(version) + 1 :]
        else:
            line = [earlier for earlier in line if earlier != version] + [version]
    return line[-2] if len(line) > 1 else None


def by_monitoring(month: Month) -> str:
    """`Entry.by` of a move that the monitoring of a month made by itself; `made_for` reads it back.

    Examples
    --------
    >>> by_monitoring(Month(2023, 11))
    'monitoring of 2023-11'
    """
    return f"{_MONITORING}{month}"


def made_for(entry: Entry) -> Month | None:
    """The month whose monitoring made the move by itself; None for a move of a person or of a training run.

    Examples
    --------
    >>> moved = Entry(7, "", by_monitoring(Month(2023, 11)), CHAMPION, "2", "1", ROLLBACK, "")
    >>> made_for(moved), made_for(replace(moved, by="run 1 by me@here"))
    (Month('2023-11'), None)
    """
    try:
        month = Month.parse(entry.by.removeprefix(_MONITORING))
    except ConfigError:
        return None
    return month if entry.by == by_monitoring(month) else None


def whoami() -> str:
    """User and host, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, a user id may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _differences(name: str) -> list[tuple[Entry, str | None]]:
    """The last entry of each alias that disagrees with it, and the version that the alias points at now."""
    last = {alias: Entry(0, "", "", alias, None, None, "", "") for alias in (CHAMPION, CHALLENGER)}
    last |= {entry.alias: entry for entry in _read(name) if entry.state != DROPPED}
    now = _aliases(name)
    return [
        (entry, now.get(alias))
        for alias, entry in last.items()
        if entry.state == INTENT or entry.after != now.get(alias)
    ]


def _in_words(entry: Entry, now: str | None) -> str:
    if entry.state == INTENT and now in (entry.before, entry.after):
        return f"the move of {entry.alias} to version {entry.after} was interrupted"
    expected = entry.after if entry.state == DONE else entry.before
    return f"{entry.alias} was moved by hand from version {expected or 'none'} to {now or 'none'}"


def _complete(name: str, entry: Entry) -> Entry:
    mlflow_client().set_registered_model_alias(name, entry.alias, str(entry.after))
    done = replace(entry, state=DONE)
    _write(name, done)
    return done


def _intend(name: str, entry: Entry) -> Entry:
    """Write the entry under the next number; returns it."""
    numbered = replace(entry, number=journal_tags.next_number(_model(name)[0]))
    _write(name, numbered)
    return numbered


def _write(name: str, entry: Entry) -> None:
    journal_tags.write(name, entry, _model(name)[0])


def _read(name: str) -> tuple[Entry, ...]:
    """The entries that count, in order."""
    return tuple(entry for entry in _read_all(name) if entry.proof != FORGED)


def _read_all(name: str) -> tuple[Entry, ...]:
    """The entries in order, without those that cannot be read."""
    return journal_tags.entries(name, _model(name)[0])


def _aliases(name: str) -> dict[str, str]:
    return _model(name)[1]


def _model(name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Tags and aliases of the registered model; both empty if the model does not exist yet."""
    try:
        model = mlflow_client().get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}, {}
        raise
    return dict(model.tags), {str(alias): str(version) for alias, version in model.aliases.items()}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
