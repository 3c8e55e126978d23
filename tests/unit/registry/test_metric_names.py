"""Names of metrics in groups, and back: nothing is lost, and runs of before are read."""

from __future__ import annotations

import pytest

from mlops.registry import metric_names

# Plain names that a run logs, as a fixture of their kinds, and their names in MLflow.
NAMES = {
    "test_rows": "test/rows",
    "test_rmse": "test/rmse",
    "test_rmse_champion": "test/rmse_champion",
    "test_coverage_80": "test_ranges/coverage_80",
    "test_coverage_95_worst_slice": "test_ranges/coverage_95_worst_slice",
    "test_width_80": "test_ranges/width_80",
    "test_interval_score_95": "test_ranges/interval_score_95",
    "test_without_distance_rmse": "test_without_distance/rmse",
    "test_without_distance_coverage_80": "test_without_distance/coverage_80",
    "validation_rmse": "validation/rmse",
    "verdict_gain_low": "verdict/gain_low",
    "verdict_coverage_80": "verdict/coverage_80",
    "cleaning_rejected_duplicate": "trips/rejected_duplicate",
    "training_rows": "training/rows",
    "trials": "tuning/trials",
    "rung": "tuning/rung",
    "row": "row",
}


@pytest.mark.parametrize(("plain", "grouped"), NAMES.items())
def test_a_name_has_a_group_and_is_found_again(plain: str, grouped: str) -> None:
    assert metric_names.grouped(plain) == grouped
    assert metric_names.plain(grouped) == metric_names.plain(plain) == plain


def test_what_was_logged_is_read_whichever_names_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {name: float(number) for number, name in enumerate(NAMES)}
    assert set(metric_names.to_log(measured)) == {*NAMES, *NAMES.values()}
    assert list(metric_names.to_log(dict(reversed(measured.items()))))[:4] == [
        "test/rmse_champion", "test/rmse", "test/rows", "test_ranges/interval_score_95",
    ]  # fmt: skip
    assert metric_names.read(metric_names.to_log(measured)) == measured
    assert metric_names.read(measured) == measured
    monkeypatch.setattr(metric_names, "PLAIN_NAMES_TOO", False)
    assert set(metric_names.to_log(measured)) == set(NAMES.values())
    assert metric_names.read(metric_names.to_log(measured)) == measured


@pytest.mark.parametrize("names", [("test_rmse", "test/rmse"), ("test/rmse", "test_rmse")])
def test_of_two_names_the_one_in_a_group_counts(names: tuple[str, str]) -> None:
    logged = {name: float("/" in name) for name in names}
    assert metric_names.read(logged) == {"test_rmse": 1.0}
