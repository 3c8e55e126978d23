"""`/monitoring` shows the compared months, also while the registry is away, and nothing in them can act."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.asgi_calls import call, scope
from support.champions import GREEN, crown, offer, registry_away
from support.monitored import alarm, record
from support.tracked import NAME

from mlops.registry import monitoring_log
from mlops.registry.monitoring_record import Record, to_json
from mlops.serving.app import create_app
from mlops.serving.compared import POLICY, Compared
from mlops.serving.models import Models
from mlops.serving.settings import ServeSettings


def keep(kept: Record) -> None:
    monitoring_log.write(NAME, kept.month, to_json(kept), {})


@pytest.fixture
def models(store: Path, files: Path) -> Models:
    """A model with a champion and one compared month, followed once."""
    crown(offer(files))
    keep(record("2023-09"))
    made = Models(refresh_seconds=0.001)
    made.follow()
    return made


def page(models: Models) -> str:
    return models.compared.page(models.problem)


def test_the_newest_month_is_known(models: Models) -> None:
    assert list(models.compared.newest()) == [("sample", record("2023-09"))]
    assert "No alarm for 2023-09" in page(models) and "This is what the registry had" not in page(models)


def test_a_month_that_comes_later_is_found(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(alarm("2023-10"))
    models.compared._next = float("inf")
    models.follow()
    assert [each.month for _, each in models.compared.newest()] == ["2023-09"]  # it is not time to look
    models.compared._next = 0.0
    models.follow()
    assert [each.month for _, each in models.compared.newest()] == ["2023-10"]
    assert "Alarm for 2023-10" in page(models)


def test_while_the_registry_is_away_the_last_months_are_shown(models: Models) -> None:
    models.compared._next = 0.0
    with registry_away():
        models.follow()
    assert models.problem and "No alarm for 2023-09" in page(models)
    assert "This is what the registry had on 20" in page(models)
    assert "UTC. Now the registry cannot be asked: " in page(models)


def test_a_service_that_never_reached_the_registry_says_so(store: Path) -> None:
    made = Models()
    assert "The compared months are not known yet: the registry was not asked yet" in page(made)
    assert list(made.compared.newest()) == []


def test_a_mistake_in_reading_them_stops_no_model(
    models: Models, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def histories(self, names: object) -> None:
            raise ValueError("a bug")

    models.compared._next = 0.0
    models.compared.look(Failing(), [NAME])
    assert "the compared months cannot be read" in caplog.text
    assert [each.month for _, each in models.compared.newest()] == ["2023-09"]


def test_a_new_model_is_looked_at_at_once(models: Models) -> None:
    asked: list[object] = []

    class Registry:
        def histories(self, names: object) -> tuple[()]:
            asked.append(names)
            return ()

    compared = Compared(3600.0)
    compared.look(Registry(), [])
    compared.look(Registry(), [])
    compared.look(Registry(), [GREEN])
    compared.look(Registry(), [GREEN])
    assert asked == [[], [GREEN]]


def test_the_answer_is_a_page_that_can_do_nothing(models: Models) -> None:
    keep(record("2023-10", done="<script>alert(1)</script>", action="alert"))
    models.compared._next = 0.0
    models.follow()
    answer = call(create_app(models, ServeSettings()), scope("/monitoring", "GET"))
    assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert (
        answer.headers["x-content-type-options"] == "nosniff"
        and answer.headers["cache-control"] == "no-store"
    )
    assert b"&lt;script&gt;alert(1)" in answer.body and b"<script" not in answer.body
    assert "script-src" not in POLICY and POLICY.startswith("default-src 'none'; ")
