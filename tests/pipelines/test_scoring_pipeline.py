"""The pipeline `trip_duration_scoring` in real Mage: it scores, delivers, and skips what was scored."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow.parquet as pq
import pytest
from support.doors import BIN, PROJECT, SAMPLE_MODEL, SCORING, Ended, Machine, with_store
from support.postgres import Postgres, running_postgres

RESULT = f"green_tripdata_2023-04.{SAMPLE_MODEL}-v1"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as started:
        yield started


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, months: Path, migrated_store: Path) -> Machine:
    """A machine with a champion, whose environment has what `io_config.yaml` reads."""
    machine = with_store(Machine(tmp_path_factory.mktemp("scoring"), months), migrated_store)
    assert machine.train().status == 0
    return machine


def score(machine: Machine, *options: str, **variables: Any) -> Ended:
    given = json.dumps({"source": str(machine.source), "month": "next", **variables})
    return machine.run(str(BIN / "mage"), "run", str(PROJECT), SCORING, "--runtime-vars", given, *options)


@pytest.mark.timeout(200)
def test_the_newest_month_is_scored_delivered_and_then_skipped(trained: Machine, server: Postgres) -> None:
    profile = {"HOST": "127.0.0.1", "PORT": str(server.port), "USER": "postgres", "DBNAME": "postgres"}
    trained.variables.update({f"SCORES_POSTGRES_{name}": value for name, value in profile.items()})
    first = score(trained, "--test", to="postgresql://")
    assert first.status == 0, first.output
    assert first.stdout.count("1/1 tests passed.") == 3
    kept = pq.read_metadata(trained.state / "scored" / f"{RESULT}.parquet")
    with contextlib.closing(psycopg2.connect(server.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT output, count(*), count(actual_minutes) FROM trip_durations GROUP BY 1")
        (found,) = cursor.fetchall()
    assert found[:2] == (RESULT, kept.num_rows)
    assert found[2] > 0.9 * kept.num_rows
    again = score(trained, to="postgresql://")
    assert again.status == 0, again.output
    assert f"{RESULT}: delivered to" in first.stdout
    assert f"{RESULT}: delivered to" not in again.stdout
    assert "green_tripdata_2023-04.parquet: skipped" in again.stdout
    assert trained.half_written() == []


@pytest.mark.timeout(100)
def test_a_misspelt_variable_names_the_nearest(trained: Machine) -> None:
    assert score(trained, versoin="7").message == "unknown setting 'versoin'; did you mean 'version'?"
