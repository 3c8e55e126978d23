"""Settings of the service come from options, variables or defaults, and a mistake is named."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from mlops.errors import ConfigError, MlopsError
from mlops.serving import server
from mlops.serving.__main__ import main, parser
from mlops.serving.settings import ServeSettings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServeSettings.model_fields:
        monkeypatch.delenv(f"SERVE_{name.upper()}", raising=False)


def test_it_answers_on_this_machine_only_unless_told_otherwise() -> None:
    settings = ServeSettings.from_environment()
    assert (settings.host, settings.port, settings.workers, settings.keys_file) == (
        "127.0.0.1",
        8000,
        1,
        None,
    )
    assert settings == ServeSettings()


def test_an_option_counts_more_than_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_PORT", "8001")
    monkeypatch.setenv("SERVE_MOST_REQUESTS", "7")
    monkeypatch.setenv("SERVE_SERVICES", "")  # as in a compose file without a value
    given = vars(parser().parse_args(["--port", "8002", "--services", "green,sample"]))
    found = ServeSettings.from_environment(given)
    assert (found.port, found.most_requests, found.services) == (8002, 7, ("green", "sample"))


def test_a_worker_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "services": "green",
        "keys_file": "keys",
        "without_keys": True,
        "log_share": 0.5,
        "host_names": "a.b,c.d",
    }
    settings = ServeSettings.parse(given)
    assert settings.keys_file == Path.cwd() / "keys"
    for name, text in settings.as_variables().items():
        monkeypatch.setenv(name, text)
    assert ServeSettings.from_environment() == settings


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prot": 1}, "unknown setting 'prot'; did you mean 'port'?"),
        (
            {"port": "http"},
            "port: input should be a valid integer, unable to parse string as an integer; got 'http'",
        ),
        ({"port": 65_536}, "port: input should be less than or equal to 65535; got 65536"),
        (
            {"services": "green,yelow"},
            "services: expected some of green, yellow, fhvhv, sample, with commas; did you mean 'yellow'?; "
            "got 'green,yelow'",
        ),
        ({"refresh_seconds": 0}, "refresh_seconds: input should be greater than or equal to 0.1; got 0"),
        ({"log_share": 1.5}, "log_share: input should be less than or equal to 1; got 1.5"),
        ({"host": ""}, "host: string should have at least 1 character; got ''"),
    ],
)
def test_a_mistake_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServeSettings.parse(given)
    assert str(caught.value) == says


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_WORKER", "2")
    with pytest.raises(ConfigError, match=r"unknown setting 'worker'; did you mean 'workers'\?"):
        ServeSettings.from_environment()


# The port and the command line


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MlopsError) as caught:
            server.listen("127.0.0.1", port)
    instead = f"choose another: make serve SERVE_PORT={port + 1}, or --port {port + 1}"
    assert str(caught.value) == f"port {port} is taken; {instead}"


def test_requests_wait_from_the_first_moment() -> None:
    with server.listen("127.0.0.1", 0) as listening:
        assert server.address(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"
        socket.create_connection(listening.getsockname(), timeout=5).close()


def test_an_address_of_another_machine_is_no_address() -> None:
    with pytest.raises(ConfigError, match="host: expected an address of this machine; got 'no such host'"):
        server.listen("no such host", 0)
    with pytest.raises(MlopsError, match=r"192\.0\.2\.1, port 0: cannot listen there"):
        server.listen("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--port", "70000"], 2, "error: port: input should be less than or equal to 65535; got '70000'\n"),
        (["key", "Not a name"], 2, "error: key: expected a name of 1 to 40 lower-case letters, digits"),
        (["--host", "0.0.0.0"], 2, "error: host: expected 127.0.0.1 without a file of keys; got '0.0.0.0'"),
        (["--keys-file", "/no/such/keys"], 2, "error: /no/such/keys: the keys cannot be read (No such file"),
    ],
)
def test_a_mistake_ends_the_command_at_once(
    arguments: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    assert capsys.readouterr().err.startswith(says)


def test_a_registry_s_address_that_cannot_be_read_ends_it_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:pass/word@127.0.0.1:5000")
    assert main(["--host", "0.0.0.0"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: MLFLOW_TRACKING_URI: expected an address such as scheme://"
    )


def test_a_key_is_shown_once_and_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mlops.serving.keys import KeyFile

    path = tmp_path / "keys"
    assert main(["--keys-file", str(path), "key", "planner"]) == 0
    shown = capsys.readouterr()
    key = shown.out.strip()
    assert shown.err == f"this key is shown only now; {path} has its sha256\n"
    assert KeyFile(path).owner(key.encode()) == "planner"
    assert key not in path.read_text()
