"""Months keep their roles apart, and an unusual one is refused before anything is learnt from it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.builders import MAY, trip, write_features, write_month

from mlops.config import Settings
from mlops.data.ingest import warn_of_memory
from mlops.data.quality import check_months
from mlops.data.split import Split, months_needed, months_to_query, plan_split
from mlops.data.trips import Quality, clean_file
from mlops.errors import DataQualityError, EmptyTrainingSetError, MonthNotPublishedError
from mlops.month import Month
from mlops.training import feature_files
from mlops.training.feature_files import Batch, FeatureFiles, count_rows, pairs_and_minutes

OCTOBER = Settings(service="green", month="2023-10", train_months=3)
HELD = Month.range(Month(2023, 1), Month(2023, 12))


def months(*numbers: int) -> tuple[Month, ...]:
    return tuple(Month(2023, number) for number in numbers)


# --- Which months -------------------------------------------------------------------------------------------


def test_the_test_month_follows_the_validation_month_follows_training() -> None:
    assert months_needed(OCTOBER) == months(6, 7, 8, 9, 10)
    assert plan_split(OCTOBER, HELD, "tlc") == Split(months(6, 7, 8), Month(2023, 9), Month(2023, 10))


def test_a_split_knows_the_role_of_each_month() -> None:
    split = plan_split(OCTOBER, HELD, "tlc")

    assert [(str(month), split.role(month)) for month in split.months] == [
        ("2023-06", "training"),
        ("2023-07", "training"),
        ("2023-08", "training"),
        ("2023-09", "validation"),
        ("2023-10", "test"),
    ]


@given(st.builds(Month, st.integers(2015, 2030), st.integers(1, 12)), st.integers(1, 40), st.integers(0, 45))
def test_no_two_roles_share_a_month(test: Month, train_months: int, held: int) -> None:
    settings = Settings(month=str(test), train_months=train_months)
    available = (*test.before(held), test)
    try:
        split = plan_split(settings, available, "tlc")
    except (MonthNotPublishedError, EmptyTrainingSetError):
        assert held < 2
        return

    assert split.test == test
    assert split.validation == test - 1
    assert split.training == (test - 1).before(min(train_months, held - 1))
    assert len(set(split.months)) == len(split.months)
    assert list(split.months) == sorted(split.months)
    assert max(split.training) < split.validation < split.test


def test_the_sources_first_month_shortens_the_window() -> None:
    assert plan_split(OCTOBER, months(8, 9, 10), "tlc").training == months(8)


def test_one_training_month_is_enough() -> None:
    assert plan_split(Settings(month="2023-10", train_months=1), HELD, "tlc").training == months(8)


@pytest.mark.parametrize(
    ("available", "missing", "role"),
    [
        (months(7, 8, 9), "2023-10", "test"),
        (months(7, 8, 10), "2023-09", "validation"),
        ((), "2023-10", "test"),
    ],
)
def test_a_missing_test_or_validation_month_is_named(
    available: tuple[Month, ...], missing: str, role: str
) -> None:
    with pytest.raises(MonthNotPublishedError) as refused:
        plan_split(OCTOBER, available, "/data")

    assert (refused.value.service, refused.value.month) == ("green", missing)
    assert str(refused.value) == (
        f"green {missing}: the {role} month is not published at /data. TLC publishes a month some "
        "seven weeks after its end; choose an earlier month or another source."
    )


def test_a_gap_in_the_window_is_an_error() -> None:
    with pytest.raises(MonthNotPublishedError) as refused:
        plan_split(OCTOBER, months(6, 8, 9, 10), "/data")

    assert (refused.value.service, refused.value.month) == ("green", "2023-07")
    assert str(refused.value) == (
        "green 2023-07: missing at /data, although 2023-06 and 2023-10 are there. "
        "Put it in place, or set train_months to 1 to start after it."
    )


@given(st.sets(st.sampled_from(Month(2023, 9).before(8)), min_size=1))
def test_what_a_gap_advises_is_what_helps(held: set[Month]) -> None:
    available = {*held, Month(2023, 9), Month(2023, 10)}
    try:
        split = plan_split(Settings(month="2023-10", train_months=8), available, "/data")
    except MonthNotPublishedError as error:
        if "set train_months" not in str(error):
            assert Month(2023, 8) not in held  # no window can start after this gap
            return
        advised = int(str(error).partition("train_months to ")[2].split()[0])
        split = plan_split(Settings(month="2023-10", train_months=advised), available, "/data")

    assert set(split.training) <= held


def test_without_a_training_month_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(EmptyTrainingSetError) as refused:
        plan_split(OCTOBER, months(9, 10), "/data")

    assert str(refused.value) == (
        "green 2023-10: /data starts with 2023-09, so no month is left to train on before the "
        "validation month 2023-09. Choose 2023-11 or a later month."
    )


def test_a_hole_at_the_windows_start_is_a_gap_where_older_months_are_there() -> None:
    settings = Settings(month="2023-06", train_months=3)
    assert str(months_to_query(settings)[0]) == "2023-01"
    held = [month for month in months_to_query(settings) if str(month) != "2023-02"]
    with pytest.raises(
        MonthNotPublishedError, match="2023-02: missing at there, although 2023-01 and 2023-06"
    ):
        plan_split(settings, held, "there")


def test_a_window_that_comes_out_short_is_told(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(month="2023-06", train_months=3)
    plan_split(settings, [Month(2023, number) for number in (3, 4, 5, 6)], "there")
    assert "2 training months instead of 3, since there starts with 2023-03" in caplog.text


# --- Whether they can be trusted ----------------------------------------------------------------------------

SPLIT = Split(months(5, 6, 7), Month(2023, 8), Month(2023, 9))


def usual(rows: int = 1000, rejected: int = 50) -> Quality:
    return Quality(rows, rows - rejected, rows, {"under_1_minute": rejected, "over_60_minutes": 0})


def quality(**unusual: Quality) -> dict[Month, Quality]:
    """The months of `SPLIT`, all alike but for those given by their names."""
    names = dict(zip(("may", "june", "july", "august", "september"), SPLIT.months, strict=True))
    return {month: unusual.get(name, usual()) for name, month in names.items()}


def refusal(found: dict[Month, Quality], **settings: float) -> DataQualityError:
    with pytest.raises(DataQualityError) as refused:
        check_months(found, SPLIT, Settings(**settings))
    return refused.value


def test_months_alike_are_not_unusual() -> None:
    assert check_months(quality(), SPLIT, Settings()) == {}


def test_far_fewer_rows_are_refused_with_the_counts() -> None:
    error = refusal(quality(september=usual(rows=499, rejected=0)))

    assert error.counts == {
        "rows": 499,
        "usual_rows": 1000,
        "rejected_share": 0.0,
        "usual_rejected_share": pytest.approx(0.05),
    }
    assert str(error) == (
        "green 2023-09: 499 rows, far fewer than the 1,000 usual in the months before "
        "(0.50 times; allowed 0.5 to 2). Look at the file; if the month is really so, "
        "set allow_unusual_months to true."
    )


def test_far_more_rows_are_refused_with_the_counts() -> None:
    assert str(refusal(quality(august=usual(rows=2001)))) == (
        "green 2023-08: 2,001 rows, far more than the 1,000 usual in the months before "
        "(2.00 times; allowed 0.5 to 2). Look at the file; if the month is really so, "
        "set allow_unusual_months to true."
    )


def test_far_more_rejections_are_refused_with_the_worst_rules() -> None:
    error = refusal(quality(september=usual(rejected=101)))

    assert error.counts["rejected_share"] == pytest.approx(0.101)
    assert str(error) == (
        "green 2023-09: 10.1% of 1,000 rows rejected, far more than the 5.0% usual in the months before "
        "(allowed 10.0%): under_1_minute 101. Look at the file; if the month is really so, "
        "set allow_unusual_months to true."
    )


@pytest.mark.parametrize("rows", [500, 2000])
def test_half_and_double_are_still_allowed(rows: int) -> None:
    assert check_months(quality(september=usual(rows, rejected=0)), SPLIT, Settings()) == {}


@pytest.mark.parametrize("rejected", [0, 100])
def test_fewer_and_up_to_twice_the_rejections_are_still_allowed(rejected: int) -> None:
    assert check_months(quality(september=usual(rejected=rejected)), SPLIT, Settings()) == {}


def test_where_hardly_any_row_is_rejected_twice_as_many_say_nothing() -> None:
    calm = dict.fromkeys(SPLIT.months, usual(rejected=1))

    assert check_months({**calm, SPLIT.test: usual(rejected=20)}, SPLIT, Settings()) == {}
    assert "2.1% of 1,000 rows rejected" in str(refusal({**calm, SPLIT.test: usual(rejected=21)}))


def test_how_far_is_far_is_a_setting() -> None:
    few = quality(september=usual(rows=800, rejected=0))

    assert "(0.80 times; allowed 0.9 to 2)" in str(refusal(few, min_rows_ratio=0.9))
    assert "allowed 0.5 to 1.1" in str(refusal(quality(september=usual(rows=1200)), max_rows_ratio=1.1))
    assert "(allowed 5.5%)" in str(refusal(quality(september=usual(rejected=60)), max_rejections_ratio=1.1))


def test_a_month_is_compared_with_the_median_of_the_three_before() -> None:
    grown = quality(may=usual(rows=800), june=usual(rows=800), july=usual(rows=1500), august=usual(rows=1500))

    assert check_months({**grown, SPLIT.test: usual(rows=3000)}, SPLIT, Settings()) == {}
    assert "than the 1,500 usual" in str(refusal({**grown, SPLIT.test: usual(rows=700)}))


def test_an_unusual_month_may_be_allowed_and_is_told_then(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(allow_unusual_months=True)
    with caplog.at_level(logging.WARNING, logger="mlops"):
        notes = check_months(quality(september=usual(rows=10, rejected=0)), SPLIT, settings)

    assert tuple(notes.values()) == (
        "green 2023-09: 10 rows, far fewer than the 1,000 usual in the months before "
        "(0.01 times; allowed 0.5 to 2)",
    )
    assert [record.message for record in caplog.records] == list(notes.values())


def test_an_unusual_training_month_is_only_noted() -> None:
    notes = check_months(quality(june=usual(rows=3000)), SPLIT, Settings())

    assert {str(month): note.split(",")[0] for month, note in notes.items()} == {
        "2023-06": "green 2023-06: 3"
    }


@pytest.mark.parametrize("month", ["may", "september"])
@pytest.mark.parametrize("allowed", [True, False])
def test_a_month_of_which_nothing_is_left_is_always_refused(month: str, allowed: bool) -> None:
    other = Quality(1000, 0, 0, {"outside_month": 990, "under_1_minute": 10, "over_60_minutes": 0})
    number = {"may": "05", "september": "09"}[month]

    assert str(refusal(quality(**{month: other}), allow_unusual_months=allowed)) == (
        f"green 2023-{number}: none of its 1,000 trips is left after cleaning "
        f"(outside_month 990, under_1_minute 10). Is this really the file of 2023-{number}?"
    )


def test_the_first_month_has_nothing_to_be_compared_with() -> None:
    assert check_months(quality(may=usual(rows=1, rejected=0)), SPLIT, Settings(min_rows_ratio=0)) != {}
    only = Split((Month(2023, 5),), Month(2023, 6), Month(2023, 7))
    assert check_months(dict.fromkeys(only.months, usual()), only, Settings()) == {}


# --- Their trips --------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("rows", "warned"), [(1_000, False), (10**12, True)])
def test_more_trips_than_memory_holds_are_warned_of(
    rows: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_memory(rows)
    assert ("GB of memory" in caplog.text) == warned
