"""What `make prefect` gives to Prefect, and what it refuses before anything starts."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from stack import prefect_server
from stack.compose import LOOPBACK
from stack.prefect_settings import DATABASE_PASSWORD, LOGIN, environment, on_stack, secret_values
from stack.secret_values import write_env


@pytest.fixture
def as_before() -> Iterator[None]:
    """Afterwards this process has the handlers and the umask that it had before `main`."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    handlers, mask = {number: signal.getsignal(number) for number in numbers}, os.umask(0o077)
    yield
    os.umask(mask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_prefect_asks_no_other_host_and_writes_below_its_folder(tmp_path: Path) -> None:
    made = environment(tmp_path, 4200, {})
    address = "http://127.0.0.1:4200"
    assert {name: made[name] for name in made if name.startswith("PREFECT_SERVER_") or "TRACK" in name} == {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
        "PREFECT_SERVER_API_AUTH_STRING": made[LOGIN],
    }
    assert (made["PREFECT_HOME"], made["PREFECT_API_URL"]) == (str(tmp_path), f"{address}/api")


def test_the_environment_changes_defaults_but_not_who_may_log_in(tmp_path: Path) -> None:
    outside = {
        "PREFECT_RUNNER_PROCESS_LIMIT": "3",
        LOGIN: "me:mine",
        "PREFECT_API_URL": "https://cloud/api",
        "PATH": "/bin",
    }
    made = environment(tmp_path, 4201, outside)
    assert (made["PREFECT_RUNNER_PROCESS_LIMIT"], made["PATH"]) == ("3", "/bin")
    assert made["PREFECT_API_URL"] == "http://127.0.0.1:4201/api"
    assert made[LOGIN] == made["PREFECT_SERVER_API_AUTH_STRING"] == secret_values(tmp_path)[LOGIN]


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    made, file = secret_values(tmp_path), tmp_path / ".env"
    assert made == secret_values(tmp_path)
    assert set(made) == {LOGIN, DATABASE_PASSWORD}
    assert made[LOGIN].startswith("owner:")
    assert min(map(len, made.values())) > 32
    assert file.stat().st_mode & 0o077 == 0
    write_env(file, {LOGIN: "owner:kept"})
    again = secret_values(tmp_path)
    assert (again[LOGIN], len(again[DATABASE_PASSWORD])) == ("owner:kept", 64)


def test_without_a_running_stack_nothing_of_it_is_used(tmp_path: Path) -> None:
    assert on_stack(tmp_path, tmp_path / "stack") == {}
    (tmp_path / "stack").mkdir()
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))  # it does not listen
        write_env(tmp_path / "stack" / ".env", {"POSTGRES_PORT": str(free.getsockname()[1])})
        assert on_stack(tmp_path, tmp_path / "stack") == {}
    assert not (tmp_path / ".env").exists()


@pytest.mark.usefixtures("as_before")
def test_a_port_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert prefect_server.main(port) == 1
    assert capsys.readouterr().err == (
        f"prefect: port {port} is taken; choose another: make prefect PREFECT_PORT={port + 1}\n"
    )


@pytest.mark.usefixtures("as_before")
def test_a_second_one_in_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "state" / "prefect"
    home.mkdir(parents=True)
    with FileLock(home / "lock"):
        assert prefect_server.main(1) == 1
    assert (
        capsys.readouterr().err == f"prefect: {home}: another `make prefect` uses this folder; end it first\n"
    )
