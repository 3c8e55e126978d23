"""``/docs``: the OpenAPI description as a page, without scripts and without anything from other hosts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

STYLE: Final = (
    "body{font:1rem/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{border-top:1px solid;padding:.3rem .6rem;text-align:left;"
    "vertical-align:top}pre{overflow:auto;padding:.6rem;border:1px solid}code,pre{font-family:monospace}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'; base-uri 'none'"
"""The page's ``Content-Security-Policy``: its own style, and nothing else."""


def page(description: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI description: its operations with their examples, then its types."""
    title, about = (escape(description["info"][name]) for name in ("title", "description"))
    operations = "".join(
        _operation(path, method, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    )
    types = "".join(_type(name, schema) for name, schema in description["components"]["schemas"].items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f'<h1>{title}</h1><p>{about}</p><p>For programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{operations}<h2>Types</h2>{types}</html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    statuses = [(status, answer["description"]) for status, answer in operation["responses"].items()]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    examples = "".join(
        f"<p>{escape(each['summary'])}:</p><pre>{escape(json.dumps(each['value'], indent=2))}</pre>"
        for each in content.get("examples", {}).values()
    )
    name, about = escape(f"{method.upper()} {path}"), escape(operation.get("description", ""))
    return f"<h2><code>{name}</code></h2><p>{about}</p>{examples}{_table('Status', statuses)}"


def _type(name: str, schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = [
        (f"{field}{'' if field in needed else ' (optional)'}", " ".join(_sentences(about)))
        for field, about in schema.get("properties", {}).items()
    ]
    return f"<h3>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>{_table('Field', rows)}"


def _sentences(about: Mapping[str, Any]) -> Iterator[str]:
    yield about.get("description", "")
    for example in about.get("examples", ()):
        yield f"Example: {json.dumps(example)}."


def _table(first: str, rows: list[tuple[str, str]]) -> str:
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>" for name, text in rows
    )
    return f"<table><tr><th>{first}</th><th>Meaning</th></tr>{lines}</table>"
