"""Versions from before the library had packages answer as recorded, or refuse."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.version_folders import (
    BEFORE,
    HALF_A_DAY_LATER,
    PROJECT,
    Answers,
    answers,
    ask,
    edited,
    foreign,
    load,
    package,
    source,
)

from mlops.model import version_code
from mlops.registry.client import mlflow


def recorded() -> tuple[pd.DataFrame, Answers]:
    """Requests, and what the old code answered for each."""
    kept = json.loads((BEFORE.parent / "answers_before_rooms.json").read_text())
    requests = pd.DataFrame(kept["requests"]).assign(
        pickup_at=lambda frame: pd.to_datetime(frame["pickup_at"])
    )
    return requests, [list(row.values()) for row in kept["answers"]]


def test_a_flat_version_answers_as_recorded_in_this_process(version: Path) -> None:
    requests, expected = recorded()
    before = {name for name in sys.modules if name.partition(".")[0] == "mlops"}
    today = load(version)
    answered = answers(today, requests)
    model = mlflow.pyfunc.load_model(str(BEFORE))

    assert answers(model, requests) == expected
    assert [[*model.get_raw_model().predict_one(r).values()] for r in requests.to_dict("records")] == expected
    assert answers(today, requests) == answered != expected
    assert {name for name in sys.modules if name.partition(".")[0] == "mlops"} - before <= {"mlops.model"}


OURS = f"sys.path.insert(0, {str(PROJECT)!r})\nimport mlops.config\n"


@pytest.mark.parametrize(
    ("first", "place"),
    [("", 0), ("", 1), (OURS, 0)],
    ids=["before a version of today", "after it", "after this project's code"],
)
def test_a_flat_version_answers_as_recorded_in_a_fresh_process(
    first: str, place: int, version: Path, tmp_path: Path
) -> None:
    requests, expected = recorded()
    old = shutil.copytree(BEFORE, tmp_path / "old")
    pair = [version]
    pair.insert(place, old)
    reported = ask(tmp_path, requests, *pair, first=first)

    assert reported["answers"][place] == expected
    assert reported["answers"][1 - place] == answers(load(version), requests)


def test_two_flat_versions_answer_side_by_side_after_this_projects_code(tmp_path: Path) -> None:
    requests, expected = recorded()
    old = shutil.copytree(BEFORE, tmp_path / "old")
    other = edited(old, tmp_path / "other", "features", *HALF_A_DAY_LATER)
    alone = answers(load(other), requests)
    reported = ask(tmp_path, requests, old, other, first=OURS)

    assert alone != expected
    assert reported["answers"] == [expected, alone]


def test_a_flat_version_refuses_where_another_mlops_is_imported(tmp_path: Path) -> None:
    requests, _ = recorded()
    old = shutil.copytree(BEFORE, tmp_path / "old")
    first = f"sys.path.insert(0, {str(foreign(tmp_path))!r})\nimport mlops\n"
    with pytest.raises(AssertionError, match=r"ModuleNotFoundError: No module named 'mlops\.model'"):
        ask(tmp_path, requests, old, first=first)


@pytest.mark.parametrize(
    ("line", "act"),
    [
        ("from mlops import intervals as other", lambda module: module.other.__name__),
        ("from mlops.intervals import Intervals as other", lambda module: module.other.__module__),
    ],
)
def test_absolute_imports_of_a_flat_version_mean_its_own_modules(
    line: str, act: Callable[[Any], str], tmp_path: Path
) -> None:
    old = shutil.copytree(BEFORE, tmp_path / "old")
    text = source(old, "model").read_text()
    source(old, "model").write_text(text + f'\nTEXT = """\nfrom mlops import kept\n"""\n{line}\n')
    module = version_code.import_package(package(old))

    assert act(module) == f"_{version_code.package_name(package(old))}.intervals"
    assert module.TEXT == "\nfrom mlops import kept\n"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (
            "import mlops.features as other",
            "line 1: expected relative imports; got 'import mlops.features as",
        ),
        ("from mlops.config import PROJECT", r"No module named '_trip_duration_\w{12}.config'"),
    ],
)
def test_what_a_version_does_not_carry_is_not_taken_from_elsewhere(
    line: str, refusal: str, version: Path
) -> None:
    source(version, "intervals").write_text(f"{line}  # {uuid.uuid4()}\n")
    with pytest.raises(ImportError, match=refusal):
        load(version)
