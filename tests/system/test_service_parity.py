"""A registered version gives one answer, however it is asked: batch, HTTP, MLflow's library and commands.

With ``PARITY_ROWS=10000`` real trips are asked about, where real months are: a few minutes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import requests
from support.builders import TLC_NAMES, make_requests
from support.doors import PROJECT, Machine
from support.mlflow_commands import ModelEnvironment, as_dataframe_split, make_environment
from support.mlflow_site import running_server
from support.service_process import Service, running_service
from support.tracked import NAME, registered, save_artefact

from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.registry import client, loading
from mlops.registry.alias_log import CHAMPION
from mlops.registry.client import mlflow

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
REAL_MONTHS = PROJECT.parent / "shared" / "tlc" / "trip-data"
REAL_MONTH = "2023-10"
ROWS = int(os.environ.get("PARITY_ROWS", "500"))
MINUTES = ["duration_minutes", *INTERVAL_COLUMNS]


@dataclass(frozen=True)
class World:
    """A champion in a registry, requests, and everything that can be asked about them."""

    name: str
    machine: Machine
    service: Service
    environment: ModelEnvironment
    asked: pd.DataFrame

    @property
    def uri(self) -> str:
        return f"models:/{self.name}@{CHAMPION}"


@pytest.fixture(scope="module", params=["synthetic", "real"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if request.param == "real" and "PARITY_ROWS" not in os.environ:
        pytest.skip("takes minutes: set PARITY_ROWS to the number of real trips")
    if request.param == "real" and not REAL_MONTHS.is_dir():
        pytest.skip("needs real TLC months in ../shared/tlc/trip-data")
    folder = tmp_path_factory.mktemp("parity")
    machine = Machine(folder / "machine", REAL_MONTHS)
    with running_server(folder) as server, pytest.MonkeyPatch.context() as patch:
        variables = {"MLOPS_STATE_DIR": str(machine.state), "MLFLOW_TRACKING_URI": server.uri}
        for name, value in variables.items():
            patch.setenv(name, value)
        machine.variables.update(variables)
        client.connect(server.uri, machine.state, 10.0)
        name, asked = _real(machine) if request.param == "real" else _synthetic(folder)
        requirements = loading.fetch(loading.choose(name, CHAMPION), folder / "fetched") / "requirements.txt"
        environment = make_environment(folder / "environment", requirements, server.uri)
        with running_service(folder, **variables) as service:
            yield World(name, machine, service, environment, asked)


def _synthetic(folder: Path) -> tuple[str, pd.DataFrame]:
    """A small model, and requests of which some lack a zone, a distance or the passengers."""
    version = registered(save_artefact(folder))
    client.mlflow_client().set_registered_model_alias(NAME, CHAMPION, version.number)
    asked = make_requests(min(ROWS, 2000)).astype({"pickup_zone": "Int64", "dropoff_zone": "Int64"})
    asked.loc[asked.index % 7 == 0, "distance_miles"] = np.nan
    asked.loc[asked.index % 11 == 0, "dropoff_zone"] = pd.NA
    asked.loc[asked.index % 13 == 0, "pickup_zone"] = 999  # TLC uses no such id
    asked.loc[asked.index % 17 == 0, "passenger_count"] = pd.NA
    return NAME, asked


def _real(machine: Machine) -> tuple[str, pd.DataFrame]:
    """A model of real months, and real trips of the month on which it was tested, as TLC's file has them."""
    few = {"month": REAL_MONTH, "train_months": 2, "max_trials": 1, "min_test_rows": 5000}
    trained = machine.train(**few)
    assert trained.status == 0, trained.output
    names = {TLC_NAMES["green"][name]: name for name in REQUEST_COLUMNS}
    month = pq.read_table(REAL_MONTHS / f"green_tripdata_{REAL_MONTH}.parquet", columns=list(names))
    trips = month.to_pandas().rename(columns=names)
    return "trip-duration-green", (
        trips[trips["distance_miles"] <= 1000]  # the service refuses more
        .sample(ROWS, random_state=1)
        .astype({"pickup_zone": "Int64", "dropoff_zone": "Int64", "passenger_count": "Int64"})
        .reset_index(drop=True)
    )


@pytest.fixture(scope="module")
def expected(world: World) -> pd.DataFrame:
    """Answers of MLflow's library, in this environment."""
    mlflow.set_tracking_uri(world.environment.registry)
    found: pd.DataFrame = mlflow.pyfunc.load_model(world.uri).predict(world.asked)
    return found


def by_batch(world: World, folder: Path) -> pd.DataFrame:
    """Batch scoring."""
    file = folder / "asked.parquet"
    world.asked.to_parquet(file)
    done = world.machine.mlops(
        "score", f"--input={file}", f"--model={world.name}", f"--to={folder / 'scored'}"
    )
    assert done.status == 0, done.output
    (written,) = (folder / "scored").rglob("asked.*.parquet")
    return pd.read_parquet(written)


def by_single_requests(world: World, folder: Path) -> pd.DataFrame:
    """The service, one request at a time."""
    with requests.Session() as session:
        return pd.DataFrame([_post(session, world, one) for one in _as_json(world.asked)])


def by_lists(world: World, folder: Path) -> pd.DataFrame:
    """The service, a hundred requests at a time."""
    everything = _as_json(world.asked)
    lists = [everything[start : start + 100] for start in range(0, len(everything), 100)]
    with requests.Session() as session:
        return pd.DataFrame([answer for some in lists for answer in _post(session, world, some)])


def by_predict_command(world: World, folder: Path) -> pd.DataFrame:
    """`mlflow models predict`, in an environment of the version's requirements."""
    return world.environment.predict(world.uri, world.asked, folder)


def by_serve_command(world: World, folder: Path) -> pd.DataFrame:
    """`mlflow models serve`, in the same environment."""
    with world.environment.serving(world.uri, folder) as url:
        answer = requests.post(f"{url}/invocations", json=as_dataframe_split(world.asked), timeout=120)
    assert answer.status_code == 200, answer.text
    return pd.DataFrame(answer.json()["predictions"])


WAYS = (by_batch, by_single_requests, by_lists, by_predict_command, by_serve_command)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_answers_are_those_of_mlflows_library(
    way: Callable[[World, Path], pd.DataFrame], world: World, expected: pd.DataFrame, tmp_path: Path
) -> None:
    found = way(world, tmp_path)
    assert len(found) == len(expected) == len(world.asked)
    difference = np.abs(found[MINUTES].to_numpy(np.float64) - expected[MINUTES].to_numpy(np.float64))
    assert difference.max() < 1e-6
    assert found["out_of_range"].tolist() == expected["out_of_range"].tolist()


def _as_json(asked: pd.DataFrame) -> list[dict[str, Any]]:
    """Requests as a client writes them, null for what it does not know."""
    rows: list[dict[str, Any]] = json.loads(asked.to_json(orient="records", date_format="iso"))
    return rows


def _post(session: requests.Session, world: World, asked: Any) -> Any:
    answer = session.post(f"{world.service.url}/predict", json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()
