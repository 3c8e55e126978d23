"""The tree of errors in the docstring matches the classes."""

from __future__ import annotations

import re

import pytest

from mlops import errors
from mlops.errors import DataQualityError, MlopsError, MonthNotPublishedError, TripSchemaError


def drawn_tree(text: str) -> dict[str, str]:
    """Child -> parent, by the indentation of the names."""
    path: list[tuple[int, str]] = []
    parents = {}
    for line in text.splitlines():
        found = re.match(r"^[ │├└─]*(\w+Error)\b", line)
        if not found:
            continue
        depth = found.start(1)
        while path and path[-1][0] >= depth:
            path.pop()
        parents[found[1]] = path[-1][1] if path else "Exception"
        path.append((depth, found[1]))
    return parents


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    classes = [thing for thing in vars(errors).values() if isinstance(thing, type)]
    found = {c.__name__: c.__base__.__name__ for c in classes if issubclass(c, BaseException)}

    assert drawn_tree(errors.__doc__) == found


def test_every_error_is_one_for_a_person() -> None:
    for name in drawn_tree(errors.__doc__):
        error = getattr(errors, name)("what, where, expected, got, next")
        assert isinstance(error, MlopsError)
        assert str(error) == "what, where, expected, got, next"


def test_what_a_program_may_look_at_is_an_attribute() -> None:
    counts = {"rows": 3.0}
    quality = DataQualityError("few rows", counts=counts)
    counts["rows"] = 4.0

    assert quality.counts == {"rows": 3.0}
    assert TripSchemaError("no zone", columns=["PULocationID"]).columns == ("PULocationID",)
    missing = MonthNotPublishedError("not there", service="green", month="2023-10")
    assert (missing.service, missing.month) == ("green", "2023-10")


@pytest.mark.parametrize("error", [TripSchemaError("x"), DataQualityError("x"), MonthNotPublishedError("x")])
def test_attributes_are_empty_unless_given(error: MlopsError) -> None:
    assert not any(vars(error).values())
