"""One holder at a time: a lock that a holder who dies does not keep.

Runs on one machine meet at a file in the state folder. Where ``LOCK_URL`` names
a PostgreSQL (``postgresql://user:password@host/database``, not through a pooler
of transactions) runs on several machines meet there. Either lock goes with its
process: the kernel closes the file, the server ends the session.

Source: PostgreSQL's manual, "Advisory Locks"; flock(2).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, Literal

import sqlalchemy
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from mlops import config
from mlops.errors import BusyError, ConfigError, TrackingError, one_line

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25  # short, because an interrupt off the main thread arrives between two sleeps
TELL_SECONDS = 60.0  # between two words about who is waited for
GRACE_SECONDS = 3.0  # for which a process that a killed holder started may keep the lock
CONNECT_SECONDS = 5
DRIVERS = ("postgresql", "postgresql+psycopg2")

# What tells a dead machine from a silent one within a minute, on this side and on the server's.
KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
WHO_HOLDS = """
    SELECT pid = pg_backend_pid() AS mine, application_name, backend_start
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND datname = current_database() AND objsubid = 1
        AND (classid::bigint << 32 | objid::bigint) = :key
"""


class Lock(ABC):
    """A lock that can be taken; who has it keeps it until `close`, or death."""

    @abstractmethod
    def take(self) -> bool:
        """Whether it is held now; does not wait."""

    @abstractmethod
    def check(self) -> None:
        """Nothing, as long as it is held.

        Raises
        ------
        TrackingError
            When it was lost, so that another may hold it by now.
        """

    @abstractmethod
    def holder(self) -> str:
        """Words about who holds it, as far as known."""

    @abstractmethod
    def close(self) -> None:
        """Let it go, if it is held."""


@contextlib.contextmanager
def hold(name: str, *, on_busy: Literal["wait", "refuse"] = "wait", about: str = "") -> Iterator[Lock]:
    """The lock of this name, held while the block runs.

    Parameters
    ----------
    name : str
        Of what only one may work on, also a file's name.
    on_busy : {"wait", "refuse"}
        What to do while another holds it: wait, telling for whom, or give up after `GRACE_SECONDS`.
    about : str
        What it is held for, told to those who wait.

    Raises
    ------
    BusyError
        When another holds it and `on_busy` is "refuse".
    ConfigError
        When ``LOCK_URL`` is not the address of a PostgreSQL.
    TrackingError
        When the server does not answer, or the lock's file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from unittest.mock import patch
    >>> with TemporaryDirectory() as folder, patch.dict(os.environ, MLOPS_STATE_DIR=folder, LOCK_URL=""):
    ...     with hold("trip-duration-green", about="green 2023-06"):
    ...         holder("trip-duration-green").split(", ")[1]
    ...     holder("trip-duration-green")
    'green 2023-06'
    ''
    """
    with contextlib.closing(_lock(name, about)) as lock:
        began, told = time.monotonic(), -TELL_SECONDS
        while not lock.take():
            waited = time.monotonic() - began
            if on_busy == "refuse" and waited >= GRACE_SECONDS:
                raise BusyError(
                    f"{name}: held by {lock.holder()}, so nothing was done. "
                    "Try again when that has ended, or set on_busy=wait."
                )
            if waited - told >= TELL_SECONDS:
                logger.info("%s is held by %s: waiting for it, %.0f s so far", name, lock.holder(), waited)
                told = waited
            time.sleep(POLL_SECONDS)
        yield lock


def holder(name: str) -> str:
    """Words about who holds the lock of this name; nothing when it is free.

    Raises
    ------
    ConfigError, TrackingError
        As `hold`.
    """
    with contextlib.closing(_lock(name, "looking whether it is free")) as lock:
        return "" if lock.take() else lock.holder()


def lock_url() -> str:
    """Address of the PostgreSQL at which machines meet: ``LOCK_URL``; nothing for one machine alone."""
    return os.environ.get("LOCK_URL", "")


def _lock(name: str, about: str) -> Lock:
    url = lock_url()
    return _AdvisoryLock(name, about, url) if url else _FileLock(name, about)


class _FileLock(Lock):
    """A file that the kernel locks, and beside it a note who did."""

    def __init__(self, name: str, about: str) -> None:
        folder = config.state().locks
        self.about, self.note = about, folder / f"{name}.holder"
        # A fallback of filelock's is a file that a dead holder leaves behind.
        self.lock = FileLock(folder / f"{name}.lock", thread_local=False, fallback_to_soft=False)

    def take(self) -> bool:
        try:
            self.note.parent.mkdir(parents=True, exist_ok=True)
            self.lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise TrackingError(
                f"{self.lock.lock_file}: this file cannot be locked ({error.strerror or error}). "
                "Let MLOPS_STATE_DIR name a folder on a disk that can, or LOCK_URL a PostgreSQL."
            ) from error
        with contextlib.suppress(OSError):
            self.note.write_text(f"{_whoami(self.about)}, since {_shown(datetime.now(timezone.utc))}")
        return True

    def check(self) -> None:
        return  # the kernel takes it from nobody

    def holder(self) -> str:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return self.note.read_text() or "another process"
        return "another process"

    def close(self) -> None:
        if self.lock.is_locked:
            with contextlib.suppress(OSError):
                self.note.unlink()
            self.lock.release()


class _AdvisoryLock(Lock):
    """A lock of a PostgreSQL session, over a connection of its own."""

    def __init__(self, name: str, about: str, url: str) -> None:
        address = _address(url)
        self.name, self.server = name, f"PostgreSQL at {address.host or 'its socket'}"
        self.key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        arguments = {
            **KEEPALIVES,
            "tcp_user_timeout": 60_000,
            "connect_timeout": CONNECT_SECONDS,
            # Of a longer one the server would say on stderr that it was cut.
            "application_name": _whoami(about).encode("ascii", "replace")[:63].decode(),
        }
        engine = sqlalchemy.create_engine(
            address, connect_args=arguments, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool
        )
        try:
            self.session = engine.connect()
        except SQLAlchemyError as error:
            raise TrackingError(
                f"lock {name}: {self.server} does not answer ({_reason(error)}). "
                "Start it, correct LOCK_URL, or unset that where all runs are on this machine."
            ) from error
        self._ask("; ".join(f"SET tcp_{option} = {value}" for option, value in KEEPALIVES.items()))

    def take(self) -> bool:
        return bool(self._ask("SELECT pg_try_advisory_lock(:key)").scalar())

    def check(self) -> None:
        holder = self._ask(WHO_HOLDS).first()
        if holder is None or not holder.mine:  # as behind a pooler
            raise self._lost("another session answers")

    def holder(self) -> str:
        holder = self._ask(WHO_HOLDS).first()
        if holder is None or not holder.application_name:  # a role sees little of another's sessions
            return "another session"
        return f"{holder.application_name}, connected since {_shown(holder.backend_start)}"

    def close(self) -> None:
        with contextlib.suppress(SQLAlchemyError):
            self.session.execute(sqlalchemy.text("SELECT pg_advisory_unlock_all()"))
        self.session.close()

    def _ask(self, query: str) -> sqlalchemy.CursorResult[Any]:
        try:
            return self.session.execute(sqlalchemy.text(query), {"key": self.key} if ":key" in query else {})
        except SQLAlchemyError as error:
            raise self._lost(_reason(error)) from error

    def _lost(self, reason: str) -> TrackingError:
        return TrackingError(
            f"lock {self.name}: the session with {self.server} has ended ({reason}), and the lock with it; "
            "another run may hold it by now. Start the run again."
        )


def _address(url: str) -> sqlalchemy.URL:
    """Address of a PostgreSQL; no message shows any of it, because it may hold a password."""
    try:
        address = sqlalchemy.make_url(url)
    except (SQLAlchemyError, ValueError):
        address = None
    # What is behind an @ that is part of a password would be taken for the host.
    if address is None or address.drivername not in DRIVERS or "@" in (address.host or ""):
        raise ConfigError(
            "LOCK_URL: expected postgresql://user:password@host:port/database, with %40 for an @ and so on "
            "in the password; got something else (not shown, it may hold a password)"
        )
    return address


def _whoami(about: str) -> str:
    return f"{socket.gethostname()[:30]}:{os.getpid()}" + (f", {about}" if about else "")


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _reason(error: SQLAlchemyError) -> str:
    return one_line(getattr(error, "orig", None) or error)
