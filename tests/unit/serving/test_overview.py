"""`/status` shows whether all is well, also while the registry is away, and no request asks the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.asgi_calls import Answer, call, scope
from support.champions import GREEN, crown, offer, registry_away
from support.tracked import NAME

from mlops import config
from mlops.errors import command
from mlops.registry import client
from mlops.registry.status_records import Status
from mlops.serving import keys
from mlops.serving.app import create_app
from mlops.serving.models import Models
from mlops.serving.overview import POLICY
from mlops.serving.settings import ServeSettings

JUDGED = {"outcome": "champion", "verdict": "promote", "reason": "it is better"}


@pytest.fixture
def models(store: Path, files: Path) -> Models:
    """A model with a champion, followed once."""
    crown(offer(files, **JUDGED))
    made = Models(refresh_seconds=0.001)
    made.follow()
    return made


def get(models: Models, query: str = "", **headers: str) -> Answer:
    asked = {**scope("/status", "GET", **headers), "query_string": query.encode()}
    return call(create_app(models, ServeSettings()), asked)


def known(models: Models) -> dict[str, Any]:
    answer = get(models, "format=json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    Status.model_validate_json(answer.body)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def test_all_is_well(models: Models) -> None:
    found = known(models)
    assert (found["is_well"], found["attention"]) == (True, [])
    assert [each["name"] for each in found["models"]] == [NAME]
    assert found["models"][0]["champion"]["version"] == "1"
    assert [(each["name"], each["state"]) for each in found["servers"]] == [
        ("tracking store", "up"), ("online service", "up"),
    ]  # fmt: skip
    assert found["servers"][1]["answering"] == [{"model": NAME, "version": "1", "problem": ""}]
    assert found["disk"]["folder"] == str(config.state_dir())


def test_the_page_is_for_people_and_can_do_nothing(models: Models) -> None:
    answer = get(models, accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert b"All is well." in answer.body and b"<script" not in answer.body


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "", "text/html"),
        ("", "*/*", "text/html"),
        ("", "application/json", "application/json"),
        ("", "text/html, application/json", "text/html"),
        ("format=html", "application/json", "text/html"),
        ("format=json", "text/html", "application/json"),
    ],
)
def test_the_form_that_is_asked_for(models: Models, query: str, accept: str, kind: str) -> None:
    assert get(models, query, accept=accept).headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("format=xml", 'format: expected html or json; got "xml"'),
        ("format=", 'format: expected html or json; got ""'),
        ("form=json", 'form: expected no other parameter than format (is it format?); got "json"'),
    ],
)
def test_a_parameter_that_it_cannot_have(models: Models, query: str, detail: str) -> None:
    answer = get(models, query)
    assert (answer.status, answer.problem["detail"]) == (422, detail)


def test_a_request_asks_no_registry(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(client.mlflow.MlflowClient, "search_registered_models")
    assert known(models)["is_well"]


def test_while_the_registry_is_away_the_last_status_is_shown(models: Models) -> None:
    read_at = known(models)["read_at"]
    with registry_away():
        models.follow()
    found = known(models)
    assert [each["kind"] for each in found["attention"]] == ["service_down"]
    assert found["attention"][0]["text"].startswith("the registry cannot be asked: ")
    assert found["attention"][0]["act"] == command("doctor")
    assert (found["read_at"], len(found["models"])) == (read_at, 1)
    assert b"Now the registry cannot be asked: " in get(models).body
    models.follow()
    assert known(models)["is_well"]


def test_a_service_that_never_reached_the_registry_says_so(store: Path) -> None:
    found = known(Models())
    assert (found["read_at"], found["models"]) == (None, [])
    assert [(each["kind"], each["text"]) for each in found["attention"]] == [
        ("not_checked", "it was not asked yet")
    ]


def test_an_unsigned_champion_is_named_with_the_next_act(models: Models, files: Path) -> None:
    crown(offer(files, signature="", **JUDGED))
    models.overview._next = 0.0
    models.follow()
    (one,) = known(models)["attention"]
    assert (one["kind"], one["act"]) == ("champion_unsigned", command(f"trust 2 --model {NAME}"))


def test_a_model_without_a_champion_is_shown_too(models: Models, files: Path) -> None:
    offer(files, GREEN, **JUDGED)
    models.overview._next = 0.0
    models.follow()
    found = known(models)
    assert [each["name"] for each in found["models"]] == [GREEN, NAME]
    assert {each["about"] for each in found["attention"]} == {GREEN}
    assert [each["kind"] for each in found["attention"]] == ["no_champion", "overdue"]


def test_another_version_that_answers_is_seen_at_once(models: Models, files: Path) -> None:
    models.overview._next = float("inf")
    crown(offer(files, **JUDGED))
    models.follow()
    found = known(models)
    assert found["servers"][1]["answering"][0]["version"] == "2" and found["is_well"]
    models.overview._next = float("inf")
    models.follow()
    assert known(models)["read_at"] == found["read_at"]  # it is not time to look again


def test_a_mistake_in_reading_it_stops_no_model(models: Models, caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        def statuses(self, now: object) -> None:
            raise ValueError("a bug")

    models.overview._next = 0.0
    models.overview.look(Failing(), [])
    assert "the status cannot be read" in caplog.text
    assert [each["name"] for each in known(models)["models"]] == [NAME]


def test_it_needs_a_key_where_keys_are_used(models: Models, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = keys.add(file, "planner")
    app = create_app(models, ServeSettings(keys_file=file))
    assert call(app, scope("/status", "GET")).status == 401
    assert call(app, scope("/status", "GET", authorization=f"Bearer {key}")).status == 200
