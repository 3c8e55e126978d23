"""`make upgrade` on a desk without the stack: SQLite files of MLflow and Mage, from the previous tables to ours.

The stack's databases are upgraded in test_stack_backup.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.older_tables import NEXT_TABLE, TABLES, take_back
from support.stack_process import BINS, PROJECT

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


class Desk:
    """A state folder with both databases, and the commands of make on it."""

    def __init__(self, state: Path) -> None:
        self.files = {"mlflow": state / "mlflow.db", "mage": state / "mage" / PROJECT.name / "mage-ai.db"}
        self.state = state
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MAGE_"))
            },
            "MLOPS_STATE_DIR": str(state),
            "MAGE_DATA_DIR": str(state / "mage"),
            "PYTHONPATH": str(PROJECT),
        }

    def run(self, *words: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", *words],
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def sql(self, owner: str, statement: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.files[owner])) as database, database:
            return database.execute(statement).fetchall()

    def bytes(self) -> dict[str, bytes]:
        return {owner: path.read_bytes() for owner, path in self.files.items()}

    def fit(self) -> list[bool]:
        return [
            TABLES[each].found(f"sqlite:///{path}") == TABLES[each].expected()
            for each, path in self.files.items()
        ]


@pytest.fixture(scope="module")
def desk(migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Tables of the previous revision, with an experiment and a trigger in them."""
    desk = Desk(tmp_path_factory.mktemp("desk") / "state")
    for path in desk.files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(migrated_store, desk.files["mlflow"])
    for owner, path in desk.files.items():
        take_back(owner, f"sqlite:///{path}", desk.state, MAGE_DATA_DIR=str(desk.state / "mage"))
    desk.sql("mlflow", "INSERT INTO experiments (name, lifecycle_stage) VALUES ('carried', 'active')")
    desk.sql("mage", "INSERT INTO pipeline_schedule (name) VALUES ('carried')")
    assert desk.fit() == [False, False]
    return desk


RUN = (("mlops", "registry"), sys.executable)
PAGES = (("stack.mlflow_server", "0"), str(BINS["mlflow"] / "python"))
EDITOR = (("stack.mage", "start", "."), sys.executable)


@pytest.mark.parametrize(
    ("words", "python", "age"),
    [(*RUN, "older"), (*PAGES, "older"), (*PAGES, "newer"), (*EDITOR, "older"), (*EDITOR, "newer")],
)
def test_other_tables_are_refused_in_one_sentence(
    desk: Desk, words: tuple[str, ...], python: str, age: str, tmp_path: Path
) -> None:
    """A run, `make mlflow` and `make editor`; test_tables.py has the run that meets newer ones."""
    shutil.copytree(desk.state, tmp_path / "state")
    here = Desk(tmp_path / "state")
    if age == "newer":
        for owner in here.files:
            here.sql(owner, "UPDATE alembic_version SET version_num = 'cafe'")
    before = here.bytes()
    done = here.run(*words, python=python)
    assert done.returncode != 0
    (said,) = done.stderr.splitlines()
    assert "run `make upgrade`" in said
    assert ("because a newer version made them" in said) == (age == "newer")
    assert here.bytes() == before


def test_newer_tables_are_not_upgraded(desk: Desk, tmp_path: Path) -> None:
    shutil.copytree(desk.state, tmp_path / "state")
    here = Desk(tmp_path / "state")
    here.sql("mage", "UPDATE alembic_version SET version_num = 'cafe'")
    before, done = here.bytes(), here.run("stack", "upgrade")
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert f"{here.files['mage']}: its tables have revision cafe, which Mage" in said
    assert here.bytes() == before
    assert not (here.state / "backups").exists()


def test_a_store_in_use_is_not_upgraded(desk: Desk) -> None:
    before = desk.bytes()
    with contextlib.closing(sqlite3.connect(desk.files["mage"])) as used:
        used.execute("SELECT name FROM pipeline_schedule")
        done = desk.run("stack", "upgrade")
    assert done.returncode == 1
    assert f"{desk.files['mage']}: process {os.getpid()} uses it" in done.stderr
    assert desk.bytes() == before


def test_an_upgrade_that_is_killed_changes_nothing(desk: Desk) -> None:
    before = desk.bytes()
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "stack", "upgrade"],
        env=desk.environment,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as upgrade:
        assert upgrade.stdout
        lines = iter(upgrade.stdout)
        assert any("migrating a copy" in line for line in lines)
        os.killpg(upgrade.pid, signal.SIGKILL)
    assert desk.bytes() == before
    assert "run `make upgrade`" in desk.run("mlops", "registry").stderr


def test_a_migration_that_fails_changes_nothing_and_says_what_to_do(desk: Desk) -> None:
    in_the_way = NEXT_TABLE["mlflow"]
    desk.sql("mlflow", f"CREATE TABLE {in_the_way} (mine TEXT)")
    before, done = desk.bytes(), desk.run("stack", "upgrade")
    assert done.returncode == 1
    assert desk.bytes() == before
    (said,) = done.stderr.splitlines()
    assert re.search(
        f"{desk.files['mlflow']}: its migration failed: .*table {in_the_way} already exists", said
    )
    assert "All databases are as before" in said
    assert "run `make upgrade` again" in said
    first, *_ = done.stdout.splitlines()
    saved = Path(first.removeprefix("backup: "))
    with contextlib.closing(sqlite3.connect(saved / "mlflow.db")) as copy:
        assert copy.execute("SELECT 1 FROM experiments WHERE name = 'carried'").fetchall()
    assert str(saved) in said
    desk.sql("mlflow", f"DROP TABLE {in_the_way}")


def test_an_upgrade_ends_with_the_doctor_and_one_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that the doctor finds open is no failure of the upgrade."""
    monkeypatch.setitem(desk.environment, "ENV", "prod")  # so the doctor misses a channel for messages
    done = desk.run("stack", "upgrade")
    assert done.returncode == 0, done.stdout + done.stderr
    assert desk.fit() == [True, True]
    assert desk.sql("mlflow", "SELECT name FROM experiments WHERE name = 'carried'") == [("carried",)]
    assert desk.sql("mage", "SELECT name FROM pipeline_schedule") == [("carried",)]
    *doctor, last = done.stdout.splitlines()
    assert [line for line in doctor if line.startswith("OPEN\tMage: no channel for messages")], done.stdout
    assert last.startswith(f"upgraded: {desk.files['mlflow']}, {desk.files['mage']}; backup: ")
    assert last.endswith("; read the lines above that the doctor calls OPEN")
    left = {path.name for path in desk.state.iterdir()}
    assert left == {"mlflow.db", "mage", "backups", "mlflow.lock", "upgrade.lock"}
    again = desk.run("stack", "upgrade")
    assert (again.returncode, again.stderr) == (0, "")
    assert re.fullmatch("nothing to upgrade: all tables fit MLflow [0-9.]+ and Mage [0-9.]+\n", again.stdout)
