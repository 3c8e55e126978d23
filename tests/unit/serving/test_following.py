"""One model's champion: when it is tried again, and when not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from support.champions import clock
from support.tracked import NAME

from mlops.errors import MlopsError, TrackingDownError, UntrustedError
from mlops.registry.signed_version import Version
from mlops.serving import following
from mlops.serving.following import Follower
from mlops.serving.served import Served

ONE, TWO = Version(NAME, "1", "a", {}), Version(NAME, "2", "b", {})


def served(version: Version) -> Served:
    """As if it had been loaded; nobody asks it."""
    facts: dict[str, Any] = dict.fromkeys(Served.__dataclass_fields__)
    return Served(**{**facts, "name": NAME, "version": version.number, "registered": version})


@dataclass
class Registry:
    """A champion, and what happens to who loads it."""

    champion: Version | None
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def follow(self, follower: Follower) -> int:
        """How often a version was loaded."""
        before = len(self.asked)
        follower.follow(lambda name: self.champion, self.load)
        return len(self.asked) - before

    def load(self, version: Version) -> Served:
        self.asked.append(version.number)
        if self.error:
            raise self.error
        return served(version)


@pytest.fixture
def follower() -> Follower:
    return Follower("sample", NAME, 30.0)


def test_a_broken_version_is_tried_again_with_growing_pauses(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock(monkeypatch, following)
    registry = Registry(ONE, MlopsError("its code fails"))
    tries = []
    for _ in range(100):
        if registry.follow(follower):
            tries.append(now[0] - 1000.0)
        assert follower.problem == "version 1, the champion, does not load: its code fails"
        now[0] += 30.0
    assert tries == [0, 30, 90, 210, 450, 750, 1050, 1350, 1650, 1950, 2250, 2550, 2850]


def test_another_champion_is_tried_at_once(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, following)
    registry = Registry(ONE, MlopsError("its code fails"))
    assert [registry.follow(follower) for _ in range(2)] == [1, 0]
    registry.champion = TWO
    assert [registry.follow(follower) for _ in range(2)] == [1, 0]
    registry.error = None
    registry.champion = ONE
    assert [registry.follow(follower) for _ in range(2)] == [1, 0]
    assert follower.served
    assert (follower.served.version, follower.problem) == ("1", "")


def test_a_version_that_was_signed_since_is_tried_at_once(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, following)
    registry = Registry(ONE, UntrustedError("it is not signed"))
    assert [registry.follow(follower) for _ in range(2)] == [1, 0]
    registry.champion = Version(NAME, "1", "a", {"signature": "{}"})
    assert registry.follow(follower) == 1


def test_an_outage_while_a_version_is_fetched_says_nothing_about_it(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, following)
    registry = Registry(ONE, TrackingDownError("no answer"))
    assert [registry.follow(follower) for _ in range(3)] == [1, 1, 1]
    assert follower.problem == "version 1, the champion, does not load: no answer"


def test_a_number_that_a_restored_registry_uses_again(follower: Follower) -> None:
    registry = Registry(ONE)
    registry.follow(follower)
    registry.champion = Version(NAME, "1", "another run", {})
    assert registry.follow(follower) == 1
    assert follower.served
    assert follower.served.registered.run_id == "another run"


def test_a_mistake_in_this_program_is_logged_with_its_traceback(
    follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    Registry(ONE, AttributeError("no such thing")).follow(follower)
    assert follower.problem == "version 1, the champion, does not load: no such thing"
    first, second = caplog.records
    assert (first.message, bool(first.exc_info)) == ("models:/trip-duration-sample/1 does not load", True)
    assert second.message == follower.problem


def test_a_problem_is_logged_once(follower: Follower, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        Registry(None).follow(follower)
    assert caplog.messages == ["trip-duration-sample has no champion"]
