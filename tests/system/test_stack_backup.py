"""A backup of the stack, and another stack that is restored from it."""

from __future__ import annotations

import math
import tarfile

import bcrypt
import pytest
import requests
from support.stack_process import (
    MODEL,
    Client,
    Stack,
    bare_environment,
    cluster,
    command_line,
    connect,
    free_ports,
    log_in,
    place,
    processes_of,
    secrets_of,
    select,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def archive(trained):
    """A backup of the running stack, with a trigger in Mage."""
    served, values = trained.served, "'carried', now(), now(), 'trip_duration_training', 'INACTIVE'"
    columns = "name, created_at, updated_at, pipeline_uuid, status, repo_path"
    select(trained, "mage", f"INSERT INTO pipeline_schedule ({columns}) VALUES ({values}, '{served}')")
    log_in(trained, trained.values["DEFAULT_OWNER_EMAIL"], trained.values["DEFAULT_OWNER_PASSWORD"])
    assert select(trained, "mage", "SELECT token FROM oauth2_access_token")
    file = trained.state / "backup.tar.gz"
    done = command_line(trained.folder, "backup", str(file))
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="module")
def restored(archive):
    """Another stack, restored from the archive, with the services of a registry."""
    with place() as other:
        folder, ports = other / "stack", free_ports()
        done = command_line(folder, "restore", str(archive), **ports)
        assert done.returncode == 0, done.stderr
        stack = Stack(folder, values_of(folder), inherited=bare_environment(other / "home"))
        try:
            stack.start_service("postgres")
            former = {name: "former" for name in stack.values if name.endswith("_DB_PASSWORD")}
            cluster.make_databases(stack.environment("postgres"), former, folder)
            connect(stack, "mage", "mage", "former").close()
            cluster.make_databases(stack.environment("postgres"), stack.values, folder)
            stack.start_service("mlflow")
            yield stack
        finally:
            stack.stop()
            assert processes_of(folder) == []
            assert "database system is shut down" in stack.log("postgres").read_text()


def values_of(folder):
    lines = (folder / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_an_archive_is_private_and_holds_no_secret(archive, trained):
    assert archive.stat().st_mode & 0o777 == 0o600
    assert list(archive.parent.glob(".*.part")) == []
    tokens = select(trained, "mage", "SELECT token FROM oauth2_access_token")
    secrets = secrets_of(trained)
    with tarfile.open(archive) as opened:
        files = [opened.extractfile(member).read() for member in opened if member.isfile()]
    assert not any(word.encode() in content for word in secrets + tokens for content in files)


def test_a_backup_overwrites_nothing(archive, trained):
    before = archive.read_bytes()
    again = command_line(trained.folder, "backup", str(archive))
    assert again.returncode == 1
    assert "this file exists" in again.stderr
    assert archive.read_bytes() == before


def test_the_restored_champion_gives_the_same_answers(restored, trained, tmp_path):
    first, second = Client(tmp_path / "first", trained), Client(tmp_path / "second", restored)
    minutes = first.predict()
    assert all(math.isfinite(each) and 1 <= each <= 60 for each in minutes)
    assert second.predict() == minutes
    ask = ("-m", "mlops", "registry", "--model", MODEL)
    assert second.python(*ask) == first.python(*ask)


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
    done = command_line(tmp_path / "stack", "restore", str(damaged))
    assert done.returncode == 1
    assert f"{damaged}: expected an archive made by `make backup`" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != damaged.name] == ["stack.lock"]
