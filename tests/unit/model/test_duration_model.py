"""One artefact answers every request: alone, in a batch and after loading."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from support.builders import make_features, make_requests
from support.small_models import matrix_of, minutes, model_of
from support.version_folders import BEFORE as VERSION_BEFORE

from mlops.errors import MlopsError
from mlops.model import version_code
from mlops.model.duration_model import DurationModel
from mlops.model.features import feature_names
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.model.request_columns import A_TIME
from mlops.training.boosting import build_matrix
from mlops.training.feature_files import Batch

BEFORE = VERSION_BEFORE / "data" / "model"


@pytest.fixture(scope="module")
def model() -> DurationModel:
    return model_of(matrix_of())


def test_a_prediction_is_a_table_with_the_requests_index(model: DurationModel) -> None:
    requests = make_requests(3).set_index(pd.Index(["a", "b", "a"], name="ride"))
    found = model.predict(requests)

    assert list(found.columns) == ["duration_minutes", *INTERVAL_COLUMNS, OUT_OF_RANGE]
    assert [dtype.name for dtype in found.dtypes] == ["float64"] * 5 + ["bool"]
    pd.testing.assert_index_equal(found.index, requests.index)


def test_something_was_learnt(model: DurationModel) -> None:
    requests = make_requests(500, seed=9)
    _, actual = make_features(500, seed=9)
    error = np.sqrt(np.mean((np.array(minutes(model, requests)) - actual) ** 2))

    assert error < 0.6 * actual.std()


@pytest.mark.parametrize("zone", [0, -5, 265, 266, 999, 2**31 - 1, 10**12])
@pytest.mark.parametrize("column", ["pickup_zone", "dropoff_zone"])
def test_an_unknown_zone_is_answered(column: str, zone: int, model: DurationModel) -> None:
    minutes(model, make_requests(3).assign(**{column: zone}))


def test_every_zone_that_tlc_has_not_given_out_gets_the_same_answer(model: DurationModel) -> None:
    answers = [minutes(model, make_requests(3).assign(pickup_zone=zone)) for zone in (0, -5, 266, 10**12)]

    assert answers.count(answers[0]) == len(answers)


def test_a_pair_that_no_trip_drove_is_answered(model: DurationModel) -> None:
    minutes(model, make_requests(3).assign(pickup_zone=[200, 1, 201], dropoff_zone=[201, 202, 1]))


NO_PASSENGERS = {
    "None": [None] * 3,
    "NaN": [np.nan] * 3,
    "NA": [pd.NA] * 3,
    "object NaN": np.array([np.nan] * 3, object),
    "Int64": pd.array([None] * 3, "Int64"),
    "Float64": pd.array([None] * 3, "Float64"),
}


@pytest.mark.parametrize("passengers", NO_PASSENGERS.values(), ids=NO_PASSENGERS)
def test_a_null_passenger_count_is_answered_however_it_is_written(
    passengers: Any, model: DurationModel
) -> None:
    left_out = minutes(model, make_requests(3).drop(columns="passenger_count"))

    assert minutes(model, make_requests(3).assign(passenger_count=passengers)) == left_out


@pytest.mark.parametrize(
    "passengers",
    [
        np.array([1, 2, 3]),
        np.array([1.0, 2.0, 3.0]),
        pd.array([1, 2, 3], "Int64"),
        np.array([1, 2, 3], object),
    ],
    ids=["int64", "float64", "Int64", "object"],
)
def test_a_passenger_count_is_the_same_however_it_is_written(passengers: Any, model: DurationModel) -> None:
    as_int32 = minutes(model, make_requests(3).assign(passenger_count=np.array([1, 2, 3], np.int32)))

    assert minutes(model, make_requests(3).assign(passenger_count=passengers)) == as_int32


@pytest.mark.parametrize("miles", [np.nan, None, 0.0, -1.0, 1e-9, 1e6, 1e38, 1e300, np.inf, -np.inf])
def test_any_distance_is_answered(miles: float | None, model: DurationModel) -> None:
    minutes(model, make_requests(3).assign(distance_miles=[miles, 1.0, 2.0]))


def test_no_requests_get_no_answers(model: DurationModel) -> None:
    assert minutes(model, make_requests(3).head(0)) == []


def test_a_batch_is_answered_like_each_request_alone(model: DurationModel) -> None:
    requests = make_requests(100, seed=4).astype({"pickup_zone": np.int64})
    requests.loc[::7, "distance_miles"] = np.nan
    requests.loc[::11, "pickup_zone"] = 999
    alone = [minutes(model, requests.iloc[[position]])[0] for position in range(100)]

    assert minutes(model, requests) == alone


def test_other_columns_are_not_looked_at_and_requests_not_changed(model: DurationModel) -> None:
    requests = make_requests(20)
    before = requests.copy(deep=True)
    more = requests[requests.columns[::-1]].assign(fare_amount=3.0, duration_minutes=1.0)

    assert minutes(model, more) == minutes(model, requests)
    pd.testing.assert_frame_equal(requests, before)


@pytest.mark.parametrize("column", ["pickup_at", "pickup_zone", "dropoff_zone", "distance_miles"])
def test_a_missing_request_column_is_named(column: str, model: DurationModel) -> None:
    with pytest.raises(MlopsError) as refused:
        model.predict(make_requests(3).drop(columns=column))

    assert str(refused.value) == (
        f"requests: missing ['{column}']; expected the columns "
        "['pickup_at', 'pickup_zone', 'dropoff_zone', 'distance_miles', 'passenger_count']"
    )


# Other ways to write the first of `make_requests`' columns, and what is none of them.
WRITTEN = {
    "pickup_at": (
        lambda at: at.isoformat(),
        lambda at: at.replace(tzinfo=ZoneInfo("America/New_York")),
        lambda at: at.replace(tzinfo=ZoneInfo("America/New_York")).astimezone(ZoneInfo("UTC")),
        lambda at: f"{at.replace(tzinfo=ZoneInfo('America/New_York')).astimezone(ZoneInfo('UTC')):%FT%TZ}",
        lambda at: pd.Timestamp(at).tz_localize("America/New_York").tz_convert("Asia/Kolkata"),
    ),
    "pickup_zone": (float, np.int32, np.float32),
    "dropoff_zone": (float, np.int32, np.float32),
    "distance_miles": (np.float64, lambda miles: np.float32(miles)),
    "passenger_count": (lambda _: None, lambda _: np.nan, lambda _: pd.NA),
}


@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name, ways in WRITTEN.items() for i in range(len(ways))]
)
def test_a_request_has_one_answer_however_it_is_written(name: str, number: int, model: DurationModel) -> None:
    requests = make_requests(3, seed=6).assign(passenger_count=pd.NA)
    expected = model.predict(requests)
    written = [{**row, name: WRITTEN[name][number](row[name])} for row in as_mappings(requests)]
    one_by_one = pd.DataFrame([model.predict_one(row) for row in written])

    pd.testing.assert_frame_equal(one_by_one, expected, check_exact=True)
    pd.testing.assert_frame_equal(model.predict(pd.DataFrame(written)), expected, check_exact=True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("pickup_at", 1688387400, f"expected {A_TIME}; got 1688387400"),
        ("pickup_at", "1688387400", f"expected {A_TIME}; got '1688387400'"),
        ("pickup_at", "soon", f"expected {A_TIME}; got 'soon'"),
        ("pickup_zone", 74.5, "expected a zone's id, a whole number; got 74.5"),
        ("dropoff_zone", "JFK", "expected a number or null; got 'JFK'"),
        ("distance_miles", "two", "expected a number or null; got 'two'"),
        ("passenger_count", True, "expected a number or null; got True"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_alone_as_in_a_table(
    name: str, value: Any, said: str, model: DurationModel
) -> None:
    (request,) = as_mappings(make_requests(1).assign(passenger_count=1))
    for ask in (model.predict_one, lambda row: model.predict(pd.DataFrame([row]))):
        with pytest.raises(MlopsError) as refused:
            ask({**request, name: value})
        assert str(refused.value) == f"requests: {name}: {said}"


@pytest.mark.parametrize("column", ["pickup_at", "pickup_zone", "distance_miles", "passenger_count"])
def test_a_column_of_words_is_named(column: str, model: DurationModel) -> None:
    with pytest.raises(MlopsError, match=column):
        model.predict(make_requests(3).assign(**{column: "soon"}))


# --- One at a time ------------------------------------------------------------------------------------------


def as_mappings(requests: pd.DataFrame) -> list[dict[str, Any]]:
    """Requests as a server has them: plain values, None where a value is missing."""
    return [
        {
            "pickup_at": row["pickup_at"].to_pydatetime(),
            "pickup_zone": int(row["pickup_zone"]),
            "dropoff_zone": int(row["dropoff_zone"]),
            "distance_miles": None if pd.isna(row["distance_miles"]) else float(row["distance_miles"]),
            "passenger_count": None if pd.isna(row["passenger_count"]) else int(row["passenger_count"]),
        }
        for row in requests.to_dict("records")
    ]


@pytest.mark.parametrize("use_distance", [True, False])
def test_one_request_is_answered_as_in_a_table(use_distance: bool) -> None:
    model = model_of(matrix_of(features=feature_names(use_distance)))
    requests = make_requests(100, seed=4).astype({"pickup_zone": np.int64})
    requests.loc[::7, "distance_miles"] = np.nan
    requests.loc[::11, "pickup_zone"] = 999
    found = pd.DataFrame([model.predict_one(request) for request in as_mappings(requests)])

    pd.testing.assert_frame_equal(found, model.predict(requests), check_exact=True)


def test_one_request_may_leave_its_passengers_out_and_say_its_time_zone(model: DurationModel) -> None:
    (request,) = as_mappings(make_requests(1).assign(passenger_count=pd.NA))
    expected = model.predict_one(request)
    short = {name: value for name, value in request.items() if name != "passenger_count"}
    zoned = {**request, "pickup_at": request["pickup_at"].replace(tzinfo=ZoneInfo("America/New_York"))}

    assert model.predict_one(short) == model.predict_one(zoned) == expected
    assert model.predict_one({**request, "fare_amount": 3.0}) == expected


def test_one_request_may_be_pandas_own_values(model: DurationModel) -> None:
    requests = make_requests(20)
    requests.loc[3, "passenger_count"] = pd.NA

    for row, request in zip(requests.to_dict("records"), as_mappings(requests), strict=True):
        assert model.predict_one(row) == model.predict_one(request)


def test_one_answer_is_plain_numbers_in_order(model: DurationModel) -> None:
    for request in as_mappings(make_requests(50, seed=8)):
        found = model.predict_one(request)

        assert list(found) == ["duration_minutes", *INTERVAL_COLUMNS, OUT_OF_RANGE]
        assert [type(value) for value in found.values()] == [float] * 5 + [bool]
        low_95, low_80, high_80, high_95 = (
            found[f"{end}_minutes"] for end in ("low_95", "low_80", "high_80", "high_95")
        )
        assert 1 <= low_95 <= low_80 <= found["duration_minutes"] <= high_80 <= high_95 <= 60


def test_one_request_without_a_pickup_time_or_zone_is_refused(model: DurationModel) -> None:
    (request,) = as_mappings(make_requests(1))
    with pytest.raises(MlopsError, match=r"^requests: pickup_at is missing in 1 of 1 rows$"):
        model.predict_one({**request, "pickup_at": None})
    with pytest.raises(MlopsError, match=r"^requests: missing \['dropoff_zone'\]; expected the columns "):
        model.predict_one({name: value for name, value in request.items() if name != "dropoff_zone"})


# --- Without the distance -----------------------------------------------------------------------------------


def test_without_distance_another_distance_changes_nothing() -> None:
    model = model_of(matrix_of(features=feature_names(use_distance=False)))
    requests = make_requests(50)
    expected = minutes(model, requests)

    for miles in (0.0, 50.0, np.nan):
        assert minutes(model, requests.assign(distance_miles=miles)) == expected
    assert set(model.importance()) == set(feature_names(use_distance=False))


def test_with_distance_another_distance_changes_the_answer(model: DurationModel) -> None:
    requests = make_requests(50)

    assert minutes(model, requests.assign(distance_miles=0.5)) != minutes(
        model, requests.assign(distance_miles=9.0)
    )


@pytest.mark.parametrize("use_distance", [True, False])
def test_trips_without_a_measured_distance_can_be_trained_on(use_distance: bool) -> None:
    known, took = make_features(200)
    known["distance_miles"] = np.zeros(200, np.float32)
    batch = Batch(known, took)
    matrix = build_matrix([batch], [batch], features=feature_names(use_distance), seed=1, threads=1)

    minutes(model_of(matrix, rounds=3), make_requests(5))


# --- Outside of what was learnt -----------------------------------------------------------------------------

# The small town has zones 1 to 12, distances of half a mile to about ten miles, and one to six passengers.
OUTSIDE: dict[str, list[Any]] = {
    "pickup_zone": [13, 265, 999, 0, -1, None],
    "dropoff_zone": [13, 265, 999, 0, -1, None],
    "distance_miles": [1000.0, 1000, 1e6, 1e300, np.inf, -0.1, -np.inf],
    "passenger_count": [7, 1e6, -1],
}
INSIDE: dict[str, list[Any]] = {
    "distance_miles": [0.0, 0, 1e-9, 2, None],
    "passenger_count": [0, 6, None],
    "pickup_at": [datetime(1999, 12, 31, 23, 59), datetime(2035, 7, 4)],
}


@pytest.mark.parametrize(
    ("name", "value", "outside"),
    [
        (name, value, outside)
        for outside, values in ((True, OUTSIDE), (False, INSIDE))
        for name, those in values.items()
        for value in those
    ],
)
def test_an_answer_says_whether_its_request_is_outside_of_what_was_learnt(
    name: str, value: Any, outside: bool, model: DurationModel
) -> None:
    (request,) = as_mappings(make_requests(1).assign(passenger_count=1))
    changed = {**request, name: value}
    alone, table = model.predict_one(changed), model.predict(pd.DataFrame([request, changed]))

    assert alone[OUT_OF_RANGE] is outside
    assert table[OUT_OF_RANGE].tolist() == [False, outside]
    assert 1 <= alone["duration_minutes"] == table["duration_minutes"][1] <= 60


def test_requests_like_the_training_trips_are_not_outside(model: DurationModel) -> None:
    assert not model.predict(make_requests(800, seed=1))[OUT_OF_RANGE].any()  # the seed of `matrix_of`


def test_a_model_without_distance_does_not_judge_it() -> None:
    model = model_of(matrix_of(features=feature_names(use_distance=False)))
    requests = make_requests(3).assign(distance_miles=1000.0, pickup_zone=[1, 2, 999])

    assert model.predict(requests)[OUT_OF_RANGE].tolist() == [False, False, True]


# --- Fitting ------------------------------------------------------------------------------------------------


def test_importance_is_the_share_of_gain_most_first(model: DurationModel) -> None:
    found = model.importance()
    gain = model.estimator.booster.get_score(importance_type="total_gain")

    assert set(found) == set(feature_names())
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    position = feature_names().index("distance_miles")
    assert found["distance_miles"] == pytest.approx(gain[f"f{position}"] / sum(gain.values()))


# --- The artefact -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_distance", [True, False])
def test_a_loaded_model_answers_like_the_saved_one(use_distance: bool, tmp_path: Path) -> None:
    model = model_of(matrix_of(300, features=feature_names(use_distance)))
    loaded = DurationModel.load(model.save(tmp_path / "model"))
    requests = make_requests(200, seed=5)

    assert loaded.features == feature_names(use_distance)
    for asked in (requests, requests.assign(distance_miles=np.nan)):
        pd.testing.assert_frame_equal(loaded.predict(asked), model.predict(asked), check_exact=True)
    assert bool(loaded.without_distance) == use_distance
    assert loaded.importance() == model.importance()


def test_an_artefact_is_six_files_and_no_pickle(model: DurationModel, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "model")

    assert sorted(path.name for path in folder.iterdir()) == [
        "booster.ubj", "booster_without_distance.ubj", "encoder.npz", "model.json", "scale.ubj",
        "scale_without_distance.ubj",
    ]  # fmt: skip
    with np.load(folder / "encoder.npz", allow_pickle=False) as tables:
        assert set(tables.files) == set(model.encoder.tables)


def test_an_artefact_without_a_learned_range_answers_without_that_column(
    model: DurationModel, tmp_path: Path
) -> None:
    """As those that were written before there was such a range."""
    folder, requests = model.save(tmp_path / "model"), make_requests(20)
    about = json.loads((folder / "model.json").read_text())
    learned = about.pop("learned")
    (folder / "model.json").write_text(json.dumps(about))
    loaded, expected = DurationModel.load(folder), model.predict(requests).drop(columns=OUT_OF_RANGE)

    assert set(learned) == {"pickup_zone", "dropoff_zone", "distance_miles", "passenger_count"}
    pd.testing.assert_frame_equal(loaded.predict(requests), expected, check_exact=True)
    assert list(loaded.predict_one(as_mappings(requests)[0])) == list(expected.columns)
    assert "learned" not in (loaded.save(tmp_path / "again") / "model.json").read_text()


def test_an_artefact_of_format_2_answers_as_with_the_code_of_its_time(tmp_path: Path) -> None:
    """As in a pending result that an earlier release left."""
    requests = make_requests(300).assign(passenger_count=[*[None, 1.0] * 150])
    requests.loc[::3, "distance_miles"] = np.nan
    requests.loc[1::3, "distance_miles"] = 0.0
    model, own = DurationModel.load(BEFORE), version_code.load_model(BEFORE)
    answers = model.predict(requests)

    assert list(answers)[1:5] == list(INTERVAL_COLUMNS)
    pd.testing.assert_frame_equal(answers, own.predict(requests), check_exact=True)
    for number, request in enumerate(as_mappings(requests)[:30]):
        assert list(model.predict_one(request).values()) == answers.iloc[number].tolist()
    with pytest.raises(MlopsError, match=r"a model of format 2 is not written again"):
        model.save(tmp_path / "model")


def test_an_artefact_of_another_format_is_refused(model: DurationModel, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "model")
    about = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(MlopsError) as refused:
        DurationModel.load(folder)

    assert str(refused.value) == f"{folder}: expected model format 2 or 3; got 99"


def test_an_artefact_is_never_written_over_another(model: DurationModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "model")
