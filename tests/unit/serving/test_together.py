"""Bodies that wait are answered as one table, and each gets its own answer or its own error."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pandas as pd
import pytest

from mlops.data.zones import ZoneNames
from mlops.errors import MlopsError
from mlops.registry.signed_version import Version
from mlops.serving import answering, questions, together
from mlops.serving.answering import Part
from mlops.serving.problems import ProblemError
from mlops.serving.served import ANSWER_COLUMNS, Served
from mlops.serving.together import Together

RIDE = {"pickup_at": "2023-06-01T08:30:00", "pickup_zone": 74, "dropoff_zone": 75}
BROKEN = 666  # a zone for which `Held` fails
WAIT_SECONDS = 20.0


class Held:
    """A model whose minutes are the pickup zone; its first answer waits until it is released."""

    def __init__(self) -> None:
        self.tables: list[list[float]] = []
        self.is_asked, self.released = threading.Event(), threading.Event()

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        self.tables.append(requests["pickup_zone"].tolist())
        self.is_asked.set()
        assert self.released.wait(WAIT_SECONDS)
        if BROKEN in self.tables[-1]:
            raise MlopsError("a zone that this model does not like")
        return pd.DataFrame(dict.fromkeys(ANSWER_COLUMNS, requests["pickup_zone"]))


def served(service: str, model: Any) -> Served:
    name, at = f"trip-duration-{service}", datetime(2026, 11, 27, tzinfo=timezone.utc)
    return Served(
        service, name, "1", "", "", "", None, "champion", at, None, model, True, Version(name, "1", "", {})
    )


@pytest.fixture
def models() -> Iterator[dict[str, Held]]:
    found = {"green": Held(), "yellow": Held()}
    yield found
    for model in found.values():
        model.released.set()


def rides(zone: int, count: int = 7, **changes: Any) -> bytes:
    return json.dumps([{**RIDE, "pickup_zone": zone, "service": "green", **changes}] * count).encode()


def ask(models: dict[str, Held], first: bytes, *waiting: bytes) -> list[Any]:
    """Answers or errors of these bodies, where all but the first come while the first is answered."""
    versions = {service: served(service, model) for service, model in models.items()}

    def read(body: bytes) -> tuple[list[Part], bool]:
        asked = questions.read(body, most=50)
        parts = answering.split(asked, lambda name: versions[name or "green"], lambda name: ZoneNames({}, ""))
        return parts, asked.is_list

    async def run() -> list[Any]:
        large = Together(read)
        tasks = [asyncio.create_task(large.answer(first, "r-0"))]
        await asyncio.to_thread(models["green"].is_asked.wait, WAIT_SECONDS)
        tasks += [asyncio.create_task(large.answer(body, f"r-{at}")) for at, body in enumerate(waiting, 1)]
        await asyncio.sleep(0.05)  # all wait now
        for model in models.values():
            model.released.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return [each if isinstance(each, Exception) else json.loads(each[1]) for each in asyncio.run(run())]


def zones(answer: list[dict[str, Any]]) -> list[float]:
    return [each["duration_minutes"] for each in answer]


def test_bodies_that_wait_are_one_table(models: dict[str, Held]) -> None:
    found = ask(models, rides(1), rides(4, 8), rides(3, 9), rides(2, 1))
    assert [zones(answer) for answer in found] == [[1.0] * 7, [4.0] * 8, [3.0] * 9, [2.0]]
    assert [{each["request_id"] for each in answer} for answer in found] == [{f"r-{at}"} for at in range(4)]
    assert models["green"].tables == [[1.0] * 7, [2.0] + [3.0] * 9 + [4.0] * 8]


def test_each_keeps_its_own_distances(models: dict[str, Held]) -> None:
    found = ask(models, rides(1), rides(2, distance_miles=2.5), rides(3))
    assert [{each["distance"] for each in answer} for answer in found] == [
        {"missing"},
        {"given"},
        {"missing"},
    ]


def test_a_body_with_a_mistake_does_not_touch_the_others(models: dict[str, Held]) -> None:
    mistakes = (rides(2, passenger_count=100), b"[", rides(3, pickup_zone="Nowhere"))
    found = ask(models, rides(1), rides(2), *mistakes, rides(4))
    assert [zones(found[at]) for at in (0, 1, 5)] == [[1.0] * 7, [2.0] * 7, [4.0] * 7]
    assert [(type(error), error.status) for error in found[2:5]] == [
        (ProblemError, 422),
        (ProblemError, 400),
        (ProblemError, 422),
    ]
    assert models["green"].tables[1:] == [[2.0] * 7 + [4.0] * 7]


def test_a_failing_table_is_computed_body_by_body(models: dict[str, Held]) -> None:
    found = ask(models, rides(1), rides(2), rides(BROKEN), rides(4))
    assert [zones(found[at]) for at in (0, 1, 3)] == [[1.0] * 7, [2.0] * 7, [4.0] * 7]
    assert (type(found[2]), str(found[2])) == (MlopsError, "a zone that this model does not like")
    assert len(models["green"].tables) == 1 + 1 + 3


def test_each_version_has_its_own_table(models: dict[str, Held]) -> None:
    both = json.loads(rides(2)) + json.loads(rides(3, service="yellow"))
    found = ask(models, rides(1), json.dumps(both).encode(), rides(4, service="yellow"), rides(5))
    assert [zones(answer) for answer in found] == [[1.0] * 7, [2.0] * 7 + [3.0] * 7, [4.0] * 7, [5.0] * 7]
    assert [each["service"] for each in found[1]] == ["green"] * 7 + ["yellow"] * 7
    assert models["green"].tables[1:] == [[2.0] * 7 + [5.0] * 7]
    assert models["yellow"].tables == [[3.0] * 7 + [4.0] * 7]


def test_what_is_answered_together_has_a_limit(
    models: dict[str, Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "MOST_BYTES", 2 * len(rides(2)))
    found = ask(models, rides(1), rides(2), rides(3), rides(4, 20), rides(5))
    assert [zones(answer)[0] for answer in found] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [sorted(set(table)) for table in models["green"].tables] == [[1.0], [2.0, 3.0], [4.0], [5.0]]
