"""Locks with one holder at a time; a lock ends when the process of its holder ends.

Runs on one machine lock a file in the state folder. If ``LOCK_URL`` names a
PostgreSQL (``postgresql://user:password@host/database``, not behind a pooler in
transaction mode), runs on several machines use its advisory locks. Both kinds
end with the process: the kernel closes the file, the server ends the session.

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
from mlops.addresses import is_clear
from mlops.errors import BusyError, ConfigError, TrackingError, one_line

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25  # short: outside the main thread an interrupt arrives only between two sleeps
LOG_SECONDS = 60.0  # between two log lines about the holder
GRACE_SECONDS = 3.0  # a child process of a killed holder may keep the lock for a moment
CONNECT_SECONDS = 5
RESTART_SECONDS = 30.0  # the longest wait for a server that restarts
DRIVERS = ("postgresql", "postgresql+psycopg2")

# With these, both the client and the server notice a dead peer within a minute.
KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
WHO_HOLDS = """
    SELECT pid = pg_backend_pid() AS mine, application_name, backend_start
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND datname = current_database() AND objsubid = 1
        AND (classid::bigint << 32 | objid::bigint) = :key
"""


class Lock(ABC):
    """A lock; its holder keeps it until `close`, or until the process ends."""

    @abstractmethod
    def take(self) -> bool:
        """Try to take the lock without waiting; whether this process holds it now."""

    @abstractmethod
    def check(self) -> None:
        """Raise unless this process still holds the lock.

        Raises
        ------
        TrackingError
            When the lock was lost, so another process may hold it.
        """

    @abstractmethod
    def holder(self) -> str:
        """Description of the holder, as far as known."""

    @abstractmethod
    def close(self) -> None:
        """Release the lock, if it is held."""


@contextlib.contextmanager
def hold(name: str, *, on_busy: Literal["wait", "refuse"] = "wait", about: str = "") -> Iterator[Lock]:
    """Hold the lock of this name while the block runs.

    Parameters
    ----------
    name : str
        Name of the resource, for example a model; also used as a file name.
    on_busy : {"wait", "refuse"}
        What to do while another process holds it: wait and log the holder, or give up after `GRACE_SECONDS`.
    about : str
        Purpose, shown to processes that wait.

    Raises
    ------
    BusyError
        When another process holds it and `on_busy` is "refuse".
    ConfigError
        When ``LOCK_URL`` is not a PostgreSQL URL.
    TrackingError
        When the server does not answer, or the lock file cannot be written.

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
        began, logged = time.monotonic(), -LOG_SECONDS
        while not lock.take():
            waited = time.monotonic() - began
            if on_busy == "refuse" and waited >= GRACE_SECONDS:
                holder = lock.holder()
                raise BusyError(
                    f"{name}: held by {holder}, so nothing was done. Try again when that has ended.", holder
                )
            if on_busy == "wait" and waited - logged >= LOG_SECONDS:
                logger.info("%s is held by %s: waiting for it, %.0f s so far", name, lock.holder(), waited)
                logged = waited
            time.sleep(POLL_SECONDS)
        yield lock


def holder(name: str) -> str:
    """Description of the holder of this lock; empty when the lock is free.

    Raises
    ------
    ConfigError, TrackingError
        As `hold`.
    """
    with contextlib.closing(_lock(name, "checking whether it is free")) as lock:
        return "" if lock.take() else lock.holder()


def lock_url() -> str:
    """URL of the PostgreSQL for locks between machines: ``LOCK_URL``; empty when only this machine runs."""
    return os.environ.get("LOCK_URL", "")


def _lock(name: str, about: str) -> Lock:
    url = lock_url()
    return _AdvisoryLock(name, about, url) if url else _FileLock(name, about)


class _FileLock(Lock):
    """A file locked by the kernel, and next to it a note about the holder."""

    def __init__(self, name: str, about: str) -> None:
        folder = config.state().locks
        self.about, self.note = about, folder / f"{name}.holder"
        # No fallback: filelock's soft lock is a file that stays when its holder dies.
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
            self.note.write_text(
                f"{_whoami(self.about)}, since {_shown(datetime.now(timezone.utc))}", encoding="utf-8"
            )
        return True

    def check(self) -> None:
        return  # the kernel never takes a file lock away

    def holder(self) -> str:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return self.note.read_text(encoding="utf-8") or "another process"
        return "another process"

    def close(self) -> None:
        if self.lock.is_locked:
            with contextlib.suppress(OSError):
                self.note.unlink()
            self.lock.release()


class _AdvisoryLock(Lock):
    """An advisory lock of PostgreSQL, held by the session of its own connection."""

    def __init__(self, name: str, about: str, url: str) -> None:
        address = _address(url)
        self.name, self.server = name, f"PostgreSQL at {address.host or 'its socket'}"
        self.key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        arguments = {
            **KEEPALIVES,
            "tcp_user_timeout": 60_000,
            "connect_timeout": CONNECT_SECONDS,
            # PostgreSQL cuts longer names and warns about it on stderr.
            "application_name": _whoami(about).encode("ascii", "replace")[:63].decode(),
        }
        engine = sqlalchemy.create_engine(
            address, connect_args=arguments, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool
        )
        self.engine = engine
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
        try:
            holder = self._ask(WHO_HOLDS).first()
        except TrackingError:
            # The run fails in any case. Mage keeps its records in this server: while that restarts, Mage could not
            # record the failure, and would show the run as running until its timeout.
            self._wait_for_server()
            raise
        if holder is None or not holder.mine:  # for example behind a pooler
            raise self._lost("another session answers")

    def holder(self) -> str:
        holder = self._ask(WHO_HOLDS).first()
        if (
            holder is None or not holder.application_name
        ):  # a role may not see details of another role's sessions
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

    def _wait_for_server(self) -> None:
        """Return when the server answers, or after `RESTART_SECONDS`."""
        deadline = time.monotonic() + RESTART_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(SQLAlchemyError):
                self.engine.connect().close()
                return
            time.sleep(POLL_SECONDS)

    def _lost(self, reason: str) -> TrackingError:
        return TrackingError(
            f"lock {self.name}: the session with {self.server} has ended ({reason}), and the lock with it; "
            "another run may hold it by now. Start the run again."
        )


def _address(url: str) -> sqlalchemy.URL:
    """Parsed URL of a PostgreSQL; no message shows any part of it, because it may contain a password."""
    try:
        address = sqlalchemy.make_url(url)
    except (SQLAlchemyError, ValueError):
        address = None
    # An unescaped @ in the password makes the parser take the rest of the password as the host.
    if address is None or address.drivername not in DRIVERS or not is_clear(url):
        raise ConfigError(
            "LOCK_URL: expected postgresql://user:password@host:port/database, with %40 for an @ and so on "
            "in the password; got something else (not shown, it may hold a password)"
        ) from None
    return address


def _whoami(about: str) -> str:
    return f"{socket.gethostname()[:30]}:{os.getpid()}" + (f", {about}" if about else "")


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _reason(error: SQLAlchemyError) -> str:
    return one_line(getattr(error, "orig", None) or error)
