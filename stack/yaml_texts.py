"""Change a YAML text by what it says: what did not change keeps its order, comments and form."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

NOTHING: tuple[Any, ...] = (None, "", [], {})
NULL, STRING = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"


def rewritten(text: str, content: str, read: Callable[[str], Any] = yaml.safe_load) -> str:
    r"""Return the text, changed so that it says what another text says.

    Parameters
    ----------
    text, content : str
    read : callable
        Returns what a text says.

    Examples
    --------
    >>> print(rewritten("b: 1  # minutes\na: [x]\n", "{a: [x, y], b: 1}"), end="")
    b: 1  # minutes
    a: [x, y]
    """
    form, target, after = YAML(), io.StringIO(), read(content)
    form.preserve_quotes, form.Representer = True, _Representer  # type: ignore[assignment]
    form.width = 10_000  # type: ignore[assignment]
    document = form.load(text)
    _change(document, read(text), after)
    form.dump(document, target)
    result = target.getvalue()
    if read(result) != after:  # for example where an anchor is used twice and one of the two changed
        return str(yaml.safe_dump(after, allow_unicode=True, sort_keys=False))
    return result


def without_nothing(item: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping without the keys that say nothing; Mage writes them all."""
    return {key: value for key, value in item.items() if value not in NOTHING}


class _Representer(RoundTripRepresenter):
    """Writes null as `null`, and quotes a string that YAML 1.1, as Mage reads it, takes for another type: `on`."""


def _string(made: Any, text: str) -> Any:
    read_as = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return made.represent_scalar(STRING, text, style=None if read_as == STRING else '"')


_Representer.add_representer(str, _string)
_Representer.add_representer(type(None), lambda made, _: made.represent_scalar(NULL, "null"))


def _change(node: Any, before: Any, after: Any) -> None:
    """Change a mapping that says `before` so that it says `after`."""
    for key in before.keys() - after.keys():
        node.pop(key, None)
    for key, value in after.items():
        old = before.get(key)
        if key in before and value == old:
            continue
        if isinstance(value, dict) and isinstance(old, dict) and key in node:
            _change(node[key], old, value)
        elif isinstance(value, list) and isinstance(old, list) and key in node:
            _change_list(node[key], old, value)
        else:
            node[key] = value


def _change_list(nodes: Any, before: list[Any], after: list[Any]) -> None:
    """Change a list; mappings in it, such as blocks and triggers, are the same if their name is the same."""
    known = {_name(item): (node, item) for node, item in zip(nodes, before, strict=True)}
    made = []
    for item in after:
        node, old = known.get(_name(item), (None, None))
        if not isinstance(item, dict):
            made.append(item)
        elif node is None:
            made.append(without_nothing(item))
        else:
            _change(node, old, item)
            made.append(node)
    if [_name(item) for item in before] != [_name(item) for item in after]:
        nodes[:] = made


def _name(item: Any) -> Any:
    return item.get("uuid", item.get("name")) if isinstance(item, dict) else item
