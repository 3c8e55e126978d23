"""Real green months in order: verdicts that can be decided again, and challengers that must not pass.

`make test` takes the last three months, `make chaos` all that can be tested, 2023-04 to 2023-10.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.doors import PROJECT, Ended, Machine

from mlops import config
from mlops.data import schemas
from mlops.evaluation import comparison, metrics, promotion
from mlops.evaluation.baseline import PairMedian
from mlops.model.duration_model import DurationModel
from mlops.model.estimator import Estimator
from mlops.month import Month
from mlops.registry import alias_log, client, runs, versions
from mlops.training import feature_files, search_space
from mlops.training.boosting import build_matrix, train

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
MODEL = "trip-duration-green"
REAL_MONTHS = PROJECT.parent / "shared" / "tlc" / "trip-data"
FIRST = Month(2023, 4) if "CHAOS_MOMENTS" in os.environ else Month(2023, 8)
MONTHS = [str(month) for month in Month.range(FIRST, Month(2023, 10))]


@dataclass(frozen=True)
class Replayed:
    """A machine on which real months were trained in order, and the output of each run."""

    machine: Machine
    ended: dict[str, Ended]

    def record(self, version: versions.Version, folder: Path) -> promotion.Record:
        """The logged verdict of a version, with its evidence."""
        path = runs.fetch_artefact(version.run_id, "verdict.json", folder / version.number)
        return promotion.Record.from_json(path.read_text())

    def clean(self, month: str) -> Path:
        """Clean trips of a month."""
        (path,) = self.machine.state.glob(f"prepared/**/trips/green_{month}_*.parquet")
        return path


@pytest.fixture(scope="module")
def machine_of_months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    if not REAL_MONTHS.is_dir():
        pytest.skip("needs real TLC months in ../shared/tlc/trip-data")
    machine = Machine(tmp_path_factory.mktemp("replay"), REAL_MONTHS)
    few = {"train_months": 2, "max_trials": 1, "min_test_rows": 5000}
    yield Replayed(machine, {month: machine.train(month=month, **few) for month in MONTHS})


@pytest.fixture
def replayed(machine_of_months: Replayed, monkeypatch: pytest.MonkeyPatch) -> Replayed:
    state = machine_of_months.machine.state
    monkeypatch.setenv("MLOPS_STATE_DIR", str(state))
    client.connect(config.tracking_uri(), state, 5.0)
    return machine_of_months


def test_every_verdict_can_be_decided_again_from_its_evidence_alone(
    replayed: Replayed, tmp_path: Path
) -> None:
    assert {month: ended.status for month, ended in replayed.ended.items()} == dict.fromkeys(MONTHS, 0)
    registered = versions.list_all(MODEL)
    assert [version.tags["test_month"] for version in registered] == MONTHS
    for version in registered:
        path = runs.fetch_artefact(version.run_id, "verdict.json", tmp_path / version.number)
        record, again = replayed.record(version, tmp_path), promotion.replay(path.read_text())
        assert dataclasses.asdict(again) == dataclasses.asdict(record.verdict)
        assert (version.tags["verdict"], version.tags["reason"]) == (again.outcome, again.reason)
        logged = runs.metrics_of(version.run_id)
        assert logged["test_rmse"] == pytest.approx(record.evidence.rmse("challenger"), abs=1e-12)
        reported = {name: value for name, value in again.measured.items() if name != "row_seconds"}
        assert {name: logged[f"verdict_{name}"] for name in reported} == reported


def test_champions_follow_from_the_verdicts(replayed: Replayed, tmp_path: Path) -> None:
    registered = versions.list_all(MODEL)
    promoted = [version.number for version in registered if version.tags["verdict"] == "promote"]
    assert promoted[0] == "1"
    assert [reign.version for reign in alias_log.tenures(alias_log.read(MODEL))] == promoted
    assert versions.champion(MODEL) == registered[int(promoted[-1]) - 1]
    incumbent = None
    for version in registered:
        met = replayed.record(version, tmp_path).evidence.champion
        assert (met.version if met else None) == incumbent
        incumbent = version.number if version.number in promoted else incumbent
    assert all(version.tags["proof"] == "passed" for version in registered)


@dataclass(frozen=True)
class LastMonth:
    """The last month's trips, with the predictions of its champion and of the pair median, in minutes."""

    requests: pd.DataFrame
    actual: np.ndarray
    champion: np.ndarray
    pair_median: np.ndarray

    def verdict(self, challenger: np.ndarray) -> promotion.Verdict:
        """The verdict on a challenger against the champion of the month before."""
        found = comparison.gather(
            self.requests,
            self.actual,
            {"challenger": challenger, "champion": self.champion, "pair_median": self.pair_median},
            test_month="2023-10",
            champion=comparison.Incumbent("7", "2023-09", "2023-09"),
        )
        return promotion.decide(found)


@pytest.fixture
def tested(replayed: Replayed, tmp_path: Path) -> LastMonth:
    clean, newest = replayed.clean("2023-10"), versions.list_all(MODEL)[-1]
    minutes = np.load(runs.fetch_artefact(newest.run_id, "proof/tested.npy", tmp_path)).astype(np.float64)
    before = [
        next(replayed.machine.state.glob(f"prepared/**/features/green_{m}_*")) for m in ("2023-08", "2023-09")
    ]
    median = PairMedian(*feature_files.pairs_and_minutes(before, for_training=True))
    requests = schemas.read_requests(clean)
    return LastMonth(requests, schemas.read_minutes(clean), minutes, median.predict(requests))


def test_the_champion_with_a_little_noise_is_never_promoted(tested: LastMonth) -> None:
    rmse = metrics.error_metrics(tested.actual, tested.champion)["rmse"]
    spread = rmse * np.sqrt(1.005**2 - 1)  # noise that adds half a per cent to the RMSE
    outcomes = []
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0, spread, len(tested.actual))
        outcomes.append(tested.verdict(np.clip(tested.champion + noise, 1, 60)).outcome)

    assert outcomes == ["keep"] * 100


def test_a_model_of_shuffled_durations_is_refused_with_its_slices_named(
    replayed: Replayed, tested: LastMonth
) -> None:
    (features,) = replayed.machine.state.glob("prepared/**/features/green_2023-08_*")
    rng = np.random.default_rng(1)
    batches = [
        dataclasses.replace(batch, minutes=rng.permutation(batch.minutes))
        for batch in feature_files.FeatureFiles((features,), for_training=True)
    ]
    matrix = build_matrix(batches, seed=1, threads=1)
    fit = train(matrix, {"learning_rate": 0.2, **search_space.first_guess()}, seed=1, threads=1, rounds=40)
    shuffled = DurationModel(matrix.encoder, Estimator(fit.booster)).predict(tested.requests)
    found = tested.verdict(shuffled["duration_minutes"].to_numpy())

    assert found.outcome == "refuse"
    assert any("of the pair median" in reason for reason in found.reasons)
    assert sum("above the champion's" in reason for reason in found.reasons) == promotion.NAMED_SLICES


def test_a_model_better_on_one_day_only_is_stopped_by_the_bootstrap(tested: LastMonth) -> None:
    day = tested.requests["pickup_at"].dt.day.to_numpy()
    for lucky in (3, 14, 28):
        found = tested.verdict(np.where(day == lucky, tested.actual, tested.champion))
        assert found.measured["improvement"] > 0.01
        assert found.outcome == "keep"
        assert found.reason.endswith("but must be above zero")
