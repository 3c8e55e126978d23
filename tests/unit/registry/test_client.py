"""A server that must answer, is tried again while it is away, and is not interrupted amid an answer."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy
from support.tracked import mlflow_client

from mlops.errors import TrackingDownError, TrackingError
from mlops.registry import client
from mlops.registry.client import (
    MlflowException,
    defer_signals,
    mlflow,
    probe,
    tracking_errors,
    with_retry,
    without_retry,
)

FINE, BROKEN_OFF = (200, {"registered_model": {"name": "m"}}), (0, {})
REFUSED = (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "no such name"})
AWAY = (503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "the database is away"})


class Server:
    """A loopback server: what /health answers, and what other requests are answered, the last one ever after.

    The status 0 breaks the connection off.
    """

    def __init__(self, health: int = 200, *answers: tuple[int, dict[str, Any]], port: int = 0) -> None:
        left, self.asked = [*answers], 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                if handler.path == "/health" or not left:
                    status, content = health, {}
                else:
                    self.asked += 1
                    status, content = left.pop(0) if len(left) > 1 else left[0]
                if not status:
                    handler.close_connection = True
                    return
                body = json.dumps(content).encode()
                handler.send_response(status)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._http.server_port
        self.uri = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as servers:
        yield lambda *how, **at: servers.enter_context(contextlib.closing(Server(*how, **at)))


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of this machine at which nobody listens, and nobody else can start to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.fixture
def patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, float], None]]:
    """Ask a server from now on, for so many seconds, with short pauses; afterwards as before."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.02)

    def be(uri: str, seconds: float) -> None:
        mlflow.set_tracking_uri(uri)
        monkeypatch.setattr(client._Patience, "seconds", seconds)

    yield be
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")


# --- Whether it is there ------------------------------------------------------------------------------------


def refusal(uri: str, timeout: float = 1.0, kind: type[TrackingError] = TrackingDownError) -> str:
    started = time.monotonic()
    with pytest.raises(TrackingError) as refused:
        probe(uri, timeout)
    assert time.monotonic() - started < timeout + 2
    assert type(refused.value) is kind
    return str(refused.value)


def test_a_dead_server_is_refused_at_once(dead_port: int) -> None:
    text = refusal(f"http://127.0.0.1:{dead_port}")

    assert text.startswith(f"tracking server http://127.0.0.1:{dead_port}: no answer within 1 s (")
    assert "Connection refused" in text
    assert text.endswith("). Start it (`make mlflow`), or set MLFLOW_TRACKING_URI to one that runs.")


def test_a_silent_server_is_refused_in_time(silent_port: int) -> None:
    text = refusal(f"http://127.0.0.1:{silent_port}", timeout=0.5)

    assert text.startswith(f"tracking server http://127.0.0.1:{silent_port}: no answer within 0.5 s (")


@pytest.mark.parametrize("status", [500, 404, 403])
def test_a_server_that_is_no_mlflow_is_refused(status: int, serve: Serve) -> None:
    uri = serve(status).uri

    kind = TrackingDownError if status >= 500 else TrackingError  # a proxy says that nobody is behind it
    assert refusal(f"{uri}/", kind=kind) == (
        f"tracking server {uri}: /health answered {status}; expected 200. "
        "Is MLFLOW_TRACKING_URI the address of an MLflow server?"
    )


def test_a_server_that_answers_is_fine(serve: Serve) -> None:
    probe(serve(200).uri, 1.0)


def test_a_local_store_is_fine_and_its_folder_made(tmp_path: Path) -> None:
    probe(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", 1.0)

    assert list((tmp_path / "new").iterdir()) == []


def test_a_local_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = refusal(f"sqlite:///{tmp_path / 'file' / 'state' / 'mlflow.db'}", kind=TrackingError)

    assert text == (
        f"{tmp_path / 'file' / 'state'}: this folder for the tracking store cannot be made (Not a directory). "
        "Let MLOPS_STATE_DIR name another."
    )


def test_a_dead_database_is_refused_at_once(dead_port: int) -> None:
    text = refusal(f"postgresql+psycopg2://me:secret@127.0.0.1:{dead_port}/mlflow")

    assert text.startswith(
        f"tracking server postgresql+psycopg2://127.0.0.1:{dead_port}/mlflow: no answer within 1 s ("
    )
    assert "secret" not in text


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:secret@127.0.0.1:{port}",
        "http://me:se@secret@127.0.0.1:{port}",
        "http://me:secret@127.0.0.1:no-port",
        "http://me:secret@",
        "postgresql+psycopg2://me:secret@127.0.0.1:no-port/mlflow",
        "postgresql+nodriver://me:secret@127.0.0.1:{port}/mlflow",
    ],
)
def test_no_password_is_shown(uri: str, dead_port: int) -> None:
    assert "secret" not in refusal(uri.format(port=dead_port))


@pytest.mark.usefixtures("patience")
def test_no_password_is_shown_when_mlflow_itself_fails(serve: Serve, tmp_path: Path) -> None:
    server = serve(200, BROKEN_OFF)
    with pytest.raises(TrackingDownError) as refused:
        client.connect(server.uri.replace("//", "//me:secret@"), tmp_path, 1.0)

    assert str(refused.value).startswith(f"tracking server {server.uri}: MLflow failed: ")
    assert "secret" not in str(refused.value)


def test_connecting_says_for_how_long_to_keep_trying(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client._Patience, "seconds", 0.0)  # and back, whatever is made of it
    client.connect(f"sqlite:///{store / 'mlflow.db'}", store, 5.0, patience=7.0)

    assert client._Patience.seconds == 7.0
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 1
    assert mlflow.get_tracking_uri() == f"sqlite:///{store / 'mlflow.db'}"


# --- Away, or refusing --------------------------------------------------------------------------------------


def answered(status: int) -> requests.HTTPError:
    answer = requests.Response()
    answer.status_code = status
    return requests.HTTPError(f"status {status}", response=answer)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MlflowException("no database", error_code=2), TrackingDownError),
        (MlflowException("no such run", error_code=1000), TrackingError),
        (sqlalchemy.exc.OperationalError("select", {}, Exception("gone")), TrackingDownError),
        (sqlalchemy.exc.IntegrityError("insert", {}, Exception("twice")), TrackingError),
        (requests.ConnectionError("refused"), TrackingDownError),
        (requests.Timeout("silent"), TrackingDownError),
        (answered(502), TrackingDownError),
        (answered(404), TrackingError),
    ],
    ids=lambda value: str(value)[:20],
)
def test_who_is_away_is_told_from_who_refuses(error: Exception, kind: type[TrackingError]) -> None:
    with pytest.raises(TrackingError) as told, tracking_errors("asking"):
        raise error

    assert type(told.value) is kind
    assert str(told.value).startswith("asking: MLflow failed: ")
    assert told.value.__cause__ is error


def test_an_error_without_words_is_named_and_a_long_one_cut() -> None:
    with (
        pytest.raises(TrackingError, match=r"^asking: MLflow failed: ConnectionError$"),
        tracking_errors("asking"),
    ):
        raise requests.ConnectionError
    with pytest.raises(TrackingError) as told, tracking_errors("asking"):
        raise MlflowException("x" * 1000 + "\nmore")

    assert str(told.value) == f"asking: MLflow failed: {'x' * 300}"


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), tracking_errors("dividing"):
        _ = 1 / 0


# --- Patience -----------------------------------------------------------------------------------------------


@with_retry("looking up {0}")
def look_up(name: str) -> str:
    return str(mlflow_client().get_registered_model(name).name)


def test_a_server_that_is_away_for_a_while_is_asked_again(
    serve: Serve, patience: Callable[[str, float], None], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(200, AWAY, BROKEN_OFF, (502, {}), (500, {}), FINE)
    patience(server.uri, 30.0)
    with caplog.at_level(logging.WARNING, "mlops"):
        assert look_up("m") == "m"

    assert server.asked == 5
    (said,) = caplog.messages  # once, not at each try
    assert said.startswith("looking up m: MLflow failed: ")
    assert said.endswith("; trying again for 30 s")


def test_a_server_that_goes_away_and_comes_back_is_found_again(
    serve: Serve, patience: Callable[[str, float], None]
) -> None:
    first = serve(200, FINE)
    patience(first.uri, 30.0)
    assert look_up("m") == "m"
    first.close()
    back = threading.Timer(0.4, lambda: serve(200, FINE, port=first.port))
    back.start()

    assert look_up("m") == "m"
    back.join()


def test_patience_ends(serve: Serve, patience: Callable[[str, float], None]) -> None:
    server = serve(200, AWAY)
    patience(server.uri, 0.5)
    started = time.monotonic()
    with pytest.raises(TrackingDownError) as gave_up:
        look_up("m")

    assert time.monotonic() - started <= 1.5
    assert server.asked > 2
    assert str(gave_up.value).startswith("looking up m: MLflow failed: ")
    assert "the database is away" in str(gave_up.value) or "503" in str(gave_up.value)


def test_a_refusal_is_not_repeated(serve: Serve, patience: Callable[[str, float], None]) -> None:
    server = serve(200, REFUSED)
    patience(server.uri, 30.0)
    with pytest.raises(TrackingError) as refused:
        look_up("m")

    assert type(refused.value) is TrackingError
    assert str(refused.value) == "looking up m: MLflow failed: INVALID_PARAMETER_VALUE: no such name"
    assert server.asked == 1


@pytest.mark.parametrize(
    ("user", "got"),
    [("", "got no user."), ("ann", "got user 'ann', who is not one or has another password.")],
)
def test_a_server_that_does_not_know_who_asks_says_what_to_set(
    user: str, got: str, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where MLflow's client also looks for a user
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "guessed")
    server = serve(200, (401, {"error_code": "UNAUTHENTICATED", "message": "Who?"}))
    with pytest.raises(
        TrackingError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    ) as caught:
        client.connect(server.uri, tmp_path, 5.0, patience=60.0)
    assert not isinstance(caught.value, TrackingDownError)
    assert f"{server.uri}: the server answers only users whom it knows (401); {got}" in str(caught.value)
    assert "guessed" not in str(caught.value)
    assert server.asked == 1


def test_an_artefact_that_is_not_given_to_anybody_says_what_to_set() -> None:
    answer = requests.Response()
    answer.status_code = 401
    with (
        pytest.raises(
            TrackingError, match=r"loading it: the server answers only users whom it knows \(401\)"
        ),
        tracking_errors("loading it"),
    ):
        raise requests.HTTPError("401 Client Error: Unauthorized", response=answer)


def test_who_is_on_the_way_out_does_not_wait(serve: Serve, patience: Callable[[str, float], None]) -> None:
    server = serve(200, AWAY)
    patience(server.uri, 30.0)
    with pytest.raises(TrackingDownError), without_retry():
        look_up("m")

    assert server.asked == 1
    assert client._Patience.seconds == 30.0


def test_pauses_grow_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(client._Patience, "seconds", 60.0)
    monkeypatch.setattr(time, "sleep", pauses.append)

    @with_retry("asking")
    def ask() -> str:
        if len(pauses) < 7:
            raise requests.ConnectionError
        return "answer"

    assert ask() == "answer"
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]


def test_no_retry_while_any_block_forbids_it_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(client._Patience, "seconds", 1.0)
    monkeypatch.setattr(time, "sleep", pauses.append)

    @with_retry("asking")
    def ask() -> None:
        raise requests.ConnectionError

    def pauses_of_a_call() -> int:
        pauses.clear()
        with pytest.raises(TrackingDownError):
            ask()
        return len(pauses)

    first, second = without_retry(), without_retry()
    first.__enter__()
    assert pauses_of_a_call() == 0
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(pauses_of_a_call).result() == 0
        thread.submit(second.__enter__).result()
        first.__exit__(None, None, None)  # the first to begin is the first to end
        assert pauses_of_a_call() == 0
        thread.submit(second.__exit__, None, None, None).result()
    with without_retry():
        with without_retry():
            pass
        assert pauses_of_a_call() == 0
    assert pauses_of_a_call() > 0


def test_a_wait_of_another_thread_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(client._Patience, "seconds", 60.0)

    @with_retry("asking")
    def ask() -> None:
        asked.append("asked")
        if len(asked) > 2:
            pytest.fail("went on")  # pragma: no cover
        raise requests.ConnectionError

    with contextlib.ExitStack() as on_the_way_out:
        monkeypatch.setattr(time, "sleep", lambda _: on_the_way_out.enter_context(without_retry()))
        with pytest.raises(TrackingDownError):
            ask()
    assert len(asked) == 2


# --- Interrupts ---------------------------------------------------------------------------------------------


class Interrupt(BaseException):
    """What the signal raises here."""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def interrupt(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Send this process a signal, whose handler raises `Interrupt`."""

    def handle(*_: object) -> None:
        raise Interrupt

    before = signal.signal(request.param, handle)
    yield lambda: os.kill(os.getpid(), request.param)
    assert signal.getsignal(request.param) is handle
    signal.signal(request.param, before)


def test_an_interrupt_waits_until_mlflow_is_done(interrupt: Callable[[], None]) -> None:
    done: list[str] = []

    @with_retry("asking")
    def ask() -> None:
        interrupt()
        done.append("asked")

    with pytest.raises(Interrupt):
        ask()
    assert done == ["asked"]


def test_an_interrupt_during_a_wait_comes_through_at_once(
    interrupt: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(client._Patience, "seconds", 60.0)

    def sleep(_: float) -> None:
        interrupt()
        done.append("waited")

    monkeypatch.setattr(time, "sleep", sleep)

    @with_retry("asking")
    def ask() -> None:
        done.append("asked")
        if "waited" not in done:
            raise requests.ConnectionError

    with pytest.raises(Interrupt):
        ask()
    assert done == ["asked"]


def test_the_second_interrupt_comes_through_at_once(interrupt: Callable[[], None]) -> None:
    with pytest.raises(Interrupt), defer_signals():
        interrupt()
        interrupt()
        pytest.fail("went on")  # pragma: no cover


def test_an_interrupt_is_not_lost_when_mlflow_fails_as_well(interrupt: Callable[[], None]) -> None:
    with pytest.raises(Interrupt), defer_signals():
        interrupt()
        raise ValueError("no trips")


def test_an_interrupt_waits_for_the_outermost(interrupt: Callable[[], None]) -> None:
    done: list[str] = []
    with pytest.raises(Interrupt), defer_signals():
        with defer_signals():
            interrupt()
        done.append("outer")

    assert done == ["outer"]


def test_off_the_main_thread_signals_are_left_alone() -> None:
    before, during = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with defer_signals():
            during.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before]


HOLDS = """
import os, signal
from mlops.registry.client import defer_signals

with defer_signals():
    os.kill(os.getpid(), signal.SIGTERM)
    print("done", flush=True)
print("went on")
"""


def test_a_signal_without_a_handler_ends_the_process_when_mlflow_is_done() -> None:
    ended = subprocess.run([sys.executable, "-c", HOLDS], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "done\n"), ended.stderr
