"""A three-way merge of YAML: what Mage's pages changed stays, what the checkout changed is added."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

_ABSENT: Any = object()
# Mage writes `description: null` and `envs: []` where a file has nothing.
_EMPTY: tuple[Any, ...] = (None, _ABSENT, [], {})
_NAMES = ("uuid", "name")  # what names an entry of a list: a block or a trigger


@dataclass
class Merge:
    """A merge of one file.

    Parameters
    ----------
    prefer_new : bool
        Whether the new value wins where both sides changed the same one.
    clashes : list of str
        Filled by `value`: the places that both sides changed, for example ``triggers.weekly_tidying.sla``.

    Examples
    --------
    >>> base = {"status": "active", "sla": 3600}
    >>> Merge().value(base, {**base, "status": "inactive"}, {**base, "sla": 7200})
    {'status': 'inactive', 'sla': 7200}
    """

    prefer_new: bool = False
    clashes: list[str] = field(default_factory=list)

    def value(self, base: Any, ours: Any, new: Any, where: str = "") -> Any:
        """Return the merged value.

        Parameters
        ----------
        base
            The value that both sides started from.
        ours, new
            The two sides. Where only one of them changed something, its change is in the result. Entries of lists
            are compared by their ``uuid`` or ``name``, if all have one.
        where : str
            The place of the value, for `clashes`.
        """
        if _equal(new, base) or _equal(new, ours):
            return ours
        if _equal(ours, base):
            return new
        if isinstance(ours, dict) and isinstance(new, dict):
            return self._mapping(base if isinstance(base, dict) else {}, ours, new, where)
        if _is_named(ours) and _is_named(new):
            before = _by_name(base) if _is_named(base) else {}
            return list(self._mapping(before, _by_name(ours), _by_name(new), where).values())
        self.clashes.append(where)
        return new if self.prefer_new else ours

    def _mapping(
        self, base: dict[str, Any], ours: dict[str, Any], new: dict[str, Any], where: str
    ) -> dict[str, Any]:
        merged = {}
        for key in [*new, *(key for key in ours if key not in new)]:
            before, mine, theirs = (side.get(key, _ABSENT) for side in (base, ours, new))
            merged[key] = self.value(before, mine, theirs, f"{where}.{key}".strip("."))
        return {key: value for key, value in merged.items() if value is not _ABSENT}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_equal(one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in {*one, *other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(_plain(one) == _plain(other)) or (one in _EMPTY and other in _EMPTY)


def _plain(value: Any) -> Any:
    """The value, a time as UTC without zone: Mage writes the file's `start_time` with one."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(timezone.utc).replace(tzinfo=None)
    return value


def _is_named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) and _name(entry) for entry in value)


def _by_name(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {_name(entry): entry for entry in entries}


def _name(entry: dict[str, Any]) -> str:
    return next((str(entry[name]) for name in _NAMES if entry.get(name)), "")
