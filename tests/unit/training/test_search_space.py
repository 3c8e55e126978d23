"""The search space is a table: a line more or less is a parameter more or less, and a wrong line is refused."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st
from support.searches import bowl, fit, rungs, searched
from support.small_models import matrix_of

from mlops.errors import ConfigError
from mlops.training import search_space
from mlops.training.boosting import train
from mlops.training.search import run_search
from mlops.training.search_space import (
    EVEN,
    LIMITS,
    LOG,
    SPACE,
    WHOLE,
    Parameter,
    clip_to_bounds,
    first_guess,
    require_usable,
)

GAMMA = Parameter("gamma", LOG, 0.001, 10, first=0.01, reason="least gain of a split")


# --- The project's own space --------------------------------------------------------------------------------


def test_the_first_trial_is_inside_the_space() -> None:
    require_usable()
    assert clip_to_bounds(first_guess()) == first_guess()
    assert all(parameter.reason for parameter in SPACE)


def test_the_search_suggests_what_it_always_did() -> None:
    """Recorded before the space was a table: an upgrade must not change the models of a seed."""
    trial = run_search(bowl, rungs(14), seed=42).trials[-1]

    assert searched(trial) == pytest.approx(RECORDED, rel=1e-12)
    assert type(trial.parameters["max_depth"]) is int


RECORDED = {
    "colsample_bytree": 0.4169930048310573,
    "max_depth": 6,
    "min_child_weight": 26.714368189308278,
    "reg_alpha": 1.2017724061415482,
    "reg_lambda": 11.617104356403525,
    "subsample": 0.6686980330087977,
}


@given(st.dictionaries(st.sampled_from([*first_guess(), "gamma", "learning_rate"]), st.floats()))
def test_a_point_from_elsewhere_is_brought_inside(point: dict[str, float]) -> None:
    found = clip_to_bounds(point)

    assert list(found) == [parameter.name for parameter in SPACE]
    for parameter in SPACE:
        value, asked = found[parameter.name], point.get(parameter.name, parameter.first)
        assert parameter.low <= value <= parameter.high
        expected = parameter.first if asked != asked else asked
        assert value in (expected, parameter.low if expected < parameter.low else parameter.high)
    assert clip_to_bounds(found) == found


# --- A line more, a line less -------------------------------------------------------------------------------


def test_the_example_of_the_docstring_is_a_line_of_the_space() -> None:
    lines = str(ast.get_docstring(ast.parse(Path(search_space.__file__).read_text()))).splitlines()
    (example,) = (line.strip().rstrip(",") for line in lines if line.startswith("    Parameter("))

    assert eval(example, vars(search_space)) == GAMMA
    require_usable((*SPACE, GAMMA))


def test_one_parameter_more_is_searched() -> None:
    found = run_search(bowl, rungs(12, 2), seed=1, space=(*SPACE, GAMMA))

    assert {**searched(found.trials[0])} == {**first_guess(), "gamma": 0.01}
    drawn = {trial.parameters["gamma"] for trial in found.trials[1:12]}
    assert len(drawn) == 11
    assert all(0.001 <= gamma <= 10 for gamma in drawn)


def test_whole_numbers_are_drawn_as_such() -> None:
    leaves = Parameter("max_leaves", WHOLE, 16, 512, first=256, reason="")
    found = run_search(lambda parameters, rung: fit(4.0), rungs(12), seed=1, space=(leaves,))

    assert all(type(trial.parameters["max_leaves"]) is int for trial in found.trials)
    assert len({trial.parameters["max_leaves"] for trial in found.trials}) > 6


@pytest.mark.parametrize("left_out", ["max_depth", "reg_alpha"])
def test_one_parameter_less_is_left_to_xgboost(left_out: str) -> None:
    space = tuple(parameter for parameter in SPACE if parameter.name != left_out)
    found = run_search(lambda parameters, rung: fit(4.0), rungs(5), seed=1, space=space)

    assert all(left_out not in trial.parameters for trial in found.trials)
    assert train(matrix_of(100), found.best.parameters, seed=1, threads=1, rounds=2).rounds == 2


def test_a_start_of_another_space_is_brought_into_this_one() -> None:
    space = (*SPACE[1:], GAMMA)
    start = clip_to_bounds({"max_depth": 7.0, "gamma": 99.0, "subsample": 0.7}, space)
    found = run_search(bowl_without_depth, rungs(4), seed=1, starts=[start], space=space)

    assert start == {**first_guess(SPACE[1:]), "subsample": 0.7, "gamma": 10.0}
    assert searched(found.trials[1]) == start


def bowl_without_depth(parameters: dict[str, Any], rung: Any) -> Any:
    return bowl({"max_depth": 7, **parameters}, rung)


def test_xgboost_knows_every_name_that_may_be_searched(capfd: pytest.CaptureFixture[str]) -> None:
    least = {name: 1 if name in search_space.WHOLE_NUMBERS else 0.5 for name in LIMITS}
    least["max_leaves"] = 2
    xgb.train({**least, "nthread": 1, "tree_method": "hist"}, matrix_of(100).training, 1)

    assert "are not used" not in capfd.readouterr().err


# --- Wrong lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": "gama"}, "'gama': expected one of max_depth, max_leaves"),
        ({"name": "learning_rate"}, "'learning_rate': expected one of max_depth"),
        ({"name": "subsample"}, "'subsample': expected one line; got 2"),
        ({"kind": "loguniform"}, "'gamma': expected the kind WHOLE, EVEN or LOG; got 'loguniform'"),
        (
            {"name": "max_leaves"},
            "'max_leaves': expected the kind WHOLE, because XGBoost needs a whole number",
        ),
        ({"low": float("nan")}, "'gamma': expected a finite number as low; got nan"),
        ({"high": "10"}, "'gamma': expected a finite number as high; got '10'"),
        ({"first": True}, "'gamma': expected a finite number as first; got True"),
        ({"kind": WHOLE, "first": 1.5, "low": 1}, "'gamma': expected a whole number as first; got 1.5"),
        ({"low": 10}, "'gamma': expected low < high; got 10 and 10"),
        ({"low": 20}, "'gamma': expected low < high; got 20 and 10"),
        ({"first": 11}, "'gamma': expected first from 0.001 to 10; got 11"),
        ({"low": -1}, "'gamma': expected bounds from 0, which XGBoost accepts; got -1 to 10"),
        ({"low": 0}, "'gamma': expected low > 0 on a logarithmic scale; got 0. Take a small number, such as"),
        (
            {"name": "colsample_bynode", "kind": EVEN, "low": 0.5, "high": 2, "first": 1},
            "'colsample_bynode': expected bounds above 0 to 1, which XGBoost accepts; got 0.5 to 2",
        ),
        ({"name": "colsample_bynode", "kind": EVEN, "low": 0, "high": 1}, "got 0 to 1"),
    ],
)
def test_a_wrong_line_is_refused_before_a_trial(changed: dict[str, Any], expected: str) -> None:
    def evaluate(parameters: dict[str, Any], rung: Any) -> Any:
        pytest.fail("a trial began")

    with pytest.raises(ConfigError) as refused:
        run_search(evaluate, rungs(2), seed=1, space=(*SPACE, replace(GAMMA, **changed)))
    assert str(refused.value).startswith("mlops/training/search_space.py: parameter '")
    assert expected in str(refused.value)
    assert str(refused.value).endswith("Correct its line in SPACE.")


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ((), "expected at least one parameter; got none"),
        (GAMMA, "expected a tuple of Parameter(...), with a comma after each"),
        (("gamma",), "expected a tuple of Parameter(...), with a comma after each"),
    ],
)
def test_a_space_that_is_none_is_refused(space: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        require_usable(space)
    assert str(refused.value) == f"mlops/training/search_space.py: SPACE: {expected}"
