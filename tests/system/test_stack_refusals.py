"""What prevents a stack's start; a failed start leaves nothing behind."""

from __future__ import annotations

import os
import re
import socket

import pytest
from support.stack_process import (
    LOOPBACK,
    StackError,
    cluster,
    command_line,
    free_ports,
    place,
    processes_of,
    require_programs,
    start,
)


def test_a_taken_port_is_named_and_nothing_runs(tmp_path):
    require_programs()
    ports = free_ports()
    with socket.socket() as taken:
        taken.bind((LOOPBACK, int(ports["MLFLOW_PORT"])))
        taken.listen()
        done = command_line(tmp_path / "stack", "start", **ports)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"port {ports['MLFLOW_PORT']}, which mlflow needs, is used by another process" in done.stderr
    assert f"make stack MLFLOW_PORT={int(ports['MLFLOW_PORT']) + 1}" in done.stderr
    assert not (tmp_path / "stack" / "run").exists()
    assert not (tmp_path / "stack" / ".env").exists()  # a port that cannot be used is not kept


def test_a_port_that_two_services_ask_for_is_refused_at_once(tmp_path):
    env = tmp_path / "stack" / ".env"
    for command in (("start",), ("restore", "none.tar.gz")):
        done = command_line(tmp_path / "stack", *command, MAGE_PORT="5492", POSTGRES_PORT="5492")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "stack: MAGE_PORT and POSTGRES_PORT: expected different ports; got 5492 for both. "
            f"Correct it in the make command or in {env}.\n"
        )
        assert not env.exists()


def test_an_invalid_port_is_refused(tmp_path):
    done = command_line(tmp_path / "stack", "start", MAGE_PORT="tcp://10.0.0.1:80")
    assert done.returncode == 1
    assert "MAGE_PORT: expected a port, 1 to 65535; got 'tcp://10.0.0.1:80'" in done.stderr


def test_a_missing_postgresql_is_named_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"PostgreSQL's server is not .*: apt-get install postgresql$"):
        start(tmp_path / "stack", free_ports())
    assert processes_of(tmp_path / "stack") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL needs another user only where root starts it")
def test_a_folder_closed_to_postgresqls_user_is_named(tmp_path):
    require_programs()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StackError, match=r"cannot enter .*Set MLOPS_STATE_DIR to a folder that every user"):
        start(closed / "stack", free_ports())
    assert processes_of(closed / "stack") == []


def test_when_a_service_dies_the_started_ones_are_stopped():
    require_programs()
    with place() as other:
        folder = other / "stack"
        with pytest.raises(StackError) as caught:
            start(folder, free_ports(), extra={"mlflow": {"PYTHONHOME": str(other)}})
        said = str(caught.value)
        assert re.search(r"^mlflow ended \(exit status \d+\) while starting", said)
        assert f"The last lines of {folder / 'logs' / 'mlflow.log'}:" in said
        assert "No module named 'encodings'" in said.partition("last lines")[2]
        assert (folder / "logs" / "postgres.log").exists()
        assert processes_of(folder) == []
        assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"POSTGRES_PASSWORD=x\nhunter2\n", "NAME=value in line 2"),
        (b"\xff\xfe\x00\x9d", "expected text in UTF-8"),
    ],
)
@pytest.mark.parametrize("command", ["start", "status", "stop"])
def test_a_damaged_env_is_named_and_not_changed(tmp_path, command, content, expected):
    env = tmp_path / "stack" / ".env"
    env.parent.mkdir()
    env.write_bytes(content)
    done = command_line(tmp_path / "stack", command)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"{env}: " in done.stderr
    assert expected in done.stderr
    assert "hunter2" not in done.stderr
    assert env.read_bytes() == content


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    done = command_line(tmp_path / "file" / "state" / "stack", "start")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "file") in done.stderr
