"""Sums of errors by day and cell are those of the trips, computed in another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.watched_months import prepared

from mlops.data import schemas
from mlops.evaluation.baseline import PairMedian
from mlops.evaluation.comparison import gather
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.monitoring import answers, cells, sums
from mlops.monitoring.measures import MEASURES, by_slice, interval, measure
from mlops.monitoring.months import Prepared
from mlops.monitoring.sums import PairTable, baseline_of, evidence, sum_up
from mlops.registry.signed_version import Version

MINUTES = ("duration_minutes", *INTERVAL_COLUMNS)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several batches also of few trips."""
    monkeypatch.setattr(answers, "BATCH_ROWS", 150)


@pytest.fixture
def month(tmp_path: Path) -> Prepared:
    """Trips of a small town, some from and to airports, some without a distance."""
    rng = np.random.default_rng(5)
    n = 400
    zones = {
        name: rng.choice([7, 74, 132, 138], n).astype(np.int32) for name in ("pickup_zone", "dropoff_zone")
    }
    miles = np.where(rng.random(n) < 0.1, np.nan, rng.exponential(4, n))
    return prepared(tmp_path, n, **zones, distance_miles=miles)


def answered(folder: Path, n: int, seed: int, columns: tuple[str, ...] = MINUTES) -> Path:
    """A file of answers."""
    rng = np.random.default_rng(seed)
    minutes = rng.uniform(5, 30, n)
    found = {"duration_minutes": minutes}
    for name, away in zip(INTERVAL_COLUMNS, (-4, 4, -9, 9), strict=True):
        found[name] = minutes + away * rng.random(n)
    path = folder / f"answers{seed}.parquet"
    pq.write_table(pa.table({name: found[name].astype(np.float32) for name in columns}), path)
    return path


def test_sums_are_those_of_the_trips(month: Prepared, tmp_path: Path) -> None:
    given = {"champion": answered(tmp_path, 400, 1), "predecessor": answered(tmp_path, 400, 2)}
    found = sum_up(month, given)
    trips = pd.read_parquet(month.clean)
    numbers, table = cells.assign(trips)
    trips = pd.concat(
        [trips.assign(day=trips["pickup_at"].dt.strftime("%Y-%m-%d")), table.loc[numbers].reset_index()],
        axis=1,
    )
    actual = trips["duration_minutes"]
    expected = trips.assign(trips=1, minutes=actual)
    for name, path in given.items():
        own = pd.read_parquet(path).astype(float)
        error = own["duration_minutes"] - actual
        expected[f"{name}_squared"], expected[f"{name}_absolute"], expected[f"{name}_error"] = (
            error**2,
            error.abs(),
            error,
        )
        for level, cost in (("80", 10), ("95", 40)):
            low, high = own[f"low_{level}_minutes"], own[f"high_{level}_minutes"]
            expected[f"{name}_inside_{level}"] = actual.between(low, high).astype(float)
            outside = (low - actual).clip(lower=0) + (actual - high).clip(lower=0)
            expected[f"{name}_score_{level}"] = high - low + cost * outside
        expected[f"{name}_width_80_squared"] = (own["high_80_minutes"] - own["low_80_minutes"]) ** 2
    keys = ["day", *cells.CELL]
    expected = expected[list(found)].groupby(keys, as_index=False).sum()
    pd.testing.assert_frame_equal(
        found.sort_values(keys, ignore_index=True), expected[[*found]], check_dtype=False
    )
    assert found["trips"].sum() == 400


def test_cells_are_texts(month: Prepared, tmp_path: Path) -> None:
    found = sum_up(month, {"champion": answered(tmp_path, 400, 1)})
    assert set(found["week"]) == {"Monday to Friday", "weekend"}
    assert set(found["distance"]) >= {"not known", "2-5 mi"}
    assert set(found["airport"]) == {
        "", "from JFK", "from LGA", "to JFK", "to LGA", "from JFK to JFK", "from JFK to LGA", "from LGA to JFK",
        "from LGA to LGA",
    }  # fmt: skip
    assert found["day"].between("2023-05-01", "2023-05-31").all()


def test_a_version_without_ranges(month: Prepared, tmp_path: Path) -> None:
    path = answered(tmp_path, 400, 1, ("duration_minutes",))
    found = sum_up(month, {"champion": path})
    own = [name for name in found if name.startswith("champion")]
    assert own == ["champion_squared", "champion_absolute", "champion_error"]
    assert [*measure(found, "champion")] == ["rmse", "mae", "bias"]
    assert np.isnan(interval(found, "champion", "coverage_80")).all()
    assert measure(found, "predecessor") == {}


def test_answers_of_another_month_are_refused(month: Prepared, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer|broadcast"):
        sum_up(month, {"champion": answered(tmp_path, 300, 1)})


def test_the_pair_median_answers_as_in_training(month: Prepared, tmp_path: Path) -> None:
    trips = schemas.read_requests(month.clean)
    learnt, asked = (
        trips.iloc[:200],
        trips.iloc[200:].assign(pickup_zone=[1, *trips["pickup_zone"].iloc[201:]]),
    )
    median = PairMedian(learnt, schemas.read_minutes(month.clean)[:200])
    found = PairTable.of(median).answer(
        {name: asked[name].to_numpy() for name in ("pickup_zone", "dropoff_zone")}
    )
    assert found["duration_minutes"].tolist() == median.predict(asked).tolist()
    pd.testing.assert_frame_equal(
        pd.DataFrame(found)[[*INTERVAL_COLUMNS]], median.intervals(asked), check_exact=False
    )


def test_no_baseline_without_months_before() -> None:
    assert baseline_of(()) is None


def test_the_baseline_is_a_contender(month: Prepared, tmp_path: Path) -> None:
    trips = schemas.read_requests(month.clean)
    median = PairMedian(trips, schemas.read_minutes(month.clean))
    found = sum_up(month, {"champion": answered(tmp_path, 400, 1)}, PairTable.of(median))
    error = median.predict(trips) - schemas.read_minutes(month.clean)
    assert measure(found, "baseline")["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert {f"baseline_{name}" for name in MEASURES.values()} <= set(found)


def test_the_paired_test_is_the_verdicts_own(month: Prepared, tmp_path: Path) -> None:
    given = {"champion": answered(tmp_path, 400, 1), "predecessor": answered(tmp_path, 400, 2)}
    requests, actual = schemas.read_requests(month.clean), schemas.read_minutes(month.clean)
    minutes = {
        name: pd.read_parquet(path)["duration_minutes"].to_numpy(float) for name, path in given.items()
    }
    expected = gather(
        requests,
        actual,
        {"challenger": minutes["predecessor"], "champion": minutes["champion"]},
        test_month="2023-05",
    )
    versions = [Version("trip-duration-sample", number, "", {"test_month": "2023-04"}) for number in "21"]
    found = evidence(sum_up(month, given), *versions)
    assert found.gain_interval() == pytest.approx(expected.gain_interval())
    for name in ("champion", "challenger"):
        assert found.rmse(name) == pytest.approx(expected.rmse(name))
        assert found.rmse_interval(name) == pytest.approx(expected.rmse_interval(name))
    assert (found.test_month, found.rows) == ("2023-05", 400)
    assert found.champion is not None
    assert (found.champion.version, found.champion.test_month) == ("2", "2023-04")


def test_slices_are_parts_of_all_trips(month: Prepared, tmp_path: Path) -> None:
    found = by_slice(sum_up(month, {"champion": answered(tmp_path, 400, 1)}))
    whole = found.iloc[0]
    assert (whole["slice"], whole["trips"], whole["share"]) == ("all trips", 400, 1)
    assert whole["champion_rmse_low"] < whole["champion_rmse"] < whole["champion_rmse_high"]
    for name in ("hour_band", "week", "distance"):
        part = found[found["slice"] == name]
        assert part["trips"].sum() == 400
        mean = (part["share"] * part["champion_mae"]).sum()
        assert mean == pytest.approx(whole["champion_mae"])
    assert found[found["slice"] == "airport"]["value"].str.len().all()
    assert set(sums.CONTENDERS) == {"champion", "predecessor", "baseline"}
