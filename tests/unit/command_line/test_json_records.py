"""Every command with `--json` has a record, and the reference page has each field of it."""

from __future__ import annotations

import re

import pytest
from pydantic import TypeAdapter

from docs.hooks import json_reference
from mlops.command_line.json_records import RECORDS, item_of
from mlops.command_line.parser import commands_of, parser

PAGE = json_reference.json_page()
SCHEMAS = {command: TypeAdapter(kind).json_schema(mode="serialization") for command, kind in RECORDS.items()}


def sections() -> dict[str, dict[str, list[str]]]:
    """Cells of each field by heading and field."""
    found = {}
    for heading, text in re.findall(r"^##+ ([^\n]+)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S):
        rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", text, re.M)
        found[heading] = {name: [value, meaning] for name, value, meaning in rows}
    return found


def test_every_command_with_json_is_listed_and_no_other() -> None:
    having = {name for name, command in commands_of(parser()).items() if "--json" in command.format_help()}
    assert {words.split()[0] for words in RECORDS} == having


@pytest.mark.parametrize("command", RECORDS)
def test_every_field_is_on_the_page_with_its_meaning(command: str) -> None:
    rows = sections()[command]
    for name, field in item_of(RECORDS[command]).model_fields.items():
        assert field.description, name
        assert rows[name][1] == " ".join(field.description.split()).replace("|", r"\|")


def test_every_part_is_on_the_page_and_every_link_leads_to_one() -> None:
    parts = {name: part for schema in SCHEMAS.values() for name, part in schema.get("$defs", {}).items()}
    inside = {name for schema in SCHEMAS.values() for name in re.findall(r"#/\$defs/(\w+)", str(schema))}
    tops = {item_of(kind).__name__ for kind in RECORDS.values()}
    for name in inside - tops:
        assert sections()[name].keys() == parts[name]["properties"].keys()
        assert all(field.get("description") for field in parts[name]["properties"].values()), name
    linked = set(re.findall(r"\]\(#(\w+)\)", PAGE))
    assert linked <= {heading.lower() for heading in sections()}


@pytest.mark.parametrize("command", RECORDS)
def test_a_record_is_frozen_and_its_fields_are_always_there(command: str) -> None:
    record = item_of(RECORDS[command])
    assert record.model_config.get("frozen"), record
    schema = record.model_json_schema(mode="serialization")
    assert set(schema["required"]) == set(schema["properties"])


def test_the_page_says_what_a_value_can_be() -> None:
    rows = sections()
    assert rows["show"]["rmse_minutes"][0] == "number or null"
    assert rows["registry"]["versions"][0] == "list of [ListedVersion](#listedversion)"
    assert rows["ListedVersion"]["verified"][0] == "`passed`, `failed` or null"
    assert rows["AliasMove"]["at"][0] == "time"
