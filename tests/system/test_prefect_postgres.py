"""`make prefect` beside a running stack: its database is in the stack's PostgreSQL, its runs in that registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from support.doors import Machine, write_months
from support.postgres import Postgres, running_postgres
from support.prefect_site import PrefectSite, free_port, require_prefect, running_prefect

from stack.prefect_settings import DATABASE_PASSWORD, secret_values
from stack.secret_values import give_to_shells, write_env

NOT_THERE = "http://127.0.0.1:9"  # nothing listens on this port
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    require_prefect()
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectSite]:
    """Prefect, beside the files that a running stack has."""
    folder = tmp_path_factory.mktemp("prefect")
    machine = Machine(folder / "machine", write_months(folder / "months"))
    stack = machine.state / "stack"
    stack.mkdir(parents=True)
    names = ("POSTGRES_PASSWORD", "MAGE_DB_PASSWORD", "MLFLOW_DB_PASSWORD")
    write_env(stack / ".env", {"POSTGRES_PORT": str(postgres.port), **dict.fromkeys(names, "secret")})
    give_to_shells(stack, {"MLFLOW_TRACKING_URI": NOT_THERE})
    quick = {"PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with running_prefect(machine, free_port(), **quick) as running:
        yield running


def select(postgres: Postgres, statement: str, **login: Any) -> list[Any]:
    """First column of a statement's result in the database prefect."""
    with contextlib.closing(psycopg2.connect(postgres.url, dbname="prefect", **login)) as database:
        cursor = database.cursor()
        cursor.execute(statement)
        return [value for value, *_ in cursor]


def test_its_database_is_the_stack_s(site: PrefectSite, postgres: Postgres) -> None:
    assert "database: the stack's PostgreSQL" in site.printed
    assert not list(site.home.glob("*.db"))
    password = secret_values(site.home)[DATABASE_PASSWORD]
    names = select(postgres, "SELECT name FROM deployment ORDER BY name", user="prefect", password=password)
    assert names == ["by-hand", "by-hand", "daily"]


def test_nobody_else_may_use_the_database(site: PrefectSite, postgres: Postgres) -> None:
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        select(postgres, "SELECT 1", user="mage", password="secret")


def test_its_runs_go_to_the_stack_s_registry(site: PrefectSite) -> None:
    """Its server is away here, which may pass: the step is tried again, as often as it may be."""
    run = site.train(connect_timeout=1, tracking_patience=0)
    state = site.wait(run)["state"]
    assert (state["type"], NOT_THERE in state["message"]) == ("FAILED", True)
    assert site.tasks(run)["load_trips"]["run_count"] == 4


def test_its_password_is_in_no_other_file(site: PrefectSite) -> None:
    password = secret_values(site.home)[DATABASE_PASSWORD].encode()
    holders = [
        path for path in site.machine.folder.rglob("*") if path.is_file() and password in path.read_bytes()
    ]
    assert holders == [site.home / ".env"]
    assert Path(site.home / ".env").stat().st_mode & 0o077 == 0
