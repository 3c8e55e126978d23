"""Mage's copy of the project: what was changed in Mage stays, everything else follows the checkout."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.stack_process import copy_for_image

from stack import mage_project
from stack.mage_project import REPLACED, plan, refresh, rename_triggers

BLOCK, SETTINGS = "transformers/clean_trips.py", "pipelines/training/metadata.yaml"
TRIGGERS = "pipelines/training/triggers.yaml"
DAILY = {
    "name": "green_daily_check",
    "schedule_interval": "@daily",
    "start_time": "2026-01-01 00:00:00",
    "status": "active",
    "envs": ["prod"],
    "sla": 14400,
    "variables": {"service": "green", "source": "tlc"},
}
NO_DATABASE = "sqlite://"


def yaml_of(*triggers: dict[str, Any]) -> str:
    return "# a comment\n" + yaml.safe_dump({"triggers": list(triggers)}, sort_keys=False)


def as_mage_writes(*triggers: dict[str, Any]) -> str:
    """The text of triggers after Mage has read them: sorted, with its defaults."""
    own = {"last_enabled_at": "2026-11-27 05:00:00+00:00", "description": None, "token": "1", "settings": {}}
    return yaml.safe_dump({"triggers": [{**own, **trigger} for trigger in triggers]})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one block, one pipeline and one trigger."""
    folder = tmp_path / "checkout"
    write(folder, "metadata.yaml", "project_type: standalone\n")
    write(folder, BLOCK, "first\n")
    write(folder, SETTINGS, "name: training\nvariables:\n  seed: 42  # any\n  max_trials: 18\n")
    write(folder, TRIGGERS, yaml_of(DAILY))
    return folder


@pytest.fixture
def copy(checkout: Path) -> Path:
    """Mage's copy of it, after Mage has read its triggers."""
    folder = checkout.parent / "trip_duration"
    assert refresh(folder, NO_DATABASE, checkout=checkout) == []
    write(folder, TRIGGERS, as_mage_writes(DAILY))
    return folder


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def triggers(copy: Path) -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((copy / TRIGGERS).read_text())["triggers"]
    return {trigger["name"]: trigger for trigger in found}


def variables(copy: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((copy / SETTINGS).read_text())["variables"]
    return found


def test_what_mage_did_not_change_follows_the_checkout(checkout: Path, copy: Path) -> None:
    assert refresh(copy, NO_DATABASE, checkout=checkout) == []
    write(checkout, BLOCK, "second\n")
    write(checkout, "charts/new.py", "new\n")
    (checkout / SETTINGS).unlink()
    assert mage_project.pending(copy, checkout) == ["charts/new.py", SETTINGS, BLOCK]
    (said,) = refresh(copy, NO_DATABASE, checkout=checkout)
    assert said == f"Mage takes from the checkout: charts/new.py, {SETTINGS}, {BLOCK}"
    assert (copy / BLOCK).read_text() == "second\n"
    assert (copy / "charts" / "new.py").read_text() == "new\n"
    assert not (copy / SETTINGS).exists()
    assert mage_project.pending(copy, checkout) == []


def test_what_mage_changed_stays(checkout: Path, copy: Path) -> None:
    write(copy, BLOCK, "by hand\n")
    write(copy, TRIGGERS, as_mage_writes({**DAILY, "status": "inactive"}, {**DAILY, "name": "of a page"}))
    write(copy, SETTINGS, yaml.safe_dump({"name": "training", "variables": {"seed": 7, "mine": 1}}))
    write(copy, "pipelines/of_a_page/metadata.yaml", "name: of_a_page\n")
    before = mage_project.texts(copy)
    for _ in range(2):
        assert refresh(copy, NO_DATABASE, checkout=checkout) == []
        assert mage_project.texts(copy) == before


def test_both_sides_of_a_yaml_file_are_merged(checkout: Path, copy: Path) -> None:
    write(copy, TRIGGERS, as_mage_writes({**DAILY, "status": "inactive"}))
    write(copy, SETTINGS, yaml.safe_dump({"name": "training", "variables": {"seed": 7, "max_trials": 18}}))
    write(checkout, TRIGGERS, yaml_of({**DAILY, "sla": 7200}, {**DAILY, "name": "yellow_daily_check"}))
    write(checkout, SETTINGS, "name: training\nvariables:\n  seed: 42\n  max_trials: 20\n  force: false\n")
    (said,) = refresh(copy, NO_DATABASE, checkout=checkout)
    assert said == f"Mage takes from the checkout: {SETTINGS}, {TRIGGERS}"
    green, yellow = triggers(copy).values()
    assert (green["status"], green["sla"], green["token"]) == ("inactive", 7200, "1")
    assert yellow == {**DAILY, "name": "yellow_daily_check"}
    assert variables(copy) == {"seed": 7, "max_trials": 20, "force": False}


def test_a_trigger_that_the_checkout_switches_on_is_on(checkout: Path, copy: Path) -> None:
    write(checkout, TRIGGERS, yaml_of({**DAILY, "status": "inactive"}))
    refresh(copy, NO_DATABASE, checkout=checkout)
    assert triggers(copy)["green_daily_check"]["status"] == "inactive"
    write(checkout, TRIGGERS, yaml_of(DAILY))
    refresh(copy, NO_DATABASE, checkout=checkout)
    assert triggers(copy)["green_daily_check"]["status"] == "active"


def test_a_trigger_that_the_checkout_no_longer_has_is_off(checkout: Path, copy: Path) -> None:
    write(checkout, TRIGGERS, yaml_of())
    for _ in range(2):
        refresh(copy, NO_DATABASE, checkout=checkout)
        assert triggers(copy)["green_daily_check"]["status"] == "inactive"


def test_what_both_changed_stays_until_it_is_replaced(checkout: Path, copy: Path) -> None:
    write(copy, BLOCK, "by hand\n")
    write(copy, TRIGGERS, as_mage_writes({**DAILY, "sla": 60, "status": "inactive"}))
    write(checkout, BLOCK, "second\n")
    write(checkout, TRIGGERS, yaml_of({**DAILY, "sla": 7200, "schedule_interval": "@hourly"}))
    kept = (
        "Mage keeps its own, although the checkout changed it too: "
        f"{TRIGGERS} (triggers.green_daily_check.sla), {BLOCK}. To take the checkout's: make stack-update"
    )
    first, second = refresh(copy, NO_DATABASE, checkout=checkout)
    assert (first, second) == (f"Mage takes from the checkout: {TRIGGERS}", kept)
    assert (copy / BLOCK).read_text() == "by hand\n"
    green = triggers(copy)["green_daily_check"]
    assert (green["sla"], green["schedule_interval"], green["status"]) == (60, "@hourly", "inactive")
    assert refresh(copy, NO_DATABASE, checkout=checkout) == [kept]
    assert mage_project.pending(copy, checkout) == []

    before = (copy / TRIGGERS).read_text()
    (said,) = refresh(copy, NO_DATABASE, replace=True, checkout=checkout)
    (former,) = (copy / REPLACED).iterdir()
    assert said == (
        "Mage takes from the checkout, although it was changed in Mage too: "
        f"{TRIGGERS} (triggers.green_daily_check.sla), {BLOCK}. The replaced files are kept in {former}"
    )
    assert (copy / BLOCK).read_text() == "second\n"
    green = triggers(copy)["green_daily_check"]
    assert (green["sla"], green["status"]) == (7200, "inactive")
    assert ((former / BLOCK).read_text(), (former / TRIGGERS).read_text()) == ("by hand\n", before)
    assert refresh(copy, NO_DATABASE, checkout=checkout) == []


def test_what_was_deleted_in_mage_stays_deleted() -> None:
    assert plan({BLOCK: "1"}, {}, {BLOCK: "1"}).files == {}
    assert plan({BLOCK: "1"}, {}, {BLOCK: "2"}).kept == {BLOCK: []}
    assert plan({BLOCK: "1"}, {}, {BLOCK: "2"}, replace=True).files == {BLOCK: "2"}
    with_trigger, without = yaml_of(DAILY), yaml_of()
    assert plan({TRIGGERS: with_trigger}, {TRIGGERS: without}, {TRIGGERS: without}).files == {}


@pytest.mark.parametrize("text", ["{", as_mage_writes(DAILY) + "a: 1\na: 2\n"])
def test_a_text_that_is_no_yaml_is_kept_as_a_whole(text: str) -> None:
    update = plan({TRIGGERS: yaml_of(DAILY)}, {TRIGGERS: text}, {TRIGGERS: yaml_of({**DAILY, "sla": 1})})
    assert (update.files, update.kept) == ({}, {TRIGGERS: []})


def test_comments_stay_where_both_sides_changed(checkout: Path, copy: Path) -> None:
    write(copy, SETTINGS, (copy / SETTINGS).read_text().replace("18", "7"))
    write(checkout, SETTINGS, (checkout / SETTINGS).read_text() + "  force: false\n")
    refresh(copy, NO_DATABASE, checkout=checkout)
    expected = "name: training\nvariables:\n  seed: 42  # any\n  max_trials: 7\n  force: false\n"
    assert (copy / SETTINGS).read_text() == expected


@dataclass(frozen=True)
class Database:
    """A table of Mage's triggers, as far as the copy reads and writes it."""

    file: Path
    project: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    def add(self, name: str, status: str) -> None:
        values = (name, "training", status, str(self.project))
        self.execute(
            f"INSERT INTO pipeline_schedule (name, pipeline_uuid, status, repo_path) VALUES {values}"
        )

    def rows(self) -> list[tuple[Any, ...]]:
        return self.execute("SELECT id, name, status FROM pipeline_schedule ORDER BY id")

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            return connection.execute(statement).fetchall()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A database with the triggers of an earlier version of the project, all inactive."""
    made = Database(tmp_path / "mage.db", tmp_path / "trip_duration")
    made.execute(
        "CREATE TABLE pipeline_schedule (id INTEGER PRIMARY KEY, name, pipeline_uuid, status, repo_path)"
    )
    for name in mage_project.NEW_NAMES:
        made.add(name, "INACTIVE")
    return made


def test_a_new_copy_switches_nothing_on(checkout: Path, database: Database) -> None:
    """As when the first copy is made of an earlier version's stack, of its container, or of a restored backup."""
    copy = database.project
    write(copy, "metadata.yaml", "of an earlier version\n")
    said = refresh(copy, database.url, checkout=checkout)
    (former,) = (path for path in copy.parent.iterdir() if path.name.startswith("trip_duration."))
    assert said == [
        f"Mage's copy of an earlier version of this project is kept in {former}",
        f"trigger green_daily_check stays inactive, as in Mage's database; {TRIGGERS} has another status",
    ]
    assert (former / "metadata.yaml").read_text() == "of an earlier version\n"
    assert triggers(copy) == {"green_daily_check": {**DAILY, "status": "inactive"}}
    assert refresh(copy, database.url, checkout=checkout) == []


def test_a_trigger_that_was_switched_on_stays_on(checkout: Path, database: Database) -> None:
    database.execute("UPDATE pipeline_schedule SET status = 'ACTIVE'")
    write(checkout, TRIGGERS, yaml_of({**DAILY, "status": "inactive"}))
    (said,) = refresh(database.project, database.url, checkout=checkout)
    assert said.startswith("trigger green_daily_check stays active")
    assert triggers(database.project)["green_daily_check"]["status"] == "active"


def test_triggers_get_their_new_names_once(database: Database) -> None:
    before = database.rows()
    assert [name for _, name, _ in before] == list(mage_project.NEW_NAMES)
    rename_triggers(database.url, Path("/srv/another"))
    assert database.rows() == before
    renamed = [(number, mage_project.NEW_NAMES[name], status) for number, name, status in before]
    for _ in range(2):
        rename_triggers(database.url, database.project)
        assert database.rows() == renamed
    # An older checkout was started once more: its trigger is there again, and active.
    database.add("green_monthly", "ACTIVE")
    rename_triggers(database.url, database.project)
    assert database.rows() == [*renamed, (4, "green_monthly", "INACTIVE")]


def test_the_container_makes_its_copy_and_becomes_the_command(tmp_path: Path) -> None:
    image, project = copy_for_image(tmp_path / "image" / "trip_duration"), tmp_path / "trip_duration"
    own = {
        "PYTHONPATH": str(image),
        "MAGE_REPO_PATH": str(project),
        "MAGE_DATABASE_CONNECTION_URL": "sqlite://",
    }
    done = subprocess.run(
        [sys.executable, "-m", "stack.mage_project", sys.executable, "-c", "print('served')"],
        env={**os.environ, **own},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr
    copied = mage_project.texts(project)
    assert copied == mage_project.texts(image)
    assert "pipelines/trip_duration_training/triggers.yaml" in copied
