"""The decision what may be deleted, from the candidates, their age, and what is still needed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

DAY_SECONDS = 86_400.0
PASSING_DAYS = 1  # after a day, no process still writes to a temporary file
SHA_DIGITS = 12  # first digits of a month's sha256, as in the names of the files made from it

MONTH, REPLACED, PREPARED = "cached month", "replaced month", "prepared file"
WORK, PASSING, LOCK = "abandoned attempt", "temporary file", "lock file"
COPY, INPUT, MONITORED = "copy of a version", "fetched input", "file of monitoring"
TRIALS, ARTEFACTS, TRIED = "trials of a run", "artefacts of a failed run", "artefacts of an experiment"
IN_USE_BY_RECENT = (MONTH, REPLACED, PREPARED)


@dataclass(frozen=True)
class Candidate:
    """Something that may be deleted.

    Parameters
    ----------
    kind : str
        One of this module's constants.
    place : str
        Its path, or the id of its run.
    last_used : float
        Seconds since 1970.
    bytes : int
        Its size on the disk; 0 where only the tracking server knows it.
    sha256 : str
        First digits of the sha256 of its month, or of the month it was made from; empty without such a month.
    model : str
        Registered model that it belongs to; empty if any model may use it.
    """

    kind: str
    place: str
    last_used: float
    bytes: int = 0
    sha256: str = ""
    model: str = ""

    def days(self, now: float) -> float:
        """Days since its last use."""
        return (now - self.last_used) / DAY_SECONDS


@dataclass(frozen=True)
class Wanted:
    """What must stay at any age.

    Parameters
    ----------
    recent : collection of str
        First digits of the sha256 of months that recent runs used.
    evidence : collection of str
        The same for months that a past or present champion learnt from or was tested on.
    places : collection of str
        Paths and run ids: pending results, runs of champions, runs that a search starts from.
    all_replaced : bool
        Whether all replaced months must stay, because the months of some champion are unknown.
    """

    recent: Collection[str] = ()
    evidence: Collection[str] = ()
    places: Collection[str] = ()
    all_replaced: bool = False


def old(candidates: Iterable[Candidate], wanted: Wanted, now: float, keep_days: int) -> list[Candidate]:
    """Candidates that may be deleted, largest first.

    Examples
    --------
    >>> month = Candidate(MONTH, "months/a.parquet", last_used=0.0, bytes=5, sha256="0123456789ab")
    >>> [len(old([month], wanted, 91 * DAY_SECONDS, 90)) for wanted in (Wanted(), Wanted(recent=["0123456789ab"]))]
    [1, 0]
    """
    found = [candidate for candidate in candidates if _may_go(candidate, wanted, now, keep_days)]
    return sorted(found, key=lambda candidate: (-candidate.bytes, candidate.kind, candidate.place))


def _may_go(candidate: Candidate, wanted: Wanted, now: float, keep_days: int) -> bool:
    days = PASSING_DAYS if candidate.kind == PASSING else keep_days
    if candidate.days(now) <= days or candidate.place in wanted.places:
        return False
    if candidate.kind in IN_USE_BY_RECENT and candidate.sha256 in wanted.recent:
        return False
    # A month that the source still publishes can be fetched again; a replaced month exists only here.
    is_evidence = wanted.all_replaced or candidate.sha256 in wanted.evidence
    return not (candidate.kind == REPLACED and is_evidence)
