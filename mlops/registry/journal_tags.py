"""Entries of the journal as tags of the registered model: read, checked and written.

An entry is a tag ``mlflow.mlops.journal.000001``, a JSON object: ``at`` (UTC), ``by``,
``alias``, ``from``, ``to``, ``verdict``, ``reason``, ``state``, perhaps ``overrides``,
and ``auth``, its `signature`. MLflow's pages show no tag of a model whose name begins
with ``mlflow.``, so the page of the model stays readable.

Earlier releases named the tag ``journal.000001``. Such entries are read, too, and the
next entry that is written moves them, unchanged: each is written under its new name
before its old name is deleted. A process that is killed between the two leaves the
same text twice, which is one entry.

Anybody who can write to the registry can write such a tag, too. An entry without
a valid signature counts for nothing, unless it is older than all signed ones:
releases before 2026-12 did not sign.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Final

from mlops.errors import one_line
from mlops.registry import signature
from mlops.registry.client import mlflow_client

INTENT, DONE, DROPPED = "intent", "done", "dropped"
SIGNED, BEFORE, FORGED = "signed", "before signatures", "forged"
OLD_PREFIX: Final = "journal."
PREFIX: Final = "mlflow.mlops.journal."


@dataclass(frozen=True)
class Entry:
    """One move of an alias.

    Parameters
    ----------
    number : int
        From 1, in the order of time.
    at : str
        Time in UTC; for a move by hand, the time when it was noticed.
    by : str
        The person or run that moved it.
    alias : str
    before, after : str or None
        Version numbers that it pointed at before and after; None for no version.
    verdict : str
        promote, rollback, by hand, ...
    reason : str
        A sentence.
    state : str
        intent, done, or dropped: an intent that can no longer be completed.
    overrides : str
        The version's own verdict, where a person made it champion against that verdict; else empty.
    proof : str
        signed; before signatures: without one, and older than all signed entries; or forged: somebody wrote or
        changed it, or it was signed with the key of another machine.
    """

    number: int
    at: str
    by: str
    alias: str
    before: str | None
    after: str | None
    verdict: str
    reason: str
    state: str = DONE
    overrides: str = ""
    proof: str = field(default=SIGNED, compare=False)


@dataclass(frozen=True)
class _Tag:
    """A tag that is an entry."""

    key: str
    value: str
    entry: Entry
    is_signed: bool


def entries(name: str, tags: Mapping[str, str]) -> tuple[Entry, ...]:
    """The entries in a model's tags in order, with their proof; without those that cannot be read."""
    found, proof = [], BEFORE
    for tag in _counted(name, tags):
        if tag.is_signed:
            found.append(replace(tag.entry, proof=SIGNED))
            proof = FORGED  # of later entries without a signature
        else:
            found.append(replace(tag.entry, proof=FORGED if json.loads(tag.value).get("auth") else proof))
    return tuple(found)


def unreadable(name: str, tags: Mapping[str, str]) -> tuple[str, ...]:
    """Names of tags that look like entries and are none, or have the number and not the text of another entry."""
    counted = {tag.entry.number: tag for tag in _counted(name, tags)}
    found = []
    for key in sorted(filter(_is_journal, tags)):
        entry = _parsed(key, tags[key])
        if not entry or tags[key] != counted[entry.number].value:
            found.append(key)
    return tuple(found)


def forged(name: str, tags: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the tags of forged entries, in the order of their numbers."""
    numbers = {entry.number for entry in entries(name, tags) if entry.proof == FORGED}
    return tuple(tag.key for tag in _counted(name, tags) if tag.entry.number in numbers)


def next_number(tags: Mapping[str, str]) -> int:
    """The number of the next entry; the numbers of entries that cannot be read are not used again."""
    numbers = [int(text) for key in tags if _is_journal(key) and (text := _number(key)).isdecimal()]
    return max(numbers, default=0) + 1


def write(name: str, entry: Entry, tags: Mapping[str, str]) -> None:
    """Sign and write an entry, after those that an older release wrote were moved.

    Parameters
    ----------
    name : str
    entry : Entry
    tags : mapping
        All tags of the registered model.
    """
    fields = {key: value for key, value in asdict(entry).items() if key not in ("number", "proof")}
    fields["from"], fields["to"] = fields.pop("before"), fields.pop("after")
    if not entry.overrides:
        del fields["overrides"]
    # A tag holds 5,000 characters, and JSON writes some characters as two.
    fields["reason"] = one_line(entry.reason, 2000)
    fields["auth"] = signature.sign(signature.ENTRY, _signed(name, entry.number, fields))
    _move_old(name, tags)
    mlflow_client().set_registered_model_tag(
        name, key_of(entry.number), json.dumps(fields, ensure_ascii=False)
    )


def key_of(number: int) -> str:
    """Name of the tag of an entry."""
    return f"{PREFIX}{number:06d}"


def _move_old(name: str, tags: Mapping[str, str]) -> None:
    """Move the entries of earlier releases to their new names.

    What is forged or cannot be read keeps its name, so that a person sees it in MLflow's pages and can delete it.
    """
    client = mlflow_client()
    counted = {entry.number for entry in entries(name, tags) if entry.proof != FORGED}
    for key in sorted(key for key in tags if key.startswith(OLD_PREFIX)):
        entry = _parsed(key, tags[key])
        # With another text under the new name, `unreadable` names the one that does not count.
        if entry and entry.number in counted and tags.get(key_of(entry.number), tags[key]) == tags[key]:
            client.set_registered_model_tag(name, key_of(entry.number), tags[key])
            client.delete_registered_model_tag(name, key)


def _counted(name: str, tags: Mapping[str, str]) -> list[_Tag]:
    """One tag of each number, in order: where both names are there, the signed one, else that of the new name."""
    found: dict[int, _Tag] = {}
    for tag in _tags(name, tags):
        known = found.get(tag.entry.number)
        if known is None or (tag.is_signed and not known.is_signed):
            found[tag.entry.number] = tag
    return [found[number] for number in sorted(found)]


def _tags(name: str, tags: Mapping[str, str]) -> Iterator[_Tag]:
    """The tags that are entries, those of the new name first."""
    for key in sorted(filter(_is_journal, tags), key=lambda key: (key.startswith(OLD_PREFIX), key)):
        entry = _parsed(key, tags[key])
        if entry:
            fields = json.loads(tags[key])
            auth = fields.pop("auth", None)
            content = _signed(name, entry.number, fields)
            yield _Tag(key, tags[key], entry, signature.is_signed(signature.ENTRY, content, auth))


def _signed(name: str, number: int, fields: Mapping[str, object]) -> dict[str, object]:
    """What the signature of an entry is made of: so it is none of another model's, or of another number."""
    return {"model": name, "number": number, **fields}


def _parsed(key: str, text: str) -> Entry | None:
    """The entry in a tag of the registered model; None if somebody changed the tag so that it is no entry."""
    try:
        found, number = json.loads(text), int(_number(key))
        datetime.fromisoformat(found["at"])
        entry = Entry(
            number, found["at"], found.get("by", ""), found["alias"], found["from"], found["to"],
            found.get("verdict", ""), found["reason"], found.get("state", DONE), found.get("overrides", ""),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    texts = [entry.by, entry.alias, entry.verdict, entry.reason, entry.state, entry.overrides]
    texts += [version for version in (entry.before, entry.after) if version is not None]
    is_named = number > 0 and _number(key) == f"{number:06d}"
    return entry if is_named and all(isinstance(text, str) for text in texts) else None


def _is_journal(key: str) -> bool:
    return key.startswith((PREFIX, OLD_PREFIX))


def _number(key: str) -> str:
    """The part of a tag's name after the prefix, which should be digits."""
    return key.removeprefix(PREFIX if key.startswith(PREFIX) else OLD_PREFIX)
