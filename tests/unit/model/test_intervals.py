"""Intervals have the stated coverage, are wide where errors are large, and always contain the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import make_batch, make_features, make_requests

from mlops.model.duration_model import DurationModel
from mlops.model.features import request_features
from mlops.model.intervals import FACTORS, INTERVAL_COLUMNS, QUANTILE_LEVELS, Intervals
from mlops.model.request_columns import ZONES
from mlops.training.boosting import build_matrix, train

PROMISED = {80: QUANTILE_LEVELS[1] - QUANTILE_LEVELS[0], 95: QUANTILE_LEVELS[3] - QUANTILE_LEVELS[2]}
Columns = dict[str, np.ndarray]


def city(n: int, seed: int) -> tuple[Columns, np.ndarray, np.random.Generator]:
    """Requests of all hours and twenty zones, some without passengers or a meter, and what is predicted."""
    rng = np.random.default_rng(seed)
    columns = {
        "pickup_zone": rng.integers(1, 21, n).astype(np.int16),
        "dropoff_zone": rng.integers(1, 21, n).astype(np.int16),
        "distance_miles": np.where(rng.random(n) < 0.1, 0, rng.uniform(0.2, 10, n)).astype(np.float32),
        "passenger_count": np.where(rng.random(n) < 0.2, np.nan, 1).astype(np.float32),
        "minute_of_day": rng.integers(0, 1440, n).astype(np.int16),
        "weekday": rng.integers(0, 7, n).astype(np.int8),
    }
    return columns, rng.uniform(3, 40, n), rng


def drawn(n: int, seed: int, **worse: np.ndarray) -> tuple[Columns, np.ndarray, np.ndarray]:
    """The city, its predictions, and what came: errors of two minutes, three times as large where it is `worse`.

    `worse` is for each column the values that make it so.
    """
    columns, predicted, rng = city(n, seed)
    scale = np.full(n, 2.0)
    for name, values in worse.items():
        scale = np.where(np.isin(columns[name], values), 3 * scale, scale)
    return columns, predicted, predicted + scale * rng.standard_normal(n)


def covered(bounds: Mapping[str, np.ndarray], actual: np.ndarray, level: int) -> np.ndarray:
    return (bounds[f"low_{level}_minutes"] <= actual) & (actual <= bounds[f"high_{level}_minutes"])


def width(bounds: Mapping[str, np.ndarray], level: int = 80) -> np.ndarray:
    return np.asarray(bounds[f"high_{level}_minutes"] - bounds[f"low_{level}_minutes"])


# --- What they promise --------------------------------------------------------------------------------------


def test_the_quantiles_are_slightly_wider_than_the_stated_level() -> None:
    assert PROMISED[80] == pytest.approx(0.805)
    assert PROMISED[95] == pytest.approx(0.9525)


@pytest.mark.parametrize("shape", ["normal", "skewed", "biased"])
def test_of_trips_like_those_they_were_calibrated_on_the_promised_share_is_inside(shape: str) -> None:
    def actual(predicted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        normal, skewed = rng.standard_normal(len(predicted)), rng.exponential(1, len(predicted))
        error = {"normal": 3 * normal, "skewed": 4 * skewed - 3, "biased": 1 + 2 * normal}[shape]
        return np.asarray(predicted + error)

    columns, predicted, rng = city(20_000, 1)
    intervals = Intervals.fit(columns, predicted, actual(predicted, rng))
    columns, predicted, rng = city(40_000, 2)
    bounds, came = intervals.bounds(columns, predicted), actual(predicted, rng)

    for level, promised in PROMISED.items():
        assert covered(bounds, came, level).mean() == pytest.approx(promised, abs=0.01)


def test_as_many_miss_on_either_side_even_where_errors_are_skewed() -> None:
    columns, predicted, rng = city(20_000, 1)
    intervals = Intervals.fit(columns, predicted, predicted + rng.exponential(4, 20_000) - 3)
    columns, predicted, rng = city(40_000, 2)
    bounds, came = intervals.bounds(columns, predicted), predicted + rng.exponential(4, 40_000) - 3

    for name, share in zip(INTERVAL_COLUMNS, QUANTILE_LEVELS, strict=True):
        assert (came < bounds[name]).mean() == pytest.approx(share, abs=0.01)
    above = bounds["high_95_minutes"] - predicted
    assert (above > 2 * (predicted - bounds["low_95_minutes"])).all()


WORSE = {
    "from a zone": {"pickup_zone": np.array([7])},
    "to a zone": {"dropoff_zone": np.array([7])},
    "at an hour": {"minute_of_day": np.arange(17 * 60, 18 * 60)},
    "on a day": {"weekday": np.array([4])},
}


@pytest.mark.parametrize("worse", WORSE.values(), ids=WORSE)
def test_they_are_wide_where_errors_are_large(worse: dict[str, np.ndarray]) -> None:
    intervals = Intervals.fit(*drawn(60_000, 1, **worse))
    columns, predicted, actual = drawn(60_000, 2, **worse)
    bounds = intervals.bounds(columns, predicted)
    ((name, values),) = worse.items()
    there = np.isin(columns[name], values)

    assert 2 * width(bounds)[~there].mean() < width(bounds)[there].mean() < 4 * width(bounds)[~there].mean()
    for part in (there, ~there):
        # An hour of a weekend has seven hundred trips here, which do not quite outweigh what is usual.
        assert covered(bounds, actual, 80)[part].mean() == pytest.approx(PROMISED[80], abs=0.05)
        assert covered(bounds, actual, 95)[part].mean() == pytest.approx(PROMISED[95], abs=0.03)


def test_an_hour_of_a_weekend_is_not_the_same_hour_of_a_weekday() -> None:
    columns, predicted, rng = city(60_000, 1)
    there = (columns["weekday"] >= 5) & (columns["minute_of_day"] // 60 == 3)
    actual = predicted + np.where(there, 6, 2) * rng.standard_normal(60_000)
    found = width(Intervals.fit(columns, predicted, actual).bounds(columns, predicted))
    that_hour = (columns["minute_of_day"] // 60 == 3) & ~there

    assert found[there].mean() > 2 * found[that_hour].mean()
    assert found[that_hour].mean() == pytest.approx(found[~there].mean(), rel=0.1)


def missing_passengers(columns: Columns, predicted: np.ndarray) -> np.ndarray:
    return np.asarray(np.isnan(columns["passenger_count"]))


def meter_stood(columns: Columns, predicted: np.ndarray) -> np.ndarray:
    return np.asarray(columns["distance_miles"] < 0.1)


def long_ride(columns: Columns, predicted: np.ndarray) -> np.ndarray:
    return predicted > 30.75  # a quarter of the rides, and so three of the twelve bins


@pytest.mark.parametrize("worse", [missing_passengers, meter_stood, long_ride])
def test_they_are_wide_for_the_kinds_of_ride_that_go_astray(worse: object) -> None:
    def drawn_with(seed: int) -> tuple[Columns, np.ndarray, np.ndarray, np.ndarray]:
        columns, predicted, rng = city(30_000, seed)
        there = worse(columns, predicted)  # type: ignore[operator]
        return columns, predicted, predicted + np.where(there, 6, 2) * rng.standard_normal(30_000), there

    intervals = Intervals.fit(*drawn_with(1)[:3])
    columns, predicted, actual, there = drawn_with(2)
    bounds = intervals.bounds(columns, predicted)

    assert width(bounds)[there].mean() > 2 * width(bounds)[~there].mean()
    for part in (there, ~there):
        assert covered(bounds, actual, 80)[part].mean() == pytest.approx(PROMISED[80], abs=0.03)
        assert covered(bounds, actual, 95)[part].mean() == pytest.approx(PROMISED[95], abs=0.02)


def test_where_errors_are_alike_the_widths_are_too() -> None:
    intervals = Intervals.fit(*drawn(60_000, 1))
    columns, predicted, _ = drawn(10_000, 2)
    spread = width(intervals.bounds(columns, predicted))

    # 80.5 % of a normal distribution are 1.296 deviations, of 2 minutes each, either way.
    assert spread.mean() == pytest.approx(2 * 1.296 * 2, rel=0.02)
    assert spread.std() < 0.1 * spread.mean()


def test_a_zone_seen_a_few_times_is_not_taken_at_its_word() -> None:
    columns, predicted, actual = drawn(20_000, 1)
    columns["pickup_zone"][:3] = 200
    actual[:3] = predicted[:3] + 30
    bounds = Intervals.fit(columns, predicted, actual).bounds(columns, predicted)

    assert width(bounds)[:3].mean() < 2 * width(bounds)[3:].mean()


def test_errors_twice_as_large_make_ranges_twice_as_wide() -> None:
    columns, predicted, actual = drawn(5000, 1, weekday=np.array([4]))
    one = Intervals.fit(columns, predicted, actual).bounds(columns, predicted)
    other = Intervals.fit(columns, predicted, predicted + 2 * (actual - predicted)).bounds(columns, predicted)

    for name in INTERVAL_COLUMNS:
        np.testing.assert_allclose(other[name] - predicted, 2 * (one[name] - predicted), rtol=1e-9)


# --- Always a range, always around the prediction -----------------------------------------------------------

numbers = st.floats(1, 60)


@st.composite
def calibrations(draw: st.DrawFn) -> tuple[Columns, np.ndarray, np.ndarray]:
    """A few trips with any gaps, what was predicted and what came."""
    n = draw(st.integers(1, 40))

    def column(values: st.SearchStrategy, kind: type) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), kind)

    gaps = st.sampled_from([0.0, 0.05, 1.0, 5.0, np.nan])
    columns = {
        "pickup_zone": column(st.integers(0, ZONES - 1), np.int16),
        "dropoff_zone": column(st.integers(0, ZONES - 1), np.int16),
        "distance_miles": column(gaps, np.float32),
        "passenger_count": column(st.sampled_from([1.0, np.nan]), np.float32),
        "minute_of_day": column(st.integers(0, 1439), np.int16),
        "weekday": column(st.integers(0, 6), np.int8),
    }
    return columns, column(numbers, np.float64), column(numbers, np.float64)


def in_order(bounds: Mapping[str, np.ndarray], minutes: np.ndarray) -> bool:
    rising = [bounds["low_95_minutes"], bounds["low_80_minutes"], minutes]
    rising += [bounds["high_80_minutes"], bounds["high_95_minutes"]]
    return bool((np.diff(rising, axis=0) >= 0).all() and np.isfinite(rising).all())


@given(calibrations(), st.integers(0, 10_000))
def test_bounds_are_in_order_around_the_prediction(
    calibration: tuple[Columns, np.ndarray, np.ndarray], seed: int
) -> None:
    intervals = Intervals.fit(*calibration)
    columns, predicted, _ = city(50, seed)

    assert in_order(intervals.bounds(*calibration[:2]), calibration[1])
    assert in_order(intervals.bounds(columns, predicted), predicted)


@pytest.mark.parametrize("off", [-5.0, 0.0, 5.0])
def test_a_month_that_was_all_faster_or_all_slower_leaves_the_prediction_inside(off: float) -> None:
    columns, predicted, _ = city(500, 1)
    bounds = Intervals.fit(columns, predicted, predicted + off).bounds(columns, predicted)

    assert in_order(bounds, predicted)
    assert covered(bounds, predicted, 80).all()
    assert covered(bounds, predicted + off, 80).mean() > 0.8


@pytest.mark.parametrize("n", [1, 2])
def test_one_trip_is_enough_to_calibrate(n: int) -> None:
    known, took = make_features(n)
    intervals = Intervals.fit(known, took - 3, took)
    columns = request_features(make_requests(100, seed=1))
    bounds = intervals.bounds(columns, np.full(100, 20.0))

    assert in_order(bounds, np.full(100, 20.0))
    assert (bounds["high_80_minutes"] > 20).all()


@pytest.mark.parametrize("name", ["distance_miles", "passenger_count"])
def test_what_is_not_known_is_answered(name: str) -> None:
    columns, predicted, actual = drawn(2000, 1)
    columns[name][:] = np.nan
    intervals = Intervals.fit(columns, predicted, actual)
    others, minutes, _ = drawn(500, 2)

    assert in_order(intervals.bounds(columns, predicted), predicted)
    assert in_order(intervals.bounds(others, minutes), minutes)


def test_an_unknown_distance_is_as_one_that_no_meter_measured() -> None:
    columns, predicted, actual = drawn(2000, 1)
    intervals = Intervals.fit(columns, predicted, actual)
    stood, unknown = (
        intervals.bounds({**columns, "distance_miles": np.full(2000, miles, np.float32)}, predicted)
        for miles in (0.0, np.nan)
    )

    for name in INTERVAL_COLUMNS:
        np.testing.assert_array_equal(stood[name], unknown[name])


@settings(max_examples=30)
@given(st.integers(0, 499))
def test_a_batch_has_the_bounds_of_each_request_alone(position: int) -> None:
    columns, predicted, actual = drawn(500, 1)
    intervals = Intervals.fit(columns, predicted, actual)
    batch = intervals.bounds(columns, predicted)
    alone = intervals.bounds(
        {name: values[[position]] for name, values in columns.items()}, predicted[[position]]
    )

    assert list(alone) == list(INTERVAL_COLUMNS)
    for name, values in alone.items():
        assert values.dtype == np.float64
        assert values.tolist() == [batch[name][position]]


def test_no_requests_have_no_bounds() -> None:
    columns, predicted, actual = drawn(500, 1)
    nothing = {name: values[:0] for name, values in columns.items()}
    bounds = Intervals.fit(columns, predicted, actual).bounds(nothing, predicted[:0])

    assert {name: len(values) for name, values in bounds.items()} == dict.fromkeys(INTERVAL_COLUMNS, 0)


def test_no_argument_is_changed() -> None:
    columns, predicted, actual = drawn(500, 1)
    Intervals.fit(columns, predicted, actual).bounds(columns, predicted)
    again, predicted_again, actual_again = drawn(500, 1)

    for name, values in again.items():
        np.testing.assert_array_equal(columns[name], values)
    np.testing.assert_array_equal(predicted, predicted_again)
    np.testing.assert_array_equal(actual, actual_again)


# --- In an artefact -----------------------------------------------------------------------------------------


def test_they_are_saved_and_loaded_with_their_model(tmp_path: Path) -> None:
    matrix = build_matrix([make_batch(300)], seed=1, threads=1)
    booster = train(matrix, {"max_depth": 4}, seed=1, threads=1, rounds=5).booster
    known, took = make_features(300, seed=1)
    bare = DurationModel(matrix.encoder, booster)
    intervals = Intervals.fit(known, bare.minutes(known), took)
    saved = DurationModel(matrix.encoder, booster, intervals=intervals).save(tmp_path / "model")
    loaded = DurationModel.load(saved).intervals

    assert loaded is not None
    assert set(loaded.tables) == {"lengths", "scale", "quantiles", *(factor.name for factor in FACTORS)}
    for name, table in intervals.tables.items():
        np.testing.assert_array_equal(loaded.tables[name], table)


def test_a_model_without_them_predicts_minutes_only(tmp_path: Path) -> None:
    matrix = build_matrix([make_batch(300)], seed=1, threads=1)
    booster = train(matrix, {"max_depth": 4}, seed=1, threads=1, rounds=5).booster
    folder = DurationModel(matrix.encoder, booster).save(tmp_path / "model")
    loaded = DurationModel.load(folder)

    assert not (folder / "intervals.npz").exists()
    assert loaded.intervals is None
    assert list(loaded.predict(make_requests(3)).columns) == ["duration_minutes"]
