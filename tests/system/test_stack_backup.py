"""A backup of the stack, another stack that is restored from it, and the upgrade of both to newer tables."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import tarfile

import bcrypt
import psycopg2
import pytest
import requests
from support.older_tables import NEXT_TABLE, TABLES, take_back
from support.stack_process import (
    MODEL,
    PROJECT,
    Client,
    Stack,
    StackError,
    bare_environment,
    cluster,
    command_line,
    connect,
    free_ports,
    leader,
    log_in,
    place,
    processes_of,
    secrets_of,
    select,
    version_of,
)

from mlops import locks
from stack.archive import KEY
from stack.schema import in_postgres
from stack.upgrade import upgrade

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def archive(trained):
    """A backup of the running stack, with a trigger in Mage."""
    served, values = trained.served, "'carried', now(), now(), 'trip_duration_training', 'INACTIVE'"
    columns = "name, created_at, updated_at, pipeline_uuid, status, repo_path"
    select(trained, "mage", f"INSERT INTO pipeline_schedule ({columns}) VALUES ({values}, '{served}')")
    log_in(trained, trained.values["DEFAULT_OWNER_EMAIL"], trained.values["DEFAULT_OWNER_PASSWORD"])
    assert select(trained, "mage", "SELECT token FROM oauth2_access_token")
    write(
        trained.state / "months" / "tlc" / "replaced" / "green_tripdata_2023-01_0123456789ab.parquet",
        "former",
    )
    write(trained.state / "told" / "green", "sent")
    write(trained.state / "serving" / "requests" / "2026-11-27T08-30-00-abcdabcd.parquet", "asked")
    write(trained.state / "serving" / "keys", "# nobody")
    write(trained.served / "data_loaders" / "made_in_mage.py", "# mine")
    log_connections(trained)
    file = trained.state / "backup.tar.gz"
    done = command_line(trained.folder, "backup", str(file))
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="module")
def older(archive):
    """Another stack, restored from the archive, whose tables are taken back by one revision; PostgreSQL runs."""
    with place() as other:
        folder, ports = other / "stack", free_ports()
        done = command_line(folder, "restore", str(archive), **ports)
        assert done.returncode == 1
        assert "there is no key here to check its HMAC with" in done.stderr
        shutil.copy(archive.with_name(KEY), other)
        done = command_line(folder, "restore", str(archive), **ports)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f"Start it: make stack MLOPS_STATE_DIR={other}\n")
        stack = Stack(folder, values_of(folder), inherited=bare_environment(other / "home"))
        try:
            stack.start_service("postgres")
            former = {name: "former" for name in stack.values if name.endswith("_DB_PASSWORD")}
            cluster.make_databases(stack.environment("postgres"), former, folder)
            connect(stack, "mage", "mage", "former").close()
            cluster.make_databases(stack.environment("postgres"), stack.values, folder)
            take_all_back(stack)
            yield stack
        finally:
            stack.stop()
            assert processes_of(folder) == []
            assert "database system is shut down" in stack.log("postgres").read_text()


@pytest.fixture(scope="module")
def restored(older):
    """The restored stack with the services of a registry."""
    done = command_line(older.folder, "upgrade", MAGE_DATA_DIR=str(older.state / "mage"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(
        "upgraded: database mage of the stack, database mlflow of "
    )
    assert older.running() == []  # as before
    for name in ("postgres", "mlflow"):
        older.start_service(name)
    return older


def log_connections(stack):
    url = in_postgres("postgres", stack.environment("postgres")).replace("+psycopg2", "")
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("ALTER SYSTEM SET log_connections = on")
        connection.cursor().execute("SELECT pg_reload_conf()")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def take_all_back(stack):
    login = stack.environment("postgres")
    for owner in TABLES:
        password = stack.values[f"{owner.upper()}_DB_PASSWORD"]
        url = in_postgres(owner, {**login, "PGUSER": owner, "PGPASSWORD": password})
        take_back(owner, url, stack.folder, MAGE_DATA_DIR=str(stack.folder / "mage"))
    select(stack, "mage", "DROP TYPE jobtype")  # Mage's own script leaves the types of the table's columns
    select(stack, "mage", "DROP TYPE jobstatus")
    assert revisions(stack) != newest()


def revisions(stack):
    return {owner: select(stack, owner, "SELECT version_num FROM alembic_version") for owner in TABLES}


def newest():
    return {owner: [tables.expected()] for owner, tables in TABLES.items()}


def dumps(stack):
    """All that both databases hold, as SQL, without the random word that guards newer dumps."""
    found = []
    for owner in TABLES:
        file = stack.folder.parent / f"{owner}.sql"
        with file.open("wb") as output:
            cluster.run(["pg_dump", owner], stack.environment("postgres"), stack.folder, {}, stdout=output)
        found += [
            line
            for line in file.read_text().splitlines()
            if not line.startswith(("\\restrict", "\\unrestrict"))
        ]
    return found


def values_of(folder):
    lines = (folder / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_an_archive_is_private_and_holds_no_secret(archive, trained):
    assert archive.stat().st_mode & 0o777 == 0o600
    assert list(archive.parent.glob(".*.part")) == []
    tokens = select(trained, "mage", "SELECT token FROM oauth2_access_token")
    secrets = [*secrets_of(trained), archive.with_name(KEY).read_text().strip()]
    with tarfile.open(archive) as opened:
        files = [opened.extractfile(member).read() for member in opened if member.isfile()]
    assert not any(word.encode() in content for word in secrets + tokens for content in files)


def test_a_backup_overwrites_nothing(archive, trained):
    before = archive.read_bytes()
    again = command_line(trained.folder, "backup", str(archive))
    assert again.returncode == 1
    assert "this file exists" in again.stderr
    assert archive.read_bytes() == before


def test_a_restore_brings_files_that_cannot_be_made_again(older, trained):
    month = "months/tlc/replaced/green_tripdata_2023-01_0123456789ab.parquet"
    requests = "serving/requests/2026-11-27T08-30-00-abcdabcd.parquet"
    for name in (month, "told/green", requests, "serving/keys", "registry.key"):
        assert (older.state / name).read_text() == (trained.state / name).read_text()
    for name in ("serving/keys", "registry.key"):
        assert (older.state / name).stat().st_mode & 0o777 == 0o600
    assert (older.served / "data_loaders" / "made_in_mage.py").read_text() == "# mine"


def test_a_service_does_not_start_on_older_tables(older):
    with pytest.raises(
        StackError, match=r"^mlflow's database: its tables have revision .*; run `make upgrade`, "
    ):
        older.start_service("mlflow")
    assert revisions(older) != newest()


def test_a_migration_that_fails_leaves_both_databases(older):
    in_the_way = NEXT_TABLE["mlflow"]
    select(older, "mlflow", f"CREATE TABLE {in_the_way} (mine TEXT)")
    before, done = (
        dumps(older),
        command_line(older.folder, "upgrade", MAGE_DATA_DIR=str(older.state / "mage")),
    )
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "database mlflow of the stack: its migration failed: " in said
    assert f'relation "{in_the_way}" already exists' in said
    assert "All databases are as before" in said
    assert dumps(older) == before
    select(older, "mlflow", f"DROP TABLE {in_the_way}")


def test_the_restored_champion_gives_the_same_answers(restored, trained, tmp_path):
    first, second = Client(tmp_path / "first", trained), Client(tmp_path / "second", restored)
    minutes = first.predict()
    assert all(math.isfinite(each) and 1 <= each <= 60 for each in minutes)
    assert second.predict() == minutes
    ask = ("-m", "mlops", "registry", "--model", MODEL)
    shown = first.python(*ask)
    places = [stack.compose.url("mlflow", "/") for stack in (restored, trained)]
    assert places[1] in shown
    assert second.python(*ask).replace(*places) == shown
    assert "by hand" not in shown  # the restored key knows who signed the journal


def test_the_restored_stack_has_its_own_passwords(restored, trained):
    stranger = (trained.values["MLFLOW_TRACKING_USERNAME"], trained.values["MLFLOW_TRACKING_PASSWORD"])
    url = restored.compose.url("mlflow", "/api/2.0/mlflow/registered-models/search")
    assert requests.get(url, auth=stranger, timeout=30).status_code == 401
    (hashed,) = select(restored, "mage", 'SELECT password_hash FROM "user"')
    assert bcrypt.checkpw(restored.values["DEFAULT_OWNER_PASSWORD"].encode(), hashed.encode())
    assert select(restored, "mage", "SELECT token FROM oauth2_access_token") == []
    served = select(restored, "mage", "SELECT repo_path FROM pipeline_schedule WHERE name = 'carried'")
    assert served == [str(restored.served)]


def test_a_restore_overwrites_nothing(restored, archive):
    again = command_line(restored.folder, "restore", str(archive))
    assert again.returncode == 1
    assert "there is already a stack, and a restore overwrites no stack" in again.stderr
    assert restored.is_healthy("mlflow")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_archive_restores_nothing(archive, tmp_path, share):
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    done = command_line(tmp_path / "stack", "--trust", "restore", str(damaged))
    assert done.returncode == 1
    assert f"{damaged}: expected an archive made by `make backup`" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != damaged.name] == ["stack.lock"]


@contextlib.contextmanager
def at_work(stack, monkeypatch):
    """A run of the command line and one of Mage, which its scheduler does not know how to go on with."""
    monkeypatch.setenv("LOCK_URL", stack.client["LOCK_URL"])
    select(stack, "mage", "INSERT INTO pipeline_run (pipeline_uuid, status) VALUES ('nightly', 'RUNNING')")
    try:
        with locks.hold("trip-duration-green.work", about="green 2023-10"):
            yield
    finally:
        select(stack, "mage", "DELETE FROM pipeline_run WHERE pipeline_uuid = 'nightly'")


@pytest.mark.parametrize("command", ["upgrade", "stop-for-upgrade"])
def test_an_upgrade_stops_nothing_while_a_run_uses_the_stack(trained, command, monkeypatch):
    before = [leader(trained, name) for name in ("postgres", "mlflow", "mage")]
    monkeypatch.setenv("MAGE_DATA_DIR", str(trained.folder / "mage"))
    with at_work(trained, monkeypatch):
        code = PROJECT / "docker-compose.yml"
        former = code.stat()
        os.utime(code)
        try:
            done = command_line(trained.folder, command)
        finally:
            os.utime(code, ns=(former.st_atime_ns, former.st_mtime_ns))
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    named = (
        rf"it is used by run \d+ of nightly in Mage; \S+:{os.getpid()}, green 2023-10\. Nothing was stopped"
    )
    assert re.search(named, said), said
    assert [leader(trained, name) for name in ("postgres", "mlflow", "mage")] == before
    assert not (trained.folder / "upgrading").exists()


def test_an_upgrade_starts_again_what_ran(trained, monkeypatch):
    """Last, since it takes the tables of the running stack back first."""
    champion, said = version_of(trained, "champion"), []
    take_all_back(trained)
    select(trained, "mage", "ALTER DATABASE mage SET statement_timeout TO '1h'")
    for name, value in {"MLOPS_STATE_DIR": trained.state, "MAGE_DATA_DIR": trained.folder / "mage"}.items():
        monkeypatch.setenv(name, str(value))
    upgrade(trained.folder, said.append, inherited=trained.inherited, extra=trained.extra)
    assert said[0] == "stopping mage and mlflow: there are tables to migrate"
    assert revisions(trained) == newest()
    assert [name for name in trained.compose.in_order() if not trained.is_healthy(name)] == []
    assert version_of(trained, "champion") == champion
    assert select(trained, "mage", "SHOW statement_timeout") == ["1h"]
    saved = said[1].removeprefix("backup: ")
    assert saved.startswith(str(trained.state / "backups"))
    assert said[-1].startswith("upgraded: database mage of the stack, database mlflow of the stack; backup: ")
    log = trained.log("postgres").read_text()
    assert "connection authorized: user=mage database=mage " in log
    assert not re.search(r"connection authorized: user=postgres database=(?!postgres\b)", log)
    first, last = command_line(trained.folder, "stop-for-upgrade").stdout.splitlines()
    assert first == "stopping the stack: its environments are built again"
    assert last == "stopped for the upgrade: mage, mlflow, serving, postgres"
    assert (trained.folder / "upgrading").exists()  # so the next `make upgrade` starts it
