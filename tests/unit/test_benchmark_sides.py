"""The two sides of the benchmark: this library and the course's recipe."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.builders import make_trips

from benchmarks import course, ours
from mlops.config import PROJECT
from mlops.training import baselines


def test_make_bench_installs_every_library_that_a_peer_imports() -> None:
    lock = (PROJECT / "requirements-bench.txt").read_text()
    scripts = list((PROJECT / "benchmarks" / "peers").glob("*.py"))
    imports = [
        found for script in scripts for found in re.findall(r"(?m)^(?:import|from) (\w+)", script.read_text())
    ]
    found = set(imports) - set(sys.stdlib_module_names) - {script.stem for script in scripts}

    assert {"autogluon", "crepes", "flaml", "lightgbm", "mapie"} <= found
    named = {"sklearn": "scikit-learn", "autogluon": "autogluon-tabular"}
    assert [name for name in found if not re.search(rf"(?m)^{named.get(name, name)}(\[\w+\])?==", lock)] == []


def test_the_pair_median_is_scored_on_the_requests(tmp_path: Path) -> None:
    months = [[10.0, 20.0], [30.0]]
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    for path, minutes in zip(paths, months, strict=True):
        past = {"pickup_zone": 1, "dropoff_zone": 2, "duration_minutes": minutes}
        pd.DataFrame(past).to_parquet(path)
    requests = pd.DataFrame({"pickup_zone": [1, 1], "dropoff_zone": [2, 2]})

    assert ours.pair_median_rmse(paths, requests, np.array([23.0, 17.0])) == pytest.approx(3.0)


def test_the_course_s_search_ends_in_time_with_its_best_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = (pd.DataFrame(make_trips(200, seed)) for seed in (1, 2))
    minutes, errors, train = validation["duration_minutes"].to_numpy(), [], baselines.train

    def rmse(predicted: Any) -> float:
        return float(np.sqrt(np.mean((predicted - minutes) ** 2)))

    def noted(matrix: Any, held_out: Any, *others: Any) -> Any:
        booster = train(matrix, held_out, *others)
        errors.append(rmse(booster.predict(held_out)))
        return booster

    monkeypatch.setattr(baselines, "train", noted)
    found = course.tune(training, validation, seconds=2.0, seed=1, threads=1)

    assert found.trials == len(errors) >= 1
    assert found.seconds < 60
    assert found.validation_rmse == min(errors)
    assert rmse(found.recipe.predict(validation)) == pytest.approx(min(errors), rel=1e-4)


def test_a_fit_of_the_course_s_search_stops_at_the_deadline() -> None:
    now = time.perf_counter()
    assert course._deadline(now - 1).after_iteration(None, 0, {})
    assert not course._deadline(now + 600).after_iteration(None, 0, {})
