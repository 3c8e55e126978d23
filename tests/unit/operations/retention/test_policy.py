"""What may go: never what is young, still wanted, or the evidence of a champion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.operations.retention import policy
from mlops.operations.retention.policy import (
    ARTEFACTS,
    COPY,
    DAY_SECONDS,
    LOCK,
    MONTH,
    PASSING,
    PREPARED,
    REPLACED,
    TRIALS,
    WORK,
    Candidate,
    Wanted,
    old,
)

KINDS = (ARTEFACTS, COPY, LOCK, MONTH, PASSING, PREPARED, REPLACED, TRIALS, WORK)
NOW = 1e9
shas = st.sampled_from(["", "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"])
places = st.sampled_from(["one", "two", "three"])
candidates = st.builds(
    Candidate,
    kind=st.sampled_from(KINDS),
    place=places,
    last_used=st.floats(0, NOW),
    bytes=st.integers(0, 9),
    sha256=shas,
)
wanted = st.builds(Wanted, st.frozensets(shas), st.frozensets(shas), st.frozensets(places))


def aged(kind: str, days: float, sha256: str = "") -> Candidate:
    return Candidate(kind, "there", NOW - days * DAY_SECONDS, sha256=sha256)


@given(st.lists(candidates), wanted, st.integers(1, 400))
def test_what_is_wanted_or_young_stays(there: list[Candidate], wanted: Wanted, keep_days: int) -> None:
    gone = old(there, wanted, NOW, keep_days)
    assert all(candidate in there for candidate in gone)
    assert all(candidate.place not in wanted.places for candidate in gone)
    assert all(c.days(NOW) > (policy.PASSING_DAYS if c.kind == PASSING else keep_days) for c in gone)
    of_months = [c for c in gone if c.kind in (MONTH, REPLACED, PREPARED)]
    assert all(candidate.sha256 not in wanted.recent for candidate in of_months)
    assert all(candidate.sha256 not in wanted.evidence for candidate in gone if candidate.kind == REPLACED)


@given(st.lists(candidates), st.integers(1, 400))
def test_what_is_old_and_nobody_wants_goes(there: list[Candidate], keep_days: int) -> None:
    gone = old(there, Wanted(), NOW, keep_days)
    assert sorted(map(repr, gone)) == sorted(
        repr(c) for c in there if c.days(NOW) > (1 if c.kind == PASSING else keep_days)
    )
    assert [c.bytes for c in gone] == sorted((c.bytes for c in gone), reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_day_is_still_kept(kind: str) -> None:
    days = 1 if kind == PASSING else 90
    assert old([aged(kind, days)], Wanted(), NOW, 90) == []
    assert len(old([aged(kind, days + 0.01)], Wanted(), NOW, 90)) == 1


def test_evidence_keeps_only_what_the_source_no_longer_has() -> None:
    evidence = Wanted(evidence={"aaaaaaaaaaaa"})
    kept = [kind for kind in KINDS if not old([aged(kind, 91, "aaaaaaaaaaaa")], evidence, NOW, 90)]
    assert kept == [REPLACED]
