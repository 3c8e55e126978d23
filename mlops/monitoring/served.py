"""Which version served when a month was published, and which one before it, from the journal of aliases.

A rollback that the monitoring of this month made itself does not count, so that repeating it compares the same
versions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mlops.errors import ConfigError, PromotionError, command
from mlops.month import Month
from mlops.pipeline import schedule
from mlops.registry import alias_log, versions
from mlops.registry.alias_log import CHAMPION, DONE, INTENT, ROLLBACK, Entry
from mlops.registry.signed_version import Version, signed_files


@dataclass(frozen=True)
class Served:
    """The version that served when a month was published.

    Parameters
    ----------
    champion : Version
        It neither learnt from the month nor was tested on it.
    tested_on : Month
        Its test month.
    predecessor : Version or None
        The latest champion before it that still exists and was not rolled back.
    no_predecessor : str
        Why there is none, as a sentence without its full stop; empty if there is one.
    """

    champion: Version
    tested_on: Month
    predecessor: Version | None
    no_predecessor: str


@dataclass(frozen=True)
class Line:
    """The champions in the order in which they came, without those that were rolled back.

    Parameters
    ----------
    numbers : tuple of str
        Each version once, at its latest turn.
    rolled_back : frozenset of str
        Versions that a rollback took away.
    """

    numbers: tuple[str, ...]
    rolled_back: frozenset[str]


def find(name: str, month: Month) -> Served:
    """The version that served when a month was published, and its predecessor.

    Raises
    ------
    PromotionError
        When there is no champion yet.
    ConfigError
        When every champion has learnt from the month, or was tested on it or a later one.
    UntrustedError
        When the champion is not signed.
    TrackingError
        When the registry does not answer.
    """
    champions = line(alias_log.read(name), alias_log.current(name, CHAMPION), month)
    known = {version.number: version for version in versions.list_all(name)}
    there = [known[number] for number in champions.numbers if number in known]
    if not there:
        raise _no_champion(name)
    tested = {version.number: schedule.test_month(version) for version in there}
    fresh = [version for version in there if _is_new_to(version, tested[version.number], month)]
    if not fresh:
        raise _known_month(name, there, month)
    champion, earlier = fresh[-1], fresh[:-1]
    signed_files(champion)
    chosen = [version for version in earlier if version.number not in champions.rolled_back]
    predecessor = chosen[-1] if chosen else None
    why = "" if predecessor else _no_predecessor(champion, champions, known)
    return Served(champion, tested[champion.number] or month, predecessor, why)


def line(entries: Sequence[Entry], current: str | None, month: Month | None = None) -> Line:
    """The champions, oldest first, from the journal.

    Parameters
    ----------
    entries : sequence of Entry
        All moves, oldest first.
    current : str or None
        The version that the alias points at now: somebody may have moved it without an entry.
    month : Month, optional
        Moves that monitoring made for this month or a later one do not count.

    Examples
    --------
    >>> def move(to, verdict="promote", by="me"): return Entry(0, "", by, CHAMPION, None, to, verdict, "")
    >>> line([move("1"), move("2"), move("3"), move("2", ROLLBACK)], "2")
    Line(numbers=('1', '2'), rolled_back=frozenset({'3'}))
    >>> own = move("1", ROLLBACK, alias_log.by_monitoring(Month(2023, 7)))
    >>> line([move("1"), move("2"), own], "1", Month(2023, 7)).numbers
    ('1', '2')
    """
    moves = [entry for entry in entries if entry.alias == CHAMPION and _has_happened(entry, current)]
    counted = [(entry.after, entry.verdict) for entry in moves if not _is_own(entry, month)]
    if current and (not moves or moves[-1].after != current):
        counted.append((current, alias_log.BY_HAND))
    numbers: list[str] = []
    rolled_back: set[str] = set()
    for number, verdict in counted:
        if number is None:
            continue
        if verdict == ROLLBACK and number in numbers:
            rolled_back.update(numbers[numbers.index(number) + 1 :])
            del numbers[numbers.index(number) + 1 :]
        else:
            numbers = [earlier for earlier in numbers if earlier != number] + [number]
    return Line(tuple(numbers), frozenset(rolled_back))


def champion_month(name: str) -> Month:
    """Test month of the current champion.

    Raises
    ------
    PromotionError
        When there is no champion yet, or no run of this project tested it.
    """
    champion = versions.champion(name)
    if champion is None:
        raise _no_champion(name)
    month = schedule.test_month(champion)
    if month is None:
        raise PromotionError(
            f"{champion.uri} is champion, but its tags do not say on which month it was tested: another program "
            "registered it, or somebody changed it. Name the month to compare, or make another version champion: "
            f"{command('registry')} lists them."
        )
    return month


def unfinished(name: str, compared: Collection[Month]) -> Month | None:
    """The oldest month whose monitoring moved an alias and was then interrupted: it has no record yet."""
    made = {month for entry in alias_log.read(name) if (month := alias_log.made_for(entry))}
    return min(made - set(compared), default=None)


def _has_happened(entry: Entry, current: str | None) -> bool:
    return entry.state == DONE or (entry.state == INTENT and entry.after == current)


def _is_own(entry: Entry, month: Month | None) -> bool:
    """Whether the monitoring of this month or a later one made the move by itself."""
    made = alias_log.made_for(entry)
    return month is not None and made is not None and made >= month


def _is_new_to(version: Version, tested: Month | None, month: Month) -> bool:
    """Whether a version neither learnt from the month or a later one, nor was tested on one."""
    learnt = version.tags.get("last_month_learnt", "")
    return tested is not None and tested < month and learnt < str(month)


def _no_predecessor(champion: Version, champions: Line, known: Collection[str]) -> str:
    before = champions.numbers[: champions.numbers.index(champion.number)]
    gone = [number for number in before if number not in known]
    if gone:
        return f"version {gone[-1]}, the champion before version {champion.number}, was deleted"
    if before:
        return f"the champions before version {champion.number} know this month, or were rolled back"
    return f"version {champion.number} is the first champion"


def _no_champion(name: str) -> PromotionError:
    return PromotionError(
        f"{name}: there is no champion yet, so there is nothing to compare a month with. Train one first: "
        f"{command('train --help')}"
    )


def _known_month(name: str, there: Sequence[Version], month: Month) -> ConfigError:
    last = there[-1]
    tested = [found for version in there if (found := schedule.test_month(version))]
    if not tested:
        return ConfigError(
            f"month: {month}: the tags of {last.uri} do not say on which month it was tested: another program "
            f"registered it, or somebody changed it. Make another version champion; {command('registry')} lists "
            "them."
        )
    first = min(tested)
    return ConfigError(
        f"month: expected a month after {first}, on which the first champion of {name} was tested; got {month}. "
        f"Champions know this month, so their errors on it say nothing. Choose {first + 1} or a later month."
    )
