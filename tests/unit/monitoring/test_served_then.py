"""Which version served when a month was published, from the journal of aliases."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sound_versions import crown
from support.tracked import NAME, bare_version, mlflow_client

from mlops.errors import ConfigError, PromotionError, UntrustedError
from mlops.monitoring import served
from mlops.month import Month
from mlops.registry import alias_log, signature
from mlops.registry.alias_log import BY_OPERATOR, CHAMPION, DONE, DROPPED, INTENT, ROLLBACK, Entry

MAY, JUNE, JULY, AUGUST = (Month(2023, number) for number in (5, 6, 7, 8))


def move(to: str | None, verdict: str = "promote", by: str = "me", state: str = DONE) -> Entry:
    return Entry(0, "", by, CHAMPION, None, to, verdict, "", state)


def own(to: str, month: Month, state: str = DONE) -> Entry:
    """A rollback that the monitoring of a month made."""
    return move(to, ROLLBACK, alias_log.by_monitoring(month), state)


@pytest.mark.parametrize(
    ("entries", "current", "numbers", "rolled_back"),
    [
        ([], None, (), set()),
        ([move("1"), move("2")], "2", ("1", "2"), set()),
        ([move("1"), move("2"), move("1", BY_OPERATOR)], "1", ("2", "1"), set()),
        ([move("1"), move("2"), move("3"), move("1", ROLLBACK)], "1", ("1",), {"2", "3"}),
        ([move("1"), move("2"), own("1", AUGUST)], "1", ("1", "2"), set()),
        ([move("1"), move("2"), own("1", JULY)], "1", ("1", "2"), set()),
        ([move("1"), move("2"), own("1", JUNE)], "1", ("1",), {"2"}),
        ([move("1"), move("2"), own("1", JULY, INTENT)], "1", ("1", "2"), set()),  # moved, then killed
        ([move("1"), move("2"), own("1", JULY, INTENT)], "2", ("1", "2"), set()),  # killed, then moved
        ([move("1"), move("2", state=DROPPED)], "1", ("1",), set()),
        ([move("1")], "2", ("1", "2"), set()),  # somebody moved it in MLflow, and nobody noticed yet
        ([move("1"), move(None, "by hand"), move("3")], "3", ("1", "3"), set()),
        ([Entry(0, "", "", "challenger", None, "9", "keep", ""), move("1")], "1", ("1",), set()),
    ],
)
def test_the_line_of_champions(
    entries: list[Entry], current: str | None, numbers: tuple[str, ...], rolled_back: set[str]
) -> None:
    found = served.line(entries, current, JULY)
    assert (found.numbers, found.rolled_back) == (numbers, frozenset(rolled_back))


@pytest.mark.parametrize(
    ("month", "champion", "predecessor"),
    [(JUNE, "1", None), (JULY, "2", "1"), (AUGUST, "3", "2"), (Month(2024, 3), "3", "2")],
)
def test_the_champion_that_did_not_know_the_month(
    month: Month, champion: str, predecessor: str | None, sound: Path
) -> None:
    found = served.find(NAME, month)
    assert found.champion.number == champion
    assert str(found.tested_on) == found.champion.tags["test_month"]
    assert (found.predecessor.number if found.predecessor else None) == predecessor
    assert found.no_predecessor == ("" if predecessor else "version 1 is the first champion")


def test_a_rerun_compares_the_same_versions_after_its_own_rollback(sound: Path) -> None:
    before = served.find(NAME, AUGUST)
    crown("2", by=alias_log.by_monitoring(AUGUST), verdict=ROLLBACK)
    assert served.find(NAME, AUGUST) == before
    later = served.find(NAME, AUGUST + 1)
    assert (later.champion.number, later.predecessor and later.predecessor.number) == ("2", "1")


def test_a_version_that_was_rolled_back_is_no_predecessor(sound: Path) -> None:
    crown("1", verdict=ROLLBACK)
    crown("2", verdict=BY_OPERATOR)
    crown("3", verdict=BY_OPERATOR)
    found = served.find(NAME, AUGUST)
    assert (found.champion.number, found.predecessor and found.predecessor.number) == ("3", "1")


def test_a_predecessor_that_was_deleted(sound: Path) -> None:
    mlflow_client().delete_model_version(NAME, "2")
    found = served.find(NAME, AUGUST)
    assert (found.predecessor and found.predecessor.number, found.no_predecessor) == ("1", "")
    mlflow_client().delete_model_version(NAME, "1")
    found = served.find(NAME, AUGUST)
    assert found.predecessor is None
    assert found.no_predecessor == "version 2, the champion before version 3, was deleted"


def test_no_champion_yet(store: Path) -> None:
    with pytest.raises(PromotionError, match=r"there is no champion yet.*Train one first: .*train --help"):
        served.find(NAME, AUGUST)
    with pytest.raises(PromotionError, match=r"there is no champion yet.*Train one first: .*train --help"):
        served.champion_month(NAME)


def test_a_month_that_every_champion_knows(sound: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"expected a month after 2023-05.*got 2023-05.*Choose 2023-06 or a later"
    ):
        served.find(NAME, MAY)


def test_a_champion_that_learnt_from_the_month_is_passed_over(sound: Path) -> None:
    mlflow_client().set_model_version_tag(NAME, "3", "last_month_learnt", "2023-08")
    assert served.find(NAME, AUGUST).champion.number == "2"


def test_a_champion_without_signature(sound: Path) -> None:
    mlflow_client().set_model_version_tag(NAME, "3", signature.TAG, "{}")
    with pytest.raises(UntrustedError, match=r"/3: .*If you trust it: .*trust 3 --model"):
        served.find(NAME, AUGUST)


def test_a_champion_of_another_program(store: Path, tmp_path: Path) -> None:
    crown(bare_version(tmp_path))
    for ask in (lambda: served.champion_month(NAME), lambda: served.find(NAME, AUGUST)):
        with pytest.raises((PromotionError, ConfigError), match="another program registered it"):
            ask()


def test_the_month_of_the_champion(sound: Path) -> None:
    assert served.champion_month(NAME) == JULY


def test_an_interrupted_month_comes_first(sound: Path) -> None:
    assert served.unfinished(NAME, set()) is None
    crown("2", by=alias_log.by_monitoring(AUGUST), verdict=ROLLBACK)
    assert served.unfinished(NAME, set()) == AUGUST
    assert served.unfinished(NAME, {AUGUST}) is None
