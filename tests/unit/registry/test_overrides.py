"""A person who overrides a verdict is shown it and asked; afterwards every list says who did, and why."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import listed
from support.tracked import NAME, bare_version, mlflow_client

from mlops.__main__ import main
from mlops.errors import ConfigError, PromotionError
from mlops.evaluation.model_card import OUTCOMES
from mlops.registry import alias_log, operator, overrides, versions
from mlops.registry.alias_log import CHAMPION

URI = f"models:/{NAME}"
WORSE = "RMSE 5.0000 is not below the RMSE 4.0000 of the pair median"
JUDGED = {"artefact_sha256": "ab", "outcome": "challenger", "test_rmse": "5.0", "run_key": "ef"}


@pytest.fixture
def refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Champion 1, whose verdict is "promote", and version 2, whose verdict is "refuse"; versions are sound."""
    monkeypatch.setattr(operator, "_require_sound", lambda version: None)  # they have no files
    monkeypatch.setattr(alias_log, "whoami", lambda: "me@here")
    bare_version(store, verdict="promote", reason="there was no champion before", **JUDGED)
    alias_log.move(NAME, CHAMPION, "1", by="run 1 by me@here", verdict="promote", reason="the first")
    yield bare_version(store, verdict="refuse", reason=WORSE, **JUDGED)


def agree(objection: str) -> None:
    """A person who says yes."""


# --- Asking -------------------------------------------------------------------------------------------------


def test_the_verdicts_are_those_of_the_judge() -> None:
    assert set(overrides.VERDICTS) == set(OUTCOMES)


OBJECTIONS: tuple[tuple[dict[str, str], str], ...] = (
    ({"verdict": "refuse", "reason": WORSE}, f"{URI}/2 has the verdict refuse: {WORSE}"),
    ({"verdict": "keep", "reason": WORSE}, f"{URI}/2 has the verdict keep: {WORSE}"),
    ({"verdict": "keep"}, f"{URI}/2 has the verdict keep: no reason is recorded"),
    ({}, f"{URI}/2 has no verdict: its tag verdict is missing"),
    (
        {"verdict": " ", "reason": WORSE},
        f"{URI}/2 has no verdict: its tag verdict is missing; its reason: {WORSE}",
    ),
    (
        {"verdict": "Promote!"},
        f"{URI}/2: its tag verdict must be one of promote, keep, refuse; got 'Promote!'",
    ),
)


def test_nobody_overrides_a_verdict_unasked(refused: str) -> None:
    for tags, objection in OBJECTIONS:
        for key in ("verdict", "reason"):
            mlflow_client().set_model_version_tag(NAME, refused, key, "")
            mlflow_client().delete_model_version_tag(NAME, refused, key)
        for key, value in tags.items():
            mlflow_client().set_model_version_tag(NAME, refused, key, value)

        with pytest.raises(ConfigError) as error:
            operator.promote(NAME, refused, "why")
        assert str(error.value).startswith(f"{objection}. Expected a person's consent")
        assert str(error.value).endswith("Choose another version, or give --yes")
    assert alias_log.current(NAME, CHAMPION) == "1"
    assert len(alias_log.read(NAME)) == 1


def test_a_version_that_cannot_become_champion_is_refused_without_a_question(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    mlflow_client().delete_model_version_tag(NAME, refused, "outcome")
    for number in ("1", refused, "9"):
        with pytest.raises(PromotionError):
            operator.promote(NAME, number, "why", asked.append)
    assert asked == []


def test_a_verdict_that_changes_while_somebody_reads_it_is_read_again(refused: str) -> None:
    def slow(objection: str) -> None:
        mlflow_client().set_model_version_tag(NAME, refused, "verdict", "keep")

    with pytest.raises(PromotionError, match="the verdict of version 2 has just changed; look at it again"):
        operator.promote(NAME, refused, "why", slow)
    assert alias_log.current(NAME, CHAMPION) == "1"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], int]]:
    """Exit status of `promote 2` on a real terminal at which these bytes are typed."""
    keyboard, terminal = pty.openpty()

    def status(answer: bytes) -> int:
        os.write(keyboard, answer)
        return main(["promote", "2", "--reason", "looked at it", f"--model={NAME}"])

    with os.fdopen(terminal, encoding="utf-8") as stdin, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", stdin)
        yield status
    os.close(keyboard)


def test_who_does_not_say_yes_changes_nothing(
    refused: str, typed: Callable[[bytes], int], capsys: pytest.CaptureFixture[str]
) -> None:
    question = f"{URI}/2 has the verdict refuse: {WORSE}\nMake it champion all the same? [y/N] "
    for answer in (b"n\n", b"\n", b"yess\n", b"\x04"):  # the last is Ctrl-D
        assert typed(answer) == 1
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.endswith(f"{question}error: not agreed; nothing was changed\n")
    assert alias_log.current(NAME, CHAMPION) == "1"


# --- What is shown afterwards ---------------------------------------------------------------------------------


def test_every_list_says_who_overrode_a_verdict_and_why(
    refused: str, typed: Callable[[bytes], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(b"yes\n") == 0
    day = alias_log.read(NAME)[-1].at[:10]
    override = f"made champion overriding refuse, by me@here on {day} (by operator): looked at it"
    at = f"{alias_log.read(NAME)[-1].at[:16].replace('T', ' ')} UTC"
    shown = override.replace(day, at)
    assert capsys.readouterr().out == (
        f"{URI}/2 is now champion; previous champion: version 1\n"
        f"its page: {versions.link(versions.get(NAME, refused))}\n"
        f"NOTE: {URI}/2 has the verdict refuse: {WORSE}\n"
    )

    text = listed.listing(NAME)
    assert "refuse, overridden" in text
    assert f"         {shown}\n" in text
    assert f"  {at}  champion 1 -> 2  by operator, overriding refuse (me@here): looked at it\n" in text
    assert f"NOTE: {shown}" in listed.champion(NAME)
    assert f"by operator\n{shown}\n" in listed.as_of(NAME, alias_log.read(NAME)[-1].at)
    assert versions.get(NAME, refused).tags["overridden"] == override

    mlflow_client().delete_model_version(NAME, refused)
    assert "champion 1 -> 2  by operator, overriding refuse (me@here): looked at it" in listed.listing(NAME)


def test_a_rollback_asks_nobody_but_says_what_it_overrides(refused: str) -> None:
    """It goes back to what served before, perhaps in a hurry; a good version back needs no remark."""
    operator.promote(NAME, refused, "why", agree)
    assert operator.rollback(NAME, "slow").override is None
    assert "NOTE" not in listed.champion(NAME)

    moved = operator.rollback(NAME, "slower", to=refused)
    first, page, note = str(moved).splitlines()
    assert first == f"{URI}/2 is now champion; previous champion: version 1"
    assert page == f"its page: {versions.link(moved.version)}"
    assert note == f"NOTE: {URI}/2 has the verdict refuse: {WORSE}"
    assert [entry.overrides for entry in alias_log.read(NAME)] == ["", "refuse", "", "refuse"]
    assert "champion 1 -> 2  rollback, overriding refuse (me@here): slower" in listed.listing(NAME)


def test_a_verdict_overridden_in_mlflow_s_pages_is_listed(refused: str) -> None:
    mlflow_client().set_registered_model_alias(NAME, CHAMPION, refused)

    shown = listed.champion(NAME)
    assert "NOTE: made champion overriding refuse, by unknown on " in shown
    assert "(by hand): moved outside this project; noticed now" in shown
    assert "champion 1 -> 2  by hand, overriding refuse (unknown): moved" in listed.listing(NAME)


def test_an_agreed_move_is_an_override_although_an_older_release_did_not_write_it(refused: str) -> None:
    alias_log.move(
        NAME, CHAMPION, refused, by="me@here", verdict=alias_log.BY_OPERATOR, reason="it felt right"
    )
    assert "refuse, overridden" in listed.listing(NAME)


def test_a_promoted_version_is_no_override(refused: str) -> None:
    mlflow_client().set_model_version_tag(NAME, refused, "verdict", "promote")
    operator.promote(NAME, refused, "sooner")

    assert "overrid" not in listed.listing(NAME) + listed.champion(NAME)
    assert "overridden" not in versions.get(NAME, refused).tags


def test_the_moves_are_listed_although_every_version_was_deleted(refused: str) -> None:
    for number in ("1", refused):
        mlflow_client().delete_model_version(NAME, number)

    first, *_, move = listed.listing(NAME).splitlines()[:4]
    assert first == f"{NAME}: no version is registered now"
    assert "champion none -> 1  promote" in move
