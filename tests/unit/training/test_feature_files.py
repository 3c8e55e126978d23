"""Feature files: the rows that training and testing read, in batches, and what a file holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.builders import MAY, make_trips, trip, write_features, write_month
from support.clean_months import features_of

from mlops.data.synthetic import source
from mlops.data.trips import clean_file
from mlops.model import features
from mlops.model.features import REQUEST_FEATURES, request_features
from mlops.training import feature_files
from mlops.training.feature_files import (
    FEATURE_SCHEMA,
    Batch,
    FeatureFiles,
    count_rows,
    pairs_and_minutes,
    summarise,
)


def features_path(folder: Path, name: str, *rows: dict[str, object]) -> Path:
    clean_file(write_month(folder / "raw.parquet", "green", *rows), "green", MAY, folder / "clean.parquet")
    feature_files.write_features(folder / "clean.parquet", folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


def together(batches: Iterable[Batch]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features and minutes of all the batches, in their order."""
    parts = list(batches)
    names = parts[0].features
    columns = {name: np.concatenate([batch.features[name] for batch in parts]) for name in names}
    return columns, np.concatenate([batch.minutes for batch in parts])


def minutes_of(files: FeatureFiles) -> list[float]:
    return [float(minutes) for batch in files for minutes in batch.minutes]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rows a batch than a test's months have."""
    monkeypatch.setattr(feature_files, "BATCH_ROWS", 70)


@pytest.fixture
def three_months(tmp_path: Path) -> tuple[Path, ...]:
    """Feature files of 200, 150 and 100 trips, of which a tenth is not to be learnt from."""
    sizes = (200, 150, 100)
    return tuple(
        write_features(tmp_path / f"{seed}.parquet", n, seed, for_training=np.arange(n) % 10 > 0)
        for seed, n in enumerate(sizes)
    )


def test_training_leaves_out_what_a_training_rule_rejects_and_a_test_month_does_not(tmp_path: Path) -> None:
    first = features_path(tmp_path, "first", trip(seconds=60), trip(seconds=120, distance_miles=None))
    second = features_path(tmp_path, "second", trip(seconds=180, pickup_zone=0), trip(seconds=240))

    learnt, learnt_minutes = together(FeatureFiles((first, second), for_training=True))
    tested, tested_minutes = together(FeatureFiles((first, second), for_training=False))

    assert learnt_minutes.tolist() == [1.0, 4.0]
    assert tested_minutes.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert learnt["pickup_zone"].tolist() == [74, 74]
    assert tested["pickup_zone"].tolist() == [74, 74, 0, 74]
    np.testing.assert_array_equal(tested["distance_miles"], np.array([2, np.nan, 2, 2], np.float32))


def test_features_come_as_they_were_stored(tmp_path: Path) -> None:
    path = features_path(tmp_path, "month", trip(), trip(passenger_count=None))
    (batch,) = FeatureFiles((path,), for_training=False)
    stored = pd.read_parquet(path)

    assert list(batch.features) == [
        name for name in stored if name not in ("duration_minutes", "for_training")
    ]
    assert batch.minutes.dtype == np.float64
    assert batch.weight is None
    for name, values in batch.features.items():
        assert values.dtype == stored[name].dtype
        np.testing.assert_array_equal(values, stored[name])


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("for_training", [True, False])
def test_batches_put_together_are_the_files_one_after_another(
    for_training: bool, three_months: tuple[Path, ...]
) -> None:
    files = FeatureFiles(three_months, for_training)
    stored = pd.concat([pd.read_parquet(path) for path in three_months])
    expected = stored[stored["for_training"]] if for_training else stored
    found, minutes = together(files)

    assert len(list(files)) == 3 + 3 + 2  # no batch is of two months
    assert all(len(batch.minutes) <= 70 for batch in files)
    np.testing.assert_array_equal(minutes, expected["duration_minutes"])
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.usefixtures("small_batches")
def test_files_can_be_gone_through_again_and_give_the_same(three_months: tuple[Path, ...]) -> None:
    files = FeatureFiles(three_months, True, share=0.5, seed=3, half_life_months=2)
    passes = [list(files) for _ in range(2)]

    assert len(passes[0]) == len(passes[1])
    for one, other in zip(*passes, strict=True):
        np.testing.assert_array_equal(one.minutes, other.minutes)
        np.testing.assert_array_equal(one.weight, other.weight)
        for name, values in one.features.items():
            np.testing.assert_array_equal(values, other.features[name])


def test_two_passes_at_a_time_do_not_disturb_each_other(three_months: tuple[Path, ...]) -> None:
    files = FeatureFiles(three_months, True, share=0.5)

    for one, other in zip(files, files, strict=True):
        np.testing.assert_array_equal(one.minutes, other.minutes)


@pytest.mark.usefixtures("small_batches")
@given(st.floats(0.05, 1), st.floats(0.05, 1), st.integers(0, 2**31 - 1))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_smaller_share_is_part_of_a_larger_one(
    three_months: tuple[Path, ...], one: float, other: float, seed: int
) -> None:
    smaller, larger = sorted((one, other))
    few, many = (minutes_of(FeatureFiles(three_months, True, share, seed)) for share in (smaller, larger))

    rest = iter(many)
    assert all(minutes in rest for minutes in few)  # in the same order, too


@pytest.mark.parametrize("share", [0.1, 1 / 3, 0.9])
def test_a_share_is_about_as_large_as_it_says_in_each_month(share: float, tmp_path: Path) -> None:
    sizes = (20_000, 10_000)
    paths = tuple(write_features(tmp_path / f"{n}.parquet", n) for n in sizes)
    counts = [len(batch.minutes) for batch in FeatureFiles(paths, True, share, seed=1)]

    for count, n in zip(counts, sizes, strict=True):
        assert abs(count - n * share) < 4 * (n * share * (1 - share)) ** 0.5


def test_another_seed_draws_other_trips(three_months: tuple[Path, ...]) -> None:
    one, again, other = (minutes_of(FeatureFiles(three_months, True, 0.5, seed)) for seed in (1, 1, 2))

    assert one == again != other


@pytest.mark.usefixtures("small_batches")
def test_months_do_not_share_a_draw(tmp_path: Path) -> None:
    path = write_features(tmp_path / "month.parquet", 140)
    batches = list(FeatureFiles((path, path), True, share=0.5))

    assert len({tuple(batch.minutes) for batch in batches}) == 4
    firsts = [np.isin(pd.read_parquet(path)["duration_minutes"], batch.minutes) for batch in batches[::2]]
    assert not np.array_equal(*firsts)


def test_a_month_a_half_life_older_than_the_newest_weighs_half(three_months: tuple[Path, ...]) -> None:
    batches = list(FeatureFiles(three_months, True, half_life_months=1))

    assert [np.unique(batch.weight).tolist() for batch in batches] == [[0.25], [0.5], [1.0]]
    for batch in batches:
        assert batch.weight.dtype == np.float32
        assert batch.weight.shape == batch.minutes.shape


@given(st.floats(0.1, 100))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_halve_with_every_half_life(three_months: tuple[Path, ...], half_life: float) -> None:
    oldest, middle, newest = (
        float(batch.weight[0]) for batch in FeatureFiles(three_months, True, half_life_months=half_life)
    )

    assert newest == 1.0
    assert middle == pytest.approx(2 ** (-1 / half_life), rel=1e-6)
    assert oldest == pytest.approx(2 ** (-2 / half_life), rel=1e-6)


@pytest.mark.usefixtures("small_batches")
def test_a_batch_of_which_nothing_is_left_is_left_out(tmp_path: Path) -> None:
    marks = np.arange(210) // 70 != 1  # the second of three batches
    path = write_features(tmp_path / "month.parquet", 210, for_training=marks)
    none = write_features(tmp_path / "none.parquet", 100, for_training=np.zeros(100, bool))

    assert [len(batch.minutes) for batch in FeatureFiles((path, none), True)] == [70, 70]
    assert [len(batch.minutes) for batch in FeatureFiles((path,), False)] == [70, 70, 70]
    assert list(FeatureFiles((none,), True)) == list(FeatureFiles((path,), True, share=0.0)) == []


@pytest.mark.parametrize("for_training", [True, False])
def test_the_rows_counted_are_the_rows_given(for_training: bool, three_months: tuple[Path, ...]) -> None:
    counted = count_rows(three_months, for_training=for_training)

    assert counted == len(minutes_of(FeatureFiles(three_months, for_training)))
    assert counted == (405 if for_training else 450)
    assert count_rows([], for_training=for_training) == 0


def test_a_month_without_trips_counts_none(tmp_path: Path) -> None:
    nothing = write_features(tmp_path / "nothing.parquet", 0)

    assert count_rows([nothing], for_training=True) == count_rows([nothing], for_training=False) == 0
    assert list(FeatureFiles((nothing,), for_training=False)) == []


@pytest.mark.parametrize("for_training", [True, False])
def test_a_baseline_gets_the_zones_and_minutes_of_the_same_trips(
    for_training: bool, three_months: tuple[Path, ...]
) -> None:
    pairs, minutes = pairs_and_minutes(three_months, for_training=for_training)
    expected, expected_minutes = together(FeatureFiles(three_months, for_training))

    assert list(pairs) == ["pickup_zone", "dropoff_zone"]
    for name, zones in pairs.items():
        np.testing.assert_array_equal(zones, expected[name])
    assert minutes.dtype == np.float64
    np.testing.assert_array_equal(minutes, expected_minutes)


NAMES = [feature.name for feature in REQUEST_FEATURES]


# --- The table in a file ------------------------------------------------------------------------------------


def test_the_feature_file_is_the_clean_file_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BATCH_ROWS", 307)
    raw = source.write_month(tmp_path / "raw.parquet", "green", MAY, rows=1000)
    table = features_of(tmp_path, raw)
    clean = pd.read_parquet(tmp_path / "clean.parquet")
    expected = request_features(clean)

    assert pq.read_schema(tmp_path / "features.parquet").equals(FEATURE_SCHEMA)
    for name in NAMES:
        np.testing.assert_array_equal(table[name], expected[name])
    for name in ("duration_minutes", "for_training"):
        np.testing.assert_array_equal(table[name], clean[name])


def test_a_failure_leaves_no_feature_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_file(
        write_month(tmp_path / "raw.parquet", "green", trip()), "green", MAY, tmp_path / "clean.parquet"
    )

    def breaks(requests: Any, **options: Any) -> dict[str, np.ndarray]:
        raise RuntimeError("half-way")

    monkeypatch.setattr(feature_files, "request_features", breaks)
    with pytest.raises(RuntimeError, match="half-way"):
        feature_files.write_features(tmp_path / "clean.parquet", tmp_path / "out" / "features.parquet")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_summary_agrees_with_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BATCH_ROWS", 211)
    statistics, tables = [], []
    for number, rows in enumerate((300, 500)):
        raw = source.write_month(tmp_path / f"{number}.parquet", "green", MAY, rows=rows, seed=number)
        clean_file(raw, "green", MAY, tmp_path / "clean.parquet")
        statistics.append(
            feature_files.write_features(tmp_path / "clean.parquet", tmp_path / "features.parquet")
        )
        tables.append(pd.read_parquet(tmp_path / "features.parquet"))
    summary, table = summarise(statistics).set_index("feature"), pd.concat(tables)[NAMES]

    assert list(summary.index) == NAMES
    assert summary["meaning"].tolist() == [feature.meaning for feature in REQUEST_FEATURES]
    assert (summary["rows"] == len(table)).all()
    np.testing.assert_allclose(summary["missing_share"], table.isna().mean(), atol=5e-5)
    np.testing.assert_allclose(summary["least"], table.min())
    np.testing.assert_allclose(summary["most"], table.max())
    np.testing.assert_allclose(summary["mean"], table.astype(float).mean(), atol=6e-4, rtol=1e-6)


def test_a_feature_that_is_missing_throughout_is_summarised_too(tmp_path: Path) -> None:
    path = write_month(tmp_path / "raw.parquet", "fhvhv", trip(), trip())
    clean_file(path, "fhvhv", MAY, tmp_path / "clean.parquet")
    summary = summarise(
        [feature_files.write_features(tmp_path / "clean.parquet", tmp_path / "features.parquet")]
    )
    passengers = summary.set_index("feature").loc["passenger_count"]

    assert passengers["missing_share"] == 1.0
    assert passengers[["least", "mean", "most"]].isna().all()


def test_an_arrow_table_keeps_features_as_they_are() -> None:
    found = request_features(make_trips(20))

    for name, values in found.items():
        stored = pa.array(values).cast(FEATURE_SCHEMA.field(name).type).to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(stored, values)
