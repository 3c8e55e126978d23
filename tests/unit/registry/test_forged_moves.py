"""Attacks on the journal: whoever can write tags writes no history, and ends no command in a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support import listed
from support.tracked import NAME, bare_version, mlflow_client

from mlops import config
from mlops.errors import PromotionError
from mlops.operations.doctor import history
from mlops.registry import alias_log, operator
from mlops.registry.alias_log import BEFORE, CHAMPION, FORGED, SIGNED
from mlops.registry.journal_tags import OLD_PREFIX, PREFIX, key_of

RUN: dict[str, Any] = {"by": "run 1 by me@here", "verdict": "promote", "reason": "better"}
GUARDED = ("at", "by", "alias", "from", "to", "verdict", "reason", "state")


@pytest.fixture
def moved(store: Path) -> Iterator[None]:
    """Version 1 was champion, then 2."""
    for _ in range(3):
        bare_version(store, run_key="ab", artefact_sha256="ab", outcome="champion", verdict="promote")
    alias_log.move(NAME, CHAMPION, "1", **RUN)
    alias_log.move(NAME, CHAMPION, "2", **RUN)
    yield


def tag(number: int) -> dict[str, Any]:
    return dict(json.loads(mlflow_client().get_registered_model(NAME).tags[key_of(number)]))


def write(number: int, fields: object) -> None:
    text = fields if isinstance(fields, str) else json.dumps(fields)
    mlflow_client().set_registered_model_tag(NAME, key_of(number), text)


def proofs() -> list[str]:
    return [entry.proof for entry in alias_log.read_all(NAME)]


@pytest.mark.usefixtures("moved")
def test_a_forged_move_decides_no_rollback_and_is_shown_as_forged() -> None:
    write(3, {**tag(2), "from": "2", "to": "3", "reason": "\x1b[2Jforged"})
    write(4, {**{name: tag(2)[name] for name in GUARDED}, "from": "3", "to": "2"})

    assert proofs() == [SIGNED, SIGNED, FORGED, FORGED]
    assert alias_log.predecessor(alias_log.read(NAME)) == "1"
    assert alias_log.reconcile(NAME) == ()
    with pytest.raises(PromotionError, match="version 3 was never champion"):
        operator.rollback(NAME, "why", to="3")
    shown = listed.listing(NAME)
    assert "champion 2 -> 3 [forged]  promote" in shown
    assert "NOTE: a move marked [forged] has no signature of this machine's key" in shown
    assert "\x1b" not in shown
    (found,) = [each.text for each in history.look_over(NAME) if "signature of this machine" in each.text]
    assert found.startswith(f"{NAME}: moves of the journal without a signature of this machine's key: 3, 4. ")


@pytest.mark.usefixtures("moved")
@pytest.mark.parametrize("field", GUARDED)
def test_every_field_of_a_move_is_signed(field: str) -> None:
    changed = {"at": "2020-01-01T00:00:00+00:00", "from": "3", "to": "3"}.get(field, "other")
    write(2, {**tag(2), field: changed})
    assert proofs() == [SIGNED, FORGED]


@pytest.mark.usefixtures("moved")
def test_a_move_is_of_its_number_and_its_model() -> None:
    write(7, tag(1))
    other = "trip-duration-green"
    mlflow_client().create_registered_model(other)
    mlflow_client().set_registered_model_tag(other, key_of(1), json.dumps(tag(1)))
    assert proofs() == [SIGNED, SIGNED, FORGED]
    assert [entry.proof for entry in alias_log.read_all(other)] == [FORGED]


@pytest.mark.usefixtures("moved")
def test_an_alias_that_a_forged_move_explains_was_moved_by_hand() -> None:
    write(3, {**tag(2), "from": "2", "to": "3"})
    mlflow_client().set_registered_model_alias(NAME, CHAMPION, "3")
    assert alias_log.reconcile(NAME) == ("champion was moved by hand from version 2 to 3",)
    assert proofs() == [SIGNED, SIGNED, FORGED, SIGNED]


@pytest.mark.usefixtures("moved")
def test_moves_of_another_key_are_forged_and_those_of_before_count(store: Path) -> None:
    shutil.move(config.state().registry_key, store / "elsewhere")
    assert proofs() == [FORGED, FORGED]
    for number in (1, 2):
        write(number, {name: tag(number)[name] for name in GUARDED})
    assert proofs() == [BEFORE, BEFORE]
    assert alias_log.predecessor(alias_log.read(NAME)) == "1"
    assert alias_log.reconcile(NAME) == ()
    assert not config.state().registry_key.exists()  # reading makes none
    alias_log.move(NAME, CHAMPION, "3", **RUN)
    write(4, {name: tag(1)[name] for name in GUARDED})
    assert proofs() == [BEFORE, BEFORE, SIGNED, FORGED]


ODD: tuple[object, ...] = (
    "[" * 2400, "[]", "null", "7", '{"at": NaN}', {}, {"at": "2026-01-01"}, "\\ud800", '"\\ud800"',
    *({"at": "2026-01-01T00:00:00", "alias": CHAMPION, "from": None, "to": "1", "reason": "x"} | odd for odd in (
        {"alias": ["champion"]}, {"alias": {}}, {"to": 1}, {"to": ["1"]}, {"by": 7}, {"reason": None},
        {"state": ["done"]}, {"verdict": {}}, {"overrides": 1}, {"at": "2026-13-01"},
    )),
)  # fmt: skip


ENDINGS = ("-1", "1", "000000", "1e3", "", "٣", "journal.000001")


@pytest.mark.usefixtures("moved")
def test_no_tag_ends_a_command_in_a_traceback() -> None:
    for number, odd in enumerate(ODD, start=3):
        write(number, odd)
    for prefix, ending in product((OLD_PREFIX, PREFIX), ENDINGS):
        mlflow_client().set_registered_model_tag(NAME, prefix + ending, json.dumps(tag(1)))
    auth = {**tag(2), "auth": "\ud800", "reason": "\ud800"}
    write(99, auth)

    assert proofs() == [SIGNED, SIGNED, FORGED]
    assert len(alias_log.unreadable(NAME)) == len(ODD) + 2 * len(ENDINGS)
    assert alias_log.reconcile(NAME) == ()
    assert listed.listing(NAME)
    assert listed.champion(NAME)
    assert [*history.look_over(NAME)]
    assert "version 2" in listed.as_of(NAME, alias_log.read(NAME)[-1].at)
