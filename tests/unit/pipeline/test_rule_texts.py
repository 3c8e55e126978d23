"""Rules of a run's own as text: how they are written down, found again by name, and compared."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops.data.trips import RULES, Columns, Mask, Rule
from mlops.errors import ConfigError
from mlops.month import Month
from mlops.pipeline import rule_texts
from mlops.pipeline.rule_texts import describe, difference, find, from_json, in_words, source_of, to_json

LIMIT = 30.0
BLOCK = """
if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.data.trips import Rule

OWN_RULES = (Rule("far", lambda trips, month: trips["distance_miles"] > 30), Rule("slow", lambda t, m: t["a"] < 3))


@transformer
def clean_trips(months, *args, **variables):
    return months
"""


def far(trips: Columns, month: Month) -> Mask:
    """Trips over a long distance."""
    return np.asarray(trips["distance_miles"] > in_miles(LIMIT))


def in_miles(kilometres: float) -> float:
    return kilometres / 1.6


def by_limit(limit: float) -> tuple[Any, Any]:
    return (lambda t, m: t["a"] > limit, lambda t, m: t["a"] < limit)  # two on one line


class Beyond:
    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __repr__(self) -> str:
        return f"Beyond({self.limit})"

    def __call__(self, trips: Columns, month: Month) -> Mask:
        return np.asarray(trips["distance_miles"] > self.limit)


FAR = '''def far(trips: Columns, month: Month) -> Mask:
    """Trips over a long distance."""
    return np.asarray(trips["distance_miles"] > in_miles(LIMIT))'''
CALL = """def __call__(self, trips: Columns, month: Month) -> Mask:
    return np.asarray(trips["distance_miles"] > self.limit)"""


@pytest.mark.parametrize(
    ("rejects", "source"),
    [
        (far, f"LIMIT = 30.0\ndef in_miles(kilometres: float) -> float:\n    return kilometres / 1.6\n{FAR}"),
        (by_limit(2.0)[0], 'limit = 2.0\nlambda t, m: t["a"] > limit'),
        (by_limit(3.0)[1], 'limit = 3.0\nlambda t, m: t["a"] < limit'),
        (
            functools.partial(by_limit(2.0)[0]),
            'limit = 2.0\nlambda t, m: t["a"] > limit\n# called with ({},)',
        ),
        (Beyond(2.0), f"# called on a Beyond with {{'limit': 2.0}}\n{CALL}"),
        (eval("lambda t, m: t > 1"), ""),  # typed into a program: no file has it
    ],
)
def test_a_source_has_what_the_function_reads(rejects: Any, source: str) -> None:
    assert source_of(rejects) == source


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one transformer block, which has two rules."""
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "clean_trips.py").write_text(BLOCK)
    monkeypatch.setattr(rule_texts, "PROJECT", tmp_path)
    return tmp_path


def executed(text: str) -> dict[str, Any]:
    """What a block defines when Mage executes its text."""
    values: dict[str, Any] = {"transformer": lambda function: function}
    exec(text, values)
    return values


@pytest.mark.parametrize("is_copy", [True, False])
def test_a_rule_in_a_block_that_mage_executes_has_its_source(
    is_copy: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_copy:  # the stack serves a copy of the project
        monkeypatch.setenv("MAGE_REPO_PATH", str(project))
        monkeypatch.setattr(rule_texts, "PROJECT", project / "elsewhere")
    sources = [source_of(rule.rejects) for rule in executed(BLOCK)["OWN_RULES"]]

    assert sources == ['lambda trips, month: trips["distance_miles"] > 30', 'lambda t, m: t["a"] < 3']
    (other, _) = executed(BLOCK.replace("30", "31"))["OWN_RULES"]  # not saved to the file yet
    assert source_of(other.rejects) == ""


def test_rules_are_written_down_in_order_and_read_again() -> None:
    own = Rule("far", far, training_only=False)
    texts = describe((*RULES[1:], own))

    assert from_json(to_json(texts)) == texts
    assert [(text.name, text.training_only, text.is_usual) for text in texts] == [
        *((rule.name, rule.training_only, True) for rule in RULES[1:]),
        ("far", False, False),
    ]
    assert texts[-1].source.endswith(FAR)
    assert json.loads(to_json(texts))[-1]["name"] == "far"
    assert in_words(texts) == "far (training and test), without time_missing"
    assert in_words(describe(RULES[::-1])) == "the usual rules in another order"


def test_the_usual_rules_have_no_text() -> None:
    assert describe(RULES) == describe([*RULES]) == from_json("") == ()
    assert to_json(()) == in_words(()) == ""


def test_rules_of_the_checkout_are_the_usual_ones_and_those_of_its_blocks(project: Path) -> None:
    (project / "transformers" / "other.py").write_text("raise ValueError('no rule here')")
    found = rule_texts.in_checkout()

    assert found[: len(RULES)] == RULES
    assert [rule.name for rule in found[len(RULES) :]] == ["far", "slow"]


def test_a_block_that_cannot_be_executed_is_named(project: Path) -> None:
    (project / "transformers" / "clean_trips.py").write_text(f"import no_such_module\n{BLOCK}")
    with pytest.raises(ConfigError) as refused:
        rule_texts.in_checkout()
    assert str(refused.value) == (
        "transformers/clean_trips.py: cannot be executed to find its cleaning rules (ModuleNotFoundError: "
        "No module named 'no_such_module'). Correct this block, or restore it from git."
    )


def test_a_rule_is_found_by_its_name_and_the_same_one_is_preferred() -> None:
    stored = describe((Rule("far", far), Rule("gone", far), RULES[0]))
    other, same = Rule("far", by_limit(2.0)[0]), Rule("far", far)

    assert find(stored, (*RULES, same, other)) == [same, None, RULES[0]]
    assert find(stored, (*RULES, other)) == [other, None, RULES[0]]


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (far, far, ""),
        (by_limit(2.0)[0], by_limit(2.0)[0], ""),
        (
            by_limit(2.0)[0],
            by_limit(3.0)[1],
            'cleaning rule far: its source was `limit = 2.0 lambda t, m: t["a"] > limit` and is `limit = 3.0 '
            'lambda t, m: t["a"] < limit` now',
        ),
    ],
)
def test_a_difference_shows_both_sources(
    then: Callable[..., Any], now: Callable[..., Any], said: str
) -> None:
    (text,) = describe((Rule("far", then),))
    assert difference(text, Rule("far", now)) == said


def test_other_differences_are_named_too() -> None:
    (text,) = describe((Rule("far", far),))
    assert difference(text, Rule("far", far, training_only=False)) == (
        "cleaning rule far: it was for training only, and is for training and test now"
    )
    assert difference(replace(text, sha256="ab"), Rule("far", far)) == (
        "cleaning rule far: its source is the same, but not what it reads, or Python's version"
    )


def test_a_stored_source_cannot_change_the_terminal() -> None:
    assert rule_texts.shown("lambda t, m:\n  \x1b[2Jt\u202e") == r"lambda t, m: \x1b[2Jt\u202e"
