"""File locks: one holder at a time, a dead holder loses the lock, and a waiting process logs who holds it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from support.doors import heed_ctrl_c
from support.holders import HERE, HOLDS, NAME, another_process, most_at_once

from mlops import config, locks
from mlops.errors import BusyError, ConfigError, TrackingError
from mlops.locks import hold, holder


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCK_URL", raising=False)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten waits where a test checks only what comes after them."""
    monkeypatch.setattr(locks, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)


def test_the_holder_is_recorded_and_removed_afterwards() -> None:
    assert holder(NAME) == ""
    with another_process() as process:
        said = holder(NAME)
    assert said.startswith(f"{HERE}:{process.pid}, green 2023-06, since 20")
    assert said.endswith(" UTC")
    assert holder(NAME) == ""


def test_a_holder_without_a_record_still_holds_the_lock() -> None:
    with another_process():
        (config.state_dir() / "locks" / f"{NAME}.holder").unlink()
        assert holder(NAME) == "another process"


@pytest.mark.usefixtures("hurried")
def test_a_lock_that_is_held_is_refused_with_the_holders_name_and_the_next_act() -> None:
    with another_process(), pytest.raises(BusyError) as refused, hold(NAME, on_busy="refuse"):
        pytest.fail("two hold it")  # pragma: no cover

    assert str(refused.value).startswith(f"{NAME}: held by {HERE}:")
    assert str(refused.value).endswith("so nothing was done. Try again when that has ended.")


def test_a_refusal_first_waits_for_children_of_a_killed_holder() -> None:
    with another_process() as process:
        threading.Timer(0.5, process.kill).start()
        with hold(NAME, on_busy="refuse") as lock:
            lock.check()
            assert process.wait(5) == -signal.SIGKILL


def test_a_killed_holder_loses_the_lock_at_once() -> None:
    with another_process() as process:
        process.kill()
        process.wait()
        assert holder(NAME) == ""
        with hold(NAME):
            assert holder(NAME).startswith(f"{HERE}:{os.getpid()}, since ")


def test_a_waiting_process_logs_it_repeatedly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "LOG_SECONDS", 1.0)
    with another_process() as process, caplog.at_level("INFO", logger="mlops"):
        threading.Timer(1.6, process.kill).start()
        with hold(NAME):
            pass

    who = f"{NAME} is held by {HERE}:{process.pid}, green 2023-06, since "
    assert all(message.startswith(who) for message in caplog.messages)
    assert [" UTC: waiting for it, 0 s so far" in message for message in caplog.messages] == [True, False]


def test_a_refusal_logs_no_waiting(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(locks, "GRACE_SECONDS", 0.1)
    caplog.set_level("INFO", logger="mlops")
    with another_process() as process, pytest.raises(BusyError) as refused, hold(NAME, on_busy="refuse"):
        pytest.fail("two hold it")  # pragma: no cover
    assert refused.value.holder.startswith(f"{HERE}:{process.pid}, green 2023-06, since 20")
    assert caplog.messages == []


@pytest.mark.usefixtures("hurried")
def test_two_names_do_not_disturb_each_other() -> None:
    with another_process("one"), hold("another", on_busy="refuse"):
        assert holder("one") and holder("another")


@pytest.mark.usefixtures("hurried")
def test_two_threads_hold_it_one_after_the_other() -> None:
    assert most_at_once() == 1


@pytest.mark.usefixtures("hurried")
def test_an_error_in_the_block_releases_the_lock() -> None:
    with pytest.raises(RuntimeError, match="cut off"), hold(NAME) as lock:
        raise RuntimeError("cut off")
    assert [path.name for path in (config.state_dir() / "locks").iterdir()] == [f"{NAME}.lock"]
    with hold(NAME, on_busy="refuse") as next_lock:
        assert next_lock is not lock  # which still runs, and does not hold the lock


def test_a_waiting_process_can_be_interrupted() -> None:
    command = [sys.executable, "-c", HOLDS, NAME]
    with (
        another_process(),
        subprocess.Popen(
            command, cwd=config.PROJECT, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
        ) as waiting,
    ):
        assert waiting.stderr is not None
        assert waiting.stderr.readline().endswith("waiting for it, 0 s so far\n")
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=30)
    assert said.endswith("KeyboardInterrupt\n")


def test_a_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_STATE_DIR", "/dev/null/state")

    with pytest.raises(TrackingError) as refused, hold(NAME):
        pass
    assert str(refused.value) == (
        f"/dev/null/state/locks/{NAME}.lock: this file cannot be locked (Not a directory). "
        "Let MLOPS_STATE_DIR name a folder on a disk that can, or LOCK_URL a PostgreSQL."
    )


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@host/locks",
        "postgres://me:secret@host/locks",
        "postgresql://me:top@secret@host/locks",
        "postgresql://me@host:secret/locks",
        "secret",
    ],
)
def test_an_invalid_address_is_refused_and_not_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCK_URL", url)

    with pytest.raises(ConfigError) as refused, hold(NAME):
        pass
    assert str(refused.value) == (
        "LOCK_URL: expected postgresql://user:password@host:port/database, with %40 for an @ and so on "
        "in the password; got something else (not shown, it may hold a password)"
    )
    assert refused.value.__cause__ is refused.value.__context__ is None


def test_a_server_that_does_not_run_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # and does not listen
        port = listener.getsockname()[1]
        monkeypatch.setenv("LOCK_URL", f"postgresql://me:secret@127.0.0.1:{port}/locks")
        with pytest.raises(TrackingError) as refused, hold(NAME):
            pass

    assert str(refused.value).startswith(f"lock {NAME}: PostgreSQL at 127.0.0.1 does not answer (")
    assert str(refused.value).endswith(
        "Start it, correct LOCK_URL, or unset that where all runs are on this machine."
    )
    assert "secret" not in str(refused.value)
