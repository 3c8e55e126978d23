"""What Prometheus reads; the library is in the service's environment, so a process of it makes the page."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.service_process import PYTHON

from mlops.config import PROJECT

SCRIPT = PROJECT / "tests" / "support" / "metrics_process.py"


def page_of(workers: int, folder: Path) -> dict[str, float]:
    """Numbers by their names with labels, as on the page."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make install` builds it")
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT / 'tests'}:{PROJECT}"}
    done = subprocess.run(
        [PYTHON, SCRIPT, str(workers), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout)
    assert page["kind"].startswith("text/plain; ")
    lines = [line.rpartition(" ") for line in page["text"].splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return page_of(1, tmp_path_factory.mktemp("metrics"))


def chosen(page: dict[str, float], start: str) -> dict[str, float]:
    return {
        name.removeprefix(start): value
        for name, value in page.items()
        if name.startswith(start) and "_created" not in name
    }


def test_requests_are_counted_by_route_and_status(page: dict[str, float]) -> None:
    assert chosen(page, "trip_duration_requests_total") == {
        '{route="/predict",status="200"}': 2,
        '{route="/predict",status="429"}': 1,
        '{route="/predict",status="500"}': 1,
        '{route="/predict",status="gone"}': 1,
        '{route="/healthz",status="200"}': 1,
        '{route="other",status="200"}': 2,
    }


def test_refusals_are_counted_by_reason(page: dict[str, float]) -> None:
    found = chosen(page, "trip_duration_refused_total")
    assert found == {f'{{reason="{reason}"}}': float(reason == "rate") for reason in (
        "key", "host", "concurrency", "rate", "size", "slow"
    )}  # fmt: skip


def test_the_time_of_requests_is_a_histogram(page: dict[str, float]) -> None:
    assert page['trip_duration_request_seconds_count{route="/predict"}'] == 5
    assert page['trip_duration_request_seconds_bucket{le="10.0",route="/predict"}'] == 5
    assert 0 < page['trip_duration_request_seconds_sum{route="/predict"}'] < 5


def test_rides_are_counted_by_version(page: dict[str, float]) -> None:
    green, yellow = '{service="green",version="7"}', '{service="yellow",version="1"}'
    assert chosen(page, "trip_duration_rides_total") == {green: 4, yellow: 1}
    assert chosen(page, "trip_duration_rides_out_of_range_total") == {green: 2, yellow: 0}
    assert chosen(page, "trip_duration_rides_without_distance_total") == {green: 2, yellow: 0}
    assert page["trip_duration_rides_per_request_count"] == 2
    assert page["trip_duration_rides_per_request_sum"] == 5
    assert page['trip_duration_rides_per_request_bucket{le="1.0"}'] == 1


def test_models_are_described(page: dict[str, float]) -> None:
    assert chosen(page, "trip_duration_model_info") == {
        '{alias="champion",run_key="ab",service="green",tested_on="2023-06",'
        'trained_on="2022-07 to 2023-05",version="7"}': 1,
        '{alias="champion",run_key="",service="yellow",tested_on="",trained_on="",version="1"}': 1,
    }
    (age,) = chosen(page, "trip_duration_model_age_seconds").items()
    assert age[0] == '{service="green"}'
    assert age[1] == pytest.approx(3600, abs=60)
    assert chosen(page, "trip_duration_model_test_rmse_minutes") == {'{service="green"}': 4.25}
    assert set(chosen(page, "trip_duration_model_loaded_timestamp_seconds")) == {
        '{service="green"}', '{service="yellow"}'
    }  # fmt: skip
    assert chosen(page, "trip_duration_model_problem") == {
        '{service="fhvhv"}': 1, '{service="green"}': 0, '{service="yellow"}': 1
    }  # fmt: skip


def test_the_newest_compared_month_is_described(page: dict[str, float]) -> None:
    green, yellow = (f'{{month="2023-10",service="{name}",version="7"}}' for name in ("green", "yellow"))
    assert chosen(page, "trip_duration_compared_rmse_minutes") == {green: 5.31}
    assert chosen(page, "trip_duration_compared_promised_rmse_minutes") == {green: 4.24}
    assert chosen(page, "trip_duration_compared_alarm") == {green: 1, yellow: 1}
    assert chosen(page, "trip_duration_compared_age_seconds") == {green: pytest.approx(7200, abs=60)}


def test_rows_of_the_log_are_counted(page: dict[str, float]) -> None:
    assert chosen(page, "trip_duration_log_rows_total") == {'{outcome="written"}': 5, '{outcome="lost"}': 2}


def test_the_numbers_of_all_workers_are_added_up_after_they_ended_too(
    page: dict[str, float], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "counter_1.db").write_bytes(b"of a former start")
    both = page_of(2, tmp_path / "folder")
    for start in ("trip_duration_requests_total", "trip_duration_rides_total", "trip_duration_refused_total"):
        one = chosen(page, start)
        assert chosen(both, start) == {name: 2 * value for name, value in one.items()}
    assert chosen(both, "trip_duration_model_info") == chosen(page, "trip_duration_model_info")
