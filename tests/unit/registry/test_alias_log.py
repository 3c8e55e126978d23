"""Every alias move is recorded before it happens, completed after a crash, and noticed if made by hand."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tracked import AWAY, NAME, Killed, bare_version, fails_at, mlflow_client

from mlops.errors import TrackingError
from mlops.month import Month
from mlops.registry import alias_log
from mlops.registry.alias_log import BY_HAND, CHALLENGER, CHAMPION, DONE, DROPPED, INTENT, ROLLBACK, Entry
from mlops.registry.client import MlflowException

RUN = {"by": "run 1 by me@here", "verdict": "promote", "reason": "RMSE is 2 % below"}


@pytest.fixture
def versions(store: Path) -> None:
    """Three versions of the model; no alias."""
    for _ in range(3):
        bare_version(store)


def move(to: str, alias: str = CHAMPION) -> Entry:
    return alias_log.move(NAME, alias, to, **RUN)


def by_hand(to: str | None, alias: str = CHAMPION, name: str = NAME) -> None:
    """Somebody in MLflow's UI."""
    if to is None:
        mlflow_client().delete_registered_model_alias(name, alias)
    else:
        mlflow_client().set_registered_model_alias(name, alias, to)


@contextlib.contextmanager
def killed_before_the_alias() -> Iterator[None]:
    with pytest.raises(Killed), fails_at("set_registered_model_alias", Killed()):
        yield


@contextlib.contextmanager
def killed_after_the_alias() -> Iterator[None]:
    with pytest.raises(Killed), fails_at("set_registered_model_alias", Killed(), after=True):
        yield


def reported(entry: Entry) -> tuple[str | None, str | None, str, str]:
    return entry.before, entry.after, entry.verdict, entry.state


# --- Moves --------------------------------------------------------------------------------------------------


def test_without_a_model_the_journal_is_empty(store: Path) -> None:
    assert alias_log.read(NAME) == alias_log.reconcile(NAME) == alias_log.find_differences(NAME) == ()
    assert alias_log.current(NAME, CHAMPION) is None
    assert alias_log.aliases(NAME) == {}


@pytest.mark.usefixtures("versions")
def test_a_move_is_in_the_journal_with_who_when_and_why() -> None:
    move("1", CHALLENGER)
    move("1")
    entry = move("2")

    assert alias_log.aliases(NAME) == {CHALLENGER: "1", CHAMPION: "2"}
    assert alias_log.read(NAME)[-1] == entry
    assert entry == Entry(3, entry.at, RUN["by"], CHAMPION, "1", "2", "promote", RUN["reason"], DONE)
    assert [(e.number, e.alias, e.before, e.after) for e in alias_log.read(NAME)] == [
        (1, CHALLENGER, None, "1"), (2, CHAMPION, None, "1"), (3, CHAMPION, "1", "2"),
    ]  # fmt: skip
    times = [e.at for e in alias_log.read(NAME)]
    assert times == sorted(times)
    assert all(at.endswith("+00:00") for at in times)
    assert alias_log.reconcile(NAME) == ()


@pytest.mark.usefixtures("versions")
def test_the_entry_as_others_read_it_is_a_tag_of_the_registered_model() -> None:
    entry = move("1")
    tags = mlflow_client().get_registered_model(NAME).tags

    fields = json.loads(tags["mlflow.mlops.journal.000001"])
    assert len(fields.pop("auth")) == 64
    assert fields == {
        "at": entry.at, "by": RUN["by"], "alias": CHAMPION, "from": None, "to": "1",
        "verdict": "promote", "reason": RUN["reason"], "state": DONE,
    }  # fmt: skip


@pytest.mark.usefixtures("versions")
def test_entries_of_an_earlier_state_of_this_project_are_read() -> None:
    old = {
        "at": "2026-01-01T00:00:00+00:00",
        "alias": CHAMPION,
        "from": None,
        "to": "1",
        "reason": "the first",
    }
    mlflow_client().set_registered_model_tag(NAME, "journal.000001", json.dumps(old))
    mlflow_client().set_registered_model_tag(NAME, "team", "taxis")
    by_hand("1")

    assert alias_log.read(NAME) == (Entry(1, old["at"], "", CHAMPION, None, "1", "", "the first", DONE),)
    assert alias_log.reconcile(NAME) == ()


@pytest.mark.usefixtures("versions")
def test_a_long_reason_is_cut_and_ten_moves_keep_their_order() -> None:
    for number in range(10):
        alias_log.move(NAME, CHAMPION, str(number % 3 + 1), by="me", verdict="promote", reason="x" * 10_000)

    assert [entry.number for entry in alias_log.read(NAME)] == list(range(1, 11))
    assert {entry.reason for entry in alias_log.read(NAME)} == {"x" * 2000}


@pytest.mark.usefixtures("versions")
def test_a_move_whose_answer_was_lost_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops.registry.client._Patience.seconds", 5.0)
    monkeypatch.setattr("mlops.registry.client.FIRST_PAUSE", 0.01)
    for method in ("set_registered_model_tag", "set_registered_model_alias"):
        with fails_at(method, AWAY, once=True, after=True):
            move("1" if method.endswith("tag") else "2")

    assert [reported(entry) for entry in alias_log.read(NAME)] == [
        (None, "1", "promote", DONE), ("1", "2", "promote", DONE),
    ]  # fmt: skip


@pytest.mark.usefixtures("versions")
def test_a_version_that_is_not_there_becomes_nothing() -> None:
    move("1")
    with pytest.raises(TrackingError, match=f"^{NAME}: moving {CHAMPION}: MLflow failed: "):
        move("9")

    assert alias_log.reconcile(NAME) == (
        "the move of champion to version 9 was interrupted; dropped, because that version was deleted",
    )
    assert alias_log.current(NAME, CHAMPION) == "1"
    assert alias_log.read(NAME)[-1].state == DROPPED
    assert alias_log.reconcile(NAME) == ()


# --- Crashes ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("versions")
def test_a_move_is_recorded_before_it_happens_and_completed_after_a_crash() -> None:
    move("1")
    with killed_before_the_alias():
        move("2")
    assert reported(alias_log.read(NAME)[-1]) == ("1", "2", "promote", INTENT)
    assert alias_log.current(NAME, CHAMPION) == "1"
    assert alias_log.find_differences(NAME) == ("the move of champion to version 2 was interrupted",)
    assert alias_log.reconcile(NAME) == ("the move of champion to version 2 was interrupted; completed",)

    assert alias_log.current(NAME, CHAMPION) == "2"
    assert reported(alias_log.read(NAME)[-1]) == ("1", "2", "promote", DONE)
    assert len(alias_log.read(NAME)) == 2
    assert alias_log.reconcile(NAME) == ()


@pytest.mark.usefixtures("versions")
def test_a_move_before_the_crash_is_only_marked_as_done() -> None:
    with killed_after_the_alias():
        move("1")
    assert reported(alias_log.read(NAME)[-1]) == (None, "1", "promote", INTENT)

    assert alias_log.reconcile(NAME) == ()
    assert reported(alias_log.read(NAME)[-1]) == (None, "1", "promote", DONE)
    assert alias_log.current(NAME, CHAMPION) == "1"


@pytest.mark.usefixtures("versions")
def test_two_aliases_are_settled_each_for_itself() -> None:
    with killed_before_the_alias():
        move("1", CHALLENGER)
    with killed_after_the_alias():
        move("2")
    assert alias_log.reconcile(NAME) == ("the move of challenger to version 1 was interrupted; completed",)

    assert alias_log.aliases(NAME) == {CHALLENGER: "1", CHAMPION: "2"}
    assert {entry.state for entry in alias_log.read(NAME)} == {DONE}


@pytest.mark.usefixtures("versions")
def test_a_move_that_somebody_overtook_is_dropped() -> None:
    move("1")
    with killed_before_the_alias():
        move("2")
    by_hand("3")
    assert alias_log.reconcile(NAME) == ("champion was moved by hand from version 1 to 3",)

    assert [reported(entry) for entry in alias_log.read(NAME)] == [
        (None, "1", "promote", DONE), ("1", "2", "promote", DROPPED), ("1", "3", BY_HAND, DONE),
    ]  # fmt: skip
    assert alias_log.current(NAME, CHAMPION) == "3"
    assert alias_log.reconcile(NAME) == ()


@pytest.mark.usefixtures("versions")
def test_a_version_that_was_deleted_after_the_crash_does_not_become_champion() -> None:
    move("1")
    with killed_before_the_alias():
        move("2")
    mlflow_client().delete_model_version(NAME, "2")

    assert alias_log.reconcile(NAME) == (
        "the move of champion to version 2 was interrupted; dropped, because that version was deleted",
    )
    assert alias_log.current(NAME, CHAMPION) == "1"
    assert alias_log.reconcile(NAME) == ()


# --- Hands --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("versions")
def test_a_move_by_hand_is_noticed_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    move("1")
    by_hand("2")
    noticed = ("champion was moved by hand from version 1 to 2",)
    assert alias_log.find_differences(NAME) == alias_log.find_differences(NAME) == noticed
    assert len(alias_log.read(NAME)) == 1
    assert alias_log.reconcile(NAME) == noticed

    entry = alias_log.read(NAME)[-1]
    assert reported(entry) == ("1", "2", BY_HAND, DONE)
    assert (entry.by, entry.reason) == ("unknown", "moved outside this project; noticed now")
    assert alias_log.reconcile(NAME) == alias_log.find_differences(NAME) == ()
    assert len(alias_log.read(NAME)) == 2
    assert alias_log.current(NAME, CHAMPION) == "2"
    assert caplog.messages == [f"{NAME}: {noticed[0]}"]


@pytest.mark.usefixtures("versions")
def test_a_first_champion_by_hand_is_noticed_too() -> None:
    by_hand("3", CHALLENGER)

    assert alias_log.reconcile(NAME) == ("challenger was moved by hand from version none to 3",)


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize("how", ["alias", "version"])
def test_an_alias_that_was_deleted_by_hand_ends_the_reign(how: str) -> None:
    move("1")
    move("2")
    if how == "alias":
        by_hand(None)
    else:
        mlflow_client().delete_model_version(NAME, "2")
    assert alias_log.reconcile(NAME) == ("champion was moved by hand from version 2 to none",)

    last = alias_log.tenures(alias_log.read(NAME))[-1]
    assert (last.version, last.until) == (None, None)
    assert alias_log.reconcile(NAME) == ()


# --- Reigns -------------------------------------------------------------------------------------------------


def entries(*moves: tuple[str | None, str]) -> list[Entry]:
    """Moves of the champion, one a day, each to a version with a verdict."""
    return [
        Entry(day, f"2026-10-{day:02}T08:00:00+00:00", "me", CHAMPION, None, to, verdict, "")
        for day, (to, verdict) in enumerate(moves, 1)
    ]


def test_a_reign_lasts_until_the_next_begins() -> None:
    moves = entries(("1", "promote"), ("2", "promote"), (None, BY_HAND))
    others = [
        replace(moves[1], alias=CHALLENGER),
        replace(moves[1], state=DROPPED),
        replace(moves[1], state=INTENT),
    ]
    found = alias_log.tenures([moves[0], *others, *moves[1:]])

    assert [(reign.version, reign.since[:10], (reign.until or "now")[:10]) for reign in found] == [
        ("1", "2026-10-01", "2026-10-02"), ("2", "2026-10-02", "2026-10-03"), (None, "2026-10-03", "now"),
    ]  # fmt: skip
    assert [reign.entry for reign in found] == moves
    assert alias_log.tenures([]) == ()


PROMOTED = (("1", "promote"), ("2", "promote"), ("3", "promote"))


@pytest.mark.parametrize(
    ("moves", "to"),
    [
        ((), None),
        (PROMOTED[:1], None),
        (PROMOTED[:2], "1"),
        (PROMOTED, "2"),
        ((*PROMOTED, ("2", ROLLBACK)), "1"),
        ((*PROMOTED, ("2", ROLLBACK), ("1", ROLLBACK)), None),
        ((*PROMOTED, ("1", ROLLBACK)), None),
        ((*PROMOTED, ("2", ROLLBACK), ("4", "promote")), "2"),
        ((*PROMOTED, ("1", "by operator")), "3"),
        ((*PROMOTED, (None, BY_HAND)), "2"),
        ((*PROMOTED, ("9", BY_HAND)), "3"),
        ((("2", ROLLBACK), ("3", "promote")), "2"),
    ],
)
def test_a_rollback_goes_to_the_champion_before_and_never_to_one_that_was_rolled_back(
    moves: tuple[tuple[str | None, str], ...], to: str | None
) -> None:
    assert alias_log.predecessor(entries(*moves)) == to


NAMES = (f"trip-duration-{number}" for number in count())
KILLED = {"killed before": killed_before_the_alias, "killed after": killed_after_the_alias}
STEPS = ("move", "rollback", "by hand", "deleted by hand", *KILLED)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from("123")), max_size=6))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_journal_replayed_ends_at_the_alias(
    store: Path, steps: list[tuple[str, str]]
) -> None:
    name, line = next(NAMES), []  # of champions, the last one reigning
    for _ in range(3):
        bare_version(store, name)
    for step, version in steps:
        if step == "deleted by hand":
            by_hand(None, name=name)
        elif step == "rollback":
            earlier = alias_log.predecessor(alias_log.read(name))
            assert earlier == (line[-2] if len(line) > 1 else None)
            if earlier:
                alias_log.move(name, CHAMPION, earlier, by="me", verdict=ROLLBACK, reason="worse")
                line.pop()
        else:
            if step == "by hand":
                by_hand(version, name=name)
            else:
                with KILLED.get(step, contextlib.nullcontext)():
                    alias_log.move(name, CHAMPION, version, **RUN)
            line = [earlier for earlier in line if earlier != version] + [version]
        alias_log.reconcile(name)

        found, now = alias_log.read(name), alias_log.current(name, CHAMPION)
        assert [entry.number for entry in found] == list(range(1, len(found) + 1))
        assert {entry.state for entry in found} <= {DONE}
        assert [entry.before for entry in found] == [None, *(entry.after for entry in found)][:-1]
        assert (alias_log.tenures(found)[-1].version if found else None) == now
        assert alias_log.find_differences(name) == ()


def test_who_moves_is_a_user_at_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alias_log.socket, "gethostname", lambda: "here")
    monkeypatch.setattr(alias_log.getpass, "getuser", lambda: "me")
    assert alias_log.whoami() == "me@here"

    def nameless() -> str:
        raise KeyError("uid 1234")

    monkeypatch.setattr(alias_log.getpass, "getuser", nameless)
    assert alias_log.whoami() == "unknown@here"


def test_a_journal_that_cannot_be_read_is_not_empty(store: Path) -> None:
    with (
        pytest.raises(TrackingError) as refused,
        fails_at("get_registered_model", MlflowException("permission denied")),
    ):
        alias_log.read(NAME)

    assert str(refused.value) == f"{NAME}: reading the journal: MLflow failed: permission denied"


@pytest.mark.parametrize("letter", ["x", "ü", '"'])
def test_a_long_reason_fits_into_a_tag(letter: str, store: Path) -> None:
    bare_version(store)
    alias_log.move(NAME, CHAMPION, "1", **{**RUN, "reason": letter * 9000})
    (tag,) = mlflow_client().get_registered_model(NAME).tags.values()

    assert len(tag) < 5000
    assert alias_log.read(NAME)[0].reason == letter * 2000


@pytest.mark.parametrize(
    ("by", "month"),
    [
        ("monitoring of 2023-11", Month(2023, 11)),
        ("monitoring of 2023-13", None),
        ("monitoring of  2023-11", None),
        ("monitoring of \uff12\uff10\uff12\uff13-11", None),
        ("2023-11", None),
        ("run 1 by monitoring of 2023-11", None),
        ("", None),
    ],
)
def test_a_move_that_monitoring_made_names_its_month(by: str, month: Month | None) -> None:
    assert alias_log.made_for(Entry(1, "", by, CHAMPION, "2", "1", ROLLBACK, "why")) == month


# --- Changed by hand --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize("text", ["", "a note", "[]", "null", '{"at": "yesterday"}', '{"alias": "champion"}'])
def test_an_entry_that_somebody_changed_is_left_out_and_its_number_stays_taken(text: str) -> None:
    move("1")
    move("2")
    keys = ("journal.by-me", "mlflow.mlops.journal.000002", "mlflow.mlops.journal.by-me")
    for key in keys:
        mlflow_client().set_registered_model_tag(NAME, key, text)

    assert [entry.number for entry in alias_log.read(NAME)] == [1]
    assert alias_log.unreadable(NAME) == keys
    assert alias_log.reconcile(NAME) == ("champion was moved by hand from version 1 to 2",)
    assert [entry.number for entry in alias_log.read(NAME)] == [1, 3]
    assert move("3").number == 4
