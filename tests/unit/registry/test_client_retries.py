"""A server is asked again while it is away, and is not interrupted while it answers."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.scripted_mlflow import AWAY, BROKEN_OFF, FINE, REFUSED, Serve
from support.tracked import mlflow_client

from mlops.errors import TrackingDownError, TrackingError
from mlops.registry import client
from mlops.registry.client import defer_signals, tracking_errors, with_retry, without_retry

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
    with pytest.raises(TrackingDownError) as gave_up:
        look_up("m")

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
    [("", "got no user."), ("ann", "got user 'ann' with an unknown name or a wrong password.")],
)
def test_a_server_that_does_not_know_who_asks_says_what_to_set(
    user: str,
    got: str,
    serve: Serve,
    patience: Callable[[str, float], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where MLflow's client also looks for a user
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "guessed")
    server = serve(200, (401, {"error_code": "UNAUTHENTICATED", "message": "Who?"}))
    patience(server.uri, 60.0)
    with pytest.raises(
        TrackingError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    ) as caught:
        look_up("m")
    assert not isinstance(caught.value, TrackingDownError)
    assert str(caught.value).startswith(f"looking up m: the server requires a known user (401); {got}")
    assert "guessed" not in str(caught.value)
    assert server.asked == 1


def test_an_artefact_that_is_not_given_to_anybody_says_what_to_set() -> None:
    answer = requests.Response()
    answer.status_code = 401
    with (
        pytest.raises(TrackingError, match=r"loading it: the server requires a known user \(401\)"),
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
