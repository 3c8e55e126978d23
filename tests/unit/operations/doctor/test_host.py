"""Checks of the machine: each problem is reported with its fix."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mlops import config
from mlops.data import ingest
from mlops.operations.doctor import host
from mlops.operations.doctor.finding import Finding, Findings


def opened(findings: Findings) -> list[str]:
    return [finding.text for finding in findings if finding.is_open]


def package(folder: Path) -> Path:
    """A folder with another mlops in it."""
    (folder / "mlops").mkdir(parents=True)
    (folder / "mlops" / "__init__.py").touch()
    return folder


def test_this_project_s_package_is_imported() -> None:
    assert list(host.import_path(["", str(config.PROJECT)])) == [
        Finding(f"package mlops: imported from {config.PROJECT}")
    ]


def test_another_package_of_this_name_that_comes_first_is_open(tmp_path: Path) -> None:
    other = package(tmp_path / "other")
    (reported,) = opened(host.import_path([str(other), str(config.PROJECT)]))
    assert reported == (
        f"package mlops: Mage's blocks import it from {other}, not from {config.PROJECT}; "
        f"remove {other} from PYTHONPATH, "
        "or run make install here"
    )


def test_the_working_directory_does_not_count_since_mage_does_not_look_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.PROJECT)
    (reported,) = opened(host.import_path([str(config.PROJECT), str(tmp_path)]))
    assert reported.startswith("package mlops: Mage's blocks cannot import it; run make install")
    (reported,) = opened(host.import_path(["", str(package(tmp_path / "other"))]))
    assert "import it from" in reported


def test_a_block_folder_that_hides_a_package_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = package(tmp_path)
    monkeypatch.setattr(config, "PROJECT", project)
    assert opened(host.import_path([str(project)])) == []
    (project / "transformers").mkdir()
    (project / "transformers" / "__init__.py").touch()
    assert opened(host.import_path([str(project)])) == [
        "transformers/__init__.py hides the installed package transformers; delete that file"
    ]


def test_a_schedule_needs_utc() -> None:
    assert list(host.time_zone(True, timedelta())) == [Finding("time zone: UTC, like Mage's schedules")]
    (reported,) = opened(host.time_zone(True, timedelta(hours=5, minutes=30)))
    assert reported == (
        "time zone: +5.5 h from UTC, but Mage compares schedules in UTC; start Mage with TZ=UTC"
    )


def test_without_a_schedule_another_time_zone_is_only_reported() -> None:
    (reported,) = host.time_zone(False, timedelta(hours=-4))
    assert reported == Finding("time zone: -4 h from UTC; no schedule runs here")


def test_memory_is_enough_up_to_the_last_byte() -> None:
    needed = 1000 * ingest.BYTES_PER_TRIP
    assert opened(host.memory(1000, "models:/x/1", needed)) == []
    (reported,) = opened(host.memory(1000, "models:/x/1", needed - 1))
    assert "needed for the 1,000 trips of models:/x/1; " in reported
    assert reported.endswith("; free memory, or reduce train_months to about 99 % of its value")


def test_a_disk_that_is_nearly_full_is_open(tmp_path: Path) -> None:
    assert opened(host.disk(10, int(host.LEAST_FREE_BYTES))) == []
    reported = opened(host.disk(10, int(host.LEAST_FREE_BYTES) - 1))
    assert reported[0].startswith(f"disk: 2.0 GB free at {tmp_path / 'state'}, expected 2.0 GB or more; ")
    assert "python -m mlops tidy" in reported[0]


def test_a_run_about_many_trips_needs_more_disk() -> None:
    rows, _ = host.usual_rows(config.Settings(service="fhvhv"))
    assert len(opened(host.disk(rows, int(host.LEAST_FREE_BYTES)))) >= 1
    assert opened(host.disk(rows, rows * host.BYTES_PER_TRIP_ON_DISK)) == []


def test_the_real_disk_is_looked_at_without_making_the_folder() -> None:
    assert "free at" in next(host.disk(10)).text
    assert not config.state_dir().exists()
