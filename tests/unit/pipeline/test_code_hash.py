"""A rule is hashed by what it does: its code, and what that code reads and calls."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mlops import config
from mlops.data.trips import RULES, Columns, Mask, Rule
from mlops.errors import ConfigError
from mlops.month import Month
from mlops.pipeline.run_key import rules_sha256

LIMIT = 2.0


def far(trips: Columns, month: Month) -> Mask:
    """Trips over a long distance."""
    return np.asarray(trips["distance_miles"] > LIMIT)


def farther(trips: Columns, month: Month) -> Mask:
    # The same rule with another comment and name, and no docstring.

    return np.asarray(trips["distance_miles"] > LIMIT)


def by_limit(limit: float) -> Callable[[Columns, Month], Mask]:
    return lambda trips, month: np.asarray(trips["distance_miles"] > limit)


class Beyond:
    """A rule as an object."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, trips: Columns, month: Month) -> Mask:
        return np.asarray(trips["distance_miles"] > self.limit)


def own(rejects: Any, name: str = "far", training_only: bool = True) -> str:
    return rules_sha256((*RULES, Rule(name, rejects, training_only)))


def test_a_rule_counts_by_name_training_only_and_behaviour() -> None:
    assert len({own(far), own(far, "not near"), own(far, training_only=False)}) == 3
    assert own(far) == own(farther)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda trips, month: trips["distance_miles"] > 2, lambda trips, month: trips["distance_miles"] > 3),
        (lambda trips, month: trips["a"] > 2, lambda trips, month: trips["a"] >= 2),
        (lambda trips, month: trips["a"] > 2, lambda trips, month: trips["b"] > 2),
        (lambda trips, month: np.isin(trips["a"], [1, 2]), lambda trips, month: np.isin(trips["a"], [1, 3])),
        (lambda trips, month: trips["a"] in {"x", "y"}, lambda trips, month: trips["a"] in {"x", "z"}),
        (lambda trips, month: [t > 1 for t in trips["a"]], lambda trips, month: [t > 2 for t in trips["a"]]),
        (by_limit(2.0), by_limit(3.0)),
        (lambda trips, month, most=2: trips["a"] > most, lambda trips, month, most=3: trips["a"] > most),
        (functools.partial(far, limit=2), functools.partial(far, limit=3)),
        (np.vectorize(lambda miles: miles > 2), np.vectorize(lambda miles: miles > 3)),
        (functools.cache(by_limit(2.0)), functools.cache(by_limit(3.0))),
        (Beyond(2.0), Beyond(3.0)),
        (Beyond(2.0).__call__, Beyond(3.0).__call__),
        (by_limit(np.arange(3)), by_limit(np.arange(4))),  # type: ignore[arg-type]
    ],
)
def test_a_changed_rule_of_the_same_name_has_another_key(one: Any, other: Any) -> None:
    assert own(one) == own(one)
    assert own(one) != own(other)


def test_two_rules_in_one_line_are_two() -> None:
    low, high = (lambda trips, month: trips["a"] > 1), (lambda trips, month: trips["a"] > 2)
    assert own(low) != own(high)


def test_a_constant_that_a_rule_reads_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = own(far)
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 3.0)
    assert own(far) != before


def test_a_function_that_a_rule_calls_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Any = lambda trips, month: far(trips, month)  # noqa: E731
    before = own(calls)
    monkeypatch.setattr(sys.modules[__name__], "far", by_limit(2.0))
    assert own(calls) != before


def test_a_rule_that_calls_itself_has_a_key() -> None:
    def again(trips: Any, month: Any) -> Any:
        return again(trips, month)

    assert own(again) == own(again)


def module(path: Path, text: str) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("rules_of_mine", path)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_rule_in_another_file_is_what_it_is_there(tmp_path: Path) -> None:
    text = "LIMIT = 2\ndef far(trips, month):\n    return trips['distance_miles'] > LIMIT\n"
    first = module(tmp_path / "rules_of_mine.py", text)
    one, through_module = own(first.far), own(lambda trips, month: first.far(trips, month))
    again = module(tmp_path / "again.py", f"# a comment\n{text}".replace("\n", "\r\n"))
    other = module(
        tmp_path / "rules_of_mine.py", text.replace("2", "30")
    )  # its size tells Python to compile it

    assert one == own(again.far) != own(other.far)
    assert through_module != own(lambda trips, month: other.far(trips, month))


def test_a_rule_typed_into_a_notebook_has_a_key_without_a_file() -> None:
    typed: list[dict[str, Any]] = [{"np": np}, {"np": np}, {"np": np}]
    for space, limit in zip(typed, (2, 2, 3), strict=True):
        exec(f"def far(trips, month):\n    return np.abs(trips['a']) > {limit}", space)
    one, same, other = (own(space["far"]) for space in typed)

    assert one == same != other


def test_the_same_rules_have_the_same_key_in_every_process() -> None:
    program = (
        "from mlops.data.trips import RULES, Rule\nfrom mlops.pipeline.run_key import rules_sha256\n"
        "print(rules_sha256((*RULES, Rule('x', lambda t, m: t['a'] in {'p', 'q', 'r', 's'}))))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(config.PROJECT)},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1


def test_a_rule_that_reads_what_cannot_be_hashed_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "zones.csv").open("w") as file:
        rule: Any = lambda trips, month: file  # noqa: E731
        with pytest.raises(
            ConfigError, match=r"reads a TextIOWrapper, which cannot be hashed .* inside the rule"
        ):
            own(rule)
