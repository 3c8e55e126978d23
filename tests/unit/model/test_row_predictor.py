"""The row predictor gives the booster's prediction for one row, to the last bit."""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st

from mlops.errors import MlopsError
from mlops.model.row_predictor import Forest

Array = npt.NDArray[Any]

CODES = 40  # in training; requests may hold others
TYPES = ["c", "q", "q", "c"]
KINDS: dict[str, dict[str, Any]] = {
    "by depth": {"max_depth": 6},
    "by leaves": {"max_depth": 0, "grow_policy": "lossguide", "max_leaves": 40},
    "leaves alone": {"max_depth": 6, "gamma": 1e9},
    "pruned": {"max_depth": 6, "gamma": 60},
    "one-hot": {"max_depth": 4, "max_cat_to_onehot": 100},
    "one step": {"max_depth": 1},
    "absolute error": {"max_depth": 4, "objective": "reg:absoluteerror"},
    "several at once": {"max_depth": 4, "num_parallel_tree": 3, "subsample": 0.5},
}


def make_rows(n: int, seed: int, codes: int = CODES) -> Array:
    """Two codes and two quantities, some missing, float32 of shape (n, 4)."""
    rng = np.random.default_rng(seed)
    quantities = np.round(rng.normal(5, 3, (n, 2)), 1)
    rows = np.column_stack([rng.integers(0, codes, n), quantities, rng.integers(0, codes, n)])
    rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows.astype(np.float32)


def make_booster(rounds: int = 25, **parameters: Any) -> xgb.Booster:
    rows = make_rows(1500, seed=1)
    noise = np.random.default_rng(2).normal(0, 0.5, len(rows))
    filled = np.nan_to_num(rows, nan=3.0)
    minutes = 14 + filled[:, 0] % 7 + filled[:, 1] * (filled[:, 3] % 3) + filled[:, 2] + noise
    matrix = xgb.QuantileDMatrix(rows, label=minutes, feature_types=TYPES, nthread=1)
    fixed = {"tree_method": "hist", "nthread": 1, "seed": 1, "eta": 0.3}
    return xgb.train({**fixed, **parameters}, matrix, rounds)


@functools.cache
def pair(kind: str) -> tuple[xgb.Booster, Forest]:
    booster = make_booster(**KINDS[kind])
    return booster, Forest.from_booster(bytes(booster.save_raw("json")))


def from_booster(booster: xgb.Booster, rows: Array) -> list[float]:
    found = booster.predict(xgb.DMatrix(rows, feature_types=TYPES, nthread=1))
    assert np.array_equal(found, booster.inplace_predict(rows))
    return list(map(float, found))


def one_by_one(forest: Forest, rows: Array) -> list[float]:
    return [forest.predict_one(row) for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_the_boosters(kind: str) -> None:
    booster, forest = pair(kind)
    rows = make_rows(400, seed=3, codes=2 * CODES)

    assert one_by_one(forest, rows) == from_booster(booster, rows)


codes = st.sampled_from([-1.0, -0.5, 0.0, 1.0, 31.0, 32.0, CODES - 1.0, CODES + 0.0, 63.0, 64.0, 1e6, 2e7])
quantities = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-5, 15, width=32)


@given(st.tuples(codes, quantities, quantities, codes), st.sets(st.integers(0, 3)))
def test_so_is_that_to_an_odd_request(values: tuple[float, ...], missing: set[int]) -> None:
    booster, forest = pair("by depth")
    row = np.array(values, np.float32)
    row[list(missing)] = np.nan

    assert forest.predict_one(row) == from_booster(booster, row[None])[0]


def test_a_value_on_a_threshold_goes_right() -> None:
    booster, forest = pair("by leaves")
    trees = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    rows = make_rows(300, seed=4)
    for row, tree in zip(rows, trees * 12, strict=True):
        asked = [i for i, left in enumerate(tree["left_children"]) if left >= 0 and not tree["split_type"][i]]
        row[tree["split_indices"][asked[0]]] = tree["split_conditions"][asked[0]]

    assert one_by_one(forest, rows) == from_booster(booster, rows)


def test_every_tree_counts_and_each_child_has_its_side() -> None:
    booster, forest = pair("by depth")
    rows = make_rows(300, seed=5)
    expected = one_by_one(forest, rows)
    for number in (0, 7, 24):
        model = json.loads(bytes(booster.save_raw("json")))
        tree = model["learner"]["gradient_booster"]["model"]["trees"][number]
        for i, (left, right) in enumerate(zip(tree["left_children"], tree["right_children"], strict=True)):
            tree["left_children"][i], tree["right_children"][i] = right, left

        assert one_by_one(Forest.from_booster(model), rows) != expected


def test_a_booster_without_trees_answers_its_base_score() -> None:
    booster = make_booster(rounds=1)
    model = json.loads(bytes(booster.save_raw("json")))
    model["learner"]["gradient_booster"]["model"]["trees"] = []
    base_score = json.loads(model["learner"]["learner_model_param"]["base_score"])[0]

    assert Forest.from_booster(model).predict_one(make_rows(1, 1)[0]) == np.float32(base_score)


def test_threads_may_share_it() -> None:
    booster, forest = pair("by depth")
    rows = make_rows(2000, seed=6)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(forest.predict_one, rows))

    assert found == from_booster(booster, rows)


def test_a_row_is_not_changed() -> None:
    _, forest = pair("by depth")
    row = make_rows(1, seed=7)[0]
    before = row.copy()
    forest.predict_one(row)

    np.testing.assert_array_equal(row, before)


@pytest.mark.parametrize(
    ("parameters", "got"),
    [
        ({"booster": "dart"}, "dart, reg:squarederror and 1"),
        ({"objective": "reg:gamma"}, "gbtree, reg:gamma and 1"),
        ({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}, "gbtree, reg:quantileerror and 2"),
    ],
)
def test_a_booster_that_is_not_a_plain_sum_is_refused(parameters: dict[str, Any], got: str) -> None:
    booster = make_booster(rounds=2, **parameters)

    with pytest.raises(MlopsError, match=f"one target; got {got}. Use the booster's own predict instead"):
        Forest.from_booster(bytes(booster.save_raw("json")))


def test_several_targets_are_refused() -> None:
    booster, _ = pair("by depth")
    model = json.loads(bytes(booster.save_raw("json")))
    model["learner"]["learner_model_param"]["base_score"] = "[14.0,2.0]"

    with pytest.raises(MlopsError, match="gbtree, reg:squarederror and 2"):
        Forest.from_booster(model)


def test_a_row_of_another_length_is_refused() -> None:
    _, forest = pair("by depth")

    with pytest.raises(MlopsError, match="expected a row of 4 values; got 3"):
        forest.predict_one(np.zeros(3, np.float32))
