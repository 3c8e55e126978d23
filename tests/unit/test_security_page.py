"""SECURITY.md names tests that exist, and has one for each threat."""

from __future__ import annotations

import re

import pytest

from mlops.config import PROJECT

THREATS, TESTS = (PROJECT / "SECURITY.md").read_text().split("\n## Tests\n")
ROWS = re.findall(r"(?m)^\| (\d+) \| `(\S+\.py)` \| (.+) \|$", TESTS)
NAMED = sorted({(file, name) for _, file, names in ROWS for name in re.findall(r"`(\w+)`", names)})


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    assert re.search(rf"(?m)^def {name}\(", (PROJECT / "tests" / file).read_text())


def test_each_threat_has_a_test_and_says_what_protects() -> None:
    threats = re.findall(r"(?m)^\| (\d+) \| (.+) \| (.+) \| .*\|$", THREATS)
    assert [int(number) for number, *_ in threats] == list(range(1, len(threats) + 1))
    assert {number for number, *_ in threats} == {number for number, *_ in ROWS}
    assert len(ROWS) == TESTS.count("\n| ") - 2  # the head of the table, and its line
