"""A rollback that monitoring makes by itself: under the lock everything is looked at again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.sound_versions import champion, crown, moves
from support.tracked import NAME, bare_version

from mlops.errors import PromotionError
from mlops.month import Month
from mlops.registry import alias_log, operator

AUGUST = Month(2023, 8)
pytestmark = pytest.mark.usefixtures("sound")


def refused(was: str, to: str) -> str:
    before = (champion(), moves())
    with pytest.raises(PromotionError) as error:
        operator.rollback_for(NAME, AUGUST, was, to, "it is worse")
    assert (champion(), moves()) == before
    return str(error.value)


def test_it_moves_only_the_champion_that_was_compared() -> None:
    crown("1")

    assert refused("3", "2") == f"{NAME}: version 3 is no longer champion, but version 1"


def test_it_goes_to_no_version_that_was_never_champion(sound: Path) -> None:
    assert bare_version(sound) == "4"
    assert refused("3", "4") == f"{NAME}: version 4 was never champion, so it cannot be rolled back to"


def test_it_goes_to_no_version_that_was_itself_rolled_back() -> None:
    crown("2")
    crown("1", verdict="rollback")
    crown("3")

    assert refused("3", "2") == f"{NAME}: version 2 was itself rolled back, so it cannot be rolled back to"


def test_once_a_month_whatever_it_is_asked_for() -> None:
    first = operator.rollback_for(NAME, AUGUST, "3", "2", "it is worse")
    crown("3")
    again = operator.rollback_for(NAME, AUGUST, "3", "1", "it is much worse")

    assert again == first
    assert (first.before, first.after, first.reason) == ("3", "2", "it is worse")
    assert alias_log.made_for(first) == AUGUST
    assert champion() == "3"
    assert operator.move_of(operator.settled_journal(NAME), AUGUST) == first
    assert operator.move_of(operator.settled_journal(NAME), AUGUST + 1) is None


def test_a_move_that_was_dropped_is_none() -> None:
    crown("1", by=alias_log.by_monitoring(AUGUST), verdict="rollback")
    entries = [replace(entry, state="dropped") for entry in alias_log.read(NAME)]

    assert operator.move_of(entries, AUGUST) is None
    assert not operator.was_rolled_back(entries, "3")
    assert operator.was_rolled_back(alias_log.read(NAME), "3")
