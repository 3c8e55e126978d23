"""Values of features of one's own: computed for many requests as for one, and never impossible in a prediction."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops.errors import ConfigError, MlopsError
from mlops.model import features, own_features
from mlops.model.features import STANDARD_FEATURES, features_of, standard_features_of
from mlops.model.own_feature_values import OwnFeature, usable_ones, values_of
from mlops.model.request_columns import read_requests

ASKED = read_requests(
    {
        "pickup_at": np.array(["2023-07-03T23:30", "2023-07-04T08:00", "2023-12-31T12:00"], "datetime64[us]"),
        "pickup_zone": [74, 1, 0],
        "dropoff_zone": [42, 2, 265],
        "distance_miles": [2.0, np.nan, 1e30],
        "passenger_count": [1, -3, np.nan],
    }
)
COLUMNS = {"pickup_at": ASKED["pickup_at"], **standard_features_of(ASKED)}


def values(function: Any, strict: bool = False, needs_distance: bool = False) -> list[float]:
    (found,) = values_of([OwnFeature("mine", "a number", function, needs_distance)], COLUMNS, strict).values()
    assert found.dtype == np.float32
    return [float(value) for value in found]


def refusal(function: Any, strict: bool = False) -> str:
    with pytest.raises(MlopsError) as refused:
        values(function, strict)
    assert isinstance(refused.value, ConfigError) == strict
    return str(refused.value)


def test_a_project_has_none_at_first() -> None:
    assert own_features.OWN_FEATURES == ()
    assert features.REQUEST_FEATURES == STANDARD_FEATURES


def test_the_example_in_the_file_works() -> None:
    text = str(ast.get_docstring(ast.parse(Path(own_features.__file__).read_text())))
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ") or not line]
    namespace: dict[str, Any] = {"OwnFeature": OwnFeature}
    exec("\n".join(lines), namespace)

    (feature,) = namespace["OWN_FEATURES"]
    assert (feature.name, feature.needs_distance) == ("is_night", False)
    assert values(feature.values) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda r: r["minute_of_day"] * 1000, [1_410_000, 480_000, 720_000]),  # no overflow at 32,767
        (lambda r: r["weekday"] == 0, [1, 0, 0]),
        (lambda r: list(range(3)), [0, 1, 2]),
        (lambda r: r["pickup_zone"], [74, 1, 0]),
        (lambda r: r["passenger_count"], [1, np.nan, np.nan]),
        (lambda r: (r["pickup_at"] - r["pickup_at"].astype("datetime64[D]")) / np.timedelta64(1, "h"), None),
    ],
)
def test_numbers_and_true_and_false_are_values(function: Any, expected: list[float] | None) -> None:
    np.testing.assert_array_equal(values(function, strict=True), expected or [23.5, 8.0, 12.0])


def test_the_distance_is_given_to_those_who_declare_it() -> None:
    np.testing.assert_array_equal(
        values(lambda r: r["distance_miles"], needs_distance=True), [2.0, np.nan, np.nan]
    )
    assert refusal(lambda r: r["distance_miles"]) == (
        "mlops/model/own_features.py: feature 'mine' failed: it reads 'distance_miles'. Say so: OwnFeature(..., "
        "needs_distance=True)"
    )


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            lambda r: 1 / 0,
            "'mine' failed: ZeroDivisionError: division by zero. Its function is called with the",
        ),
        (
            lambda r: r["hour"],
            "'mine' failed: KeyError: 'hour'. Its function is called with the columns pickup_at, ",
        ),
        (lambda r, month: 1, "'mine' failed: TypeError"),
        (lambda r: 7, "one number for each request, here 3; got one number for all. Correct its function"),
        (lambda r: [1, 2], "one number for each request, here 3; got an array of shape (2,). Correct its"),
        (lambda r: np.ones((3, 1)), "got an array of shape (3, 1)"),
        (lambda r: r["pickup_at"], "got values of type datetime64[us]"),
        (lambda r: ["a", "b", "c"], "got values of type <U1"),
        (lambda r: r["weekday"].sort(), "'mine' failed: ValueError: sort array is read-only"),
    ],
)
def test_a_function_that_gives_no_column_is_an_error(function: Any, expected: str) -> None:
    assert expected in refusal(function)


IMPOSSIBLE = [-1.0, np.inf, -np.inf, 1e300]


@pytest.mark.parametrize("value", IMPOSSIBLE)
def test_what_cannot_be_is_an_error_in_training_and_missing_in_a_prediction(value: float) -> None:
    np.testing.assert_array_equal(values(lambda r: [1.0, value, 2.0]), [1.0, np.nan, 2.0])
    with np.errstate(over="ignore"):
        got = f"{np.float32(value):g}"
    assert refusal(lambda r: [1.0, value, 2.0], strict=True) == (
        "mlops/model/own_features.py: feature 'mine': expected finite numbers of 0 or more, and NaN for missing; "
        f"got {got} for 1 of 3 trips, the first with pickup_at 2023-07-04T08:00:00. Correct its function, for "
        "example with np.where(values >= 0, values, np.nan)"
    )


def test_a_division_by_zero_is_seen_by_its_result() -> None:
    assert "got inf for 1 of 3" in refusal(lambda r: 1 / (r["pickup_zone"]), strict=True)


@pytest.mark.parametrize("listed", [None, 7, OwnFeature("a", "b", len), "text"])
def test_a_wrong_list_does_not_prevent_imports(listed: Any) -> None:
    assert usable_ones(listed) == ()


def test_own_features_are_columns_behind_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = OwnFeature("mine", "zone plus one", lambda r: r["pickup_zone"] + 1)
    monkeypatch.setattr(features, "OWN_FEATURES", (mine,))
    found = features_of(ASKED, strict=True)

    assert list(found) == [*(feature.name for feature in STANDARD_FEATURES), "mine"]
    assert found["mine"].tolist() == [75.0, 2.0, 1.0]
    assert found["pickup_zone"].dtype == np.int16
    assert features.described(mine) == features.Feature("mine", "zone plus one")
