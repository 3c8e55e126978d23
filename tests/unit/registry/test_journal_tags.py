"""Entries under their new and their old names: nothing is lost or doubled, whenever a process is killed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tracked import NAME, Killed, bare_version, fails_at, mlflow_client

from mlops.registry import alias_log, journal_tags, operator, signature
from mlops.registry.alias_log import BEFORE, CHAMPION, DONE, FORGED, INTENT, SIGNED, Entry
from mlops.registry.client import MlflowException, mlflow
from mlops.registry.journal_tags import OLD_PREFIX, PREFIX, key_of

RUN = {"by": "run 1 by me@here", "verdict": "promote", "reason": "RMSE is 2 % below"}
NAMES = (f"trip-duration-{number}" for number in count())


def tags(name: str = NAME) -> dict[str, str]:
    return dict(mlflow_client().get_registered_model(name).tags)


def set_tag(key: str, text: str, name: str = NAME) -> None:
    mlflow_client().set_registered_model_tag(name, key, text)


def old(number: int) -> str:
    return f"{OLD_PREFIX}{number:06d}"


def as_before(name: str = NAME, *, unsigned: int = 0) -> None:
    """Give all entries the names that an earlier release gave them; the oldest lose their signatures."""
    for key, text in tags(name).items():
        number = int(key.removeprefix(PREFIX))
        fields = json.loads(text)
        if number <= unsigned:
            del fields["auth"]
        mlflow_client().delete_registered_model_tag(name, key)
        set_tag(old(number), json.dumps(fields, ensure_ascii=False), name)


@pytest.fixture
def moved(store: Path) -> Iterator[tuple[Entry, ...]]:
    """Version 1 was champion, then 2, and an earlier release wrote that; the entries."""
    for _ in range(3):
        bare_version(store, run_key="ab", artefact_sha256="ab", outcome="champion", verdict="promote")
    for version in ("1", "2"):
        alias_log.move(NAME, CHAMPION, version, **RUN)
    as_before(unsigned=1)
    yield alias_log.read(NAME)


def test_entries_of_an_earlier_release_are_read_and_a_reader_moves_nothing(moved: tuple[Entry, ...]) -> None:
    assert [(entry.number, entry.after, entry.proof) for entry in moved] == [
        (1, "1", BEFORE), (2, "2", SIGNED),
    ]  # fmt: skip
    assert alias_log.reconcile(NAME) == alias_log.find_differences(NAME) == alias_log.unreadable(NAME) == ()
    assert set(tags()) == {old(1), old(2)}


def test_the_next_entry_moves_them_as_they_are(moved: tuple[Entry, ...]) -> None:
    before = tags()
    alias_log.move(NAME, CHAMPION, "3", **RUN)

    after = tags()
    assert set(after) == {key_of(1), key_of(2), key_of(3)}
    assert [after[key_of(number)] for number in (1, 2)] == [before[old(number)] for number in (1, 2)]
    assert alias_log.read(NAME)[:2] == moved
    assert [entry.proof for entry in alias_log.read(NAME)] == [BEFORE, SIGNED, SIGNED]
    assert alias_log.predecessor(alias_log.read(NAME)) == "2"


METHODS = ("set_registered_model_tag", "delete_registered_model_tag", "set_registered_model_alias")


@contextlib.contextmanager
def killed_at(place: int, *, after: bool) -> Iterator[None]:
    """The process is killed before or after one of its writes, by number from 0."""
    written = []

    def dying(original: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object, **named: object) -> None:
            written.append(original.__name__)
            is_last = len(written) == place + 1
            if after or not is_last:
                original(*arguments, **named)
            if is_last:
                raise Killed

        return call

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        for method in METHODS:
            patch.setattr(mlflow.MlflowClient, method, dying(getattr(mlflow.MlflowClient, method)))
        yield
    assert len(written) == place + 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("place", range(7))
def test_a_process_that_is_killed_at_any_write_loses_and_doubles_nothing(
    place: int, after: bool, moved: tuple[Entry, ...]
) -> None:
    """The writes are: set and delete the first, set and delete the second, intent, alias, done."""
    with killed_at(place, after=after):
        alias_log.move(NAME, CHAMPION, "3", **RUN)

    killed_before_the_intent = place < 4 or (place == 4 and not after)
    found = alias_log.read(NAME)
    assert found[:2] == moved
    assert len(found) == (2 if killed_before_the_intent else 3)
    assert alias_log.unreadable(NAME) == ()
    alias_log.reconcile(NAME)
    if killed_before_the_intent:
        alias_log.move(NAME, CHAMPION, "3", **RUN)
    assert [(e.number, e.before, e.after, e.state) for e in alias_log.read(NAME)] == [
        (1, None, "1", DONE), (2, "1", "2", DONE), (3, "2", "3", DONE),
    ]  # fmt: skip
    assert set(tags()) == {key_of(1), key_of(2), key_of(3)}


def test_an_intent_of_an_earlier_release_is_completed_under_its_new_name(moved: tuple[Entry, ...]) -> None:
    with pytest.raises(Killed), fails_at("set_registered_model_alias", Killed()):
        alias_log.move(NAME, CHAMPION, "3", **RUN)
    as_before()
    assert alias_log.read(NAME)[-1].state == INTENT

    assert alias_log.reconcile(NAME) == ("the move of champion to version 3 was interrupted; completed",)
    assert alias_log.read(NAME)[-1].state == DONE
    assert set(tags()) == {key_of(1), key_of(2), key_of(3)}


@pytest.mark.usefixtures("moved")
def test_what_is_forged_or_unreadable_keeps_the_name_that_mlflows_pages_show() -> None:
    set_tag(old(3), json.dumps({**json.loads(tags()[old(2)]), "to": "3"}))
    set_tag(old(4), "a note")
    alias_log.move(NAME, CHAMPION, "3", **RUN)

    assert set(tags()) == {key_of(1), key_of(2), old(3), old(4), key_of(5)}
    assert [entry.proof for entry in alias_log.read_all(NAME)] == [BEFORE, SIGNED, FORGED, SIGNED]
    assert journal_tags.forged(NAME, tags()) == (old(3),)
    assert alias_log.unreadable(NAME) == (old(4),)


@pytest.mark.usefixtures("moved")
@pytest.mark.parametrize("where", ["old name", "new name"])
def test_of_two_texts_of_one_number_the_signed_one_counts_and_the_other_is_named(where: str) -> None:
    alias_log.move(NAME, CHAMPION, "3", **RUN)
    signed, other = tags()[key_of(3)], json.dumps({**json.loads(tags()[key_of(3)]), "to": "1"})
    keys = (old(3), key_of(3)) if where == "old name" else (key_of(3), old(3))
    set_tag(keys[0], signed)
    set_tag(keys[1], other)

    assert [(entry.after, entry.proof) for entry in alias_log.read_all(NAME)][-1] == ("3", SIGNED)
    assert alias_log.unreadable(NAME) == (keys[1],)
    alias_log.move(NAME, CHAMPION, "1", **RUN)
    assert tags()[keys[1]] == other  # it stays, for whoever finds out who wrote it
    assert [entry.after for entry in alias_log.read(NAME)] == ["1", "2", "3", "1"]


def test_an_earlier_release_that_starts_its_own_journal_overwrites_none(store: Path) -> None:
    """It does not see the new names, and signs entries from 1 on: they are named, and those of before count."""
    for _ in range(2):
        bare_version(store)
    alias_log.move(NAME, CHAMPION, "1", **RUN)
    fields = {**json.loads(tags()[key_of(1)]), "verdict": alias_log.BY_HAND}
    del fields["auth"]
    content = {"model": NAME, "number": 1, **fields}
    set_tag(old(1), json.dumps({**fields, "auth": signature.sign(signature.ENTRY, content)}))
    alias_log.move(NAME, CHAMPION, "2", **RUN)

    assert [(entry.verdict, entry.proof) for entry in alias_log.read_all(NAME)] == [("promote", SIGNED)] * 2
    assert alias_log.unreadable(NAME) == (old(1),)


def test_a_rollback_needs_nothing_but_the_registered_model(moved: tuple[Entry, ...], store: Path) -> None:
    """The experiment of the model may be deleted: the journal is not there."""
    experiment = mlflow_client().create_experiment(NAME, store.as_uri())
    mlflow_client().delete_experiment(experiment)
    alias_log.move(NAME, CHAMPION, "1", by="me", verdict=alias_log.ROLLBACK, reason="slow")

    assert alias_log.current(NAME, CHAMPION) == "1"
    assert alias_log.predecessor(alias_log.read(NAME)) is None
    assert operator.was_rolled_back(alias_log.read(NAME), "2")


def test_a_refusal_to_move_old_entries_is_an_error_and_nothing_is_lost(moved: tuple[Entry, ...]) -> None:
    refused = MlflowException("permission denied")
    with (
        fails_at("delete_registered_model_tag", refused),
        pytest.raises(Exception, match="permission denied"),
    ):
        alias_log.move(NAME, CHAMPION, "3", **RUN)
    assert alias_log.read(NAME) == moved
    assert alias_log.current(NAME, CHAMPION) == "2"


@given(st.lists(st.sampled_from("123"), min_size=1, max_size=5), st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_union_of_old_and_new_names_is_the_journal(
    store: Path, steps: list[str], data: st.DataObject
) -> None:
    """Any entries may have their old name, their new one, or both: a killed move leaves the last."""
    name = next(NAMES)
    for _ in range(3):
        bare_version(store, name)
    for version in steps:
        alias_log.move(name, CHAMPION, version, **RUN)
    expected = alias_log.read(name)
    for entry in expected:
        place = data.draw(st.sampled_from(["new", "old", "both"]))
        if place != "new":
            set_tag(old(entry.number), tags(name)[key_of(entry.number)], name)
        if place == "old":
            mlflow_client().delete_registered_model_tag(name, key_of(entry.number))

    assert alias_log.read(name) == alias_log.read_all(name) == expected
    assert alias_log.unreadable(name) == alias_log.reconcile(name) == ()
    last = alias_log.move(name, CHAMPION, "1", **RUN)
    assert alias_log.read(name) == (*expected, replace(last, number=len(expected) + 1))
    assert set(tags(name)) == {key_of(number) for number in range(1, len(expected) + 2)}
