"""Ranges have the stated coverage, are wide where errors are large, and always contain the prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.builders import make_batch
from support.small_models import QUICK

from mlops.model.duration_model import DurationModel
from mlops.model.estimator import Estimator
from mlops.model.features import REQUEST_FEATURES, feature_names
from mlops.training import calibration
from mlops.training.boosting import Matrix, build_matrix, train
from mlops.training.coverage_aim import Aim
from mlops.training.feature_files import Batch

FIXED: dict[str, Any] = {"seed": 1, "threads": 1}
PLAIN = tuple(feature.name for feature in REQUEST_FEATURES)
Columns = dict[str, np.ndarray]
Noise = Callable[[Columns, np.random.Generator], np.ndarray]


def city(n: int, seed: int, noise: Noise) -> Batch:
    """Rides of three minutes a mile through twenty zones, some without passengers or a meter, and their noise."""
    rng = np.random.default_rng(seed)
    columns = {
        "pickup_zone": rng.integers(1, 21, n).astype(np.int16),
        "dropoff_zone": rng.integers(1, 21, n).astype(np.int16),
        "distance_miles": np.where(rng.random(n) < 0.1, 0, rng.uniform(2, 12, n)).astype(np.float32),
        "passenger_count": np.where(rng.random(n) < 0.2, np.nan, 1).astype(np.float32),
        "minute_of_day": rng.integers(0, 1440, n).astype(np.int16),
        "weekday": rng.integers(0, 7, n).astype(np.int8),
        **dict.fromkeys(("month", "is_holiday", "is_school_day"), np.zeros(n, np.int8)),
    }
    minutes = 12 + 3 * columns["distance_miles"].astype(np.float64) + noise(columns, rng)
    return Batch(columns, minutes)


def estimator_of(matrix: Matrix, aim: Aim = Aim(), only: tuple[str, ...] = ()) -> Estimator:
    fit = train(matrix, QUICK, rounds=20, only=only, **FIXED)
    half = calibration.fit_half(matrix, QUICK, rounds=20, only=only, **FIXED)
    predicted, actual = fit.booster.predict(matrix.validation), matrix.validation.get_label()
    return Estimator(
        fit.booster, calibration.learn_intervals(matrix, half, predicted, actual, aim, only=only, **FIXED)
    )


def answered(noise: Noise, aim: Aim = Aim(), only: tuple[str, ...] = ()) -> tuple[Batch, np.ndarray]:
    """A month that nothing was fitted on, and its predictions: minutes and four bounds."""
    matrix = build_matrix([city(12_000, 1, noise)], [city(12_000, 2, noise)], features=PLAIN, **FIXED)
    month = city(20_000, 3, noise)
    model = DurationModel(matrix.encoder, estimator_of(matrix, aim, only), PLAIN)
    return month, model._answers(month.features)


def inside(month: Batch, answers: np.ndarray, level: int) -> np.ndarray:
    low, high = {80: (1, 2), 95: (3, 4)}[level]
    return (answers[:, low] <= month.minutes) & (month.minutes <= answers[:, high])


def width(answers: np.ndarray) -> np.ndarray:
    return np.asarray(answers[:, 2] - answers[:, 1])


NOISES: dict[str, Noise] = {
    "normal": lambda columns, rng: rng.standard_normal(len(columns["weekday"])),
    "skewed": lambda columns, rng: rng.exponential(3, len(columns["weekday"])),
}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_of_later_trips_the_share_aimed_at_is_inside(noise: Noise) -> None:
    aim = Aim(0.7, 0.9)
    for level, share, aims in ((80, 0.805, Aim()), (95, 0.9525, Aim()), (80, 0.7, aim), (95, 0.9, aim)):
        month, answers = answered(noise, aims)
        assert inside(month, answers, level).mean() == pytest.approx(share, abs=0.015)


def test_as_many_miss_on_either_side_even_where_errors_are_skewed() -> None:
    month, answers = answered(NOISES["skewed"])

    for place, share in zip((1, 2, 3, 4), Aim().levels, strict=True):
        assert (month.minutes < answers[:, place]).mean() == pytest.approx(share, abs=0.012)


WORSE: dict[str, Callable[[Columns], np.ndarray]] = {
    "from a zone": lambda columns: columns["pickup_zone"] <= 4,
    "at an hour": lambda columns: columns["minute_of_day"] // 240 == 4,
    "on a day": lambda columns: columns["weekday"] == 4,
    "without passengers": lambda columns: np.isnan(columns["passenger_count"]),
    "without a meter": lambda columns: columns["distance_miles"] == 0,
    "long": lambda columns: columns["distance_miles"] > 9,
}


@pytest.mark.parametrize("worse", WORSE.values(), ids=WORSE)
def test_ranges_are_wide_for_the_rides_with_large_errors(worse: Callable[[Columns], np.ndarray]) -> None:
    def noise(columns: Columns, rng: np.random.Generator) -> np.ndarray:
        return np.where(worse(columns), 3.0, 1.0) * rng.standard_normal(len(columns["weekday"]))

    month, answers = answered(noise)
    there = worse(month.features)

    assert (
        2 * width(answers)[~there].mean() < width(answers)[there].mean() < 4 * width(answers)[~there].mean()
    )
    for part in (there, ~there):
        assert inside(month, answers, 80)[part].mean() == pytest.approx(0.805, abs=0.04)
        assert inside(month, answers, 95)[part].mean() == pytest.approx(0.9525, abs=0.025)


def test_sizes_and_ranges_do_not_depend_on_features_that_are_left_out() -> None:
    def noise(columns: Columns, rng: np.random.Generator) -> np.ndarray:
        return np.where(columns["weekday"] == 4, 3.0, 1.0) * rng.standard_normal(len(columns["weekday"]))

    only = tuple(name for name in PLAIN if name != "weekday")
    month, answers = answered(noise, only=only)
    friday = month.features["weekday"] == 4

    assert width(answers)[friday].mean() == pytest.approx(width(answers)[~friday].mean(), rel=0.02)
    assert inside(month, answers, 80).mean() == pytest.approx(0.805, abs=0.015)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
def test_trees_use_only_the_features_that_they_may(seed: int, share: float) -> None:
    matrix = build_matrix([make_batch(2000, seed)], [make_batch(500, 9)], **FIXED)
    only, before = (
        feature_names(use_distance=False),
        train(matrix, QUICK, rounds=3, **FIXED).booster.save_raw(),
    )
    parameters = {"max_depth": 8, "colsample_bytree": share}
    booster = train(matrix, parameters, rounds=40, only=only, seed=seed, threads=1).booster
    used = {matrix.features[int(name[1:])] for name in booster.get_score()}

    assert used <= set(only)
    assert len(used) > len(only) / 2
    assert train(matrix, QUICK, rounds=3, **FIXED).booster.save_raw() == before  # nothing is left behind


def test_the_half_is_judged_on_trips_that_it_has_not_seen() -> None:
    matrix = build_matrix([make_batch(2000, 1)], [make_batch(500, 2)], **FIXED)
    label = matrix.training.get_label()
    half = calibration.fit_half(matrix, {"max_depth": 8, "min_child_weight": 1}, rounds=60, **FIXED)
    seen, unseen = (np.abs(half.errors[part]).mean() for part in (~half.unseen, half.unseen))

    assert 800 < half.unseen.sum() < 1200
    assert seen < 0.7 * unseen
    np.testing.assert_allclose(half.errors, label - half.fit.booster.predict(matrix.training), atol=1e-5)
    np.testing.assert_array_equal(matrix.training.get_label(), label)
    assert not len(matrix.training.get_weight())


def test_weights_of_months_stay() -> None:
    batch = make_batch(600, 1)
    weighted = Batch(batch.features, batch.minutes, np.linspace(0.5, 1, 600).astype(np.float32))
    matrix = build_matrix([weighted], [make_batch(200, 2)], **FIXED)
    estimator_of(matrix)

    np.testing.assert_array_equal(matrix.training.get_weight(), weighted.weight)


@pytest.mark.parametrize("off", [-5.0, 0.0, 5.0])
def test_a_month_that_was_all_faster_or_all_slower_leaves_the_prediction_inside(off: float) -> None:
    matrix = build_matrix([make_batch(500, 1)], [make_batch(200, 2)], **FIXED)
    half = calibration.fit_half(matrix, QUICK, rounds=5, **FIXED)
    predicted = matrix.validation.get_label()
    found = calibration.learn_intervals(matrix, half, predicted, predicted + off, Aim(), **FIXED).quantiles

    assert found[3 - 1] <= found[0] <= 0 <= found[1] <= found[3]
    assert (found[1] > 0) == (off > 0)
    assert (found[0] < 0) == (off < 0)


@pytest.mark.parametrize(("trips", "held_out"), [(1, 1), (2, 1), (30, 2)])
def test_a_few_trips_are_enough(trips: int, held_out: int) -> None:
    matrix = build_matrix([make_batch(trips, 1)], [make_batch(held_out, 2)], **FIXED)
    answers = DurationModel(matrix.encoder, estimator_of(matrix))._answers(make_batch(50, 3).features)

    assert np.isfinite(answers).all()
    assert (np.diff(answers[:, [3, 1, 0, 2, 4]], axis=1) >= 0).all()
