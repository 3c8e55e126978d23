"""The champion as a user loads it: from the registry alone, on the raw file, in a fresh process."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.doors import PROJECT, SAMPLE_MODEL, Ended, Machine, with_store

# Independent of this project: only pandas, TLC's column names, and the filter of the course's recipe.
SCORE = """
import json, sys
import mlflow, numpy as np, pandas as pd
store, model, path, prefix, month = sys.argv[1:]
raw = pd.read_parquet(path)
start, end = raw[prefix + "_pickup_datetime"], raw[prefix + "_dropoff_datetime"]
minutes = (end - start).dt.total_seconds() / 60
first = pd.Timestamp(month + "-01")
counts = (minutes >= 1) & (minutes <= 60) & (start >= first) & (start < first + pd.offsets.MonthBegin(1))
requests = pd.DataFrame({
    "pickup_at": start, "pickup_zone": raw["PULocationID"], "dropoff_zone": raw["DOLocationID"],
    "distance_miles": raw["trip_distance"], "passenger_count": raw["passenger_count"],
})[counts]
mlflow.set_tracking_uri(store)
predicted = mlflow.pyfunc.load_model(f"models:/{model}@champion").predict(requests).iloc[:, 0]
error = predicted.to_numpy() - minutes[counts].to_numpy()
print(json.dumps([int(counts.sum()), float(np.sqrt(np.mean(error**2)))]))
"""


def scored(machine: Machine, model: str, file: Path, prefix: str, month: str) -> tuple[int, float]:
    """Rows and RMSE of the champion on a raw month, by the script above."""
    store = f"sqlite:///{machine.state / 'mlflow.db'}"
    ended = machine.run(sys.executable, "-c", SCORE, store, model, str(file), prefix, month)
    assert ended.status == 0, ended.output
    rows, rmse = json.loads(ended.stdout.splitlines()[-1])
    return rows, rmse


def champion(machine: Machine, model: str) -> Any:
    """The registered version that the alias points at."""
    number = machine.alias("champion", model)
    return next(v for v in machine.versions() if (v.name, str(v.version)) == (model, number))


def logged(machine: Machine, model: str) -> dict[str, float]:
    """Metrics that the champion's run logged."""
    run_id = champion(machine, model).run_id
    return next(run.data.metrics for run in machine.parents() if run.info.run_id == run_id)


def test_the_champion_scores_on_the_raw_month_what_its_run_logged(
    train_runs: tuple[Machine, list[Ended]], months: Path
) -> None:
    machine, _ = train_runs
    metrics = logged(machine, SAMPLE_MODEL)
    month = champion(machine, SAMPLE_MODEL).tags["test_month"]
    rows, rmse = scored(machine, SAMPLE_MODEL, months / f"green_tripdata_{month}.parquet", "lpep", month)

    assert rows == metrics["test_rows"] > 1000
    assert rmse == pytest.approx(metrics["test_rmse"], abs=1e-9)


@pytest.mark.long
@pytest.mark.parametrize(
    ("service", "month", "prefix"), [("green", "2023-03", "lpep"), ("yellow", "2019-12", "tpep")]
)
def test_real_months_give_a_champion_that_beats_the_pair_median(
    service: str, month: str, prefix: str, tlc_months: Path, migrated_store: Path, tmp_path: Path
) -> None:
    machine = with_store(Machine(tmp_path / "machine", tlc_months), migrated_store)
    ended = machine.train(service=service, month=month, train_months=2, max_trials=1)
    assert ended.status == 0, ended.output

    model = f"trip-duration-{service}"
    metrics = logged(machine, model)
    file = tlc_months / f"{service}_tripdata_{month}.parquet"
    rows, rmse = scored(machine, model, file, prefix, month)
    assert rows == metrics["test_rows"]
    assert rmse == pytest.approx(metrics["test_rmse"], abs=1e-9)
    assert metrics["test_rmse"] < 0.9 * metrics["test_rmse_pair_median"]
    assert "pair median" in ended.stdout
    assert f"models:/{model}/1" in ended.stdout


def test_nothing_of_the_test_month_reaches_the_model(
    train_runs: tuple[Machine, list[Ended]], months: Path, migrated_store: Path, tmp_path: Path
) -> None:
    """A run over a test month with shuffled durations gives the same model to the byte, and another test RMSE."""
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for file in months.glob("*.parquet"):
        (shuffled / file.name).symlink_to(file)
    test_month = shuffled / "green_tripdata_2023-03.parquet"
    table = pq.read_table(test_month)
    pickup, dropoff = (table[f"lpep_{end}_datetime"].to_numpy() for end in ("pickup", "dropoff"))
    durations = np.random.default_rng(1).permutation(dropoff - pickup)
    column = table.schema.get_field_index("lpep_dropoff_datetime")
    ends = pa.array(pickup + durations, table.schema.field(column).type)
    test_month.unlink()
    pq.write_table(table.set_column(column, table.schema.field(column), ends), test_month)
    other = with_store(Machine(tmp_path / "machine", shuffled), migrated_store)
    ended = other.train()
    assert ended.status == 0, ended.output

    machine, _ = train_runs
    for name in ("booster.ubj", "encoder.npz"):
        first, second = (
            min(m.state.rglob(name), key=lambda path: path.stat().st_mtime).read_bytes()
            for m in (machine, other)
        )
        assert first == second
    before, after = machine.parents()[0].data.metrics, other.parents()[0].data.metrics
    assert before["validation_rmse"] == after["validation_rmse"]
    assert before["test_rows"] == after["test_rows"]
    assert before["test_rmse"] < after["test_rmse"]


def at_once(machine: Machine, *seeds: int) -> list[Ended]:
    """Runs that started together and succeeded, in the order of their seeds."""
    with contextlib.ExitStack() as running:
        commands = [machine.train_command(seed=seed) for seed in seeds]
        ended = [process.end() for process in [running.enter_context(machine.start(*c)) for c in commands]]
    assert [each.status for each in ended] == [0] * len(seeds), [each.output for each in ended]
    assert machine.statuses() == ["FINISHED"] * len(set(seeds))
    assert machine.half_written() == machine.unfinished() == []
    return ended


@pytest.mark.long
def test_of_two_runs_at_once_the_second_is_compared_with_the_first(machine: Machine) -> None:
    ended = at_once(machine, 1, 2)
    first, second = machine.versions()
    assert first.tags["reason"] == "there was no champion before"
    assert "of the champion (version 1)" in second.tags["reason"]
    # One trained while the other waited and logged the name of the holder.
    assert sum("trip-duration-sample.work is held by" in each.stderr for each in ended) == 1
    assert machine.alias("challenger") == "2"


@pytest.mark.long
def test_the_same_run_twice_at_once_is_one_version(machine: Machine) -> None:
    ended = at_once(machine, 42, 42)
    assert machine.numbers() == ["1"]
    assert sorted("already registered as champion" in each.stdout for each in ended) == [False, True]
    assert machine.alias("champion") == "1"


def test_the_tours_example_runs(train_runs: tuple[Machine, list[Ended]], tmp_path: Path) -> None:
    machine, _ = train_runs
    example = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "index.md").read_text(), re.S)
    assert len(example) == 1
    (tmp_path / ".state").symlink_to(machine.state)
    ended = machine.run(sys.executable, "-c", example[0], cwd=tmp_path)

    assert ended.status == 0, ended.output
    minutes = [float(line.split()[1]) for line in ended.stdout.splitlines()[-2:]]
    assert all(1 <= value <= 60 for value in minutes)
