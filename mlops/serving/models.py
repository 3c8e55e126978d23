"""`Models`: the versions that answer, one for each service, and the thread that follows the champions.

A request reads one attribute, `Models._now`, which this thread replaces in one assignment. So a request has one
version from its start to its end, and no request waits for a load.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops.data.zone_map import ZoneMap
from mlops.data.zones import ZoneNames
from mlops.errors import TrackingError, one_line
from mlops.registry.signed_version import PREFIX, service_of
from mlops.registry.status_records import Answering
from mlops.serving import memory, overview
from mlops.serving.compared import PAUSES, Compared
from mlops.serving.errors import AmbiguousServiceError, NoModelError, ServiceError, UnknownServiceError
from mlops.serving.following import NOT_ASKED, Follower
from mlops.serving.places import Places
from mlops.serving.served import Served

logger = logging.getLogger(__name__)

FIRST_PAUSE = 1.0  # seconds before a registry that is away is asked again; doubled each time


@dataclass(frozen=True)
class ServiceState:
    """What answers for a service, and what is wrong.

    Parameters
    ----------
    service : str
    served : Served or None
        None while no version of its model is loaded.
    problem : str
        Why `served` is not the champion of now, or may not be; empty if all is well.
    """

    service: str
    served: Served | None
    problem: str


@dataclass(frozen=True)
class _Now:
    """All services at one moment. The key None is for requests without a service."""

    served: Mapping[str | None, Served] = field(default_factory=dict)
    states: tuple[ServiceState, ...] = ()
    problem: str = NOT_ASKED
    is_open: bool = True  # whether other services may still turn up

    def refusal(self, service: str | None) -> ServiceError:
        """Why no version answers for a service."""
        known = tuple(state.service for state in self.states)
        if service is None and len(known) > 1:
            return AmbiguousServiceError(f"service: expected one of {', '.join(known)}; got none", known)
        for state in self.states:
            if service in (None, state.service):
                return NoModelError(f"{state.service}: no model is loaded ({state.problem})", known)
        if not known and self.is_open:
            return NoModelError(f"no model is loaded ({self.problem or 'there is no champion'})")
        return UnknownServiceError(f"service: expected one of {', '.join(known)}; got {service!r}", known)


class Models:
    """The versions that answer, one for each service.

    Parameters
    ----------
    services : sequence of str
        As ``green`` or ``sample``; without any, every champion that there is, also one that comes later.
    refresh_seconds : float
        Pause between two questions which versions are champions.

    Attributes
    ----------
    compared : Compared
        The compared months of the models.
    overview : Overview
        What an operator must know.
    """

    def __init__(self, services: Sequence[str] = (), refresh_seconds: float = 30.0) -> None:
        self._is_open = not services
        self._refresh_seconds = refresh_seconds
        self._followers: dict[str, Follower] = {}
        self._problem, self._failures = NOT_ASKED, 0
        self._registry: Any = None
        self._places = Places()
        self.compared = Compared(PAUSES * refresh_seconds)
        self.overview = overview.Overview(overview.PAUSES * refresh_seconds)
        self._stopping, self._restored = threading.Event(), threading.Event()
        for service in services:
            self._add(f"{PREFIX}{service}")
        self._publish()

    def get(self, service: str | None = None) -> Served:
        """The version that answers for a service; without a service, the only one.

        Raises
        ------
        NoModelError, UnknownServiceError, AmbiguousServiceError
        """
        now = self._now
        served = now.served.get(service)
        if served is None:
            raise now.refusal(service)
        return served

    def all(self) -> tuple[Served, ...]:
        """Every version that answers, sorted by service."""
        return tuple(state.served for state in self._now.states if state.served)

    def states(self) -> tuple[ServiceState, ...]:
        """What answers for each service and what is wrong, sorted by service."""
        return self._now.states

    def zone_names(self, service: str) -> ZoneNames:
        """Names of the zones of a service; none, with the reason, as long as they are not known."""
        return self._places.names(service)

    def zone_map(self, service: str) -> ZoneMap:
        """Shapes of the zones of a service; none, with the reason, as long as they are not known."""
        return self._places.map(service)

    @property
    def problem(self) -> str:
        """Why the registry cannot be asked now; empty if it can."""
        return self._now.problem

    def start(self) -> None:
        """Begin to follow the champions; remembered versions are loaded first. Returns at once."""
        threading.Thread(target=self._run, name="models", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until remembered versions are loaded; whether that is done."""
        return self._restored.wait(seconds)

    def stop(self) -> None:
        """End the thread after what it is doing now, without waiting for it."""
        self._stopping.set()

    def restore(self) -> None:
        """Load the versions that were served last from their copies on this machine."""
        try:
            for name in memory.names() if self._is_open else ():
                self._add(name)
            for follower in self._followers.values():
                follower.restore()
                self._publish()
            self._keep_places()
        except Exception:  # nothing may end the thread
            logger.exception("the versions that were served last cannot be loaded")
        self._restored.set()

    def follow(self) -> float:
        """Ask the registry once which versions are champions, and load new ones; seconds until the next time."""
        try:
            registry = self._registry = self._registry or _connect()
            self._follow_all(registry)
            self._keep_places()
            self.compared.look(registry, list(self._followers))
            self.overview.look(registry, self._answering())
            self._problem, self._failures, self.overview.is_away = "", 0, False
        except Exception as error:  # nothing may end the thread
            if not isinstance(error, TrackingError):
                logger.exception("following the champions failed")
            self._fail(error)
        self._publish()
        if not self._failures:
            return self._refresh_seconds
        return min(FIRST_PAUSE * 2.0 ** (self._failures - 1), self._refresh_seconds)

    def _run(self) -> None:
        self.restore()
        while not self._stopping.wait(self.follow()):
            pass

    def _keep_places(self) -> None:
        self._places.keep([each.service for each in self._followers.values()])

    def _follow_all(self, registry: Any) -> None:
        if self._is_open:
            for name in registry.names():
                if name not in self._followers and registry.champion(name):
                    self._add(name)
        for follower in list(self._followers.values()):
            follower.follow(registry.champion, registry.load)
            self._publish()

    def _fail(self, error: Exception) -> None:
        self._failures, self.overview.is_away = min(self._failures + 1, 20), True
        self._problem = f"the registry cannot be asked: {one_line(error, 500)}"
        if not self._followers and self._failures == 1:
            logger.warning("%s", self._problem)
        for follower in self._followers.values():
            follower.report(self._problem)

    def _add(self, name: str) -> None:
        service = service_of(name)
        self._followers[name] = Follower(service, name, self._refresh_seconds)

    def _answering(self) -> list[Answering]:
        """What the service answers with, for the status."""
        return [
            Answering(
                model=each.name, version=each.served.version if each.served else None, problem=each.problem
            )
            for each in self._followers.values()
        ]

    def _publish(self) -> None:
        """Let requests see what the followers have now, all at once."""
        followers = sorted(self._followers.values(), key=lambda each: each.service)
        states = tuple(ServiceState(each.service, each.served, each.problem) for each in followers)
        served: dict[str | None, Served] = {each.service: each.served for each in states if each.served}
        if len(states) == 1 and states[0].served:
            served[None] = states[0].served
        self._now = _Now(served, states, self._problem, self._is_open)


def _connect() -> Any:
    """The module that asks the registry, connected."""
    from mlops.serving import champions  # here: it imports MLflow, which takes seconds

    champions.connect()
    return champions
