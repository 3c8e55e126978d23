"""What stands in the way of a stack's start, and what is left when it fails: nothing."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess

import pytest
from support.stack_process import (
    LOOPBACK,
    Service,
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
    assert f"port {ports['MLFLOW_PORT']}, where mlflow should listen, is taken" in done.stderr
    assert f"make stack MLFLOW_PORT={int(ports['MLFLOW_PORT']) + 1}" in done.stderr
    assert not (tmp_path / "stack" / "run").exists()


def test_a_port_that_is_none_is_refused(tmp_path):
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
    with pytest.raises(StackError, match=r"cannot enter .*Let MLOPS_STATE_DIR name a folder that every user"):
        start(closed / "stack", free_ports())
    assert processes_of(closed / "stack") == []


def test_a_service_that_dies_takes_what_was_started_with_it():
    require_programs()
    with place() as other:
        folder = other / "stack"
        with pytest.raises(StackError) as caught:
            start(folder, free_ports(), extra={"mlflow": {"PYTHONHOME": str(other)}})
        said = str(caught.value)
        assert re.search(r"^mlflow ended with \d+ while starting", said)
        assert f"Its last words, of {folder / 'logs' / 'mlflow.log'}:" in said
        assert "No module named 'encodings'" in said.partition("last words")[2]
        assert (folder / "logs" / "postgres.log").exists()
        assert processes_of(folder) == []
        assert not list((folder / "run").iterdir())


def test_another_process_of_the_same_number_is_left_alone(tmp_path):
    service = Service("mage", tmp_path)
    (tmp_path / "run").mkdir()
    with subprocess.Popen(["sleep", "60"]) as other:
        service.pid_file.write_text(json.dumps({"pid": other.pid, "began": "1"}))
        service.stop()
        assert other.poll() is None
        other.kill()
