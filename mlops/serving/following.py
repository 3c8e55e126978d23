"""Follow the champion of one registered model: the new one takes over when it has proved that it can answer.

Nothing here imports MLflow when it is imported: a version that this machine remembers answers seconds earlier.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlops import config
from mlops.errors import MlopsError, TrackingDownError, one_line
from mlops.registry import local_copy
from mlops.registry.signed_version import Version
from mlops.serving import memory
from mlops.serving.served import ALIAS, Served

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 300.0  # seconds between two tries of a version that does not load
NOT_ASKED = "the registry was not asked yet"


@dataclass
class _Failure:
    """A champion that could not be served."""

    version: Version
    tries: int
    again_at: float  # on the monotonic clock
    problem: str


class Follower:
    """The version of one model that answers, and how the next one takes over.

    Only one thread may call the methods. The two attributes may be read by any thread.

    Parameters
    ----------
    service, name : str
        The service and its registered model.
    pause : float
        Seconds before a version that did not load is tried again; doubled each time, at most `LONGEST_PAUSE`.

    Attributes
    ----------
    served : Served or None
        What answers now.
    problem : str
        Why that is not the champion of now, or is not certain to be; empty if all is well.
    """

    def __init__(self, service: str, name: str, pause: float) -> None:
        self.service, self.name = service, name
        self.served: Served | None = None
        self.problem = NOT_ASKED
        self._pause = pause
        self._failure: _Failure | None = None
        self._is_remembered = True

    def restore(self) -> None:
        """Serve the version that was served last, from its copy on this machine."""
        version = memory.recall(self.name)
        if version is None:
            return
        try:
            self.served = Served.of(local_copy.open_checked(version, config.state().versions))
        except Exception as error:  # the registry may still have a version that can be served
            self.report(
                f"version {version.number}, which was served last, does not load: {one_line(error, 500)}"
            )
            return
        logger.info("%s: version %s, which was served last, answers", self.name, version.number)

    def follow(self, champion: Callable[[str], Version | None], load: Callable[[Version], Served]) -> None:
        """Look which version is champion, and let it answer if it is another one than now.

        Parameters
        ----------
        champion, load : callable
            Ask the registry for the champion of a model; load a version of it.

        Raises
        ------
        TrackingError
            When the registry does not answer, or refuses.
        """
        wanted = champion(self.name)
        if wanted is None:
            self._failure = None
            self.report(f"{self.name} has no {ALIAS}{self._stays}")
        elif self.served and _is_same(self.served.registered, wanted):
            self._failure = None
            self._settle(self.served)
        elif self._failure and self._must_wait(self._failure, wanted):
            self.report(self._failure.problem)
        else:
            self._load(wanted, load)

    def report(self, problem: str) -> None:
        """Keep a problem, and log it if it is a new one."""
        before, self.problem = self.problem, problem
        if problem and problem != before:
            logger.warning("%s", problem)

    @property
    def _stays(self) -> str:
        return f"; version {self.served.version} goes on answering" if self.served else ""

    def _must_wait(self, failed: _Failure, wanted: Version) -> bool:
        """Whether this very version failed, and its pause is not over."""
        is_unchanged = failed.version.tags == wanted.tags  # else somebody may have signed it
        return _is_same(failed.version, wanted) and is_unchanged and time.monotonic() < failed.again_at

    def _load(self, wanted: Version, load: Callable[[Version], Served]) -> None:
        try:
            served = load(wanted)
        except Exception as error:  # whatever it is, the version before goes on answering
            if not isinstance(error, MlopsError | OSError):
                logger.exception("%s does not load", wanted.uri)
            self._fail(wanted, error)
            return
        before = f", after version {self.served.version}" if self.served else ""
        self.served, self._failure, self._is_remembered = served, None, False
        logger.info("%s: version %s answers%s", self.name, served.version, before)
        self._settle(served)

    def _fail(self, wanted: Version, error: Exception) -> None:
        failed = self._failure
        tries = failed.tries + 1 if failed and _is_same(failed.version, wanted) else 1
        pause = min(self._pause * 2.0 ** (tries - 1), max(LONGEST_PAUSE, self._pause))
        if isinstance(error, TrackingDownError):  # that says nothing about the version
            tries, pause = 0, 0.0
        problem = f"version {wanted.number}, the {ALIAS}, does not load{self._stays}: {one_line(error, 500)}"
        self._failure = _Failure(wanted, tries, time.monotonic() + pause, problem)
        self.report(problem)

    def _settle(self, served: Served) -> None:
        """All is well with what answers; write it down for the next start, and delete old copies."""
        if self._is_remembered:
            self.report("")
            return
        try:
            memory.remember(served.registered)
            memory.delete_old_copies(served.registered)
        except OSError as error:
            why = one_line(error, 200)
            self.report(f"version {served.version} answers, but cannot be remembered for a restart: {why}")
        else:
            self._is_remembered = True
            self.report("")


def _is_same(one: Version, other: Version) -> bool:
    """Whether they are one version, whatever its tags are now; a restored registry may use a number again."""
    return (one.number, one.run_id) == (other.number, other.run_id)
