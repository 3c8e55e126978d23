"""The reference page of what commands print with `--json`, made from `mlops.command_line.json_records`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mlops.command_line.json_records import RECORDS, is_list, item_of

Schema = Mapping[str, Any]
WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}
FORMATS = {"date-time": "time", "date": "day"}
ABOVE = """\
# JSON for programs

With `--json` a command prints one object, or a list, and nothing else on its standard output. Log lines and errors
go to standard error, and the exit status is the same. A field is always there; what is unknown is `null`. Numbers
are finite. Times are in UTC, as `2026-11-26T08:30:00Z`. A release may add fields.

The same as JSON Schema, with the Python of the library:

```python
from pydantic import TypeAdapter

from mlops.command_line.json_records import RECORDS

print(TypeAdapter(RECORDS["registry"]).json_schema(mode="serialization"))
```
"""


def json_page() -> str:
    """Page of every command that has `--json`, with each field of what it prints."""
    names, parts = _schemas()
    inside = sorted({name for schema in parts.values() for name in _named_in(schema)})
    return "\n".join(
        [
            ABOVE,
            *(
                line
                for command, printed in RECORDS.items()
                for line in _command(command, printed, parts[names[item_of(printed)]])
            ),
            "## Parts",
            "",
            "Objects inside of those above.",
            "",
            *(line for name in inside for line in _part(name, parts[name])),
        ]
    )


def _schemas() -> tuple[dict[type[BaseModel], str], dict[str, Schema]]:
    """Names of the records of the commands, and the schema of every record by its name, also of those inside."""
    records = list(dict.fromkeys(item_of(printed) for printed in RECORDS.values()))
    found, together = models_json_schema([(record, "serialization") for record in records])
    names = {record: _name(found[record, "serialization"]) for record in records}
    return names, dict(together["$defs"])


def _named_in(schema: object) -> Iterator[str]:
    """Names of the records that a schema refers to."""
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield _name(schema)
        for inner in schema.values():
            yield from _named_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _named_in(inner)


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _command(command: str, printed: Any, schema: Schema) -> Iterator[str]:
    what = "a list of objects" if is_list(printed) else "one object"
    yield from (f"## {command}", "", f"`python -m mlops {command} --json` prints {what}.", "")
    yield from _fields(schema)


def _part(name: str, schema: Schema) -> Iterator[str]:
    yield from (f"### {name}", "", _one_line(schema.get("description", "")), "")
    yield from _fields(schema)


def _fields(schema: Schema) -> Iterator[str]:
    yield from ("| field | value | meaning |", "| --- | --- | --- |")
    for name, field in schema["properties"].items():
        cells = (f"`{name}`", value_of(field), _one_line(field.get("description", "")))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def value_of(schema: Schema) -> str:
    """What a field can be, in words, with a link to the part that describes an object.

    Examples
    --------
    >>> value_of({"anyOf": [{"type": "number"}, {"type": "null"}]})
    'number or null'
    >>> value_of({"type": "array", "items": {"$ref": "#/$defs/AliasMove"}})
    'list of [AliasMove](#aliasmove)'
    """
    if "$ref" in schema:
        return f"[{_name(schema)}](#{_name(schema).lower()})"
    for several in ("anyOf", "allOf"):
        if several in schema:
            return " or ".join(map(value_of, schema[several]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"list of {value_of(schema['items'])}" if "items" in schema else "list"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object, each value: {value_of(inner)}" if isinstance(inner, Mapping) else "object"
    return FORMATS.get(schema.get("format", "")) or WORDS.get(kind) or str(kind)


def _one_line(text: str) -> str:
    return " ".join(text.split())
