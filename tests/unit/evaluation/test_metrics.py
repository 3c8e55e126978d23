"""Metrics against their formulas, and slices that add up."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.builders import make_requests

from mlops.evaluation.metrics import (
    BUSIEST_PAIRS,
    DISTANCE_LABELS,
    GATED,
    HOUR_LABELS,
    NOMINAL,
    error_metrics,
    groupings,
    interval_metrics,
    slices,
    sums_by,
    worst_coverage,
)

minutes = st.floats(1, 60)


def predictions_of(predicted: np.ndarray, half_80: float = 2.0, half_95: float = 4.0) -> pd.DataFrame:
    """Predictions with intervals of equal width."""
    ends = {"low_80": -half_80, "high_80": half_80, "low_95": -half_95, "high_95": half_95}
    bounds = {f"{end}_minutes": predicted + shift for end, shift in ends.items()}
    return pd.DataFrame({"duration_minutes": predicted, **bounds})


both = st.lists(st.tuples(minutes, minutes), min_size=2, max_size=30)

# --- Metrics ------------------------------------------------------------------------------------------------


@given(both)
def test_metrics_are_their_formulas(pairs: list[tuple[float, float]]) -> None:
    actual, predicted = np.array(pairs).T
    errors = [p - a for a, p in pairs]
    n, mean = len(pairs), sum(a for a, _ in pairs) / len(pairs)
    spread = sum((a - mean) ** 2 for a, _ in pairs)
    assume(spread > 1e-6)
    found = error_metrics(actual, predicted)

    assert list(found) == ["rmse", "mae", "p90", "r2", "bias"]
    assert found["rmse"] == pytest.approx(math.sqrt(sum(e * e for e in errors) / n))
    assert found["mae"] == pytest.approx(sum(abs(e) for e in errors) / n)
    assert found["bias"] == pytest.approx(sum(errors) / n, abs=1e-9)
    assert found["r2"] == pytest.approx(1 - sum(e * e for e in errors) / spread)
    assert found["p90"] == pytest.approx(interpolated([abs(e) for e in errors], 0.9))


def interpolated(values: list[float], share: float) -> float:
    """Quantile, interpolated between the two nearest ranks."""
    ordered, place = sorted(values), share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@given(both)
def test_metrics_keep_their_order(pairs: list[tuple[float, float]]) -> None:
    found = error_metrics(*np.array(pairs).T)

    assert abs(found["bias"]) <= found["mae"] + 1e-9
    assert found["mae"] <= found["rmse"] + 1e-9


def test_a_positive_bias_predicts_too_long() -> None:
    assert error_metrics(np.array([10.0, 20.0]), np.array([12.0, 22.0]))["bias"] == 2.0


def test_one_trip_has_no_r2() -> None:
    found = error_metrics(np.array([10.0]), np.array([13.0]))

    assert math.isnan(found.pop("r2"))
    assert found == {"rmse": 3.0, "mae": 3.0, "p90": 3.0, "bias": 3.0}


# --- Slices -------------------------------------------------------------------------------------------------


def sliced(n: int = 500, **columns: object) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Slices of random errors, their requests, and the errors."""
    requests = make_requests(n).assign(**columns)
    rng = np.random.default_rng(0)
    actual, predicted = rng.uniform(1, 60, (2, n))
    return slices(requests, actual, predictions_of(predicted)), requests, predicted - actual


WHOLE = ["hour", "weekday", "distance", "hour band", "week"]  # groupings in which every trip has a slice


@pytest.mark.parametrize("name", WHOLE)
def test_a_slice_adds_up_to_all_rows(name: str) -> None:
    table, _, error = sliced()
    part = table[table["slice"] == name]

    assert part["rows"].sum() == len(error)
    assert (part["rows"] * part["rmse"] ** 2).sum() == pytest.approx((error**2).sum())
    assert (part["rows"] * part["mae"]).sum() == pytest.approx(np.abs(error).sum())
    assert (part["rows"] * part["bias"]).sum() == pytest.approx(error.sum())


@pytest.mark.parametrize("miles", [np.nan, np.inf, -1.0, 1e9])
def test_trips_with_an_invalid_distance_are_in_a_slice_too(miles: float) -> None:
    table, requests, _ = sliced()
    odd = requests["distance_miles"].where(np.arange(len(requests)) % 5 > 0, miles)
    table, _, error = sliced(distance_miles=odd)

    assert table.loc[table["slice"] == "distance", "rows"].sum() == len(error)


def test_a_slice_is_a_mean_over_its_own_trips() -> None:
    table, requests, error = sliced()
    by_value = table.set_index(["slice", "value"])

    at_8 = error[requests["pickup_at"].dt.hour == 8]
    assert by_value.loc[("hour", "8"), "rows"] == len(at_8)
    assert by_value.loc[("hour", "8"), "rmse"] == pytest.approx(np.sqrt(np.mean(at_8**2)))
    on_sundays = error[requests["pickup_at"].dt.weekday == 6]
    assert by_value.loc[("weekday", "6"), "bias"] == pytest.approx(on_sundays.mean())


@pytest.mark.parametrize(
    ("miles", "label"),
    [
        (0.0, "under 0.1 mi"),
        (0.1, "0.1-1 mi"),
        (0.999, "0.1-1 mi"),
        (1.0, "1-2 mi"),
        (5.0, "5-10 mi"),
        (10.0, "10 mi and more"),
        (1000.0, "10 mi and more"),
    ],
)
def test_a_band_of_distance_includes_its_lower_end(miles: float, label: str) -> None:
    table, _, _ = sliced(3, distance_miles=miles)

    assert table.loc[table["slice"] == "distance", ["value", "rows"]].to_numpy().tolist() == [[label, 3]]


def test_slices_are_in_the_order_of_their_values() -> None:
    table, _, _ = sliced()
    values = {name: part["value"].tolist() for name, part in table.groupby("slice", sort=False)}

    assert list(values) == ["hour", "weekday", "distance", "pair", *GATED[:2], *GATED[4:]]
    assert values["hour"] == [str(hour) for hour in range(24)]
    assert values["weekday"] == [str(day) for day in range(7)]
    assert values["hour band"] == list(HOUR_LABELS)
    assert values["week"] == ["Monday to Friday", "weekend"]
    assert values["distance"] == [label for label in DISTANCE_LABELS if label in values["distance"]]


def test_the_busiest_pairs_come_first() -> None:
    table, requests, _ = sliced()
    pairs = table[table["slice"] == "pair"]
    counts = requests.groupby(["pickup_zone", "dropoff_zone"]).size()

    assert pairs["rows"].tolist() == sorted(counts, reverse=True)[:BUSIEST_PAIRS]
    pickup, dropoff = map(int, pairs["value"].iloc[0].split(" -> "))
    assert counts[pickup, dropoff] == counts.max()


@pytest.mark.parametrize(
    ("pickup_at", "band", "week"),
    [
        ("2023-05-12 00:00", "0-6 h", "Monday to Friday"),
        ("2023-05-12 05:59:59", "0-6 h", "Monday to Friday"),
        ("2023-05-12 06:00", "6-10 h", "Monday to Friday"),
        ("2023-05-12 15:59", "10-16 h", "Monday to Friday"),
        ("2023-05-12 23:59", "20-24 h", "Monday to Friday"),
        ("2023-05-13 16:00", "16-20 h", "weekend"),
        ("2023-05-14 19:59", "16-20 h", "weekend"),
        ("2023-05-15 20:00", "20-24 h", "Monday to Friday"),
    ],
)
def test_bands_of_hours_and_the_weekend_begin_on_time(pickup_at: str, band: str, week: str) -> None:
    found = groupings(make_requests(1).assign(pickup_at=pd.Timestamp(pickup_at)))

    assert (list(found["hour band"]), list(found["week"])) == ([band], [week])


def test_trips_from_and_to_airports_are_slices_and_other_trips_are_in_none() -> None:
    zones = {"pickup_zone": [1, 132, 138, 7, 7], "dropoff_zone": [7, 138, 138, 1, 0]}
    table = slices(make_requests(5).assign(**zones), np.full(5, 9.0), predictions_of(np.arange(5.0)))
    airports = table[table["slice"].isin(["from airport", "to airport"])]

    assert airports[["slice", "value", "rows", "bias"]].to_numpy().tolist() == [
        ["from airport", "EWR", 1, -9.0],
        ["from airport", "JFK", 1, -8.0],
        ["from airport", "LGA", 1, -7.0],
        ["to airport", "EWR", 1, -6.0],
        ["to airport", "LGA", 2, -7.5],
    ]


def test_the_verdict_uses_existing_groupings() -> None:
    assert set(GATED) == set(groupings(make_requests(1))) - {"hour", "weekday"}


def test_the_rivals_rmse_is_beside_the_challengers() -> None:
    table, requests, error = sliced()
    actual = np.random.default_rng(1).uniform(1, 60, len(error))
    rivals = {"champion": actual + 2 * error, "pair_median": actual + 3 * error}
    beside = slices(requests, actual, predictions_of(actual + error), rivals)

    pd.testing.assert_frame_equal(
        beside[["slice", "value", "rows", "rmse"]], table[["slice", "value", "rows", "rmse"]]
    )
    np.testing.assert_allclose(beside["champion_rmse"], 2 * beside["rmse"])
    np.testing.assert_allclose(beside["pair_median_rmse"], 3 * beside["rmse"])
    assert list(beside.columns) == [*table.columns, "champion_rmse", "pair_median_rmse"]


@given(st.lists(st.tuples(st.sampled_from("abc") | st.none(), minutes), max_size=30))
def test_sums_are_those_of_each_slices_own_trips(trips: list[tuple[str | None, float]]) -> None:
    groups = pd.Categorical([name for name, _ in trips], categories=["c", "b", "a"])
    table = sums_by({"letter": groups}, {"minutes": np.array([took for _, took in trips])})
    own = {name: [took for each, took in trips if each == name] for name in "cba"}

    assert table["value"].tolist() == [name for name in "cba" if own[name]]
    assert table["trips"].tolist() == [len(took) for took in own.values() if took]
    assert table["minutes"].tolist() == pytest.approx([sum(took) for took in own.values() if took])


def test_the_requests_index_does_not_matter_and_nothing_is_changed() -> None:
    requests, actual, predicted = make_requests(50), *np.random.default_rng(0).uniform(1, 60, (2, 50))
    expected = slices(requests, actual, predictions_of(predicted))
    shuffled = requests.set_index(np.arange(50)[::-1] * 3)
    predictions = predictions_of(predicted).set_index(shuffled.index)  # in the form of a model's output
    before, predictions_before = shuffled.copy(deep=True), predictions.copy(deep=True)

    pd.testing.assert_frame_equal(slices(shuffled, actual, predictions), expected)
    pd.testing.assert_frame_equal(shuffled, before)
    pd.testing.assert_frame_equal(predictions, predictions_before)


@pytest.mark.parametrize("name", NOMINAL)
def test_a_slices_coverage_is_the_share_of_its_own_trips_inside(name: str) -> None:
    table, requests, error = sliced()
    inside = np.abs(error) <= {"coverage_80": 2.0, "coverage_95": 4.0}[name]
    by_value = table.set_index(["slice", "value"])[name]

    on_sundays = requests["pickup_at"].dt.weekday == 6
    assert 0 < inside[on_sundays].sum() < on_sundays.sum()
    assert by_value["weekday", "6"] == pytest.approx(inside[on_sundays].mean())
    for part in WHOLE:
        rows = table.loc[table["slice"] == part]
        assert (rows["rows"] * rows[name]).sum() == pytest.approx(inside.sum())


# --- Intervals ----------------------------------------------------------------------------------------------


def test_a_trip_at_an_end_of_its_interval_is_inside() -> None:
    actual = np.array([8.0, 12.0, 6.0, 14.0, 7.99, 12.01, 5.99, 14.01])
    found = interval_metrics(actual, predictions_of(np.full(8, 10.0)))

    assert (found["coverage_80"], found["coverage_95"]) == (2 / 8, 6 / 8)


@given(st.lists(st.tuples(minutes, minutes, st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=30))
def test_intervals_are_measured_trip_by_trip(trips: list[tuple[float, float, float, float]]) -> None:
    """The score is that of Gneiting and Raftery (2007), equation 43."""
    actual, predicted, below, above = np.array(trips).T
    found = interval_metrics(
        actual,
        pd.DataFrame(
            {
                "low_80_minutes": predicted - below,
                "high_80_minutes": predicted + above,
                "low_95_minutes": predicted - 2 * below,
                "high_95_minutes": predicted + 2 * above,
            }
        ),
    )

    for level, factor, alpha in (("80", 1, 0.2), ("95", 2, 0.05)):
        ends = [(a, p - factor * b, p + factor * h) for a, p, b, h in trips]
        scores = [
            (high - low) + 2 / alpha * (low - a) * (a < low) + 2 / alpha * (a - high) * (a > high)
            for a, low, high in ends
        ]
        inside, widths = [low <= a <= high for a, low, high in ends], [high - low for _, low, high in ends]
        assert found[f"coverage_{level}"] == pytest.approx(sum(inside) / len(trips))
        assert found[f"width_{level}"] == pytest.approx(sum(widths) / len(trips))
        assert found[f"interval_score_{level}"] == pytest.approx(sum(scores) / len(trips))


def test_the_true_quantiles_have_the_best_score() -> None:
    """Neither a narrower interval nor a wider one wins, so a model cannot gain by either."""
    actual = np.random.default_rng(0).uniform(0, 60, 20_000)
    scores = {
        half: interval_metrics(actual, predictions_of(np.full(20_000, 30.0), half, half * 0.95 / 0.8))
        for half in (20.0, 24.0, 28.0)  # 24: eight tenths of all trips
    }
    for name in ("interval_score_80", "interval_score_95"):
        assert min(scores, key=lambda half: scores[half][name]) == 24.0


def test_each_interval_is_measured_against_its_own_level() -> None:
    assert NOMINAL == {"coverage_80": 0.8, "coverage_95": 0.95}


def slices_with(*rows: tuple[int, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["rows", "coverage_80", "coverage_95"])


def test_the_worst_slice_is_furthest_from_the_level_on_either_side() -> None:
    wide = slices_with((5000, 0.79, 0.94), (1000, 0.95, 0.96), (2000, 0.7, 0.955))
    narrow = slices_with((5000, 0.81, 0.99), (1000, 0.795, 0.90))

    assert worst_coverage(wide) == {"coverage_80_worst_slice": 0.95, "coverage_95_worst_slice": 0.94}
    assert worst_coverage(narrow) == {
        "coverage_80_worst_slice": 0.81,
        "coverage_95_worst_slice": 0.90,
    }


def test_a_slice_of_few_trips_is_not_the_worst() -> None:
    table = slices_with((999, 0.1, 0.1), (1000, 0.82, 0.93))

    assert worst_coverage(table) == {"coverage_80_worst_slice": 0.82, "coverage_95_worst_slice": 0.93}
    assert worst_coverage(table, least_rows=10) == {
        "coverage_80_worst_slice": 0.1,
        "coverage_95_worst_slice": 0.1,
    }
    assert worst_coverage(table, least_rows=1001) == {}


def test_the_worst_slice_is_one_of_the_table() -> None:
    table, _, _ = sliced()
    found = worst_coverage(table, least_rows=20)
    large = table[table["rows"] >= 20]

    assert set(found) == {"coverage_80_worst_slice", "coverage_95_worst_slice"}
    for name, promised in NOMINAL.items():
        distances = [abs(share - promised) for share in large[name]]
        assert abs(found[f"{name}_worst_slice"] - promised) == max(distances)
