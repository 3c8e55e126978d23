"""A lock in PostgreSQL, shared by machines: it works like a file lock, and checks that it is still held."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from support.holders import HERE, NAME, another_process, most_at_once
from support.postgres import Postgres, running_postgres

from mlops import config, locks
from mlops.errors import BusyError, TrackingError
from mlops.locks import hold, holder
from mlops.registry.runs import lock_place
from stack import cluster
from stack.compose import StackError


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(autouse=True)
def _locks_there(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCK_URL", server.url)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten waits where a test checks only what comes after them."""
    monkeypatch.setattr(locks, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)


def ask(server: Postgres, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(psycopg2.connect(server.url)) as session:
        session.autocommit = True
        cursor = session.cursor()
        cursor.execute(query)
        return cursor.fetchall() if cursor.description else []


def test_the_place_of_a_lock_shows_no_part_of_an_odd_password(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a tag of every run; this server takes any password."""
    monkeypatch.setenv("LOCK_URL", server.url.replace("postgres@", "postgres:Qx7/vK2%zJ#9w:Lp?m8Rt@"))
    with hold(NAME):
        assert lock_place() == f"postgresql://127.0.0.1:{server.port}/postgres"


def test_a_password_that_cannot_be_set_is_not_in_the_databases_log(server: Postgres, tmp_path: Path) -> None:
    names = {"MAGE_DB_PASSWORD": "Qx7/vK2%zJ#9w", "MLFLOW_DB_PASSWORD": "Lp?m8RtXw3Yz"}
    environment = {"PATH": f"{server.programs}:{os.defpath}", "PGHOST": "127.0.0.1", "PGUSER": "postgres"}
    environment["PGPORT"] = str(server.port)
    ask(server, "CREATE ROLE mage LOGIN")
    ask(server, "ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        with pytest.raises(StackError, match="read-only transaction") as caught:
            cluster.make_databases(environment, names, tmp_path)
    finally:
        ask(server, "BEGIN READ WRITE; ALTER DATABASE postgres RESET ALL; COMMIT")
    log = (server.folder / "log").read_text()
    assert "read-only transaction" in log
    assert not [password for password in names.values() if password in log + str(caught.value)]


def test_no_file_is_used() -> None:
    with hold(NAME):
        assert not (config.state_dir() / "locks").exists()


def test_the_holder_is_recorded_and_removed_afterwards() -> None:
    assert holder(NAME) == ""
    with another_process() as process:
        said = holder(NAME)
        process.kill()
        process.wait()
        with hold(NAME):
            assert holder(NAME).startswith(f"{HERE}:{os.getpid()}, connected since 20")
    assert said.startswith(f"{HERE}:{process.pid}, green 2023-06, connected since 20")
    assert said.endswith(" UTC")
    assert holder(NAME) == ""


@pytest.mark.usefixtures("hurried")
def test_a_lock_that_is_held_is_refused_with_the_holders_name_and_the_next_act() -> None:
    with another_process(), pytest.raises(BusyError) as refused, hold(NAME, on_busy="refuse"):
        pytest.fail("two hold it")  # pragma: no cover

    assert str(refused.value).startswith(f"{NAME}: held by {HERE}:")
    assert str(refused.value).endswith("so nothing was done. Try again when that has ended.")


def test_a_waiting_process_gets_the_lock_of_a_killed_holder_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with another_process() as process, caplog.at_level("INFO", logger="mlops"):
        killed = threading.Timer(0.5, process.kill)
        killed.start()
        with hold(NAME) as lock:
            assert process.wait(5) == -signal.SIGKILL
            lock.check()
    (said,) = caplog.messages
    assert said.startswith(f"{NAME} is held by {HERE}:{process.pid}, green 2023-06, connected since ")
    assert said.endswith("waiting for it, 0 s so far")


@pytest.mark.usefixtures("hurried")
def test_two_names_do_not_disturb_each_other() -> None:
    with another_process("one"), hold("another", on_busy="refuse") as lock:
        lock.check()
        assert holder("one").partition(",")[0] != holder("another").partition(",")[0]


@pytest.mark.usefixtures("hurried")
def test_two_threads_hold_it_one_after_the_other() -> None:
    assert most_at_once() == 1


def test_a_lock_that_another_or_nobody_holds_counts_as_lost() -> None:
    with hold(NAME) as lock:
        lock._ask("SELECT pg_advisory_unlock_all()")  # type: ignore[attr-defined]
        with pytest.raises(TrackingError, match=r"has ended \(another session answers\), and the lock"):
            lock.check()
        with another_process(), pytest.raises(TrackingError, match="another run may hold it by now"):
            lock.check()


def test_a_session_is_closed_and_no_transaction_left_open_while_it_lasts(server: Postgres) -> None:
    mine = f"application_name LIKE '{HERE}:%'"
    with hold(NAME) as lock:
        lock.check()
        assert ask(server, f"SELECT state FROM pg_stat_activity WHERE {mine}") == [("idle",)]
    deadline = time.monotonic() + 5
    while ask(server, f"SELECT state FROM pg_stat_activity WHERE {mine}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_holder_s_description_is_cut_before_the_server_cuts_it(capfd: pytest.CaptureFixture[str]) -> None:
    with hold(NAME, about="Ä" * 200):
        said = holder(NAME).partition(", connected")[0]
    assert len(said) == 63
    assert said.endswith("????")
    assert capfd.readouterr().err == ""


def test_it_is_free_at_once_after_the_block() -> None:
    with contextlib.closing(locks._lock(NAME, "next")) as next_lock:
        for _ in range(20):
            with hold(NAME):
                assert not next_lock.take()
            assert next_lock.take()
            next_lock._ask("SELECT pg_advisory_unlock_all()")  # type: ignore[attr-defined]


def test_the_lock_of_another_database_is_another(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(server, "CREATE DATABASE elsewhere")
    with monkeypatch.context() as there:
        there.setenv("LOCK_URL", server.url.removesuffix("postgres") + "elsewhere")
        elsewhere = contextlib.ExitStack()
        elsewhere.enter_context(another_process())
    with elsewhere, hold(NAME, on_busy="refuse") as lock:
        lock.check()


def test_the_server_soon_detects_a_dead_machine() -> None:
    with hold(NAME) as lock:
        assert lock._ask("SHOW tcp_keepalives_idle").scalar() == "30"  # type: ignore[attr-defined]


def test_a_lock_of_a_stopped_server_counts_as_lost(server: Postgres) -> None:
    with hold(NAME) as lock:
        lock.check()
        server.stop()
        server.start()
        for _ in range(3):  # also after SQLAlchemy has connected again
            with pytest.raises(TrackingError) as lost:
                lock.check()
            assert str(lost.value).startswith(
                f"lock {NAME}: the session with PostgreSQL at 127.0.0.1 has ended ("
            )
            assert str(lost.value).endswith("another run may hold it by now. Start the run again.")
        with hold(NAME, on_busy="refuse") as next_lock:
            next_lock.check()


def test_a_lost_lock_is_reported_when_the_server_answers_again(server: Postgres) -> None:
    """Mage records the failure in the same server."""
    with hold(NAME) as lock:
        server.stop()
        starting = threading.Timer(1.5, server.start)
        starting.start()
        with pytest.raises(TrackingError, match="has ended"):
            lock.check()
        assert ask(server, "SELECT 1")
        starting.join()


def test_a_lost_lock_is_reported_although_the_server_stays_away(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RESTART_SECONDS", 0.5)
    with hold(NAME) as lock:
        server.stop()
        with pytest.raises(TrackingError, match="has ended"):
            lock.check()
    server.start()


def test_a_server_that_stops_ends_the_wait(server: Postgres) -> None:
    with another_process():
        stopping = threading.Timer(0.6, server.stop)
        stopping.start()
        with pytest.raises(TrackingError, match=f"lock {NAME}: the session with PostgreSQL"), hold(NAME):
            pytest.fail("two hold it")  # pragma: no cover
        stopping.join()
    with (
        pytest.raises(TrackingError, match=r"127\.0\.0\.1 does not answer \(.*refused") as refused,
        hold(NAME),
    ):
        pass
    assert "Start it, correct LOCK_URL" in str(refused.value)
    server.start()
    assert holder(NAME) == ""
