"""Do the tables of a database fit the installed program: older and newer ones are refused in one sentence."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy
from alembic.script import ScriptDirectory

from mlops.errors import TrackingError
from mlops.registry import client
from mlops.registry.tables import MLFLOW, Tables, store_problem
from stack.schema import MAGE, MLFLOW_USERS

PREVIOUS = "75868b020152"  # MLflow's revision before 3.17's last


@pytest.mark.parametrize("tables", [MLFLOW, MLFLOW_USERS, MAGE], ids=lambda tables: tables.program)
def test_the_scripts_are_read_as_alembic_reads_them(tables: Tables) -> None:
    package, _, folder = tables.scripts.partition("/")
    place = Path(__import__(package).__file__ or "").parent / folder
    scripts = ScriptDirectory(str(place))
    head, *before = [script.revision for script in scripts.walk_revisions()]
    assert tables.expected() == head
    assert all(tables.is_older(revision) for revision in before)
    assert not tables.is_older(head)
    assert [tables.is_newer(each) for each in (head, before[0], None, "cafe")] == [False, False, False, True]


def test_a_new_store_fits(store: Path) -> None:
    uri = f"sqlite:///{store / 'mlflow.db'}"
    assert MLFLOW.found(uri) == MLFLOW.expected()
    assert store_problem(uri) == ""


def test_a_database_without_tables_fits(tmp_path: Path) -> None:
    assert MLFLOW.found(f"sqlite:///{tmp_path / 'empty.db'}") is None
    assert store_problem(f"sqlite:///{tmp_path / 'empty.db'}") == ""


def test_a_file_that_is_not_a_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as one\n" * 100)
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
        MLFLOW.found(f"sqlite:///{tmp_path / 'text.db'}")


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        (PREVIOUS, "but MLflow [0-9.]+ expects [0-9a-f]+; run `make upgrade`, which makes a backup first$"),
        ("cafe", r"which MLflow [0-9.]+ does not know, .* get the newer code \(git pull\), then run .*"),
    ],
)
def test_a_run_refuses_other_tables_and_leaves_them(
    store: Path, tmp_path: Path, revision: str, said: str
) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy(store / "mlflow.db", path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
        database.execute(
            "DROP TABLE job_locks"
        )  # MLflow migrates a database that lacks a table, without asking
    before = path.read_bytes()
    with pytest.raises(TrackingError, match=f"^tracking store sqlite:///{path}: its tables have .*{said}"):
        client.connect(f"sqlite:///{path}", tmp_path, 5.0)
    assert path.read_bytes() == before
