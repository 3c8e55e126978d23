"""Overridden verdicts: a person made a version champion although its verdict is not "promote"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mlops.registry.alias_log import APPROVED, BY_HAND, BY_OPERATOR, CHAMPION, DONE, ROLLBACK, Entry
from mlops.registry.versions import Version

PROMOTE: Final = "promote"
VERDICTS = (PROMOTE, "keep", "refuse")
NONE: Final = "none"  # no verdict: the tag is missing
UNREADABLE: Final = "unreadable"  # the tag is no verdict: somebody changed it
BY_PEOPLE = (BY_OPERATOR, APPROVED, ROLLBACK, BY_HAND)


@dataclass(frozen=True)
class Override:
    """A move of `champion` by a person, against the verdict of the version.

    Parameters
    ----------
    verdict : str
        What was overridden: keep, refuse, `NONE` or `UNREADABLE`.
    entry : Entry
        The move in the journal: who, when and why.
    """

    verdict: str
    entry: Entry

    @property
    def how(self) -> str:
        """The override in two or three words."""
        return how_overridden(self.verdict)

    def __str__(self) -> str:
        entry = self.entry
        return f"made champion {self.how}, by {entry.by} on {entry.at[:10]} ({entry.verdict}): {entry.reason}"


def how_overridden(verdict: str) -> str:
    """An override of this verdict in two or three words.

    Examples
    --------
    >>> how_overridden("keep"), how_overridden(NONE)
    ('overriding keep', 'without a verdict')
    """
    return "without a verdict" if verdict == NONE else f"overriding {verdict}"


def verdict_of(version: Version) -> str:
    """One of `VERDICTS`, `NONE` or `UNREADABLE`."""
    tag = version.tags.get("verdict", "").strip()
    if tag in VERDICTS:
        return tag
    return UNREADABLE if tag else NONE


def objection(version: Version) -> str:
    """What the verdict says against the version as champion, with its reasons; empty if it is "promote"."""
    verdict, tags = verdict_of(version), version.tags
    if verdict == PROMOTE:
        return ""
    why = f"; its reason: {tags['reason']}" if tags.get("reason", "").strip() else ""
    if verdict == NONE:
        return f"{version.uri} has no verdict: its tag verdict is missing{why}"
    if verdict == UNREADABLE:
        expected = ", ".join(VERDICTS)
        return f"{version.uri}: its tag verdict must be one of {expected}; got {tags['verdict'][:100]!r}{why}"
    return f"{version.uri} has the verdict {verdict}: {tags.get('reason', '').strip() or 'no reason is recorded'}"


def override_of(entry: Entry, known: Mapping[str, Version]) -> Override | None:
    """The override that an entry of the journal records, or None.

    An entry that was written by hand or by an older release does not say so; then the version's tag decides.

    Parameters
    ----------
    entry : Entry
    known : mapping
        Versions by number; a version that was deleted is not there.
    """
    if entry.alias != CHAMPION or entry.state != DONE or not entry.after or entry.verdict not in BY_PEOPLE:
        return None
    version = known.get(entry.after)
    verdict = entry.overrides or (verdict_of(version) if version else PROMOTE)
    return None if verdict == PROMOTE else Override(verdict, entry)


def by_version(entries: Iterable[Entry], known: Mapping[str, Version]) -> dict[str, Override]:
    """The newest override of each version that has one, by number."""
    found = (override_of(entry, known) for entry in entries)
    return {str(override.entry.after): override for override in found if override}
