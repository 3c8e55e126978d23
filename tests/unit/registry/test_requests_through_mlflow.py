"""MLflow answers and refuses a request as `predict_one` does, in this process and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from support.builders import make_requests

from mlops.errors import one_line
from mlops.registry import artifact
from mlops.registry.client import MlflowException, mlflow

RIDE = {
    "pickup_at": pd.Timestamp("2023-07-03 08:30"),
    "pickup_zone": 7,
    "dropoff_zone": 4,
    "distance_miles": 2.1,
    "passenger_count": 1,
}
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def model(artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A version, as MLflow loads it."""
    folder = tmp_path_factory.mktemp("version")
    package = artifact.write_code(folder)
    mlflow.pyfunc.save_model(
        path=str(folder / "version"), loader_module=f"{package.name}.model", data_path=str(artefact),
        code_paths=[str(package)], signature=artifact.model_signature(), input_example=make_requests(3),
        pip_requirements=[],
    )  # fmt: skip
    return mlflow.pyfunc.load_model(str(folder / "version"))


@pytest.fixture(scope="module")
def post(model: Any) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """Post JSON to `/invocations` of MLflow's scoring server; returns the response."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "false")  # set here, so that it is undone
        from mlflow.pyfunc import scoring_server

        with TestClient(scoring_server.init(model)) as client:
            yield lambda content: client.post("/invocations", json=content)


def one(model: Any, **changed: Any) -> dict[str, Any]:
    return dict(model.get_raw_model().predict_one({**RIDE, **changed}))


# --- In this process ----------------------------------------------------------------------------------------

# The same ride in other types, or another ride in types that MLflow's own refuse.
CHANGES: dict[str, dict[str, Any]] = {
    "as documented": {},
    "New York's time": {"pickup_at": pd.Timestamp("2023-07-03 08:30", tz="America/New_York")},
    "another time zone": {"pickup_at": datetime(2023, 7, 3, 12, 30, tzinfo=timezone.utc)},
    "text": {"pickup_at": "2023-07-03T08:30:00"},
    "text with an offset": {"pickup_at": "2023-07-03T12:30:00Z"},
    "whole miles": {"distance_miles": 2},
    "no miles": {"distance_miles": None},
    "miles of a database": {"distance_miles": Decimal("2.1")},
    "zones as floats": {"pickup_zone": 7.0, "dropoff_zone": 4.0},
    "small zones": {"pickup_zone": np.uint8(7), "dropoff_zone": np.int16(4)},
    "a zone is null": {"dropoff_zone": None},
    "a zone is NaN": {"dropoff_zone": np.nan},
    "no zones": {"pickup_zone": None, "dropoff_zone": pd.NA},
    "passengers as float": {"passenger_count": 1.0},
    "no passengers": {"passenger_count": None},
    "a thousand miles": {"distance_miles": 1000},
    "an unknown zone": {"pickup_zone": 999},
}
SAME = ("New York's time", "another time zone", "text", "text with an offset", "zones as floats", "small zones",
        "miles of a database", "passengers as float")  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_a_table_of_one_is_answered_as_the_request_alone(kind: str, model: Any) -> None:
    expected = one(model, **CHANGES[kind])

    assert model.predict(pd.DataFrame([{**RIDE, **CHANGES[kind]}])).to_dict("records") == [expected]
    assert (expected == one(model)) or kind not in SAME


def test_a_table_may_hold_all_of_them_at_once(model: Any) -> None:
    rides = [{**RIDE, **changed} for changed in CHANGES.values()]
    answers = model.predict(pd.DataFrame(rides, dtype=object).set_axis(["ride"] * len(rides)))

    assert answers.to_dict("records") == [one(model, **changed) for changed in CHANGES.values()]
    assert set(answers.index) == {"ride"}
    assert answers["out_of_range"].tolist() == [
        "zone is" in kind or kind in ("no zones", "a thousand miles", "an unknown zone") for kind in CHANGES
    ]


def of_arrow(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table in Arrow's types, as `pandas.read_parquet(dtype_backend="pyarrow")` reads it."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.to_pandas(types_mapper=pd.ArrowDtype)


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "nullable types": lambda frame: frame.convert_dtypes(),
    "Arrow": of_arrow,
    "Arrow with a time zone": lambda frame: of_arrow(
        frame.assign(pickup_at=frame["pickup_at"].dt.tz_localize(NEW_YORK).dt.tz_convert("UTC"))
    ),
    "time zone": lambda frame: frame.assign(pickup_at=frame["pickup_at"].dt.tz_localize(NEW_YORK)),
    "objects": lambda frame: frame.astype(object),
    "small types": lambda frame: frame.astype({"pickup_zone": "int16", "dropoff_zone": "UInt8"}),
    "floats": lambda frame: frame.astype({"pickup_zone": "float64", "dropoff_zone": "float32"}),
    "no passengers": lambda frame: frame.drop(columns="passenger_count"),
    "more columns": lambda frame: frame[frame.columns[::-1]].assign(fare_amount=3.0),
    "another index": lambda frame: frame.set_axis(range(50, 50 - len(frame), -1)),
}


@pytest.mark.parametrize("whole", [False, True], ids=["miles", "whole miles"])
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_answered_in_every_type(kind: str, whole: bool, model: Any) -> None:
    requests = make_requests(20).assign(passenger_count=pd.NA)
    if whole:
        requests["distance_miles"] = requests["distance_miles"].round().astype("int64")
    expected = model.get_raw_model().predict(requests)
    answers = model.predict(TABLES[kind](requests))

    pd.testing.assert_frame_equal(answers.reset_index(drop=True), expected, check_exact=True)


REFUSED = {
    "distance_miles: expected a number or null; got 'two'": {"distance_miles": "two"},
    "distance_miles: expected a number or null; got '2.1'": {"distance_miles": "2.1"},
    "pickup_zone: expected a number or null; got 'JFK'": {"pickup_zone": "JFK"},
    "dropoff_zone: expected a number or null; got True": {"dropoff_zone": True},
    "dropoff_zone: expected a zone's id, a whole number; got 74.5": {"dropoff_zone": 74.5},
    "passenger_count: expected a number or null; got 'one'": {"passenger_count": "one"},
    "pickup_at: expected a date and time such as 2023-07-03T08:30 (New York's wall clock) or 2023-07-03T12:30Z; "
    "got 1688387400": {"pickup_at": 1688387400},
    "pickup_at: expected a date and time such as 2023-07-03T08:30 (New York's wall clock) or 2023-07-03T12:30Z; "
    "got '1688387400'": {"pickup_at": "1688387400"},
    "pickup_at is missing in 1 of 1 rows": {"pickup_at": None},
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_wrong_value_is_refused_by_name(said: str, model: Any) -> None:
    with pytest.raises(Exception, match=r"^requests: ") as refused:
        model.predict(pd.DataFrame([{**RIDE, **REFUSED[said]}]))

    assert type(refused.value).__name__ == "MlopsError"
    assert str(refused.value) == f"requests: {said}"


@pytest.mark.parametrize("name", [name for name in RIDE if name != "passenger_count"])
def test_a_missing_column_is_refused_by_name(name: str, model: Any) -> None:
    with pytest.raises(MlflowException, match=rf"Model is missing inputs \['{name}'\]"):
        model.predict(pd.DataFrame([RIDE]).drop(columns=name))


def test_the_example_that_is_kept_with_a_version_is_answered(model: Any) -> None:
    assert model.predict(model.input_example).equals(model.get_raw_model().predict(make_requests(3)))


# --- Over HTTP ----------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, (datetime, Decimal)):
        return float(value) if isinstance(value, Decimal) else value.isoformat()
    return json.loads(pd.Series([value], dtype=object).to_json(orient="values"))[0]


BODIES: dict[str, Callable[[list[dict[str, Any]]], dict[str, Any]]] = {
    "dataframe_records": lambda rides: {"dataframe_records": rides},
    "dataframe_split": lambda rides: {
        "dataframe_split": {"columns": list(rides[0]), "data": [list(ride.values()) for ride in rides]}
    },
    "inputs": lambda rides: {"inputs": {name: [ride[name] for ride in rides] for name in rides[0]}},
    "inputs by row": lambda rides: {"inputs": rides},
    "instances": lambda rides: {"instances": rides},
}


@pytest.mark.parametrize("body", BODIES)
def test_the_server_answers_every_kind_of_body_as_the_request_alone(
    body: str, post: Callable[[dict[str, Any]], Any], model: Any
) -> None:
    rides = [{name: plain(v) for name, v in {**RIDE, **changed}.items()} for changed in CHANGES.values()]
    together = post(BODIES[body](rides))
    expected = [one(model, **changed) for changed in CHANGES.values()]

    assert together.status_code == 200, together.text
    assert together.json() == {"predictions": expected}
    for ride, answer in zip(rides, expected, strict=True):
        assert post(BODIES[body]([ride])).json() == {"predictions": [answer]}
    alone = {name: value for name, value in rides[0].items() if name != "passenger_count"}
    assert post(BODIES[body]([alone])).json() == {"predictions": [one(model, passenger_count=None)]}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("said", REFUSED)
def test_the_server_refuses_a_wrong_value_by_name(
    said: str, body: str, post: Callable[[dict[str, Any]], Any]
) -> None:
    response = post(BODIES[body]([{name: plain(v) for name, v in {**RIDE, **REFUSED[said]}.items()}]))

    assert response.status_code == 400
    assert f"MlopsError: requests: {said}" in one_line(response.json()["stack_trace"])


def test_the_server_refuses_a_missing_column_by_name(post: Callable[[dict[str, Any]], Any]) -> None:
    response = post({"dataframe_records": [{"pickup_at": "2023-07-03T08:30", "pickup_zone": 7}]})

    assert response.status_code == 400
    assert "Model is missing inputs ['dropoff_zone', 'distance_miles']" in response.json()["message"]
