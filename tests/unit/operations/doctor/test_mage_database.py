"""Mage's database, made by Mage's own migrations and filled through Mage's own models."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mlops import config
from mlops.operations.doctor import mage_database
from mlops.operations.doctor.finding import Finding
from mlops.operations.doctor.mage_database import Trigger
from mlops.operations.doctor.stack import Mage

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
TRIGGERS = """
triggers:
- {name: monthly, status: active, envs: [prod]}
- {name: by hand, status: inactive}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose pipeline has two triggers, and whose Mage ran nowhere yet."""
    folder = tmp_path / "project"
    (folder / "pipelines" / "training").mkdir(parents=True)
    (folder / "pipelines" / "training" / "triggers.yaml").write_text(TRIGGERS)
    (folder / "metadata.yaml").write_text("variables_dir: ~/elsewhere\n")
    monkeypatch.setattr(config, "PROJECT", folder)
    monkeypatch.setenv("MAGE_DATA_DIR", str(tmp_path / "mage"))
    monkeypatch.setenv("ENV", "prod")
    monkeypatch.delenv("MAGE_DATABASE_CONNECTION_URL", raising=False)
    return folder


@pytest.fixture
def database(made: Path, project: Path, tmp_path: Path) -> Path:
    path = tmp_path / "mage" / "project" / "mage-ai.db"
    path.parent.mkdir(parents=True)
    shutil.copy(made, path)
    return path


def change(database: Path, statement: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(statement)
    connection.close()


def here(**changed: str) -> Mage:
    """The Mage of this environment, with changes."""
    return Mage({**os.environ, **changed}, config.PROJECT)


def findings(now: datetime = NOW, mage: Mage | None = None) -> list[Finding]:
    return list(mage_database.look_over(mage or here(), now))


def opened(now: datetime = NOW, mage: Mage | None = None) -> list[str]:
    return [finding.text for finding in findings(now, mage) if finding.is_open]


def reported(now: datetime = NOW) -> list[str]:
    return [finding.text for finding in findings(now)]


def test_it_lies_where_mage_puts_it(project: Path) -> None:
    def addresses(**variables: str) -> list[str]:
        return mage_database.addresses(Mage(variables, project))

    assert addresses(MAGE_DATA_DIR="/var/mage") == ["sqlite:////var/mage/project/mage-ai.db"]
    assert addresses(MAGE_DATA_DIR="mage_data") == [f"sqlite:///{project}/mage_data/mage-ai.db"]
    url = "postgresql://somewhere/mage"
    assert addresses(MAGE_DATABASE_CONNECTION_URL=url, MAGE_DATA_DIR="/var/mage") == [url]


def test_without_a_data_folder_it_is_where_make_puts_it_or_where_mage_itself_does(
    project: Path, tmp_path: Path
) -> None:
    by_make = config.state_dir() / "mage" / "project" / "mage-ai.db"
    by_mage = tmp_path / "elsewhere" / "project" / "mage-ai.db"
    (project / "metadata.yaml").write_text(f"variables_dir: {tmp_path / 'elsewhere'}\n")
    assert mage_database.addresses(Mage({}, project)) == [f"sqlite:///{by_make}"]
    for expected in ([by_mage], [by_make, by_mage]):
        expected[0].parent.mkdir(parents=True)
        expected[0].touch()
        assert mage_database.addresses(Mage({}, project)) == [f"sqlite:///{file}" for file in expected]


def test_before_mage_ran_nothing_is_open_and_nothing_is_made(project: Path, tmp_path: Path) -> None:
    assert opened() == []
    assert not (tmp_path / "mage").exists()


def test_all_is_well(database: Path) -> None:
    assert opened() == []
    assert reported() == [
        f"Mage's database: sqlite:///{database} has all its tables",
        "Mage: no run is stuck; 1 going on",
        "Mage: trigger monthly of training is active",
        "Mage: trigger by hand of training is inactive, as set in its file",
    ]


def test_a_run_beyond_its_trigger_s_timeout_is_stuck(database: Path) -> None:
    started = NOW - timedelta(hours=1)
    assert opened(started + timedelta(hours=2)) == []
    assert opened(started + timedelta(hours=2, seconds=1)) == [
        "Mage: run 1 of training has status running for 2.0 h, expected at most 2.0 h; "
        "cancel it on the pipeline's Runs page, or restart Mage"
    ]


def test_without_a_timeout_it_is_a_day(database: Path) -> None:
    change(database, "UPDATE pipeline_schedule SET settings = NULL")
    assert opened(NOW + timedelta(hours=23)) == []
    assert len(opened(NOW + timedelta(hours=23, seconds=1))) == 1


def test_a_run_that_never_began_is_stuck_too(database: Path) -> None:
    change(
        database,
        "UPDATE pipeline_run SET status = 'INITIAL', started_at = NULL, created_at = '2026-10-30 12:00:00'",
    )
    (stuck,) = opened()
    assert stuck.startswith("Mage: run 1 of training has status initial for 48.0 h")


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED"])
def test_a_run_that_ended_is_not_stuck(status: str, database: Path) -> None:
    change(database, f"UPDATE pipeline_run SET status = '{status}'")
    assert opened(NOW + timedelta(days=99)) == []


def test_a_trigger_that_somebody_switched_off_is_reported_with_what_that_means(database: Path) -> None:
    change(database, "UPDATE pipeline_schedule SET status = 'INACTIVE'")
    assert opened() == []
    assert (
        "Mage: trigger monthly of training is switched off in Mage, although its file has it active; it starts no "
        "run until somebody switches it on there, on the pipeline's Triggers page"
    ) in reported()


def test_a_trigger_that_mage_never_took_up_is_open(database: Path) -> None:
    change(database, "UPDATE pipeline_schedule SET name = 'another'")
    assert opened() == [
        "Mage: trigger monthly of training is not in Mage's database; start Mage's scheduler (mage start)"
    ]
    (by_the_stack,) = opened(mage=replace(here(), is_stack=True))
    assert by_the_stack.endswith("is not in Mage's database; run make stack-update")


def test_a_trigger_for_another_environment_is_reported_and_needs_no_action(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(database, "DELETE FROM pipeline_schedule")
    monkeypatch.delenv("ENV")
    assert opened() == []
    assert (
        "Mage: trigger monthly of training does not run here, because ENV is dev; it runs with ENV=prod"
        in reported()
    )
    monkeypatch.setenv("ENV", "production")
    assert len(opened()) == 1


@pytest.mark.parametrize(
    ("environment", "is_run"), [("prod", True), ("production", True), ("dev", False), ("", False)]
)
def test_schedules_run_where_their_environment_is(environment: str, is_run: bool, project: Path) -> None:
    assert mage_database.runs_schedules(here(ENV=environment)) is is_run


def test_a_trigger_of_another_checkout_is_not_ours(database: Path) -> None:
    change(database, "UPDATE pipeline_schedule SET repo_path = '/somewhere/else'")
    assert "is not in Mage's database" in opened()[0]
    assert opened(mage=Mage(os.environ, Path("/somewhere/else"), is_stack=True)) == []  # a stack's copy
    change(database, f"UPDATE pipeline_schedule SET repo_path = '{config.PROJECT}'")
    assert opened() == []


def test_missing_tables_are_open(database: Path) -> None:
    change(database, "DROP TABLE block_run")
    assert opened() == [
        f"Mage's database sqlite:///{database}: tables block_run are missing; start Mage once (mage start) "
        "to create them"
    ]


def test_an_empty_file_is_what_mage_run_leaves(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "mage" / "project" / "mage-ai.db"
    path.parent.mkdir(parents=True)
    path.touch()
    assert reported() == [f"Mage's database: sqlite:///{path} has no tables yet; mage start creates them"]


def test_a_database_that_does_not_answer_is_open_and_its_password_not_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGE_DATABASE_CONNECTION_URL", "postgresql+psycopg2://mage:secret@127.0.0.1:1/mage")
    (away,) = opened()
    assert away.startswith("Mage's database postgresql+psycopg2://127.0.0.1:1/mage: no answer (")
    assert away.endswith("; start it again, or correct MAGE_DATABASE_CONNECTION_URL")
    (of_the_stack,) = opened(mage=replace(here(), is_stack=True))
    assert of_the_stack.endswith(
        "; start it with make stack, or with make stack-stop stack if it runs but hangs"
    )
    assert "secret" not in away


def test_the_repository_s_own_triggers_can_be_read() -> None:
    assert all(isinstance(trigger, Trigger) and trigger.name for trigger in mage_database.triggers())
