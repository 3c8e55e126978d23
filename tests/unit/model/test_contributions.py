"""What each feature adds to one prediction."""

from __future__ import annotations

import numpy as np
import pytest
from support.builders import make_requests
from support.small_models import matrix_of, model_of

from mlops.model.duration_model import MEAN_MINUTES, MISSING, DurationModel
from mlops.model.features import feature_names


@pytest.fixture(scope="module")
def model() -> DurationModel:
    return model_of(matrix_of())


@pytest.mark.parametrize("is_known", [True, False], ids=["with a distance", "without"])
def test_contributions_and_mean_add_up_to_the_prediction(model: DurationModel, is_known: bool) -> None:
    requests = make_requests(20, seed=5).assign(**({} if is_known else {"distance_miles": np.nan}))
    predicted = model.predict(requests)["duration_minutes"]
    inside = predicted.between(1.01, 59.99)
    assert inside.sum() > 10
    for row, minutes in zip(requests[inside].to_dict("records"), predicted[inside], strict=True):
        added = model.contributions({str(name): value for name, value in row.items()})
        assert [*added] == [*feature_names(), MEAN_MINUTES]
        assert sum(added.values()) == pytest.approx(minutes, abs=1e-3)


def test_many_rows_at_once_add_up_before_the_limits(model: DurationModel) -> None:
    requests = make_requests(400, seed=6)
    table = model.matrix(requests)
    sums = model.estimator.contributions(table).sum(axis=1)
    minutes = model.estimator.predict(table)[:, 0]

    np.testing.assert_allclose(np.clip(sums, 1, 60), minutes, atol=1e-3)


def test_without_a_distance_no_feature_that_needs_one_adds_minutes(model: DurationModel) -> None:
    (request,) = make_requests(1).assign(distance_miles=np.nan).to_dict("records")
    added = model.contributions({str(name): value for name, value in request.items()})

    free = feature_names(use_distance=False)
    assert {name for name, minutes in added.items() if minutes} <= {*free, MEAN_MINUTES}
    assert any(added[name] for name in free)


def test_the_matrix_has_a_column_for_each_feature(model: DurationModel) -> None:
    requests = make_requests(3).assign(distance_miles=[1.5, np.nan, 2.5])
    table = model.matrix(requests)

    assert table.shape == (3, len(model.features))
    assert table[:, model.features.index("distance_miles")].tolist() == [1.5, MISSING, 2.5]
