"""A model of one run: tuned on one month, calibrated on it, fitted again with it, and the same the next time."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests, write_features

from mlops.config import Settings
from mlops.errors import EmptyTrainingSetError
from mlops.evaluation.metrics import error_metrics
from mlops.model.encoder import Encoder
from mlops.model.features import REQUEST_FEATURES, feature_names
from mlops.model.intervals import Intervals
from mlops.month import Month
from mlops.training import calibration, fit, search
from mlops.training.boosting import Matrix, train
from mlops.training.coverage_aim import Aim
from mlops.training.feature_files import FeatureFiles
from mlops.training.fit import Fitting, Tuned
from mlops.training.search import Rung
from mlops.training.search_space import clip_to_bounds, first_guess

SETTINGS = Settings(max_trials=3, seed=5)
FITTING = Fitting.of(SETTINGS, threads=1)
NAMES = [feature.name for feature in REQUEST_FEATURES]


@pytest.fixture(autouse=True)
def _small_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rungs that a few hundred trips can climb in a second."""
    rungs = (
        Rung(trials=9, share=1 / 9, rounds=10, learning_rate=0.4, until=0.35),
        Rung(trials=3, share=1 / 3, rounds=15, learning_rate=0.3, until=0.65),
        Rung(trials=1, share=1.0, rounds=25, learning_rate=0.2, until=1.0),
    )
    monkeypatch.setattr(search, "LADDER", rungs)
    monkeypatch.setattr(search, "MIN_TRIPS", 50)


@pytest.fixture
def months(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Feature files of two training months and a validation month; a tenth of the trips no one learns from."""
    sizes = (400, 500, 450)
    names = ("2023-03", "2023-04", "2023-05")
    first, second, third = (
        write_features(
            tmp_path / f"{name}.parquet", n, seed, month=Month.parse(name), for_training=np.arange(n) % 10 > 0
        )
        for seed, (n, name) in enumerate(zip(sizes, names, strict=True))
    )
    return first, second, third


@pytest.fixture
def tuned(months: tuple[Path, Path, Path]) -> Tuned:
    return FITTING.tune(months[:2], months[2])


def learnable(*paths: Path) -> pd.DataFrame:
    table = pd.concat([pd.read_parquet(path) for path in paths])
    return table[table["for_training"]]


def encoder_of(table: pd.DataFrame) -> Encoder:
    columns = {name: table[name].to_numpy() for name in NAMES}
    return Encoder.fit(columns, table["duration_minutes"].to_numpy())


def assert_same_tables(one: dict[str, np.ndarray], other: dict[str, np.ndarray], rtol: float = 0) -> None:
    assert set(one) == set(other)
    for name, table in one.items():
        np.testing.assert_allclose(table, other[name], rtol=rtol, err_msg=name)


def assert_same_intervals(one: Intervals, other: Intervals) -> None:
    assert one.booster.save_raw() == other.booster.save_raw()
    assert one.quantiles.tolist() == other.quantiles.tolist()


# --- Tuning -------------------------------------------------------------------------------------------------


def test_the_search_learns_from_the_training_months_and_is_scored_on_all_of_the_next(
    tuned: Tuned, months: tuple[Path, Path, Path]
) -> None:
    held_out = pd.read_parquet(months[2])

    assert tuned.training_rows == len(learnable(*months[:2])) == 810
    np.testing.assert_array_equal(tuned.actual, held_out["duration_minutes"])
    assert tuned.predicted.shape == (450,)
    # Predictions are kept to 1 to 60 minutes, which early stopping does not know.
    rmse = error_metrics(tuned.actual, tuned.predicted)["rmse"]
    assert rmse == pytest.approx(tuned.search.best.validation_rmse, rel=1e-3)
    assert rmse < 0.6 * tuned.actual.std()


def test_trials_go_up_the_rungs(tuned: Tuned) -> None:
    assert [trial.rung for trial in tuned.search.trials] == [1, 1, 1, 2, 3]
    assert tuned.search.best.number == 5
    assert not any(trial.error for trial in tuned.search.trials)


def test_each_rung_sees_its_share_of_the_training_trips_and_all_of_the_validation_month(
    months: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, int]] = []

    def watched(matrix, parameters, rounds, **options):  # type: ignore[no-untyped-def]
        seen.append((matrix.training.num_row(), matrix.validation.num_row(), rounds))
        return train(matrix, parameters, rounds=rounds, **options)

    monkeypatch.setattr(fit, "train", watched)
    FITTING.tune(months[:2], months[2])

    expected = [
        sum(len(batch.minutes) for batch in FeatureFiles(months[:2], True, share, SETTINGS.seed))
        for share in (1 / 9, 1 / 3, 1.0)
    ]
    lowest, middle, highest = expected
    assert 50 < lowest < 130 < middle < 350 < highest == 810
    assert seen == [(lowest, 450, 10)] * 3 + [(middle, 450, 15), (highest, 450, 25)]


def test_intervals_are_calibrated_on_the_validation_month_alone(
    tuned: Tuned, months: tuple[Path, Path, Path]
) -> None:
    """Their quantiles are those of the validation trips: the wider the aim, the more of these are inside."""
    wider = FITTING.tune(months[:2], months[2], aim=Aim(0.9, 0.99))
    with pytest.MonkeyPatch.context() as patch:
        given: list[tuple[np.ndarray, np.ndarray]] = []

        def watched(matrix: Matrix, half: calibration.Half, *pair: Any, **options: Any) -> Intervals:
            assert matrix.validation.num_row() == 450
            given.append(pair[:2])
            return learn(matrix, half, *pair, **options)

        learn = calibration.learn_intervals
        patch.setattr(calibration, "learn_intervals", watched)
        again = FITTING.tune(months[:2], months[2])

    (predicted, actual), (blind, same) = given
    np.testing.assert_array_equal(predicted, tuned.predicted)
    np.testing.assert_array_equal(actual, tuned.actual)
    np.testing.assert_array_equal(same, tuned.actual)
    assert np.abs(blind - actual).mean() > np.abs(predicted - actual).mean()  # without the distance
    assert_same_intervals(again.intervals, tuned.intervals)
    assert (np.abs(wider.intervals.quantiles) > np.abs(tuned.intervals.quantiles)).all()


def test_what_did_well_before_is_tried_after_the_first_guess(months: tuple[Path, Path, Path]) -> None:
    start = clip_to_bounds({"max_depth": 7, "reg_lambda": 33.0})
    reported: list[search.Trial] = []
    tuned = FITTING.tune(months[:2], months[2], starts=[start], on_trial=reported.append)

    first, second, third = (
        {name: value for name, value in trial.parameters.items() if name != "learning_rate"}
        for trial in tuned.search.trials[:3]
    )
    assert (first, second) == (first_guess(), start)
    assert third not in (first, second)
    assert reported == list(tuned.search.trials)


def test_months_without_training_trips_are_refused_before_any_trial(
    months: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    nothing = write_features(tmp_path / "nothing.parquet", 100, for_training=np.zeros(100, bool))
    with pytest.raises(EmptyTrainingSetError, match=r"^cleaning left no training trip\. "):
        FITTING.tune([nothing], months[2])


def test_what_is_to_come_is_logged(months: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        FITTING.tune(months[:2], months[2])

    assert caplog.messages[0] == "tuning: 810 training trips, 450 validation trips, at most 3 + 1 + 1 trials"


# --- The final fit ------------------------------------------------------------------------------------------


def test_the_final_model_is_trained_on_training_and_validation_months(
    tuned: Tuned, months: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mlops"):
        model = FITTING.fit(months, tuned)
    best = tuned.search.best

    # 810 trips of the training months and nine tenths of 450.
    assert caplog.messages == [f"final fit on 1,215 trips with {best.rounds} rounds"]
    assert model.estimator.booster.num_boosted_rounds() == best.rounds
    assert_same_tables(model.encoder.tables, encoder_of(learnable(*months)).tables, rtol=1e-6)
    assert model.features == feature_names()


def test_the_final_model_keeps_the_intervals_of_the_search(
    tuned: Tuned, months: tuple[Path, Path, Path]
) -> None:
    without = tuned.without_distance
    for learnt in (months, months[1:]):
        model = FITTING.fit(learnt, tuned)
        assert model.estimator.intervals is tuned.intervals
        assert without
        assert model.without_distance
        assert model.without_distance.intervals is without.intervals
        assert model.without_distance.booster.num_boosted_rounds() == without.rounds


def test_requests_without_a_distance_have_trees_of_their_own(
    tuned: Tuned, months: tuple[Path, Path, Path]
) -> None:
    """They answer as a model that was trained without the distance, and their ranges are wider."""
    model = FITTING.fit(months, tuned)
    requests = make_requests(300, seed=9)
    requests.loc[::2, "distance_miles"] = np.nan
    mixed, blind = model.predict(requests), model.predict(requests.assign(distance_miles=np.nan))
    width = mixed["high_80_minutes"] - mixed["low_80_minutes"]

    assert model.without_distance
    used = {model.features[int(name[1:])] for name in model.without_distance.booster.get_score()}
    assert used <= set(feature_names(use_distance=False))
    pd.testing.assert_frame_equal(mixed[::2], blind[::2])
    assert width[::2].mean() > 1.05 * width[1::2].mean()
    assert (mixed["duration_minutes"][1::2] != blind["duration_minutes"][1::2]).mean() > 0.9


def test_the_final_model_predicts_what_it_never_saw(tuned: Tuned, months: tuple[Path, Path, Path]) -> None:
    model, june = FITTING.fit(months, tuned), Month(2023, 6)
    requests = make_requests(500, seed=9, month=june)
    known = pd.read_parquet(write_features(months[0].parent / "june.parquet", 500, 9, month=june))
    error = model.predict(requests)["duration_minutes"] - known["duration_minutes"]

    assert np.sqrt((error**2).mean()) < 0.6 * known["duration_minutes"].std()


def test_the_parameters_are_those_of_the_best_trial(tuned: Tuned, months: tuple[Path, Path, Path]) -> None:
    other = replace(tuned.search.best, parameters={**tuned.search.best.parameters, "max_depth": 1}, rounds=3)
    shallow = FITTING.fit(months, replace(tuned, search=replace(tuned.search, best=other)))

    assert shallow.estimator.booster.num_boosted_rounds() == 3
    assert (shallow.estimator.booster.trees_to_dataframe().groupby("Tree").size() <= 3).all()


# --- Settings -----------------------------------------------------------------------------------------------


def test_the_same_months_give_the_same_model_to_the_last_bit(
    tuned: Tuned, months: tuple[Path, Path, Path]
) -> None:
    again = FITTING.tune(months[:2], months[2])
    one, other = (FITTING.fit(months, found) for found in (tuned, again))

    assert one.estimator.booster.save_raw() == other.estimator.booster.save_raw()
    assert_same_tables(one.encoder.tables, other.encoder.tables)
    for mine, others in ((one.estimator, other.estimator), (one.without_distance, other.without_distance)):
        assert mine
        assert others
        assert mine.intervals
        assert others.intervals
        assert mine.booster.save_raw() == others.booster.save_raw()
        assert_same_intervals(mine.intervals, others.intervals)
    np.testing.assert_array_equal(tuned.predicted, again.predicted)


def test_another_seed_gives_another_model(tuned: Tuned, months: tuple[Path, Path, Path]) -> None:
    other = Fitting.of(SETTINGS.model_copy(update={"seed": 6}), threads=1)

    one, another = (fitting.fit(months, tuned) for fitting in (FITTING, other))
    assert one.estimator.booster.save_raw() != another.estimator.booster.save_raw()


def test_two_threads_answer_nearly_as_one(tuned: Tuned, months: tuple[Path, Path, Path]) -> None:
    """Threads add in another order, so trees may differ in a last digit, and a split with it."""
    two = Fitting.of(SETTINGS, threads=2).tune(months[:2], months[2])

    rmse, rmse_of_two = (error_metrics(found.actual, found.predicted)["rmse"] for found in (tuned, two))
    assert rmse_of_two == pytest.approx(rmse, abs=1e-3)


def test_a_half_life_changes_what_is_learnt_and_not_how_it_is_scored(
    tuned: Tuned, months: tuple[Path, Path, Path]
) -> None:
    forgetful = Fitting.of(SETTINGS.model_copy(update={"half_life_months": 0.5}), threads=1)
    found = forgetful.tune(months[:2], months[2])

    assert not np.array_equal(found.predicted, tuned.predicted)
    rmse = error_metrics(found.actual, found.predicted)["rmse"]
    assert rmse == pytest.approx(found.search.best.validation_rmse, rel=1e-3)
    one, other = (fitting.fit(months, tuned).estimator.booster.save_raw() for fitting in (FITTING, forgetful))
    assert one != other


def test_without_distance_the_model_does_not_know_it(months: tuple[Path, Path, Path]) -> None:
    fitting = Fitting.of(Settings(use_distance=False, max_trials=1), threads=1)
    tuned = fitting.tune(months[:2], months[2])
    model = fitting.fit(months, tuned)

    assert fitting.features == model.features == feature_names(use_distance=False)
    assert tuned.without_distance is None
    assert model.without_distance is None
    requests = make_requests(20)
    elsewhere = model.predict(requests.assign(distance_miles=30.0))["duration_minutes"]
    assert elsewhere.tolist() == model.predict(requests)["duration_minutes"].tolist()


def test_other_columns_may_be_tried(months: tuple[Path, Path, Path]) -> None:
    few = ("minute_of_day", "pair_minutes")
    fitting = replace(FITTING, features=few)
    model = fitting.fit(months, fitting.tune(months[:2], months[2]))

    assert model.features == few
    assert model.estimator.booster.num_features() == 2
    assert set(model.importance()) == set(few)
