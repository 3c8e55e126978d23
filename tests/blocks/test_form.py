"""The form of the training pipeline: `interactions/` and its `interactions.yaml`. See also `test_editor.py`."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import yaml
from support.doors import PIPELINE, PROJECT

from mlops.config import SERVICES, Settings
from mlops.mage import from_mage

FORM = "train_a_model.yaml"
OFFERED = ["service", "month", "source", "max_trials", "experiment", "experiment_note"]
ROLES_OF_VIEWERS = {"Viewer"}


def read(*path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(PROJECT.joinpath(*path).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def form() -> dict[str, Any]:
    return read("interactions", FORM)


@pytest.fixture(scope="module")
def of_pipeline() -> dict[str, Any]:
    return read("pipelines", PIPELINE, "interactions.yaml")


def test_each_field_is_a_setting_with_a_name_and_a_description(form: dict[str, Any]) -> None:
    assert list(form["variables"]) == OFFERED
    assert [item["variable"] for row in form["layout"] for item in row] == OFFERED
    for name, variable in form["variables"].items():
        assert name in Settings.model_fields
        assert variable["name"]
        assert variable["description"]
        assert variable["input"] in form["inputs"]


def test_a_setting_with_fixed_values_is_a_menu_of_them(form: dict[str, Any]) -> None:
    menus = {name for name, each in form["inputs"].items() if each["type"] == "dropdown_menu"}
    fixed = {name for name in OFFERED if get_args(Settings.model_fields[name].annotation) == SERVICES}
    assert {name for name in OFFERED if form["variables"][name]["input"] in menus} == fixed == {"service"}
    assert tuple(option["value"] for option in form["inputs"]["service"]["options"]) == SERVICES


def test_a_number_arrives_as_a_number(form: dict[str, Any]) -> None:
    kinds = {name: each["types"] for name, each in form["variables"].items()}
    assert kinds == {name: ["string"] for name in OFFERED} | {"max_trials": ["integer"]}
    assert from_mage({"max_trials": 3, "service": "yellow"}, argv=[]) == Settings(
        max_trials=3, service="yellow"
    )


def test_a_block_of_the_pipeline_has_the_form(of_pipeline: dict[str, Any]) -> None:
    ((block, forms),) = of_pipeline["blocks"].items()
    assert block == read("pipelines", PIPELINE, "metadata.yaml")["blocks"][-1]["uuid"]
    assert [(each["uuid"], bool(each["name"]), bool(each["description"])) for each in forms] == [
        (FORM, True, True)
    ]
    assert read("metadata.yaml")["features"] == {"interactions": True}


def test_only_who_may_change_the_pipeline_may_start_it_once(of_pipeline: dict[str, Any]) -> None:
    """Who may only look would train on a source of their own choice, and change the champion."""
    (permission,) = of_pipeline["permissions"]
    assert permission["roles"]
    assert not ROLES_OF_VIEWERS & {*permission["roles"]}
    assert permission["triggers"] == [{"schedule_interval": "@once", "schedule_type": "time"}]
