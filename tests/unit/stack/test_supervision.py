"""supervisord with one tiny service: values arrive unchanged, a dead service is restarted, nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from support.stack_process import (
    LOOPBACK,
    PROJECT,
    command_line,
    free_ports,
    kill,
    kill_supervisord,
    leader,
    left_of,
    members,
    place,
    postgres_programs,
    processes_of,
)

from stack import cluster
from stack.compose import StackError
from stack.secret_values import fill_in
from stack.stack import Stack, start
from stack.supervision import LONGEST_SOCKET, Supervisord

ODD = {
    "PERCENT": "100 % of %(here)s, %d and %%",
    "QUOTES": """it's a "quoted" word, '"' and a \\ too""",
    "SPACES": "  two before, two after  ",
    "LINES": "first\n  second\n\nlast\n",
    "COMMENTS": "a #b ; c //d",
    "PAIRS": 'A="b",C=d',
    "DOLLAR": "$HOME `id` $(id)",
    "UNICODE": "Zürich 北京",
    "EMPTY": "",
}
SERVER = """
import json, os, socket, subprocess, sys
from pathlib import Path

print("started", flush=True)
if os.environ.get("FAILS"):
    sys.exit("cannot go on")
print("x" * int(os.environ.get("SPEAKS", "0")), flush=True)
# One that outlives its parent, in a group of its own, as Mage's scheduler does.
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
Path("reported.json").write_text(json.dumps({"variables": dict(os.environ), "arguments": sys.argv[2:]}))
if os.environ.get("SILENT"):
    child.wait()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""


@dataclass
class Tiny:
    """A folder for a stack of one service, which is called Mage."""

    home: Path
    name: str = "stack"
    service: dict[str, Any] = field(default_factory=dict)
    port: str = field(default_factory=lambda: free_ports()["MAGE_PORT"])

    @property
    def folder(self) -> Path:
        return self.home / self.name

    def how(self, **environment: str) -> dict[str, Any]:
        """Write the compose file and return the arguments of `start`."""
        self.home.mkdir(exist_ok=True)
        (self.home / "server.py").write_text(SERVER)
        check = f"import socket; socket.create_connection(('{LOOPBACK}', {self.port}), 5).close()"
        known = dict.fromkeys(("MLFLOW_TRACKING_URI", "LOCK_URL", "MLOPS_STATE_DIR"), "none")
        service = {
            "command": ["python", str(self.home / "server.py"), self.port, *ODD.values()],
            "environment": {**known, **ODD, **environment},
            "restart": "unless-stopped",
            "stop_grace_period": "5s",
            "logging": {"options": {"max-size": "10m", "max-file": "3"}},
            "ports": [f"{LOOPBACK}:{self.port}:{self.port}"],
            "volumes": [],
            "healthcheck": {
                "test": ["CMD", "python", "-c", check],
                "start_period": "20s",
                "interval": "1s",
                "retries": 5,
            },
            **self.service,
        }
        file = self.home / "compose.yml"
        file.write_text(yaml.safe_dump({"services": {"mage": service}}, allow_unicode=True))
        return {"project": self.home, "file": file}

    @contextmanager
    def running(self, **environment: str) -> Iterator[Stack]:
        """A stack that is healthy while the block runs; no process is left afterwards."""
        stack = start(self.folder, say=lambda line: None, **self.how(**environment))
        former = members(stack, "mage")
        try:
            yield stack
        finally:
            stack.stop()
            self.assert_nothing_runs()
            assert left_of(former) == []

    def assert_nothing_runs(self) -> None:
        assert processes_of(self.folder) == []
        assert not (self.folder / "run").exists()
        assert not Supervisord(self.folder).socket.exists()

    def reported(self) -> dict[str, Any]:
        """What arrived in the process."""
        reported: dict[str, Any] = json.loads((self.home / "reported.json").read_text())
        return reported


@pytest.fixture
def tiny() -> Iterator[Tiny]:
    with place() as home:
        yield Tiny(home)


def wait_for(true: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["stack", "a 100% %(here)s 'odd' \"folder\" #1 ;", "long" * 30])
def test_values_arrive_unchanged_whatever_the_folder_is_called(tiny: Tiny, name: str) -> None:
    tiny.name = name
    with tiny.running():
        reported = tiny.reported()
    assert {variable: reported["variables"][variable] for variable in ODD} == ODD
    assert reported["arguments"] == list(ODD.values())


def test_the_services_inherit_nothing_from_supervisord(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "another server's")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    with tiny.running():
        variables = tiny.reported()["variables"]
    assert variables["HTTPS_PROXY"] == "http://proxy:3128"
    assert {"MLFLOW_S3_ENDPOINT_URL", "SUPERVISOR_ENABLED"} & set(variables) == set()


def test_files_are_private(tiny: Tiny) -> None:
    with tiny.running() as stack:
        run = stack.supervisord.run
        modes = {
            path.name: path.stat().st_mode & 0o777 for path in (run, *run.iterdir(), *run.glob("*/.env"))
        }
        logs = {path.stat().st_mode & 0o077 for path in stack.supervisord.log.parent.rglob("*")}
        made = (tiny.home / "reported.json").stat().st_mode & 0o777
    files = dict.fromkeys(("supervisord.conf", "mage.json", "supervisord.pid"), 0o600)
    assert modes == {"run": 0o700, "mage": 0o700, ".env": 0o600, "supervisord.sock": 0o700, **files}
    assert (logs, made) == ({0}, 0o600)


def test_services_start_in_folders_with_odd_names(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """supervisord takes " #" and " ;" in its configuration for the start of a comment."""
    checkout = tmp_path / "it's my #1 ; 100% clone"
    checkout.mkdir()
    (checkout / ".venv").symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(checkout / ".venv" / "bin" / "python"))
    tiny.name = "it's #2 ; 100% state"
    with tiny.running() as stack:
        assert stack.is_healthy("mage")


def test_a_service_that_does_not_listen_is_not_healthy(tiny: Tiny) -> None:
    how = tiny.how()
    described = yaml.safe_load(how["file"].read_text())
    described["services"]["mage"]["healthcheck"]["test"] = ["CMD", "python", "-c", ""]
    how["file"].write_text(yaml.safe_dump(described))
    stack = Stack(tiny.folder, {}, **how)
    assert stack.check("mage").stderr == f"nothing listens on port {tiny.port}"
    assert not stack.is_healthy("mage")
    with socket.create_server((LOOPBACK, int(tiny.port))):
        tiny.folder.mkdir()
        assert stack.is_healthy("mage")


def test_a_socket_whose_path_would_be_too_long_is_in_a_private_folder(tiny: Tiny) -> None:
    tiny.name = "long" * 30
    with tiny.running() as stack:
        socket_ = stack.supervisord.socket
        assert len(os.fsencode(tiny.folder / "run" / "supervisord.sock")) > LONGEST_SOCKET
        assert len(os.fsencode(socket_)) <= LONGEST_SOCKET
        assert socket_.parent.stat().st_mode & 0o777 == 0o700
    assert not socket_.parent.exists()


def test_a_killed_service_is_restarted_and_its_orphans_are_gone(tiny: Tiny) -> None:
    with tiny.running() as stack:
        assert stack.supervisord.exits("mage") == []
        first, former = leader(stack, "mage"), members(stack, "mage")
        assert len(former) == 2
        kill(first)
        wait_for(lambda: leader_or_none(stack) not in (None, first) and stack.is_healthy("mage"))
        assert left_of(former) == []
        assert stack.supervisord.exits("mage") == ["terminated by SIGKILL"]


def leader_or_none(stack: Stack) -> psutil.Process | None:
    pid = stack.supervisord.states()["mage"]["pid"]
    return psutil.Process(pid) if pid else None


def test_a_stopped_service_stays_stopped_and_is_not_counted_as_a_restart(tiny: Tiny) -> None:
    with tiny.running() as stack:
        stack.stop_service("mage")
        time.sleep(1.5)
        assert stack.running() == []
        stack.start_service("mage")
        assert stack.running() == ["mage"]
        assert stack.supervisord.exits("mage") == []


def test_an_update_starts_mage_again_with_the_checkout(tiny: Tiny) -> None:
    """A start takes what only the checkout changed, and says what it leaves; an update replaces that too."""
    how = tiny.how(MAGE_DATABASE_CONNECTION_URL="sqlite://") | {
        "project": None,
        "checkout": tiny.home / "own",
    }
    blocks, copied = how["checkout"] / "transformers", tiny.folder / "trip_duration" / "transformers"
    blocks.mkdir(parents=True)
    for name in ("one.py", "two.py"):
        (blocks / name).write_text("first")
    said: list[str] = []
    stack = start(tiny.folder, say=said.append, **how)
    try:
        first = leader(stack, "mage")
        (copied / "two.py").write_text("by hand")
        for name in ("one.py", "two.py"):
            (blocks / name).write_text("second")
        said.clear()
        start(tiny.folder, say=said.append, **how)
        assert said[1:] == [
            "Mage does not use these files of the checkout yet: transformers/one.py. "
            "`make stack-update` starts Mage with them"
        ]
        assert leader(stack, "mage") == first
        said.clear()
        start(tiny.folder, say=said.append, replace=True, **how)
        taken, replaced, healthy = said
        assert taken == "Mage takes from the checkout: transformers/one.py"
        assert "although it was changed in Mage too: transformers/two.py" in replaced
        assert "is healthy after" in healthy
        assert leader(stack, "mage") != first
        assert [(copied / name).read_text() for name in ("one.py", "two.py")] == ["second", "second"]
    finally:
        stack.stop()
    tiny.assert_nothing_runs()


def test_logs_rotate(tiny: Tiny) -> None:
    tiny.service["logging"] = {"options": {"max-size": "20k", "max-file": "3"}}
    with tiny.running(SPEAKS="30000") as stack:
        for _ in range(4):
            stack.start_service("mage")
    logs = sorted(stack.log("mage").parent.glob("mage.log*"))
    assert [path.name for path in logs] == ["mage.log", "mage.log.1", "mage.log.2"]
    # supervisord checks the size after each write, of at most 128 KiB.
    assert all(20 * 1024 <= path.stat().st_size < 148 * 1024 for path in logs[1:])


def test_a_killed_supervisord_is_replaced_with_all_that_it_ran(tiny: Tiny) -> None:
    how = tiny.how()
    with tiny.running() as stack:
        former = members(stack, "mage")
        kill_supervisord(stack)
        assert left_of(former) == former
        assert stack.running() == []
        said: list[str] = []
        start(tiny.folder, say=said.append, **how)
        assert "is healthy after" in said[0]
        assert left_of(former) == []
        assert stack.is_healthy("mage")


def test_stop_ends_what_a_killed_supervisord_left(tiny: Tiny) -> None:
    with tiny.running() as stack:
        former = members(stack, "mage")
        kill_supervisord(stack)
        kill(former[0])
        assert stack.stop() == ["mage"]
        assert left_of(former) == []
        assert stack.stop() == []


def test_a_service_that_came_after_the_start_is_named_and_the_others_can_be_stopped(tiny: Tiny) -> None:
    """As after a `git pull`: the compose file has one more service than the supervisord that runs."""
    with tiny.running() as stack:
        described = yaml.safe_load(stack.file.read_text())["services"]
        port = free_ports()["SERVING_PORT"]
        later = {"serving": {**described["mage"], "ports": [f"{LOOPBACK}:{port}:{port}"]}}
        stack.file.write_text(yaml.safe_dump({"services": {**described, **later}}))
        now = Stack(tiny.folder, {}, project=tiny.home, file=stack.file)
        with pytest.raises(
            StackError, match=r"^serving: earlier code started this stack, .* Run `make upgrade`"
        ):
            now.start_service("serving")
        assert now.stop() == ["mage"]


def test_stop_ends_a_supervisord_whose_socket_is_gone(tiny: Tiny) -> None:
    """It still runs, and would restart a service that is stopped before it."""
    with tiny.running() as stack:
        stack.supervisord.socket.unlink()
        assert stack.stop() == ["mage"]
        tiny.assert_nothing_runs()


def test_files_of_a_switched_off_machine_do_not_prevent_a_start(tiny: Tiny) -> None:
    """Its files name a process number that now belongs to another process, and a socket without a listener."""
    supervisord = Supervisord(tiny.folder)
    supervisord.run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale, subprocess.Popen(["sleep", "60"]) as other:
        stale.bind(str(supervisord.socket))
        (supervisord.run / "supervisord.pid").write_text(str(other.pid))
        with tiny.running():
            pass
        assert other.poll() is None
        other.kill()


def test_a_service_that_ends_at_once_is_reported_and_nothing_is_left(tiny: Tiny) -> None:
    with pytest.raises(StackError) as caught:
        start(tiny.folder, **tiny.how(FAILS="1"))
    said = str(caught.value)
    assert re.search(r"^mage ended \(exit status 1\) while starting", said)
    assert f"The last lines of {tiny.folder / 'logs' / 'mage.log'}:\n" in said
    assert said.endswith("    started\n    cannot go on")
    tiny.assert_nothing_runs()


def test_a_service_that_never_gets_healthy_is_reported_and_nothing_is_left(tiny: Tiny) -> None:
    check = {"test": ["CMD", "false"], "start_period": "1s", "interval": "1s", "retries": 1}
    tiny.service["healthcheck"] = check
    with pytest.raises(StackError, match=r"^mage was not healthy after 2 s while starting"):
        start(tiny.folder, **tiny.how())
    tiny.assert_nothing_runs()


def test_a_supervisord_that_does_not_start_is_reported(tiny: Tiny) -> None:
    tiny.service["logging"] = {"options": {"max-size": "much", "max-file": "3"}}
    with pytest.raises(StackError, match=r"supervisord did not start in \S+: .*much"):
        start(tiny.folder, **tiny.how())
    tiny.assert_nothing_runs()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_stops_what_it_began(tiny: Tiny, number: signal.Signals) -> None:
    how = tiny.how(SILENT="1")
    script = f"""
        import signal, sys
        from pathlib import Path
        from stack.stack import start
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        start(Path({str(tiny.folder)!r}), project=Path({str(how["project"])!r}), file=Path({str(how["file"])!r}))
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=PROJECT, stderr=subprocess.DEVNULL
    ) as starting:
        wait_for((tiny.home / "reported.json").exists)
        starting.send_signal(number)
        assert starting.wait(timeout=30) != 0
    tiny.assert_nothing_runs()


def test_services_run_as_the_compose_file_says(tmp_path: Path) -> None:
    postgres_programs()
    stack = Stack(tmp_path, fill_in(tmp_path / ".env", {}))
    options = {name: stack.program(name) for name in stack.compose.in_order()}
    assert {name: each["autorestart"] for name, each in options.items()} == dict.fromkeys(
        ("postgres", "serving", "mlflow", "mage"), "true"
    )
    stops = ("stopsignal", "stopwaitsecs", "stopasgroup")
    assert {name: tuple(each[stop] for stop in stops) for name, each in options.items()} == {
        "postgres": ("INT", 120, "false"),
        "mlflow": ("TERM", 15, "true"),
        "mage": ("TERM", 15, "true"),
        "serving": ("TERM", 15, "true"),
    }
    logs = ("stdout_logfile_maxbytes", "stdout_logfile_backups")
    assert {tuple(each[log] for log in logs) for each in options.values()} == {("10MB", 4)}
    users = {name: each.get("user") for name, each in options.items()}
    assert users == {"postgres": cluster.user().get("user"), **dict.fromkeys(("mlflow", "mage", "serving"))}


def test_status_of_a_stack_whose_folder_is_new(tmp_path: Path) -> None:
    done = command_line(tmp_path / "stack", "status")
    assert (done.returncode, "`make stack` creates one" in done.stdout) == (1, True)
    assert (
        command_line(tmp_path / "stack", "stop").stdout
        == f"no stack in {tmp_path / 'stack'}; nothing to stop\n"
    )
