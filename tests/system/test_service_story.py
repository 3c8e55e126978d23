"""The service under load while the alias moves, versions are broken, and the registry dies: no request fails.

`make test-long` moves the alias a few times; with ``LOAD_MOVES=50`` the load is full and the story takes a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.doors import wait_until
from support.mlflow_site import MlflowServer, running_server
from support.service_process import RIDE, Answer, Load, Service, running_service
from support.tracked import NAME, fitted, registered
from support.verified import sign_again

from mlops.registry import client
from mlops.registry.alias_log import CHAMPION

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
MOVES = int(os.environ.get("LOAD_MOVES", "8"))
CLIENTS, PAUSE = (8, 0.0) if MOVES >= 50 else (2, 0.02)
REFRESH = "0.2"  # seconds between two looks at the alias
ONE, TWO, CHANGED, DAMAGED = "1", "2", "3", "4"  # versions: two that can answer, two that cannot
BOOSTER = "data/model/booster.ubj"


@dataclass
class World:
    """A registry, a service that follows its champion, and what each version answers."""

    server: MlflowServer
    service: Service
    minutes: dict[str, float]
    champion: str = ONE
    allowed: list[tuple[float, set[str]]] = field(default_factory=lambda: [(0.0, {ONE})])

    def point_at(self, number: str) -> float:
        """Move the alias as somebody does in MLflow's pages; return the moment before."""
        moment = time.monotonic()
        client.mlflow_client().set_registered_model_alias(NAME, CHAMPION, number)
        return moment

    def move(self, number: str, load: Load) -> None:
        """Move the alias and wait for the first answer of that version, after which no other may answer."""
        self.allowed.append((time.monotonic(), {self.champion, number}))
        first = load.first_of(number, since=self.point_at(number))
        self.allowed.append((first.received, {number}))
        self.champion = number

    def may_answer(self, answer: Answer) -> set[str]:
        """The versions that were to answer at some moment between request and answer."""
        ends = [start for start, _ in self.allowed[1:]] + [float("inf")]
        spans = zip(self.allowed, ends, strict=True)
        return {
            version
            for (start, versions), end in spans
            if start <= answer.received and answer.sent <= end
            for version in versions
        }

    def problem(self) -> str:
        """Why the service does not serve what the alias points at; empty if it does."""
        (known,) = self.service.get("/model")["services"]
        return str(known["problem"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("story")
    state = folder / "state"
    with running_server(folder) as server, pytest.MonkeyPatch.context() as patch:
        variables = {"MLOPS_STATE_DIR": str(state), "MLFLOW_TRACKING_URI": server.uri}
        for name, value in variables.items():
            patch.setenv(name, value)
        client.connect(server.uri, state, 10.0)
        minutes = {number: _register(folder / number, seed=10 * int(number)) for number in (ONE, TWO)}
        _break_two_others(folder)
        client.mlflow_client().set_registered_model_alias(NAME, CHAMPION, ONE)
        with running_service(folder, **variables, SERVE_REFRESH_SECONDS=REFRESH) as service:
            yield World(server, service, minutes)


def _register(folder: Path, seed: int) -> float:
    """Register a small model; return its answer to `RIDE`."""
    model = fitted(seed)
    registered(model.save(folder / "model"), key=f"{seed:064x}")
    return float(model.predict_one(RIDE)["duration_minutes"])


def _break_two_others(folder: Path) -> None:
    """Register two more: a file of the first is changed later, that of the second before it is signed."""
    before = set(folder.rglob(BOOSTER))
    for number in (CHANGED, DAMAGED):
        version = registered(folder / ONE / "model", key=number * 64)
        (booster,) = set((folder / "served").rglob(BOOSTER)) - before
        before.add(booster)
        booster.write_bytes(booster.read_bytes()[:1000])
        if number == DAMAGED:
            sign_again(version, booster.parents[2])


def test_no_request_fails_and_none_is_answered_by_another_version_than_it_should(world: World) -> None:
    with Load(world.service, CLIENTS, PAUSE) as load:
        for number in range(MOVES):
            world.move((TWO, ONE)[number % 2], load)
        for broken, why in ((CHANGED, "was changed"), (DAMAGED, "cannot be loaded")):
            world.point_at(broken)
            wait_until(lambda why=why: why in world.problem(), 30, world.problem)
        world.move(TWO if world.champion == ONE else ONE, load)
        assert world.problem() == ""
        world.server.kill()
        wait_until(lambda: "registry" in world.problem(), 60, world.problem)
        world.server.start()
        world.move(TWO if world.champion == ONE else ONE, load)

    assert [answer.failure for answer in load.answers if answer.failure] == []
    assert len(load.answers) > 20 * MOVES
    assert [a for a in load.answers if a.version not in world.may_answer(a)] == []
    wrong = [a for a in load.answers if a.minutes != pytest.approx(world.minutes[a.version], abs=1e-6)]
    assert wrong == []


def test_after_kill_9_without_a_registry_the_last_champion_answers(world: World) -> None:
    world.server.kill()
    world.service.kill()
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert world.service.start() < 15 * busy
    answer = world.service.predict(RIDE)
    assert answer["model_version"] == world.champion
    assert answer["duration_minutes"] == pytest.approx(world.minutes[world.champion], abs=1e-6)
