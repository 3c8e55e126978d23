"""The benchmark's comparison of ranges: the columns for the peers, the scores, the rows of the report."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.builders import make_trips
from support.small_models import matrix_of, model_of

from benchmarks import by_month, columns, data, ours, ranges, without_distance
from benchmarks.cells import Job, Result, Results
from benchmarks.plan import FULL, Bench, bench_of
from mlops.config import PROJECT
from mlops.data.synthetic.source import write_month
from mlops.model.duration_model import MISSING, DurationModel
from mlops.model.estimator import Estimator
from mlops.month import Month
from mlops.training import boosting
from mlops.training.feature_files import FeatureFiles

MONTHS = tuple(str(month) for month in Month.range(Month(2023, 1), Month(2023, 10)))


def bench() -> Bench:
    return bench_of(FULL, "folder", MONTHS)


def measured(score: float = 10.0, coverage: float = 0.8, worst: float | None = 0.78) -> dict[str, Any]:
    found = {"score": score, "width": 5.0, "coverage": coverage}
    by_slice = {} if worst is None else {"worst": worst, "slice": "hour 8"}
    return {level: {**found, **by_slice} for level in ("80", "95")}


def results_of(values: dict[str, dict[str, Any]]) -> Results:
    return {name: Result(name, "", "", values) for name, values in values.items()}


def scored(**changed: dict[str, Any]) -> Results:
    """Results of all contenders in each run; `changed` are those of our model, by the month's last two digits."""
    values = {}
    for test, seed in ranges.runs(bench()):
        for contender in (ranges.OURS_NAME, *ranges.PEERS):
            own = changed.get(f"m{test[-2:]}") if contender == ranges.OURS_NAME else None
            found = own or measured(10.0 if contender == ranges.OURS_NAME else 10.05)
            values[ranges.ranges_cell(contender, test, seed)] = {**found, "ranges_cpu_seconds": 2.0}
    return results_of(values)


def figures(results: Results, level: str = "80") -> dict[str, tuple[str, bool | None]]:
    rows = ranges.section(bench(), results).rows
    return {
        row.what.partition(": ")[2]: (row.figure, row.reached) for row in rows if row.what.startswith(level)
    }


SCORE = "interval score, ours divided by LightGBM, CQR: ratio of means over months and seeds"
WORST_MONTH, WORST_SLICE = (
    "share of trips inside, worst month",
    "share of trips inside, worst slice of 1,000 trips",
)
SEPTEMBER = "share of trips inside, 2023-09 by seed; worst slice of 1,000 trips"


def test_the_score_is_compared_over_all_months_and_seeds() -> None:
    assert figures(scored())[SCORE] == ("0.995 (10.00 and 10.05 minutes, n = 8)", False)
    assert figures(scored(m09=measured(9.0)))[SCORE] == ("0.970 (9.75 and 10.05 minutes, n = 8)", True)


def test_coverage_has_a_goal_in_every_month_but_september() -> None:
    found = figures(scored(m07=measured(coverage=0.815, worst=0.85), m09=measured(coverage=0.7, worst=0.6)))
    assert found[WORST_MONTH] == ("81.5% (2023-07, seed 42)", True)
    assert found[WORST_SLICE] == ("85.0% (2023-07, seed 42, hour 8)", True)
    assert found[SEPTEMBER] == ("70.0% and 70.0%; 60.0% (hour 8) and 60.0% (hour 8)", None)

    found = figures(scored(m08=measured(coverage=0.77, worst=0.73)))
    assert found[WORST_MONTH] == ("77.0% (2023-08, seed 42)", False)
    assert found[WORST_SLICE] == ("73.0% (2023-08, seed 42, hour 8)", False)


def test_without_large_slices_the_row_says_so() -> None:
    small = {f"m{month}": measured(worst=None) for month in ("07", "08", "09", "10")}
    assert figures(scored(**small))[WORST_SLICE] == ("no slice of 1,000 trips", None)


def test_the_table_has_every_contender_in_every_month_and_their_means() -> None:
    (table,) = ranges.section(bench(), scored(m07=measured(12.0))).tables
    assert [row[0] for row in table.rows[:: 1 + len(ranges.PEERS)]] == [
        "2023-07",
        "2023-08",
        "2023-09",
        "2023-10",
        "mean",
    ]
    mean = table.rows[-1 - len(ranges.PEERS)]
    assert mean == (
        "mean",
        "ours",
        *["10.50", "80.0%", "5.00", "78.0%"],
        *["10.50", "80.0%", "5.00", "78.0%"],
        "2.0",
        "8",
    )


def test_the_error_without_a_distance_is_compared_in_the_worst_month() -> None:
    values = {}
    for number, test in enumerate(bench().test_months):
        values[without_distance.trained_cell(test)] = {"rmse": 6.0, "mae": 4.0, "ranges": measured()}
        coverage = 0.83 if number else 0.76
        asked = {"rmse": 6.0 + number / 100, "mae": 4.0, "ranges": measured(coverage=coverage)}
        values[without_distance.asked_cell(test)] = asked
    section = without_distance.section(bench(), results_of(values))

    error, of_80, _ = section.rows
    assert (error.figure, error.reached) == ("1.005 (2023-10)", True)
    assert (of_80.figure, of_80.reached) == ("76.0% (2023-07)", False)
    assert len(section.tables[0].rows) == 8


def test_ranges_are_measured_by_score_coverage_and_width() -> None:
    trips = pd.DataFrame(make_trips(1500, 1))
    requests, actual = trips.drop(columns="duration_minutes"), np.full(1500, 10.0)
    actual[:300] = 22.0
    bounds = {"low_80_minutes": 5.0, "high_80_minutes": 20.0, "low_95_minutes": 5.0, "high_95_minutes": 25.0}
    found = ours.range_measures(requests, actual, requests.assign(duration_minutes=10.0, **bounds))

    assert found["80"]["coverage"] == 0.8
    assert found["80"]["width"] == 15.0
    assert found["80"]["score"] == pytest.approx(
        15 + 0.2 * 2 / 0.2 * 2
    )  # a fifth of the trips, 2 minutes outside
    assert found["95"]["score"] == 20.0


@pytest.fixture
def months(tmp_path: Path) -> list[Path]:
    """Four clean months."""
    cleaned = []
    for number in range(1, 5):
        month = Month(2023, number)
        raw = tmp_path / f"green_tripdata_{month}.parquet"
        write_month(raw, "green", month, rows=600)
        cleaned.append(tmp_path / f"clean_{month}.parquet")
        ours.clean(raw, "green", str(month), cleaned[-1])
    return cleaned


def test_the_peers_get_the_columns_of_our_own_matrix(
    months: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Noted(boosting._Tables):
        def __init__(self, batches: Any, table: Any, *others: Any) -> None:
            seen.append(np.concatenate([table(*numbered) for numbered in enumerate(batches)]))
            super().__init__(batches, table, *others)

    monkeypatch.setattr(boosting, "_Tables", Noted)
    tables = ours.feature_files(months, tmp_path)
    training, held_out = FeatureFiles(tuple(tables[:2]), True), FeatureFiles(tuple(tables[2:3]), False)
    matrix = boosting.build_matrix(training, held_out, seed=7, threads=1)
    booster = boosting.train(matrix, {}, seed=7, threads=1, rounds=2).booster
    model = DurationModel(matrix.encoder, Estimator(booster))
    parts = columns.encoded(months, tmp_path, model, seed=7)

    for part, expected in zip(("training", "validation"), seen, strict=True):
        np.testing.assert_array_equal(np.nan_to_num(parts[part].table, nan=MISSING), expected)
    requests, minutes = ours.requests_and_minutes(months[-1])
    asked = np.nan_to_num(parts["test"].table, nan=MISSING)
    answers = np.clip(booster.inplace_predict(asked), 1.0, 60.0)
    np.testing.assert_allclose(answers, ours.minutes_of(model.predict(requests)), rtol=1e-6)
    np.testing.assert_array_equal(parts["test"].minutes, minutes)


def test_a_peer_s_ranges_are_scored_as_ours_are(
    months: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test, model = "2023-04", model_of(matrix_of())
    requests, _ = ours.requests_and_minutes(months[-1])
    answers = model.predict(requests)
    ours.save(model, tmp_path / "run" / "model")
    np.save(tmp_path / "run" / "validation.npy", np.ones(7))
    before = {
        data.month_cell(month): Result("", "", "", {"clean": str(path)})
        for month, path in zip(MONTHS, months, strict=False)
    }
    before[by_month.ours_cell(test)] = Result("", "", str(tmp_path / "run"), {"fit_cpu_seconds": 5.0})
    before[ranges.rows_cell(test, 42)] = Result("", "", str(tmp_path / "rows"))
    (tmp_path / "rows").mkdir()
    written = ranges.write_rows(Job(tmp_path / "rows", 1, 0.0, before), list(MONTHS[:4]), test, 42)

    assert written["test_rows"] == len(requests)
    assert {path.name for path in (tmp_path / "rows").glob("test*")} == {"test.npy", "test_predicted.npy"}
    assert np.load(tmp_path / "rows" / "test.npy").shape == (len(requests), len(model.features))
    assert np.isnan(np.load(tmp_path / "rows" / "test.npy")).any()

    def call_peer(job: Job, script: str, folder: Path, *options: object) -> dict[str, Any]:
        (job.folder / "peer").mkdir(parents=True)
        np.save(job.folder / "peer" / "ranges.npy", answers[list(ranges.COLUMNS)].to_numpy())
        return {"ranges_cpu_seconds": 3.0}

    monkeypatch.setattr(ranges, "call_peer", call_peer)
    job = Job(tmp_path / "scored", 1, 0.0, before)
    mine, peer = ranges.score_ours(job, test, 42), ranges.score_peer(job, "a_peer", test, 42)
    assert {level: mine[level] for level in ranges.LEVELS} == {level: peer[level] for level in ranges.LEVELS}
    assert mine["ranges_cpu_seconds"] > 5 > peer["ranges_cpu_seconds"] == 3
    assert without_distance.ask(job, test)["ranges"]["80"]["width"] > mine["80"]["width"]


def test_the_peers_margin_is_the_conformal_quantile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks" / "peers"))
    encoded = importlib.import_module("encoded")

    assert encoded.conformal_quantile(np.arange(9.0)[::-1], 0.2) == 7.0  # the 8th of 9: 10 x 0.8
    assert encoded.conformal_quantile(np.arange(10.0), 0.2) == 8.0  # the 9th of 10: 8.8, rounded up
    assert encoded.conformal_quantile(np.arange(10.0), 0.05) == 9.0  # there is no 11th
