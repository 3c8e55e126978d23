"""The OpenAPI description is complete: fields, units, examples, statuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.asgi_calls import call, scope

from mlops.serving import keys
from mlops.serving.app import ROUTES, create_app
from mlops.serving.description import EXAMPLES
from mlops.serving.models import Models
from mlops.serving.questions import read
from mlops.serving.settings import ServeSettings


def described(settings: ServeSettings) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        call(create_app(Models(), settings), scope("/openapi.json", "GET")).body
    )
    return found


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return described(ServeSettings())


def test_every_route_is_described_but_those_of_the_description(description: dict[str, Any]) -> None:
    assert sorted(description["paths"]) == sorted({*ROUTES} - {"/openapi.json", "/docs"})
    assert [list(each) for each in description["paths"].values()] == [["post"], *[["get"]] * 8]


def test_every_field_has_a_description_and_an_example(description: dict[str, Any]) -> None:
    fields = {
        f"{name}.{field}": about
        for name, schema in description["components"]["schemas"].items()
        for field, about in schema["properties"].items()
    }
    assert len(fields) > 35
    assert [name for name, about in fields.items() if not about.get("description", "").endswith(".")] == []
    parts = {"ServiceModel.model", "ModelReport.services", "ZoneList.zones", "ServerStatus.answering"}
    parts |= {f"Status.{name}" for name in ("attention", "models", "servers", "disk")}
    parts |= {
        f"ModelStatus.{name}"
        for name in (
            "champion", "newest", "waits_for", "last_check", "running", "last_failure", "monitoring", "approval"
        )
    }  # fmt: skip  # their own fields have examples
    assert {name for name, about in fields.items() if not about.get("examples")} == parts


def test_every_number_has_a_unit_in_its_name_or_description(description: dict[str, Any]) -> None:
    answer = description["components"]["schemas"]["Answer"]["properties"]
    assert all("minutes" in answer[name]["description"] for name in answer if name.endswith("_minutes"))
    assert (
        "minutes"
        in description["components"]["schemas"]["ServedModel"]["properties"]["test_rmse"]["description"]
    )


def test_every_status_is_described_with_a_problem(description: dict[str, Any]) -> None:
    statuses = {
        path: next(iter(operation.values()))["responses"] for path, operation in description["paths"].items()
    }
    assert list(statuses["/predict"]) == [
        "200",
        "400",
        "401",
        "403",
        "408",
        "413",
        "415",
        "422",
        "429",
        "500",
        "503",
    ]
    assert list(statuses["/readyz"]) == ["200", "500", "503"]
    for answers in statuses.values():
        for status, answer in answers.items():
            assert answer["description"]
            assert status in ("200", "304") or list(answer["content"]) == ["application/problem+json"]
            assert ("headers" in answer) == (status in ("429", "503"))


def test_the_examples_are_requests(description: dict[str, Any]) -> None:
    content = description["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    schema = {**content["schema"], "components": description["components"]}
    for example in EXAMPLES.values():
        Draft202012Validator(schema).validate(example["value"])
        assert read(json.dumps(example["value"]).encode(), most=2)


def test_the_limits_are_those_of_the_settings() -> None:
    found = described(ServeSettings(most_requests=7, most_bytes=2_000))["paths"]["/predict"]["post"]
    assert found["description"].endswith("At most 7 requests and 2,000 bytes.")
    assert found["requestBody"]["content"]["application/json"]["schema"]["anyOf"][1]["maxItems"] == 7


def test_a_key_is_described_where_one_is_needed(tmp_path: Path, description: dict[str, Any]) -> None:
    keys.add(tmp_path / "keys", "planner")
    found = described(ServeSettings(keys_file=tmp_path / "keys"))
    needed = {
        path for path, operation in found["paths"].items() if "security" in next(iter(operation.values()))
    }
    assert needed == {"/predict", "/rides", "/model", "/metrics", "/monitoring", "/status"}
    assert "securitySchemes" not in description["components"]
