"""Before a version answers, it is tried on its own example."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.champions import ABOUT, changed
from support.tracked import NAME
from support.version_folders import BEFORE

from mlops.errors import MlopsError
from mlops.registry import local_copy
from mlops.registry.local_copy import Loaded
from mlops.registry.signed_version import Version
from mlops.serving.served import Served, try_out


def loaded(folder: Path, **tags: str) -> Loaded:
    """The version in a folder, whose signature nobody checks here."""
    return local_copy.load_folder(Version(NAME, "7", "", {**ABOUT, **tags}), folder)


def refusal(folder: Path) -> str:
    with pytest.raises(MlopsError) as refused:
        try_out(loaded(folder))
    return str(refused.value)


def test_a_version_that_answers_its_example(files: Path) -> None:
    served = Served.of(loaded(files))
    assert (served.name, served.version) == (NAME, "7")
    assert set(vars(served.model.estimator)) > {"_forest"}, "its trees are prepared"
    assert set(vars(served.model.without_distance)) > {"_forest"}


def test_a_version_of_an_older_release_has_no_example(tmp_path: Path) -> None:
    served = Served.of(loaded(shutil.copytree(BEFORE, tmp_path / "before")))
    assert not served.knows_missing_distance


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("asked = read_requests(requests)", "raise KeyError('x')", "it fails on its own example ('x')"),
        (
            "return pd.DataFrame({**columns, **outside}, index=requests.index)",
            "return pd.DataFrame({'duration_minutes': answers[:, 0]}, index=requests.index)",
            "its answers lack low_80_minutes, high_80_minutes, low_95_minutes, high_95_minutes, so it is not "
            "served",
        ),
        (
            "answers = self._answers(features_of(asked))",
            "answers = self._answers(features_of(asked)) * np.nan",
            "it answers its own example with values that are no numbers",
        ),
        (
            "answer = self._estimator_for(columns).predict_one(self._table(columns)[0])",
            "answer = [each + 0.5 for each in self._estimator_for(columns).predict_one(self._table(columns)[0])]",
            "alone and in a batch, its answers differ by up to 0.5 minutes",
        ),
        ("import xgboost as xgb\n", "import xgboost as xgb\nraise OSError('no')\n", "it cannot be loaded (no)"),
    ],
)  # fmt: skip
def test_a_version_that_fails_is_not_served(
    files: Path, tmp_path: Path, before: str, after: str, expected: str
) -> None:
    folder = changed(files, tmp_path / "other", "duration_model.py", before, after)
    assert refusal(folder) == f"models:/trip-duration-sample/7: {expected}"


@pytest.mark.parametrize(
    ("tags", "trained_on", "test_rmse"),
    [
        ({}, "2022-07 to 2023-05", 4.035209),
        ({"first_month_learnt": "", "test_rmse": "good"}, "", None),
        ({"test_rmse": "nan"}, "2022-07 to 2023-05", None),
    ],
)
def test_tags_that_somebody_changed(
    files: Path, tags: dict[str, Any], trained_on: str, test_rmse: float
) -> None:
    served = Served.of(loaded(files, **tags))
    assert (served.trained_on, served.test_rmse) == (trained_on, test_rmse)
    assert np.isfinite(served.loaded_at.timestamp())
