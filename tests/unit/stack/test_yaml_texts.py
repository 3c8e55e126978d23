"""A changed YAML text keeps what did not change: order, comments, form."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support.doors import PROJECT

from stack.yaml_texts import rewritten

TEXT = """\
# Settings of the pipeline.
variables:  # a test compares them
  month: 2023-06
  start_month: null  # the first
blocks:
- uuid: load
  downstream_blocks: [clean]
- uuid: clean  # the second
  downstream_blocks: []
settings: &slow
  timeout: 60
others:
  <<: *slow
  status: active
"""


def changed(**parts: Any) -> list[str]:
    """Lines of the text that are new when these parts change, in whatever order Mage writes them."""
    lines = rewritten(TEXT, yaml.safe_dump({**yaml.safe_load(TEXT), **parts}, sort_keys=True)).splitlines()
    return [line for line in lines if line not in TEXT.splitlines()]


@pytest.mark.parametrize("path", sorted(PROJECT.glob("pipelines/*/*.yaml")), ids=str)
def test_a_text_that_says_the_same_stays_as_it_is(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    assert rewritten(text, yaml.safe_dump(yaml.safe_load(text))) == text


@pytest.mark.parametrize(
    "value, line",
    [
        ("2023-07", "2023-07"), (None, "null"), (3, "3"), (0.001, "0.001"), (True, "true"), ("", '""'),
        ("on", '"on"'), ("12:30", '"12:30"'), ("1e3: x", "'1e3: x'"), ("Zürich", "Zürich"),
    ],
)  # fmt: skip
def test_a_changed_value_is_the_only_changed_line(value: Any, line: str) -> None:
    variables = {"month": value, "start_month": None}
    assert changed(variables=variables) == [f"  month: {line}"]


def test_a_new_block_and_its_edges_are_added_in_the_form_of_the_others() -> None:
    blocks = [
        {"uuid": "load", "downstream_blocks": ["clean", "mine"]},
        {"uuid": "mine", "downstream_blocks": ["clean"], "color": None, "retry_config": {}},
        {"uuid": "clean", "downstream_blocks": []},
    ]
    wanted = TEXT.replace("[clean]", "[clean, mine]").replace(
        "- uuid: clean", "- downstream_blocks:\n  - clean\n  uuid: mine\n- uuid: clean"
    )
    content = yaml.safe_dump({**yaml.safe_load(TEXT), "blocks": blocks})
    assert rewritten(TEXT, content, read=without_color) == wanted


def without_color(text: str) -> Any:
    """What a text says to a reader who takes missing colours and retries for none."""
    said = yaml.safe_load(text)
    for block in said["blocks"]:
        block.pop("color", None)
        block.pop("retry_config", None)
    return said


def test_removed_parts_are_removed() -> None:
    said = yaml.safe_load(TEXT)
    text = rewritten(
        TEXT, yaml.safe_dump({**said, "blocks": said["blocks"][:1], "variables": {"month": "2023-06"}})
    )
    assert text == TEXT.replace("  start_month: null  # the first\n", "").replace(
        "- uuid: clean  # the second\n  downstream_blocks: []\n", ""
    )


def test_a_change_in_one_of_two_parts_with_one_anchor_is_not_made_in_both() -> None:
    others = {"status": "inactive", "timeout": 60}
    assert changed(others=others) == ["  status: inactive"]
    settings = {"timeout": 90}
    content = {**yaml.safe_load(TEXT), "settings": settings}
    assert yaml.safe_load(rewritten(TEXT, yaml.safe_dump(content))) == content
