"""A wrong feature of one's own is refused before training, in words that say what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.builders import MAY, make_requests

from mlops.data.synthetic import source
from mlops.data.trips import clean_file
from mlops.errors import ConfigError, MlopsError
from mlops.model import features
from mlops.model.own_feature_values import OwnFeature
from mlops.model.request_columns import read_requests
from mlops.training import feature_files, own_feature_checks
from mlops.training.own_feature_checks import require_row_by_row, require_usable

FINE = OwnFeature("hour", "hour of the day, 0 to 23", lambda r: r["minute_of_day"] // 60)
PLACE = "mlops/model/own_features.py: "


def refusal(own: Any) -> str:
    with pytest.raises(MlopsError) as refused:
        require_usable(own)
    return str(refused.value)


def test_no_feature_and_a_fine_one_are_usable() -> None:
    require_usable()
    require_usable((FINE,))
    require_usable([FINE, replace(FINE, name="other", needs_distance=True)])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": ""}, "expected a name of letters, digits and _"),
        ({"name": "two words"}, "expected a name of letters, digits and _"),
        ({"name": "class"}, "expected a name of letters, digits and _"),
        ({"name": "größe"}, "expected a name of letters, digits and _"),
        ({"name": 7}, "expected a name of letters, digits and _"),
        ({"name": "weekday"}, "this name is taken by another column. Choose another name"),
        ({"name": "pair_pace"}, "this name is taken"),
        ({"name": "pickup_at"}, "this name is taken"),
        ({"name": "duration_minutes"}, "this name is taken"),
        ({"name": "hour"}, "expected one feature with this name; got 2. Choose another name"),
        (
            {"meaning": " "},
            "expected a meaning with its unit, in one line; got ' '. Say what the number means",
        ),
        ({"meaning": "a\nb"}, "expected a meaning with its unit, in one line"),
        ({"values": np.ones(3)}, "expected a function; got a value of type ndarray. Pass it without ()"),
        ({"needs_distance": "no"}, "expected True or False for needs_distance; got 'no'"),
    ],
)
def test_a_wrong_feature_is_refused_with_its_name(changed: dict[str, Any], expected: str) -> None:
    wrong = replace(FINE, **{"name": "other", **changed})
    text = refusal((FINE, wrong))
    assert text.startswith(f"{PLACE}feature {wrong.name!r}: ")
    assert expected in text


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (FINE, "expected a tuple; got one OwnFeature: put a comma behind it"),
        (None, "expected a tuple; got a value of type NoneType"),
        (
            (len,),
            "expected OwnFeature(NAME, MEANING, FUNCTION); got a value of type builtin_function_or_method",
        ),
    ],
)
def test_a_wrong_list_is_refused(own: Any, expected: str) -> None:
    assert refusal(own) == f"{PLACE}OWN_FEATURES: {expected}"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda r: 60 / r["passenger_count"].astype(int), "ok"),
        (lambda r: np.array([{1: 2}[int(zone)] for zone in r["pickup_zone"]]), "KeyError: 0"),
        (lambda r: r["weekday"] if r["pickup_at"][0] else 0, "IndexError"),  # no request at all
        (lambda r: np.full(1, 2.0), "here 0; got an array of shape (1,)"),
    ],
)
def test_odd_requests_are_tried_before_training(function: Any, expected: str) -> None:
    own = (replace(FINE, values=function),)
    if expected == "ok":
        require_usable(own)
    else:
        assert expected in refusal(own)


@pytest.mark.parametrize(
    "function",
    [
        lambda r: r["minute_of_day"] - r["minute_of_day"].min(),
        lambda r: np.arange(len(r["weekday"])),
        lambda r: np.random.default_rng().random(len(r["weekday"])),
        lambda r: np.where(r["weekday"] == r["weekday"][0], np.nan, 1.0),
    ],
)
def test_a_value_that_depends_on_other_requests_is_refused(function: Any) -> None:
    requests = read_requests(make_requests(200, seed=3))
    with pytest.raises(ConfigError) as refused:
        require_row_by_row(requests, (replace(FINE, values=function),))
    text = str(refused.value)
    assert text.startswith(
        f"{PLACE}feature 'hour': expected the same value for a request alone and among others; got "
    )
    assert " alone and " in text
    assert " among 200 (pickup_at 20" in text
    assert text.endswith("Use nothing of other requests: no mean, rank or sum of a column, no random number")


def test_values_of_each_request_alone_are_fine() -> None:
    requests = read_requests(make_requests(200, seed=3))
    require_row_by_row(requests, (FINE, replace(FINE, values=lambda r: r["passenger_count"])))
    require_row_by_row({name: values[:0] for name, values in requests.items()}, (FINE,))


# --- In the feature file ------------------------------------------------------------------------------------


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    raw = source.write_month(tmp_path / "raw.parquet", "green", MAY, rows=200)
    clean_file(raw, "green", MAY, tmp_path / "clean.parquet")
    return tmp_path / "clean.parquet"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda r: r["minute_of_day"] - 400.0, "expected finite numbers of 0 or more"),
        (lambda r: r["minute_of_day"] - r["minute_of_day"].min(), "alone and among others"),
    ],
)
def test_no_feature_file_is_written_with_impossible_values(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Any, expected: str
) -> None:
    own = (replace(FINE, values=function),)
    monkeypatch.setattr(features, "OWN_FEATURES", own)
    monkeypatch.setattr(feature_files, "require_row_by_row", lambda r: require_row_by_row(r, own))
    with pytest.raises(ConfigError, match=expected):
        feature_files.write_features(clean, tmp_path / "out" / "features.parquet")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_feature_file_names_the_code_that_wrote_it(clean: Path, tmp_path: Path) -> None:
    for code in ("", "ab12"):
        feature_files.write_features(clean, tmp_path / "features.parquet", code)
        assert feature_files.code_of(tmp_path / "features.parquet") == code
    assert feature_files.code_of(clean) == ""
    (tmp_path / "features.parquet").write_bytes(b"another run's")
    assert feature_files.code_of(tmp_path / "features.parquet") == ""


def test_the_names_that_are_taken_are_the_columns_of_the_file() -> None:
    assert set(feature_files.FEATURE_SCHEMA.names) <= own_feature_checks.TAKEN
