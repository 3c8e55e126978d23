"""Training: rounds, early stopping, seeds, batches and weights."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest
from support.builders import make_batch, make_features, make_requests
from support.small_models import QUICK, matrix_of, minutes

from mlops.errors import EmptyTrainingSetError
from mlops.model.duration_model import DurationModel
from mlops.model.estimator import Estimator
from mlops.model.features import REQUEST_FEATURES
from mlops.training.boosting import Fit, Matrix, build_matrix, train
from mlops.training.feature_files import Batch


def stopped_early(matrix: Matrix) -> Fit:
    return train(matrix, QUICK, seed=1, threads=1, rounds=400, stop_early=True)


def test_the_same_seed_gives_the_same_model() -> None:
    parameters = {**QUICK, "subsample": 0.7, "colsample_bytree": 0.7}

    def answers(seed: int) -> list[float]:
        matrix = matrix_of(seed=seed)
        fit = train(matrix, parameters, seed=seed, threads=1, rounds=20)
        return minutes(DurationModel(matrix.encoder, Estimator(fit.booster)), make_requests(50))

    assert answers(1) == answers(1)
    assert answers(1) != answers(2)


def test_the_seed_reaches_the_trees() -> None:
    matrix, parameters = matrix_of(), {**QUICK, "subsample": 0.7}
    fits = [train(matrix, parameters, seed=seed, threads=1, rounds=10) for seed in (1, 1, 2)]
    one, again, other = (
        minutes(DurationModel(matrix.encoder, Estimator(f.booster)), make_requests(50)) for f in fits
    )

    assert one == again != other


def test_a_fit_with_rounds_has_as_many_trees() -> None:
    fit = train(matrix_of(), QUICK, seed=1, threads=1, rounds=7)

    assert (fit.rounds, fit.booster.num_boosted_rounds()) == (7, 7)


def test_a_fit_without_rounds_stops_where_validation_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops.training.boosting.EARLY_STOPPING_ROUNDS", 5)
    matrix = matrix_of(300)
    fit = stopped_early(matrix)
    as_many = train(matrix, QUICK, seed=1, threads=1, rounds=fit.rounds)

    def rmse(found: Fit) -> float:
        _, actual = make_features(75, 2)
        predicted = minutes(DurationModel(matrix.encoder, Estimator(found.booster)), make_requests(75, 2))
        return float(np.sqrt(np.mean((np.array(predicted) - actual) ** 2)))

    assert fit.booster.num_boosted_rounds() == fit.rounds < 400
    # A prediction is kept to 1 to 60 minutes, which early stopping does not know.
    assert rmse(fit) == pytest.approx(fit.validation_rmse, rel=0.01)
    assert rmse(as_many) == rmse(fit)
    assert np.isnan(as_many.validation_rmse)


def test_validation_may_hold_zones_that_training_does_not() -> None:
    known, took = make_features(100, 2)
    known["pickup_zone"][:50] = 265
    matrix = build_matrix([make_batch(400, 1)], [Batch(known, took)], seed=1, threads=1)

    assert np.isfinite(stopped_early(matrix).validation_rmse)


def test_no_trips_are_refused() -> None:
    known, took = make_features(1)
    nothing = Batch({name: values[:0] for name, values in known.items()}, took[:0])
    with pytest.raises(EmptyTrainingSetError) as refused:
        build_matrix([nothing], seed=1, threads=1)

    assert str(refused.value) == (
        "cleaning left no training trip. Look at the rejections of the training months, "
        "or choose another month or source"
    )


class Interrupted:
    """Batches during whose reading a signal comes, when they are read for the time `when`."""

    def __init__(self, number: int, when: int) -> None:
        self.number, self.when, self.times, self.given = number, when, 0, 0

    def __iter__(self) -> Iterator[Batch]:
        self.times += 1
        for seed in range(5):
            if self.times == self.when and seed == 2:
                signal.raise_signal(self.number)
            self.given += 1
            yield Batch(*make_features(100, seed))


@pytest.mark.parametrize("when", [1, 2, 3])  # by the encoder, and by XGBoost
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_fit_also_while_xgboost_reads(number: signal.Signals, when: int) -> None:
    class Ended(BaseException):
        pass

    def end(number: int, frame: object) -> None:
        raise Ended

    before = signal.signal(number, end)
    try:
        batches = Interrupted(number, when)
        with pytest.raises(Ended):
            build_matrix(batches, batches, seed=1, threads=1)
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
    assert batches.given - 5 * (when - 1) in (2, 3)  # XGBoost still gets the batch that was being read


def test_batches_make_the_matrix_that_one_batch_makes() -> None:
    """Where the folds lie depends on the batches, so the encodings are taken out."""
    known, took = make_features(800, 1)
    parts = [slice(0, 300), slice(300, 301), slice(301, 800)]
    batches = [Batch({name: values[part] for name, values in known.items()}, took[part]) for part in parts]
    plain = tuple(feature.name for feature in REQUEST_FEATURES)
    matrices = [
        build_matrix(some, features=plain, seed=1, threads=1) for some in (batches, [Batch(known, took)])
    ]
    one, other = (train(matrix, QUICK, seed=1, threads=1, rounds=10) for matrix in matrices)

    assert one.booster.save_raw() == other.booster.save_raw()
    for name, table in matrices[0].encoder.tables.items():
        np.testing.assert_array_equal(table, matrices[1].encoder.tables[name])


def test_a_weight_of_nothing_is_as_if_the_trips_were_not_there() -> None:
    known, took = make_features(800, 1)
    weight = np.repeat(np.array([1, 0], np.float32), 400)
    plain = tuple(feature.name for feature in REQUEST_FEATURES)
    weighted = build_matrix(
        [Batch(known, took * np.repeat([1, 3], 400), weight)], features=plain, seed=1, threads=1
    )
    half = build_matrix(
        [Batch({name: values[:400] for name, values in known.items()}, took[:400])],
        features=plain,
        seed=1,
        threads=1,
    )
    requests, _ = make_features(50)
    one, other = (
        DurationModel(
            matrix.encoder, Estimator(train(matrix, QUICK, seed=1, threads=1, rounds=5).booster), plain
        ).minutes(requests)
        for matrix in (weighted, half)
    )
    assert one == pytest.approx(other, rel=0.1)
