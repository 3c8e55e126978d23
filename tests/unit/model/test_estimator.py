"""Many rows go through the trees in groups, and get the same sums, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from mlops.model import estimator
from mlops.model.estimator import GROUPED_TREES, MANY_ROWS

TREES = 2 * GROUPED_TREES + 7  # the last group is a part of one


class Asked:
    """A booster that notes which trees it was asked for."""

    def __init__(self, booster: xgb.Booster) -> None:
        self.booster, self.groups = booster, []

    def num_boosted_rounds(self) -> int:
        return int(self.booster.num_boosted_rounds())

    def inplace_predict(self, table: Any, **options: Any) -> Any:
        self.groups.append(options.get("iteration_range"))
        return self.booster.inplace_predict(table, **options)


@pytest.fixture(scope="module")
def table() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=(MANY_ROWS, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def booster(table: np.ndarray[Any, Any]) -> xgb.Booster:
    """Trees whose sum depends on the order in which it is added up."""
    minutes = 15 + table @ np.array([5.0, -3.0, 0.7, 0.01]) + np.sin(table[:, 0] * table[:, 1])
    trained = xgb.DMatrix(table[:500], minutes[:500])
    return xgb.train({"max_depth": 3, "eta": 0.1, "nthread": 1}, trained, TREES)


def sums(booster: Any, table: Any) -> Any:
    return estimator._sums(booster, table)


def test_groups_of_trees_give_the_sums_of_all_trees(booster: xgb.Booster, table: Any) -> None:
    asked = Asked(booster)
    found, expected = sums(asked, table), booster.inplace_predict(table)
    assert asked.groups == [(0, 100), (100, 200), (200, 207)]
    assert found.dtype == expected.dtype == np.float32
    assert np.array_equal(found.view(np.int32), expected.view(np.int32))


def test_few_rows_and_few_trees_are_one_call(booster: xgb.Booster, table: Any) -> None:
    few_trees = booster[:GROUPED_TREES]
    for trees, rows in ((booster, table[:-1]), (few_trees, table)):
        asked = Asked(trees)
        assert np.array_equal(sums(asked, rows), trees.inplace_predict(rows))
        assert asked.groups == [None]
